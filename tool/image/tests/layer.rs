//! Layer blobs: what other programs read in them, and what may not change their bytes.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ociseed_image::{LayerError, file_suffix, write_layer};
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Compression, Digest, TreePath, media_type};
use ociseed_tree::{Builder, Claim, Content, Entry, Extent, Precedence, ReadError, Tree, tar};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip(6), Compression::Zstd(3)];

/// Five members: text that compresses, a hole, and noise.
fn tree() -> Tree {
    let text: String =
        (0..200_000u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761) >> 12)).collect();
    let mut state = 1u64;
    let noise: Vec<u8> = (0..1_500_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let holey = [Extent::Bytes(Arc::from(*b"a")), Extent::Zeros(1_500_000), Extent::Bytes(Arc::from(*b"z"))];
    let files = [("text", Content::bytes(text.into_bytes())), ("noise", Content::bytes(noise))];
    let files = files.into_iter().chain([("holey", holey.into_iter().collect())]);
    let mut builder = Builder::new();
    for (source, (name, content)) in (0..).zip(files) {
        let path = TreePath::parse(name.as_bytes()).expect("a good path");
        builder.insert(path, Entry::file(content), Claim::new(source, Precedence::Explicit));
    }
    builder.finish().expect("no conflict")
}

fn plain(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    tar::write(tree, &mut bytes).expect("in memory");
    bytes
}

fn layer(tree: &Tree, compression: Compression, threads: u32) -> (Vec<u8>, LayerMetadata) {
    let mut bytes = Vec::new();
    let metadata = write_layer(tree, compression, threads, &|_| Ok(()), &mut bytes).expect("in memory");
    (bytes, metadata)
}

#[test]
fn metadata_describe_blob_and_tar() {
    let tree = tree();
    let tar = plain(&tree);
    for (compression, media_type, suffix) in [
        (Compression::None, media_type::LAYER_TAR, ".tar"),
        (Compression::Gzip(6), media_type::LAYER_TAR_GZIP, ".tar.gz"),
        (Compression::Zstd(3), media_type::LAYER_TAR_ZSTD, ".tar.zst"),
    ] {
        let (blob, metadata) = layer(&tree, compression, 2);
        assert_eq!((metadata.media_type.as_str(), file_suffix(compression)), (media_type, suffix));
        assert_eq!((metadata.digest, metadata.size), (Digest::of(&blob), blob.len() as u64));
        assert_eq!(
            (*metadata.diff_id.digest(), metadata.uncompressed_size),
            (Digest::of(&tar), tar.len() as u64)
        );
        let mut back = Vec::new();
        let mut reader = ociseed_tree::decompress(&*blob).expect("good");
        io::copy(&mut reader, &mut back).expect("good");
        assert!(back == tar, "{compression:?}");
    }
}

#[test]
fn threads_and_the_size_of_writes_change_no_byte() {
    /// Takes as few bytes as a writer may.
    struct Small(Vec<u8>);
    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(1013);
            self.0.extend_from_slice(&bytes[..count]);
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = tree();
    for compression in ALL {
        let (one, _) = layer(&tree, compression, 1);
        for threads in [0, 3, 17] {
            assert!(layer(&tree, compression, threads).0 == one, "{compression:?} {threads}");
        }
        let mut small = Small(Vec::new());
        write_layer(&tree, compression, 2, &|_| Ok(()), &mut small).expect("in memory");
        assert!(small.0 == one, "{compression:?}");
    }
}

