//! Compressed images: the same trees, in fewer blocks, whoever compresses.

use std::path::Path;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_media::erofs::{self, Compression, Options, WriteErofsError};
use ociseed_spec::{Digest, TreePath};
use ociseed_tree::testing::{file, link, listed, path, tree};
use ociseed_tree::{Content, Entry, Extent, FileRange, HostFile, Node, Tree};
use proptest::prelude::*;

use crate::common::{assert_golden, scratch};
use crate::trees::{any_entry, digest_of, everything, image_of, read_bytes, scratch_file, xattrs};

const LZ4: Compression = Compression::Lz4(9);
const ZSTD: Compression = Compression::Zstd(3);

fn with(compression: Compression) -> Options {
    Options { compression, ..Options::default() }
}

fn try_write(tree: &Tree, options: &Options) -> Result<Vec<u8>, WriteErofsError> {
    let file = scratch_file().expect("can be made");
    let size = erofs::write(tree, &digest_of(tree), options, &|_| Ok(()), &file)?;
    let mut bytes = Vec::new();
    let range = FileRange {
        file: HostFile::opened(Arc::new(file), Path::new("image").into()),
        offset: 0,
        size,
        to_end: true,
        digest: None,
    };
    [Extent::File(range)].into_iter().collect::<Content>().copy_to(&mut bytes).expect("is there");
    Ok(bytes)
}

fn write(tree: &Tree, compression: Compression) -> Vec<u8> {
    try_write(tree, &with(compression)).expect("can be written")
}

/// Bytes without any order.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// Lines that are alike.
fn text(size: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|line: u64| format!("{}: {}\n", line / 40, line * line % 7).into_bytes());
    lines.take(size).collect()
}

/// A tree of files that become clusters of every kind.
fn kinds() -> Tree {
    let holes = [Extent::Bytes(text(9000).into()), Extent::Zeros(1 << 20), Extent::Bytes(text(9000).into())];
    tree(vec![
        ("/empty", file(*b"")),
        ("/small", file(text(100))),
        ("/end", file(text(4000))),
        ("/block", file(text(4096))),
        ("/block-more", file(text(4097))),
        ("/blocks", file(text(8192))),
        ("/several", file(text(100_000))),
        ("/same", file(text(100_000))),
        ("/zeros", file(vec![0; 100_000])),
        ("/segment", file([text(9000), vec![0; (2 << 20) - 9000]].concat())),
        ("/segments", file([text(5000), vec![0; 2 << 20], noise(5000)].concat())),
        ("/noise", file(noise(10_000))),
        ("/mixed", file([text(30_000), noise(9000), text(30_001), noise(3)].concat())),
        ("/noise-first", file([noise(9000), text(9000)].concat())),
        ("/holes", Entry::file(holes.into_iter().collect())),
        ("/xattrs", xattrs(file(text(20_000)), &[("user.a", &[1; 5]), ("user.b", &[2; 3000])])),
        ("/moved", xattrs(file([noise(3000), text(2000)].concat()), &[("user.c", &[3; 2000])])),
        // The second's end fills half a block, the third's more than what is left: that gets a block of its own.
        ("/out-1", file([noise(3000), text(1090)].concat())),
        ("/out-2", file([noise(1700), text(2300)].concat())),
        ("/out-3", file([noise(2500), text(1500)].concat())),
        ("/z-link", link("/several")),
        ("/link", Entry::symlink(vec![b'x'; 4095])),
    ])
}

#[test]
fn images_are_those_that_kernels_and_judges_saw() {
    let tree = kinds();
    for (name, compression) in [("lz4", LZ4), ("zstd", ZSTD)] {
        assert_golden("erofs", &format!("{name}.erofs"), &write(&tree, compression));
        assert_golden("erofs", &format!("{name}.listing"), listed(&tree).as_bytes());
    }
}

#[test]
fn what_is_compressed_is_read_back() {
    for tree in [kinds(), everything(), Tree::default()] {
        for compression in [LZ4, ZSTD, Compression::Lz4(12), Compression::Zstd(19)] {
            let again = read_bytes("compressed", &write(&tree, compression)).expect("is an image");
            assert_eq!(listed(&again), listed(&tree), "{compression:?}");
        }
    }
}

