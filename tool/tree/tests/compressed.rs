//! Compressed archives: all forms in, and nothing broken through.

mod common;

use std::path::Path;

use common::{Raw, chain, error, file, paths, read, run, scratch};
use ociseed_tree::{decompress, read_archive};

/// Programs and what tells them to write to standard output.
const PROGRAMS: [(&str, &[&str]); 6] = [
    ("gzip", &["-nc"]),
    ("zstd", &["-qc"]),
    ("xz", &["-c"]),
    ("xz", &["-c", "--check=sha256", "--block-size=1000"]),
    ("lzma", &["-c"]),
    ("bzip2", &["-c"]),
];

fn tar() -> Vec<u8> {
    // Bytes that no compressor makes small, so that cuts lie in their data too.
    let mut state = 1u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (state >> 24) as u8 % 26
    })
    .take(3000)
    .collect();
    Raw::default().file("a", "some").entry(b'0', "noise", &noise).link(b'1', "b", "a").end()
}

#[test]
fn every_form_is_read() {
    for (program, args) in PROGRAMS {
        let tree =
            read(&run(program, args, &tar())).unwrap_or_else(|error| panic!("{program}: {}", chain(&error)));
        assert_eq!(paths(&tree), ["a: some", "b = a", "noise: 3000 bytes"], "{program} {args:?}");
    }
}

#[test]
fn several_streams_are_one_file() {
    let tar = tar();
    let (one, two) = tar.split_at(700);
    for (program, args) in PROGRAMS.into_iter().filter(|(program, _)| *program != "lzma") {
        let both = [run(program, args, one), run(program, args, two)].concat();
        assert_eq!(read(&both).expect(program).len(), 3, "{program}");
    }
    let skipped = b"\x5a\x2a\x4d\x18\x05\0\0\0hello";
    let frames =
        [skipped, &run("zstd", &["-qc"], one)[..], skipped, &run("zstd", &["-qc"], two), skipped].concat();
    assert_eq!(read(&frames).expect("skippable frames").len(), 3);
    let padded = [run("gzip", &["-c"], &tar), vec![0; 100_000]].concat();
    assert_eq!(read(&padded).expect("gzip(1) takes zeros for padding").len(), 3);
}

#[test]
fn what_is_cut_is_refused_wherever_it_is() {
    for (program, args) in PROGRAMS {
        let whole = run(program, args, &tar());
        let mut step = 1;
        let mut length = 14;
        while length < whole.len() {
            let found = error(&whole[..length]);
            let refused = found.starts_with("`in.tar`: cannot decompress: ");
            assert!(refused, "{program}, {length} of {}: {found}", whole.len());
            length += step;
            step = if whole.len() - length > 60 { 37 } else { 1 };
        }
    }
}

#[test]
fn what_follows_the_data_is_refused() {
    for (program, args) in PROGRAMS {
        for garbage in [&b"garbage, long enough for any header"[..], b"\x1f\x8b", b"x"] {
            let found = error(&[&run(program, args, &tar())[..], garbage].concat());
            assert!(found.starts_with("`in.tar`: cannot decompress: "), "{program} {garbage:?}: {found}");
        }
    }
    let found = error(&[&run("gzip", &["-c"], &tar())[..], b"x"].concat());
    assert_eq!(found, "`in.tar`: cannot decompress: trailing garbage behind the gzip data");
}

#[test]
fn no_changed_byte_gets_through_or_panics() {
    for (program, args) in PROGRAMS {
        let whole = run(program, args, &tar());
        let plain = lines(&whole).expect(program);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (at % 8);
            // Some bytes do not matter (gzip's operating system); lzma has no checksum.
            if let Some(found) = lines(&changed) {
                assert!(found == plain || program == "lzma", "{program}, byte {at}: {found}");
            }
        }
    }
}

fn lines(archive: &[u8]) -> Option<String> {
    read(archive).ok().map(|tree| common::lines(&tree))
}

#[test]
fn memory_that_a_header_asks_for_has_a_limit() {
    let fine = run("xz", &["-c", "--lzma2=preset=0,dict=192MiB"], &tar());
    assert_eq!(read(&fine).expect("192 MiB").len(), 3);
    let huge = run("xz", &["-c", "--lzma2=preset=0,dict=768MiB"], &tar());
    assert_eq!(error(&huge), "`in.tar`: cannot decompress: needed memory too big for mem_limit_kb");
    let huge = run("zstd", &["-qc", "--long=31", "--ultra", "-1"], &vec![b'a'; 300 << 20]);
    let found = error(&huge);
    assert!(found.starts_with("`in.tar`: cannot decompress: Frame requires too much memory"), "{found}");
}

#[test]
fn a_plain_tar_is_used_where_it_is() {
    let tree =
        read_archive(file(&tar()), Path::new("in.tar").into(), &mut || panic!("no scratch file is needed"));
    assert_eq!(tree.expect("plain").len(), 3);
    let mut made = 0;
    let gzip = run("gzip", &["-c"], &tar());
    let mut count = || {
        made += 1;
        scratch()
    };
    read_archive(file(&gzip), Path::new("in.tar").into(), &mut count).expect("compressed");
    assert_eq!(made, 1);
}

#[test]
fn short_files_are_plain() {
    for bytes in [&b""[..], b"\x1f", b"\x1f\x8b", b"BZh9", b"]\0\0\x80\0", b"hello"] {
        let mut found = Vec::new();
        decompress(bytes).and_then(|mut plain| plain.read_to_end(&mut found)).expect("plain");
        assert_eq!(found, bytes);
    }
}
