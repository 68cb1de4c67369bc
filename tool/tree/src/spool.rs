//! Archives that are compressed, decompressed once into a file without a name.
//!
//! The members of an archive are read in any order and more than once, which
//! only a plain file allows. Memory stays flat, and runs of zeros take no room.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};

use crate::Tree;
use crate::decompress::decompress;
use crate::part::{Part, fill};
use crate::tar::{self, TarError};
use ociseed_spec::{Packing, shown_path};

/// What any archive may expand to.
const MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// How many times its size an archive may expand to: more than the 1,032 of gzip's best case.
const MAX_RATIO: u64 = 1100;
/// How much is written at once.
const PIECE: usize = 256 * 1024;
/// Zeros become holes in blocks of this size, which is that of file systems.
const HOLE: usize = 4096;

/// Says why something compressed could not be decompressed into a scratch file.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It cannot be read, or its compression is broken.
    #[error("cannot decompress")]
    Read(#[source] io::Error),
    /// It expands to more than `docs/format.md` allows.
    #[error("expands to more than {max} bytes, which is the most for {size} compressed bytes")]
    Limit {
        /// Its size.
        size: u64,
        /// How much it may be.
        max: u64,
    },
    /// The scratch file cannot be made or written.
    #[error("cannot write a scratch file")]
    Write(#[source] io::Error),
}

/// Says why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be decompressed.
    #[error("`{}`", shown_path(archive))]
    Spool {
        /// The archive, as it was called.
        archive: PathBuf,
        /// What is wrong.
        source: SpoolError,
    },
    /// What is in it is no good tar.
    #[error(transparent)]
    Tar(#[from] TarError),
}

/// Makes an empty file that goes when it is closed.
pub type Scratch<'a> = dyn FnMut() -> io::Result<File> + 'a;

/// Returns what `size` compressed bytes may expand to.
pub fn most_bytes(size: u64) -> u64 {
    size.saturating_mul(MAX_RATIO).max(MAX_BYTES)
}

/// Decompresses into a scratch file; `size` is that of the compressed bytes, which are read to their end.
///
/// # Errors
/// They cannot be read, expand to too much, or the file cannot be written.
pub fn spool(compressed: impl Read, size: u64, scratch: &mut Scratch<'_>) -> Result<Arc<File>, SpoolError> {
    spool_at_most(compressed, size, most_bytes(size), scratch)
}

fn spool_at_most(
    compressed: impl Read,
    size: u64,
    max: u64,
    scratch: &mut Scratch<'_>,
) -> Result<Arc<File>, SpoolError> {
    let plain = decompress(compressed).map_err(SpoolError::Read)?;
    let file = scratch().map_err(SpoolError::Write)?;
    let end = append(plain, &file, 0, max).map_err(|error| error.of(size, max))?;
    file.set_len(end).map_err(SpoolError::Write)?;
    Ok(Arc::new(file))
}

/// Decompresses to a place of a file from which on it has nothing, and returns how many bytes it took.
///
/// # Errors
/// As [`spool`]; the file may then have some of it.
pub fn spool_at(compressed: impl Read, size: u64, file: &File, at: u64) -> Result<u64, SpoolError> {
    let max = most_bytes(size);
    let plain = decompress(compressed).map_err(SpoolError::Read)?;
    let end = append(plain, file, at, max).map_err(|error| error.of(size, max))?;
    file.set_len(end).map_err(SpoolError::Write)?;
    Ok(end - at)
}

/// Why plain bytes could not be written.
enum Fault {
    Read(io::Error),
    Write(io::Error),
    TooMany,
}

impl Fault {
    fn of(self, size: u64, max: u64) -> SpoolError {
        match self {
            Self::Read(error) => SpoolError::Read(error),
            Self::Write(error) => SpoolError::Write(error),
            Self::TooMany => SpoolError::Limit { size, max },
        }
    }
}

/// Writes at most `max` bytes from `at` on, and returns where they end.
fn append(mut plain: impl Read, file: &File, at: u64, max: u64) -> Result<u64, Fault> {
    let mut piece = vec![0; PIECE];
    let mut end = at;
    loop {
        let count = fill(&mut plain, &mut piece).map_err(Fault::Read)?;
        if end - at + count as u64 > max {
            return Err(Fault::TooMany);
        }
        write_holes(file, end, &piece[..count]).map_err(Fault::Write)?;
        end += count as u64;
        if count < piece.len() {
            return Ok(end);
        }
    }
}

/// Writes bytes but for blocks of zeros, which stay holes; the file's size may have to be set behind them.
///
/// # Errors
/// As the operating system says.
pub fn write_holes(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    static ZEROS: [u8; HOLE] = [0; HOLE];
    let is_hole = |block: &[u8]| *block == ZEROS[..block.len()];
    let mut begin = 0;
    for (block, end) in bytes.chunks(HOLE).zip((0..bytes.len()).step_by(HOLE)) {
        if is_hole(block) {
            if begin < end {
                file.write_all_at(&bytes[begin..end], at + begin as u64)?;
            }
            begin = end + block.len();
        }
    }
    match begin < bytes.len() {
        true => file.write_all_at(&bytes[begin..], at + begin as u64),
        false => Ok(()),
    }
}

/// Reads a tar, plain or compressed in any form that [`decompress()`] knows; `shown` is what messages call it.
///
/// A plain tar is used where it is, and must stay as it is as long as the tree is of use.
///
/// # Errors
/// It cannot be decompressed, or is not a tar that [`tar::read`] takes.
pub fn read_archive(
    file: Arc<File>,
    shown: Arc<Path>,
    scratch: &mut Scratch<'_>,
) -> Result<Tree, ArchiveError> {
    let part = Part::whole(file).map_err(|source| TarError::Read { archive: shown.to_path_buf(), source })?;
    read_part(part, shown, scratch).map(|(tree, _)| tree)
}

/// Does as [`read_archive`], with `size` bytes of a file from `at` on.
///
/// # Errors
/// As [`read_archive`].
pub fn read_archive_at(
    file: Arc<File>,
    at: u64,
    size: u64,
    shown: Arc<Path>,
    scratch: &mut Scratch<'_>,
) -> Result<Tree, ArchiveError> {
    read_part(Part::new(file, at, size), shown, scratch).map(|(tree, _)| tree)
}

/// Reads a tar that is a part of a file, and tells how it is compressed.
pub(crate) fn read_part(
    part: Part,
    shown: Arc<Path>,
    scratch: &mut Scratch<'_>,
) -> Result<(Tree, Packing), ArchiveError> {
    let mut head = [0; Packing::HEAD];
    let count = fill(&mut part.clone(), &mut head)
        .map_err(|source| TarError::Read { archive: shown.to_path_buf(), source })?;
    let packing = Packing::of(&head[..count]);
    if packing == Packing::Plain {
        return Ok((tar::read_part(part, shown)?, packing));
    }
    let size = part.left();
    let spooled = spool(part, size, scratch)
        .map_err(|source| ArchiveError::Spool { archive: shown.to_path_buf(), source })?;
    Ok((tar::read(spooled, shown)?, packing))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};
    use std::process::{Command, Stdio};

    use cap_std::fs::MetadataExt as _;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn scratch() -> io::Result<File> {
        let file = rustix::fs::memfd_create("scratch", rustix::fs::MemfdFlags::CLOEXEC)?;
        Ok(File::from_std(file.into()))
    }

    fn compressed(program: &str, plain: &[u8]) -> Vec<u8> {
        let mut child = Command::new(program)
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("on every build machine");
        let mut stdin = child.stdin.take().expect("piped");
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(plain).expect("it reads all"));
            child.wait_with_output().expect("it ends").stdout
        })
    }

    /// The same bytes over and over, without an end.
    struct Endless(Vec<u8>, usize);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = (&self.0[self.1..]).read(buffer)?;
            self.1 = (self.1 + count) % self.0.len();
            Ok(count)
        }
    }

    #[test]
    fn what_expands_without_end_is_stopped() {
        let member = vec![0; MIB];
        for program in ["gzip", "zstd", "xz", "bzip2"] {
            let endless = Endless(compressed(program, &member), 0);
            let found = spool_at_most(endless, 1000, 40 * MIB as u64, &mut scratch);
            let expected = "expands to more than 41943040 bytes, which is the most for 1000 compressed bytes";
            assert_eq!(found.expect_err(program).to_string(), expected, "{program}");
        }
        let bomb = compressed("lzma", &vec![0; 16 * MIB]);
        for (max, good) in [(16 * MIB as u64, true), (16 * MIB as u64 - 1, false)] {
            assert_eq!(spool_at_most(&bomb[..], 1, max, &mut scratch).is_ok(), good, "{max}");
        }
    }

    #[test]
    fn zeros_become_holes_and_everything_else_stays() {
        let mut plain = vec![0; 3 * MIB + 77];
        for (at, size) in [(0, 1), (HOLE, 2 * HOLE), (PIECE - 1, 2), (MIB + 5, 9), (2 * MIB, PIECE)] {
            plain[at..at + size].fill(7);
        }
        for length in [0, 1, HOLE, PIECE - 1, PIECE, PIECE + 1, 2 * MIB, plain.len()] {
            let file = spool(&plain[..length], length as u64, &mut scratch).expect("plain");
            let mut found = Vec::new();
            let mut file = &*file;
            file.rewind().expect("a file");
            file.read_to_end(&mut found).expect("a file");
            assert!(found == plain[..length], "{length}");
        }
        let file = spool(&plain[..], 1, &mut scratch).expect("plain");
        let room = file.metadata().expect("a file").blocks() * 512;
        assert!(room < MIB as u64, "{room} bytes");
    }

    #[test]
    fn archives_may_lie_one_behind_the_other() {
        let file = Arc::new(scratch().expect("a file"));
        let mut at = 0;
        for text in ["one", "other"] {
            let mut builder = crate::Builder::new();
            let entry = crate::Entry::file(crate::Content::bytes(text.as_bytes()));
            let claim = crate::Claim::new(0, crate::Precedence::Explicit);
            builder.insert("/f".parse().expect("a path"), entry, claim);
            let mut plain = Vec::new();
            for extent in tar::extents(&builder.finish().expect("one file")) {
                crate::Content::from_iter([extent]).copy_to(&mut plain).expect("in memory");
            }
            let size = spool_at(&compressed("gzip", &plain)[..], 100, &file, at).expect("good");
            assert_eq!(size, plain.len() as u64);
            let shown = Path::new(text).into();
            let tree = read_archive_at(Arc::clone(&file), at, size, shown, &mut scratch).expect(text);
            let crate::Node::File(content) = &tree.get(&"/f".parse().expect("a path")).expect(text).node
            else {
                panic!("{text} is no file")
            };
            let mut found = Vec::new();
            content.copy_to(&mut found).expect(text);
            assert_eq!(found, text.as_bytes());
            at += size + 7;
        }
    }

    #[test]
    fn the_limit_is_a_floor_or_a_ratio() {
        assert_eq!(most_bytes(1), 16 << 30);
        assert_eq!(most_bytes(1 << 30), 1100 << 30);
        assert_eq!(most_bytes(u64::MAX), u64::MAX);
    }
}
