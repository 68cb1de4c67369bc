//! Archives that are compressed, decompressed once into a file without a name.
//!
//! The members of an archive are read in any order and more than once, which
//! only a plain file allows. Memory stays flat, and runs of zeros take no room.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};

use crate::Tree;
use crate::decompress::{Form, HEAD, decompress};
use crate::part::{Part, fill};
use crate::tar::{self, TarError};

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
    #[error("`{archive}`")]
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

/// Returns what `size` bytes may expand to.
pub(crate) fn most_bytes(size: u64) -> u64 {
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
    let mut plain = decompress(compressed).map_err(SpoolError::Read)?;
    let file = scratch().map_err(SpoolError::Write)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        let count = fill(&mut plain, &mut piece).map_err(SpoolError::Read)?;
        if at + count as u64 > max {
            return Err(SpoolError::Limit { size, max });
        }
        write_holes(&file, at, &piece[..count]).map_err(SpoolError::Write)?;
        at += count as u64;
        if count < piece.len() {
            break;
        }
    }
    file.set_len(at).map_err(SpoolError::Write)?;
    Ok(Arc::new(file))
}

/// Writes bytes but for blocks of zeros.
fn write_holes(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
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

/// Reads a tar that is a part of a file, and tells how it is compressed.
pub(crate) fn read_part(
    part: Part,
    shown: Arc<Path>,
    scratch: &mut Scratch<'_>,
) -> Result<(Tree, Form), ArchiveError> {
    let mut head = [0; HEAD];
    let count = fill(&mut part.clone(), &mut head)
        .map_err(|source| TarError::Read { archive: shown.to_path_buf(), source })?;
    let form = Form::of(&head[..count]);
    if form == Form::Plain {
        return Ok((tar::read_part(part, shown)?, form));
    }
    let size = part.left();
    let spooled = spool(part, size, scratch)
        .map_err(|source| ArchiveError::Spool { archive: shown.to_path_buf(), source })?;
    Ok((tar::read(spooled, shown)?, form))
}
