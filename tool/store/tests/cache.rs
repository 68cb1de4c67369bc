//! The cache: blobs known by their stamps, small files behind their digest, and what goes first.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::{Digest, Stamp, Timestamp};
use ociseed_store::cache::{Cache, FileMemory, Kind, Memory, OutputFile, OutputMemory};

fn scratch(name: &str) -> (PathBuf, Dir) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("can be made");
    let dir = Dir::open_ambient_dir(&path, ambient_authority()).expect("is there");
    (path, dir)
}

/// Opens the cache as a process of its own would.
fn open(dir: &Dir) -> Cache {
    Cache::open(dir, "boot").expect("can be made")
}

fn insert(cache: &Cache, dir: &Dir, text: &str) -> Digest {
    let digest = Digest::of(text.as_bytes());
    dir.write("file", text).expect("can be written");
    cache.insert(&digest, dir, Path::new("file")).expect("can be inserted");
    // It may be another name of the blob.
    dir.remove_file("file").expect("can go");
    digest
}

fn place(cache: &Cache, dir: &Dir, digest: &Digest, size: u64, to: &str) {
    let blob = cache.blob(digest, size).expect("it is there");
    cache.place(&blob, digest, dir, Path::new(to)).expect("can be placed");
}

#[test]
fn a_blob_is_found_by_every_process_until_it_is_written_to() {
    let (path, dir) = scratch("cache-blob");
    let cache = open(&dir);
    let digest = insert(&cache, &dir, "some bytes");
    place(&cache, &dir, &digest, 10, "again");
    cache.settle().expect("can be written");
    assert_eq!(fs::read(path.join("again")).expect("is there"), b"some bytes");
    assert!(open(&dir).blob(&digest, 10).is_some());
    // A new name changes the stamp; the bytes are read once and known again.
    fs::hard_link(path.join("again"), path.join("third")).expect("can be linked");
    assert!(open(&dir).blob(&digest, 10).is_some());

    let file = path.join(format!("v1/blobs/sha256/{}", digest.hex()));
    let times = fs::metadata(&file).and_then(|found| found.modified()).expect("has a time");
    fs::write(&file, "same size!").expect("can be written");
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_modified(times))
        .expect("can be set");
    assert!(open(&dir).blob(&digest, 10).is_none(), "its time was put back, its change shows");
    assert!(!file.exists(), "what is wrong goes");
}

#[test]
fn what_is_wrong_all_the_same_is_found_when_it_is_read_again() {
    let (path, dir) = scratch("cache-wrong");
    let cache = open(&dir);
    let (one, two) = (insert(&cache, &dir, "one"), insert(&cache, &dir, "two"));
    assert_eq!(cache.forget_damaged(), 0);
    fs::write(path.join(format!("v1/blobs/sha256/{}", one.hex())), "eno").expect("can be written");
    assert_eq!(cache.forget_damaged(), 1);
    assert!(cache.blob(&one, 3).is_none() && cache.blob(&two, 3).is_some());
    // Another process has put its own there; what was read in between may be neither.
    fs::write(path.join("new"), "two").expect("can be written");
    let file = path.join(format!("v1/blobs/sha256/{}", two.hex()));
    fs::rename(path.join("new"), &file).expect("can be moved");
    assert_eq!(cache.forget_damaged(), 1);
    assert!(file.exists() && cache.blob(&two, 3).is_some());
}

#[test]
fn files_of_a_digest_that_is_not_theirs_are_refused_where_they_are_read() {
    let (_, dir) = scratch("cache-refused");
    let cache = open(&dir);
    let digest = insert(&cache, &dir, "right");
    assert!(cache.blob(&digest, 4).is_some(), "known to be right; the size is the caller's to know");
    assert!(open(&dir).blob(&digest, 4).is_none(), "read: it has another size");
}

#[test]
fn inserting_twice_keeps_the_first() {
    let (path, dir) = scratch("cache-twice");
    let cache = open(&dir);
    let digest = insert(&cache, &dir, "text");
    let file = path.join(format!("v1/blobs/sha256/{}", digest.hex()));
    let inode = || fs::metadata(&file).expect("is there").ino();
    let first = inode();
    insert(&cache, &dir, "text");
    assert_eq!(inode(), first);
    // Another process does not know it yet, so it puts its own there.
    let other = open(&dir);
    insert(&other, &dir, "text");
    assert!(other.blob(&digest, 4).is_some());
}

#[test]
fn small_files_are_whole_or_absent() {
    let (path, dir) = scratch("cache-small");
    let cache = open(&dir);
    let name = Digest::of(b"name");
    assert_eq!(cache.read(Kind::Action, &name), None);
    for payload in [&b"first"[..], b"", b"second"] {
        cache.write(Kind::Action, &name, payload).expect("can be written");
        assert_eq!(cache.read(Kind::Action, &name).as_deref(), Some(payload));
    }
    let file = path.join(format!("v1/actions/{}", name.hex()));
    let whole = fs::read(&file).expect("is there");
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&file, &bytes).expect("can be written");
        assert_eq!(cache.read(Kind::Action, &name), None, "flipped at {at}");
        fs::write(&file, &whole[..at]).expect("can be written");
        assert_eq!(cache.read(Kind::Action, &name), None, "cut at {at}");
    }
}

