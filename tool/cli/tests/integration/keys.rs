//! What follows from what: whatever a step reads, a change of it changes what comes out, also when there is a cache.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::Digest;
use ociseed_store::cache::Cache;

use crate::images::sign;
use crate::run::{bad, command, digests, good, ociseed, scratch};

const SPEC: &str = r#"
[layer.dir]
compression = "none"
add = [{ dir = "dir", to = "/dir" }]
[layer.file]
add = [{ file = "file", to = "/file" }]
[image.low]
layers = ["dir"]
[image.high]
base = { image = "low" }
layers = ["file"]
[image.from-layout]
base = { layout = "layout" }
[image.from-archive]
base = { archive = "archive.tar" }
[index.all]
images = ["high"]
[bundle.images]
format = "layout"
images = { "a.example/high:1" = "high", "a.example/layout:1" = "from-layout", "a.example/archive:1" = "from-archive" }
[bundle.indexes]
format = "oci-archive"
indexes = { "a.example/all:1" = "all" }
[seed.s]
stores = ["archives"]
image = [{ image = "high", name = "a.example/high:1" }, { image = "from-layout", name = "a.example/layout:1" }]
[disk.seed]
medium = "erofs"
seed = "s"
[disk.store]
medium = "tar"
store = "s.archives"
[disk.layer]
medium = "cpio"
layer = "dir"
[disk.image]
medium = "erofs"
image = "high"
"#;

/// A directory with everything that the spec names.
fn project(name: &str) -> PathBuf {
    let dir = scratch(name);
    for below in ["dir/below", "other"] {
        fs::create_dir_all(dir.join(below)).expect("can be made");
    }
    symlink("file", dir.join("dir/link")).expect("can be made");
    for (path, text) in [("dir/file", "1"), ("dir/below/deep", "2"), ("other/file", "3"), ("file", "4")] {
        fs::write(dir.join(path), text).expect("can be written");
    }
    fs::write(dir.join("spec.toml"), SPEC).expect("can be written");
    base(&dir, "first");
    dir
}

/// Makes the layout and the archive that images are based on, in place of those that were there.
fn base(dir: &Path, text: &str) {
    let spec = format!(
        "[layer.l]\nadd = [{{ text = \"{text}\", to = \"/base\" }}]\n[image.i]\nlayers = [\"l\"]\n\
         [bundle.l]\nformat = \"layout\"\nimages = {{ \"a.example/b:1\" = \"i\" }}\n\
         [bundle.a]\nformat = \"oci-archive\"\nimages = {{ \"a.example/b:1\" = \"i\" }}\n"
    );
    fs::write(dir.join("base.toml"), spec).expect("can be written");
    good(dir, &["build", "base.toml", "--out", "made", "--no-cache"]);
    let _ = fs::remove_dir_all(dir.join("layout"));
    fs::rename(dir.join("made/bundle/l"), dir.join("layout")).expect("can be moved");
    fs::rename(dir.join("made/bundle/a.tar"), dir.join("archive.tar")).expect("can be moved");
}

fn respell(dir: &Path, from: &str, to: &str) {
    let spec = fs::read_to_string(dir.join("spec.toml")).expect("is there");
    assert!(spec.contains(from), "{from}");
    fs::write(dir.join("spec.toml"), spec.replace(from, to)).expect("can be written");
}

/// Builds with a cache and requires what a build without one makes.
fn right(dir: &Path, what: &str) -> String {
    good(dir, &["build", "spec.toml"]);
    good(dir, &["build", "spec.toml", "--out", "reference", "--no-cache"]);
    let found = digests(&dir.join("out"));
    assert_eq!(found, digests(&dir.join("reference")), "{what}");
    found
}

/// What somebody does to the project.
type Edit = fn(&Path);

#[test]
fn every_change_of_what_is_read_changes_what_comes_out() {
    let dir = project("keys-inputs");
    let edits: [(&str, Edit); 18] = [
        ("a directory beside it", |dir| respell(dir, "dir = \"dir\"", "dir = \"other\"")),
        ("and back", |dir| respell(dir, "dir = \"other\"", "dir = \"dir\"")),
        ("a directory inside of it", |dir| respell(dir, "dir = \"dir\"", "dir = \"dir/below\"")),
        ("and back again", |dir| respell(dir, "dir = \"dir/below\"", "dir = \"dir\"")),
        ("a program", |dir| {
            fs::set_permissions(dir.join("dir/file"), fs::Permissions::from_mode(0o755)).expect("can be set");
        }),
        ("where a link leads", |dir| {
            fs::remove_file(dir.join("dir/link")).expect("can go");
            symlink("elif", dir.join("dir/link")).expect("can be made");
        }),
        ("a name", |dir| fs::rename(dir.join("dir/file"), dir.join("dir/elif")).expect("can be moved")),
        ("a file in place of a directory", |dir| {
            fs::remove_dir_all(dir.join("dir/below")).expect("can go");
            fs::write(dir.join("dir/below"), "").expect("can be written");
        }),
        ("a link in place of a file", |dir| {
            fs::remove_file(dir.join("dir/below")).expect("can go");
            symlink("file", dir.join("dir/below")).expect("can be made");
        }),
        ("what the spec says of a layer", |dir| respell(dir, "to = \"/dir\"", "to = \"/rid\"")),
        ("what it says of an image", |dir| {
            respell(dir, "layers = [\"dir\"]", "layers = [\"dir\"]\nuser = \"7\"");
        }),
        ("the bases", |dir| base(dir, "second")),
        ("a signature in a base", |dir| {
            let index = fs::read(dir.join("layout/index.json")).expect("is there");
            let index: serde_json::Value = serde_json::from_slice(&index).expect("JSON");
            sign(&dir.join("layout"), &index["manifests"][0], "signed");
        }),
        ("another order of what an image has", |dir| {
            respell(dir, "base = { image = \"low\" }\nlayers = [\"file\"]", "layers = [\"file\", \"dir\"]");
        }),
        ("a disk's label", |dir| respell(dir, "seed = \"s\"", "seed = \"s\"\nlabel = \"x\"")),
        ("its compression", |dir| respell(dir, "label = \"x\"", "compression = \"lz4\"")),
        ("what a medium has of a seed", |dir| respell(dir, "stores = [", "blobs = \"metadata\"\nstores = [")),
        ("the form of a store", |dir| {
            respell(dir, "blobs = \"metadata\"", "archives = { root = \"/elsewhere\" }");
        }),
    ];
    let mut before = right(&dir, "at first");
    for (what, edit) in edits {
        edit(&dir);
        let after = right(&dir, what);
        assert_ne!(before, after, "{what} makes a difference");
        before = after;
    }
}

