//! Files that are, or are not, as long as they were when the tree was made.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::file;
use ociseed_tree::{
    Builder, Bytes, Claim, Content, Entry, Extent, FileRange, HostFile, Pieces, Precedence, ReadError, tar,
};

/// Sizes around those of the pieces that bytes are read in.
const SIZES: [usize; 9] = [0, 1, 511, 512, 513, 1024, 262_143, 262_144, 262_145];

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at % 251).expect("less than 251")).collect()
}

/// Makes content that should have `expected` bytes of a file that has `found`.
fn content(expected: usize, found: usize, to_end: bool) -> Content {
    let file = HostFile::opened(file(&bytes(found)), Path::new("in").into());
    let range = FileRange { file, offset: 0, size: expected as u64, to_end, digest: None };
    [Extent::File(range)].into_iter().collect()
}

/// Copies content, and puts it into a tar that is cut into pieces of two blocks; returns what both say.
fn copy(content: &Content) -> [Result<Vec<u8>, ReadError>; 2] {
    let mut copied = Vec::new();
    let alone = content.copy_to(&mut copied).map(|()| copied);
    let mut builder = Builder::new();
    let path = "/in".parse().expect("a path");
    builder.insert(path, Entry::file(content.clone()), Claim::new(0, Precedence::Explicit));
    let tree = builder.finish().expect("no conflict");
    let mut found = Vec::new();
    let mut pieces = Pieces::new(1024, |piece: Vec<u8>| {
        found.extend_from_slice(&piece);
        Ok(piece)
    });
    let in_tar = tar::Form(&tree).add_to(&mut pieces).map(|()| pieces.finish().expect("in memory"));
    let size = usize::try_from(content.size()).expect("small");
    [alone, in_tar.map(|()| found[512..512 + size].to_vec())]
}

#[test]
fn a_file_of_the_right_size_is_copied_whole() {
    for size in SIZES {
        for result in copy(&content(size, size, true)) {
            assert!(result.expect("as it was") == bytes(size), "{size} bytes");
        }
    }
}

#[test]
fn a_file_that_grew_is_an_error_unless_only_a_part_is_wanted() {
    for size in SIZES {
        for result in copy(&content(size, size + 1, true)) {
            let error = result.expect_err("it grew").to_string();
            let expected = format!("`in`: expected {size} bytes, found more: it changed while it was read");
            assert_eq!(error, expected);
        }
        for result in copy(&content(size, size + 1, false)) {
            assert!(result.expect("a part") == bytes(size), "{size} bytes");
        }
    }
}

#[test]
fn a_file_that_shrank_is_an_error() {
    for size in SIZES.into_iter().filter(|size| *size > 0) {
        for (to_end, result) in [true, false]
            .into_iter()
            .flat_map(|to_end| copy(&content(size, size - 1, to_end)).map(|result| (to_end, result)))
        {
            let error = result.expect_err("it shrank").to_string();
            let found = size - 1;
            let expected =
                format!("`in`: expected {size} bytes, found {found}: it changed while it was read");
            assert_eq!(error, expected, "{to_end}");
        }
    }
}

#[test]
fn files_are_shared_between_copies() {
    let shared = file(&bytes(1000));
    let range = |offset, size| {
        let file = HostFile::opened(Arc::clone(&shared), Path::new("in").into());
        Extent::File(FileRange { file, offset, size, to_end: false, digest: None })
    };
    let content: Content = [range(600, 400), Extent::Zeros(3), range(0, 2)].into_iter().collect();
    let expected = [&bytes(1000)[600..], &[0; 3], &bytes(2)].concat();
    for result in copy(&content) {
        assert_eq!(result.expect("as it was"), expected);
    }
}