#[test]
fn without_compression_the_bytes_are_those_of_the_plan() {
    for tree in [kinds(), everything(), Tree::default()] {
        assert!(write(&tree, Compression::None) == image_of(&tree, &Options::default()));
    }
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    // More than two batches of segments, and files that end anywhere in them.
    let names: Vec<String> = (0..36).map(|number| format!("/{number:02}")).collect();
    let size = |number: usize| (1 << 20) - 5000 * (number % 7) + 900_000 * (number % 3);
    let entries = names.iter().enumerate();
    let tree = tree(
        entries.map(|(number, name)| (name.as_str(), file([text(size(number)), noise(number)].concat()))),
    );
    for compression in [Compression::Lz4(3), Compression::Zstd(1)] {
        let mut first = None;
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let bytes = Digest::of(&pool.install(|| write(&tree, compression)));
            assert_eq!(*first.get_or_insert(bytes), bytes, "{compression:?} with {threads} threads");
        }
    }
}

#[test]
fn compressed_files_take_fewer_blocks_and_others_are_plain() {
    for compression in [LZ4, ZSTD] {
        let blocks = |entries: Vec<(&str, Entry)>| write(&tree(entries), compression).len() / 4096;
        // The superblock and the inodes; what becomes less than a block lies there.
        assert_eq!(blocks(vec![("/a", file(text(4096)))]), 2, "{compression:?}");
        assert_eq!(blocks(vec![("/a", file(noise(4096)))]), 3, "{compression:?}");
        let large = blocks(vec![("/a", file(text(1 << 20)))]);
        assert!(large < 60, "{compression:?}: {large} of 256");
        let two = blocks(vec![("/a", file(text(1 << 20))), ("/b", file(text(1 << 20)))]);
        assert!(two - large <= 1, "{compression:?}: {two} blocks for two, {large} for one");
        // But for features in the superblock, what does not compress is as it is without.
        let noise =
            tree(vec![("/a", file(noise(50_000))), ("/b", file(noise(50_000))), ("/c", file(noise(7)))]);
        let (plain, other) = (image_of(&noise, &Options::default()), write(&noise, compression));
        let differ = (4096..plain.len().min(other.len())).find(|at| plain[*at] != other[*at]);
        assert_eq!((differ, plain.len()), (None, other.len()), "{compression:?}");
    }
}

#[test]
fn the_uuid_is_given_or_that_of_the_tree() {
    let uuid = |bytes: Vec<u8>| bytes[1024 + 48..1024 + 64].to_vec();
    let plain = uuid(image_of(&kinds(), &Options::default()));
    for compression in [LZ4, ZSTD] {
        assert_eq!(uuid(write(&kinds(), compression)), plain, "{compression:?}");
        let given =
            Options { uuid: "07070707-0707-0707-0707-070707070707".parse().ok(), ..with(compression) };
        assert_eq!(uuid(try_write(&kinds(), &given).expect("can be written")), [7; 16], "{compression:?}");
    }
}

#[test]
fn a_file_that_is_not_what_its_digest_says_is_refused() {
    let dir = Arc::new(scratch());
    dir.write("checked", text(50_000)).expect("can be written");
    let content = |digest| Content::file(HostFile::new(Arc::clone(&dir), "checked"), 50_000, Some(digest));
    let checked = |digest| tree(vec![("/a", file(text(9))), ("/checked", Entry::file(content(digest)))]);
    let (right, wrong) = (checked(Digest::of(&text(50_000))), checked(Digest::of(b"other")));
    let written = |tree: &Tree| {
        let file = scratch_file().expect("can be made");
        erofs::write(tree, &|_| None, &with(LZ4), &|_| Ok(()), &file)
    };
    written(&right).expect("it is what its digest says");
    let WriteErofsError::Read { path: at, source } = written(&wrong).expect_err("refused") else {
        panic!("it says which file");
    };
    assert_eq!(at, path("/checked"));
    assert!(source.to_string().contains(&format!("expected {}", Digest::of(b"other"))), "{source}");
}