fn stamp(number: u64) -> Stamp {
    let modified = Timestamp::new(-5, 999_999_999);
    Stamp { device: u64::MAX, inode: number, size: 7, modified, changed: Timestamp::new(i64::MAX, 1) }
}

#[test]
fn memories_come_back_as_they_were() {
    let (_, dir) = scratch("cache-memory");
    let cache = open(&dir);
    let file = |source, digest: Option<&str>, stamp| FileMemory {
        source,
        path: vec![b'a', 0xff, b'/', b'b'],
        stamp,
        digest: digest.map(|text| Digest::of(text.as_bytes())),
    };
    let files =
        vec![file(0, Some("x"), Some(stamp(1))), file(1, Some("y"), None), file(1, None, Some(stamp(2)))];
    let memory = Memory { key: Digest::of(b"key"), parameters: "{}".to_owned(), files: files.into() };
    let name = Digest::of(b"name");
    cache.remember(&name, &memory).expect("can be written");
    assert_eq!(cache.memory(&name), Some(memory));

    let file = |blob| OutputFile { path: b"layer/x".to_vec(), stamp: stamp(3), blob };
    let files = vec![file(None), file(Some(Digest::of(b"blob")))];
    let output = OutputMemory { key: Digest::of(b"key"), report: b"{}".to_vec(), files };
    let outputs = BTreeMap::from([("layer.x".to_owned(), output)]);
    assert_eq!(cache.outputs(&name), BTreeMap::new());
    cache.remember_outputs(&name, &outputs).expect("can be written");
    assert_eq!(cache.outputs(&name), outputs);
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let (path, dir) = scratch("cache-gc");
    let cache = open(&dir);
    let blobs = ["oldest", "older ", "newest"].map(|text| insert(&cache, &dir, text));
    cache.settle().expect("can be written");
    for (age, digest) in [(30, &blobs[0]), (20, &blobs[1]), (10, &blobs[2])] {
        let used = SystemTime::now() - Duration::from_secs(age * 86_400);
        let stamp = fs::File::options().write(true).open(path.join("v1/stamps").join(digest.hex()));
        stamp.expect("is there").set_modified(used).expect("can be set");
    }
    assert_eq!(cache.usage().expect("can be read").blob_bytes, 18);
    // Looking at it is using it.
    assert!(cache.blob(&blobs[0], 6).is_some());
    let removed = cache.collect_garbage(12).expect("can be removed");
    assert_eq!((removed.files, removed.bytes), (1, 6));
    let left = blobs.map(|digest| open(&dir).blob(&digest, 6).is_some());
    assert_eq!(left, [true, false, true]);
}

#[test]
fn what_a_killed_process_was_writing_goes() {
    let (path, dir) = scratch("cache-killed");
    open(&dir).write(Kind::Action, &Digest::of(b"x"), b"x").expect("can be written");
    let held = fs::File::create(path.join("v1/tmp/held")).expect("can be made");
    held.lock().expect("nobody else has it");
    fs::write(path.join("v1/tmp/left"), "half").expect("can be written");
    open(&dir);
    assert!(path.join("v1/tmp/held").exists() && !path.join("v1/tmp/left").exists());
}

#[test]
fn after_a_boot_blobs_are_read_again_and_outputs_are_not_known() {
    let (path, dir) = scratch("cache-boot");
    let cache = open(&dir);
    let (whole, lost) = (insert(&cache, &dir, "whole"), insert(&cache, &dir, "lost!"));
    cache.settle().expect("can be written");
    let name = Digest::of(b"name");
    let output = OutputMemory { key: name, report: Vec::new(), files: Vec::new() };
    cache
        .remember_outputs(&name, &BTreeMap::from([("x".to_owned(), output.clone())]))
        .expect("can be written");
    // What a crash does: other bytes, of which the stamp knows nothing. A process that believes to know the blob writes it.
    let file = path.join(format!("v1/blobs/sha256/{}", lost.hex()));
    let times = fs::metadata(&file).and_then(|found| found.modified()).expect("has a time");
    fs::write(&file, "zeros").expect("can be written");
    fs::File::options()
        .write(true)
        .open(&file)
        .and_then(|file| file.set_modified(times))
        .expect("can be set");
    cache.settle().expect("can be written");
    assert!(open(&dir).blob(&lost, 5).is_some(), "the stamp says so");
    assert_eq!(open(&dir).outputs(&name).len(), 1);
    let later = Cache::open(&dir, "another boot").expect("is there");
    assert!(later.blob(&whole, 5).is_some() && later.blob(&lost, 5).is_none());
    assert!(later.outputs(&name).is_empty());
    // Where nothing tells boots apart, each process reads blobs anew.
    let unknown = Cache::open(&dir, "").expect("is there");
    assert!(unknown.blob(&whole, 5).is_some());
    unknown.settle().expect("can be written");
    unknown.remember_outputs(&name, &BTreeMap::from([("x".to_owned(), output)])).expect("can be written");
    fs::write(path.join(format!("v1/blobs/sha256/{}", whole.hex())), "zeros").expect("can be written");
    unknown.settle().expect("can be written");
    let unknown = Cache::open(&dir, "").expect("is there");
    assert!(unknown.blob(&whole, 5).is_none() && unknown.outputs(&name).is_empty());
}
