//! The medium `tar`: the tar form of the crate `tree`, written to a stream.

use std::io::Write;

use ociseed_tree::{ReadError, Tree, tar};

/// Writes a tree as a tar.
///
/// # Errors
/// A file of the tree cannot be read or is not what it was, or `out` cannot be written.
pub fn write_tar(tree: &Tree, out: &mut dyn Write) -> Result<(), ReadError> {
    tar::write(tree, out)
}
