//! What the fuzzer runs, on a stable compiler: every corpus as it is, and changed in ways that parsers get wrong.
//!
//! `OCISEED_FUZZ_FACTOR=100` tries a hundred times as many changes.

use std::fs;
use std::path::PathBuf;

use fuzz_targets::{TARGETS, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = fs::read_dir(&directory).expect("every target has a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(paths.len() >= 3, "the corpus `{name}` is too small");
    paths.into_iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// One change of some bytes; places are taken modulo what is there.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
    Insert(usize, Vec<u8>),
    /// The checksum of the tar header at a block is made right again, so that what is behind it is read.
    Checksum(usize),
    /// The checksums of both meta pages of a bolt file are made right again.
    MetaChecksums,
}

fn change() -> impl Strategy<Value = Change> {
    let tokens = prop_oneof![
        Just(b"..".to_vec()),
        Just(b"/".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"99999999999".to_vec()),
        Just(b"-1".to_vec()),
        Just(b".wh.".to_vec()),
        Just(vec![0xff; 12]),
        proptest::collection::vec(any::<u8>(), 1..40),
    ];
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<usize>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        any::<usize>().prop_map(Change::Cut),
        (any::<usize>(), 1usize..1024).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<usize>(), 1usize..1024).prop_map(|(at, count)| Change::Repeat(at, count)),
        (any::<usize>(), tokens).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (0usize..64).prop_map(Change::Checksum),
        Just(Change::MetaChecksums),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Set(at, byte) => bytes[at % length] = *byte,
        Change::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
        Change::Cut(at) => bytes.truncate(at % length),
        Change::Remove(at, count) => drop(bytes.drain(at % length..(at % length + count).min(length))),
        Change::Repeat(at, count) => {
            let piece = bytes[at % length..(at % length + count).min(length)].to_vec();
            bytes.splice(at % length..at % length, piece);
        }
        Change::Insert(at, piece) => drop(bytes.splice(at % length..at % length, piece.iter().copied())),
        Change::Checksum(block) => {
            if let Some(header) = bytes.chunks_exact_mut(512).nth(*block) {
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
                header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        Change::MetaChecksums => {
            for page in bytes.chunks_exact_mut(4096).take(2) {
                // FNV-1a of 64 bits, over what is between the page's header and the checksum.
                let sum = page[16..72].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
                    (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
                });
                page[72..80].copy_from_slice(&sum.to_le_bytes());
            }
        }
    }
}

#[test]
fn every_corpus_is_read() {
    for (name, target) in TARGETS {
        corpus(name).iter().for_each(|bytes| target(bytes));
    }
}

fn changed_inputs(name: &str, target: Target, cases: u32) {
    let corpus = corpus(name);
    // No file of failures: a finding becomes a file of the corpus and a test of its own.
    let factor = std::env::var("OCISEED_FUZZ_FACTOR").map_or(1, |factor| factor.parse().expect("a number"));
    let cases = cases * factor;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let input = (0..corpus.len(), proptest::collection::vec(change(), 1..8));
    let ran = TestRunner::new(config).run(&input, |(index, changes)| {
        let mut bytes = corpus[index].clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        target(&bytes);
        Ok(())
    });
    if let Err(error) = ran {
        panic!("target `{name}`: {error}");
    }
}

macro_rules! changed {
    ($($test:ident: $name:literal, $cases:literal;)*) => {$(
        #[test]
        fn $test() {
            let (name, target) = TARGETS.into_iter().find(|(name, _)| *name == $name).expect("a target");
            changed_inputs(name, target, $cases);
        }
    )*};
}

changed! {
    changed_tars: "tar", 2000;
    changed_packages: "deb", 500;
    changed_compression: "compressed", 1000;
    changed_layouts: "layout", 1000;
    changed_manifests: "manifest", 2000;
    changed_specs: "spec", 2000;
    changed_images: "erofs", 1000;
    changed_initramfs: "cpio", 2000;
    changed_records: "bolt", 2000;
}
