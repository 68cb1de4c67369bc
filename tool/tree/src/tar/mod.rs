//! The tar form of a tree, written and read.
//!
//! `docs/format.md`, section "Layer tars", is the contract for what is
//! written, section "The spec" for what is read; golden files in
//! `tests/golden` hold the bytes.

mod error;
mod header;
mod list;
mod members;
mod metadata;
mod notes;
mod read;
mod records;
mod sparse;
mod write;

pub(crate) use error::shown;
pub use error::{InvalidTar, Place, TarError, TarProblem};
pub use list::{Listed, list};
pub(crate) use read::read_part;
pub use read::{read, read_file_system};
pub use write::{Form, extents, write};

/// What a whiteout's name begins with (OCI image specification, "Whiteouts").
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// What AUFS's own names begin with; one of them has a meaning, the others have none in layers.
const RESERVED: &[u8] = b".wh..wh.";
/// The name that says that what layers below have in its directory is gone.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Tars are made of blocks of this size.
const BLOCK: usize = 512;