#[test]
fn progress_that_fails_ends_it() {
    let tree = tree(vec![("/a", file(text(20_000_000)))]);
    for compression in [with(LZ4), with(Compression::None)] {
        let (image, done) = (scratch_file().expect("can be made"), std::sync::atomic::AtomicU64::new(0));
        let stop = |count| {
            done.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            Err(std::io::Error::other("nobody waits"))
        };
        match erofs::write(&tree, &|_| None, &compression, &stop, &image) {
            Err(WriteErofsError::Write(error)) => assert_eq!(error.to_string(), "nobody waits"),
            other => panic!("{other:?}"),
        }
        assert!(done.into_inner() < 20_000_000, "not at its end");
    }
}

#[test]
fn progress_counts_the_bytes_of_files() {
    let (image, done) = (scratch_file().expect("can be made"), std::sync::atomic::AtomicU64::new(0));
    let tree = tree(vec![("/a", file(text(2_500_000))), ("/b", file(text(10)))]);
    let add = |count| {
        done.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    };
    erofs::write(&tree, &|_| None, &with(LZ4), &add, &image).expect("can be written");
    assert_eq!(done.into_inner(), 2_500_010);
}

#[test]
fn broken_clusters_are_refused() {
    for compression in [LZ4, ZSTD] {
        let mut bytes = write(&tree(vec![("/a", file(text(100_000)))]), compression);
        // The first cluster's blocks are the second block of the image.
        bytes[4096..8192].fill(0xff);
        let error = read_bytes("broken", &bytes).expect_err("refused").to_string();
        assert!(error.contains("cannot be decompressed"), "{compression:?}: {error}");
    }
}

/// Returns what the files of an image of the fuzzer's corpus hold.
fn corpus(name: &str) -> Vec<(TreePath, Vec<u8>)> {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fuzz/corpus/erofs");
    let dir = Dir::open_ambient_dir(place, ambient_authority()).expect("is there");
    let tree = read_bytes(name, &dir.read(format!("{name}.erofs")).expect("is there")).expect(name);
    let bytes = |content: &Content| {
        let mut bytes = Vec::new();
        content.copy_to(&mut bytes).expect("can be read");
        bytes
    };
    let files = tree.iter().filter_map(|(path, entry)| match &entry.node {
        Node::File(content) => Some((path.clone(), bytes(content))),
        _ => None,
    });
    files.collect()
}

#[test]
fn images_of_mkfs_are_read() {
    // All are of one directory, by `mkfs.erofs -zlz4`, `-zlz4hc -C65536 -Eztailpacking`, `-zzstd -C65536` and
    // `-zlz4 -Elegacy-compress`, and by us.
    let expected = corpus("ours-lz4");
    let numbers = |most: u32| (1..=most).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    assert!(expected.len() == 4 && expected[0] == (path("/a"), numbers(4000)));
    for name in ["ours-zstd", "compact", "compact-tail", "compact-zstd", "compact-legacy"] {
        assert!(corpus(name) == expected, "{name}");
    }
    // Large enough for entries of two bytes, with several clusters of several blocks in one pack: `-zlz4hc -C8192`.
    assert!(corpus("compact-big") == [(path("/a"), numbers(20_000))]);
}

fn any_file() -> impl Strategy<Value = Entry> {
    let part = (any::<bool>(), 0usize..200_000);
    proptest::collection::vec(part, 0..5).prop_map(|parts| {
        let part = |(alike, size)| if alike { text(size) } else { noise(size / 10) };
        file(parts.into_iter().map(part).collect::<Vec<_>>().concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_compressed_and_read_back(
        files in proptest::collection::btree_map("[a-z]{1,40}", prop_oneof![any_file(), any_entry()], 0..20),
        level in 1i32..=12,
        lz4 in any::<bool>(),
    ) {
        let names: Vec<String> = files.keys().map(|name| format!("/{name}")).collect();
        let tree = tree(names.iter().map(String::as_str).zip(files.into_values()));
        let compression = if lz4 { Compression::Lz4(level) } else { Compression::Zstd(level) };
        let again = read_bytes("any-compressed", &write(&tree, compression)).expect("is an image");
        prop_assert_eq!(listed(&again), listed(&tree));
        // Its content lies in a scratch file now.
        prop_assert!(write(&again, compression).len() <= write(&tree, Compression::None).len() + 4096);
    }
}
