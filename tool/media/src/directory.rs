//! A directory of the host, for trees that are nothing but plain files.
//!
//! Layouts, host-form seeds and preseed directories are such trees. Anything
//! with an owner, another mode or a link cannot be held by a build host and is
//! refused: it leaves as a medium.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use ociseed_spec::TreePath;
use ociseed_tree::{Content, Node, ReadError, Stat, Tree};

/// Says why a tree could not be written as a directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A path that no directory of the host can hold as it is.
    #[error("`{0}` is not a plain 0644 file or 0755 directory of 0:0: write a tar")]
    NotPlain(TreePath),
    /// A file's content cannot be brought.
    #[error("`{path}`")]
    Content {
        /// The path in the tree.
        path: TreePath,
        /// The reason.
        source: ReadError,
    },
    /// A path cannot be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The path in the tree.
        path: TreePath,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Checks that a tree is nothing but 0644 files and 0755 directories of 0:0.
///
/// # Errors
/// The first path that is something else.
fn check_plain(tree: &Tree) -> Result<(), DirectoryError> {
    let plain = |node: &Node| match node {
        Node::Directory { opaque: false } => Some(Stat::DIRECTORY),
        Node::File(_) => Some(Stat::FILE),
        _ => None,
    };
    match tree.iter().find(|(_, entry)| plain(&entry.node).as_ref() != Some(&entry.stat)) {
        Some((path, _)) => Err(DirectoryError::NotPlain(path.clone())),
        None => Ok(()),
    }
}

/// Puts a file in its place without its bytes being copied, and tells whether it did.
pub type Placer<'a> = &'a dyn Fn(&Content, &Dir, &Path) -> io::Result<bool>;

/// Writes a plain tree below an empty directory; the disk is not waited for.
///
/// Modes are set, not left to the umask; those of files that `place` puts there are its own matter.
///
/// # Errors
/// The tree is not plain, content cannot be read or is not what it was, or the directory cannot be written.
pub fn write_directory(tree: &Tree, dir: &Dir, place: Placer<'_>) -> Result<(), DirectoryError> {
    check_plain(tree)?;
    for (path, entry) in tree {
        let host = host_path(path);
        let write = |source| DirectoryError::Write { path: path.clone(), source };
        match &entry.node {
            Node::Directory { .. } => dir.create_dir(&host).map_err(write)?,
            Node::File(content) if place(content, dir, &host).map_err(write)? => continue,
            Node::File(content) => {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o644);
                let mut file = dir.open_with(&host, &options).map_err(write)?;
                content.copy_to(&mut file).map_err(|source| match source {
                    ReadError::Write(source) => DirectoryError::Write { path: path.clone(), source },
                    source => DirectoryError::Content { path: path.clone(), source },
                })?;
                file.flush().map_err(write)?;
            }
            _ => return Err(DirectoryError::NotPlain(path.clone())),
        }
        let mode = u32::from(entry.stat.mode.bits());
        dir.set_permissions(&host, Permissions::from_mode(mode)).map_err(write)?;
    }
    Ok(())
}

fn host_path(path: &TreePath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(path.as_bytes()))
}