/// A change of these is a change of every image digest: it belongs under Digest-changing in the changelog.
#[test]
fn bytes_are_as_they_were() {
    let tree = tree();
    for (compression, digest) in [
        (Compression::None, "sha256:69e9e5f8459c84a4b49434236f7a6dc1e33cf9012ca17579d90f3ff9fab8d94d"),
        (Compression::Gzip(1), "sha256:4d85a441a46a2daadbc94db544ee244454419457276bec8867eddd6c599f2af6"),
        (Compression::Gzip(6), "sha256:2f2d1fad82be71816365276793410b3aeac55f17eb09697a2654f824fe2133d0"),
        (Compression::Gzip(12), "sha256:7b0a66badf9c1252a37491d1d8081c93954367a8159915624ef18ee12f5005ad"),
        (Compression::Zstd(3), "sha256:1704a44302f84a6c3fe0da666dc3ce0743470a1f6d1fb374ca3f0ebd16159aaf"),
    ] {
        assert_eq!(layer(&tree, compression, 2).1.digest.to_string(), digest, "{compression:?}");
    }
}

#[test]
fn gzip_is_members_of_one_mebibyte_that_other_programs_read() {
    let tree = tree();
    let tar = plain(&tree);
    let (blob, _) = layer(&tree, Compression::Gzip(6), 2);
    assert_eq!(pipe(&["gzip", "-t"], &blob), b"");
    assert!(pipe(&["zcat"], &blob) == tar);
    let python = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    assert!(pipe(&["python3", "-c", python], &blob) == tar);
    let members = "import sys,zlib\nrest=sys.stdin.buffer.read()\nwhile rest:\n d=zlib.decompressobj(31)\n \
                   n=len(d.decompress(rest))\n print(n, rest[:10].hex())\n rest=d.unused_data";
    let listed = String::from_utf8(pipe(&["python3", "-c", members], &blob)).expect("text");
    let expected: String =
        tar.chunks(1 << 20).map(|chunk| format!("{} 1f8b08000000000000ff\n", chunk.len())).collect();
    assert_eq!(listed, expected);
}

/// Runs a program of the build machine with `input`, and returns what it prints.
fn pipe(command: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
    let mut stdin = child.stdin.take().expect("piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).expect("the program reads all"));
        child.wait_with_output().expect("runs")
    });
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

#[test]
fn an_output_that_fails_is_named_and_stops_all_stages() {
    /// Has room for so many bytes.
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let tree = tree();
    for compression in ALL {
        for room in [0, 300_000, 1_200_000] {
            match write_layer(&tree, compression, 2, &|_| Ok(()), &mut Full(room)) {
                Err(LayerError::Compress(error)) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
                other => panic!("{compression:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_input_that_changed_is_named() {
    use cap_std::fs::Dir;
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("changed");
    let parent = path.parent().expect("a file has a parent");
    let dir = Dir::open_ambient_dir(parent, cap_std::ambient_authority()).expect("there");
    dir.write("changed", vec![1; 3_000_000]).expect("written");
    let file = ociseed_tree::HostFile::new(Arc::new(dir), "changed");
    let mut builder = Builder::new();
    let entry = Entry::file(Content::file(file, 3_000_001, None));
    builder.insert(TreePath::parse(b"f").expect("good"), entry, Claim::new(0, Precedence::Explicit));
    let tree = builder.finish().expect("no conflict");
    for compression in ALL {
        match write_layer(&tree, compression, 2, &|_| Ok(()), &mut io::sink()) {
            Err(LayerError::Content(ReadError::Size { expected: 3_000_001, .. })) => {}
            other => panic!("{compression:?}: {other:?}"),
        }
    }
}

#[test]
fn progress_that_fails_ends_it() {
    let tree = tree();
    for compression in ALL {
        let done = std::sync::atomic::AtomicU64::new(0);
        let stop = |count| {
            done.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            Err(io::Error::other("nobody waits"))
        };
        match write_layer(&tree, compression, 2, &stop, &mut io::sink()) {
            Err(LayerError::Content(ReadError::Write(error))) => {
                assert_eq!(error.to_string(), "nobody waits")
            }
            other => panic!("{compression:?}: {other:?}"),
        }
        assert!(done.into_inner() <= 1 << 20, "{compression:?}: told once, of one piece");
    }
}