#[test]
fn another_program_uses_nothing_of_this_one() {
    let dir = project("keys-program");
    right(&dir, "at first");
    // It runs as before: nothing reads what comes after an executable's sections.
    let other = dir.join("ociseed");
    fs::copy(env!("CARGO_BIN_EXE_ociseed"), &other).expect("can be copied");
    let mut appended = fs::File::options().append(true).open(&other).expect("opens");
    appended.write_all(b"more").expect("can be written");
    drop(appended);
    let explain = |program: &Path| {
        let mut build = Command::new(program);
        for (name, value) in command(&dir).get_envs() {
            build.env(name, value.expect("set"));
        }
        let output = build.current_dir(&dir).args(["build", "spec.toml", "--explain", "layer.dir"]).output();
        String::from_utf8(output.expect("it runs").stderr).expect("UTF-8")
    };
    assert_eq!(explain(&other), "layer.dir: ran: `ociseed` is another one\n");
    assert_eq!(explain(&other), "layer.dir: nothing changed\n");
}

#[test]
fn the_mode_and_time_of_an_output_are_put_right() {
    let dir = project("keys-outputs");
    right(&dir, "at first");
    // The cached blob itself, under another name.
    let blob = dir.join("out/layer/dir.tar");
    let edits: [(&str, Edit); 2] = [
        ("a byte, and its time put back", |path| {
            let times = fs::metadata(path).and_then(|found| found.modified()).expect("has a time");
            let mut bytes = fs::read(path).expect("is there");
            bytes[0] ^= 1;
            fs::write(path, bytes).expect("can be written");
            let file = fs::File::options().write(true).open(path).expect("opens");
            file.set_modified(times).expect("can be set");
        }),
        ("its mode", |path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("can be set");
        }),
    ];
    for (what, edit) in edits {
        edit(&blob);
        right(&dir, what);
        assert_eq!(fs::metadata(&blob).expect("is there").permissions().mode() & 0o7777, 0o644, "{what}");
    }
}

#[test]
fn a_blob_that_lost_its_bytes_is_made_again() {
    let dir = project("keys-lost");
    for target in ["bundle.indexes", "disk.layer", "disk.image", "disk.seed"] {
        right(&dir, "at first");
        lose_a_blob(&dir);
        let made = ociseed(&dir, &["build", "spec.toml", target]);
        assert!(made.status.success(), "{target}: {}", String::from_utf8_lossy(&made.stderr));
        good(&dir, &["verify", "out"]);
        right(&dir, target);
    }
    // A layer that takes it in is made the first time, so nothing is known of what it should be.
    lose_a_blob(&dir);
    let spec = fs::read_to_string(dir.join("spec.toml")).expect("is there");
    fs::write(dir.join("spec.toml"), spec + "[layer.copy]\nadd = [{ layer = \"dir\" }]\n").expect("written");
    good(&dir, &["build", "spec.toml", "layer.copy"]);
    right(&dir, "layer.copy");
}

/// Fills a blob of the cache with zeros, as a disk does that fails: what the file system says of it is what the cache knows.
fn lose_a_blob(dir: &Path) {
    let metadata = fs::read(dir.join("out/layer/dir.json")).expect("is there");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).expect("JSON");
    let digest: Digest = metadata["digest"].as_str().expect("text").parse().expect("a digest");
    let place = dir.with_file_name("keys-lost.cache/ociseed");
    let cache = Dir::open_ambient_dir(&place, ambient_authority()).expect("is there");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux says it");
    let cache = Cache::open(&cache, boot).expect("opens");
    assert!(cache.blob(&digest, metadata["size"].as_u64().expect("a number")).is_some());
    let file = place.join(format!("v1/blobs/sha256/{}", digest.hex()));
    let found = fs::metadata(&file).expect("is there");
    fs::write(&file, vec![0; usize::try_from(found.len()).expect("small")]).expect("can be written");
    let opened = fs::File::options().write(true).open(&file).expect("opens");
    opened.set_modified(found.modified().expect("has a time")).expect("can be set");
    // Whose other names go before, as that changes what the file system says.
    fs::remove_dir_all(dir.join("out")).expect("can go");
    cache.settle().expect("can be written");
}

#[test]
fn one_run_says_what_is_wrong_with_every_layer() {
    let dir = project("keys-wrong");
    // Neither can be seen before it is read.
    let more = "[layer.tar]\nadd = [{ tar = \"file\" }]\n[layer.deb]\nadd = [{ deb = \"file\" }]\n";
    fs::write(dir.join("spec.toml"), format!("{SPEC}{more}")).expect("can be written");
    let found = bad(&dir, &["build", "spec.toml", "--jobs", "1"], 1);
    for layer in ["layer.tar.add[0]", "layer.deb.add[0]"] {
        assert!(found.contains(layer), "{layer} in {found}");
    }
}
