//! Reading files and directories of the host into a tree.
//!
//! The host contributes content, type and the owner's executable bit. Owners,
//! the other mode bits, times and xattrs are whatever the build machine
//! happens to have, and never get in.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{Dir, Metadata, MetadataExt};
use ociseed_spec::file::Filter;
use ociseed_spec::{FileMode, Stamp, TreePath, TreePathError, shown_path};

use crate::{Content, Entry, HostFile, Node, Selection, Stat, Tree, tar};

/// Says what of the host cannot be put into a tree.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It is not there, cannot be read, or leads out of its directory.
    #[error("cannot read `{}`", shown_path(path))]
    Read {
        /// Path below the directory that was given.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is of another type than the spec says.
    #[error("`{}` is {found}, expected {expected}", shown_path(path))]
    Type {
        /// Path below the directory that was given.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// Its name would mean that something is not there.
    #[error("`{}`: a name that begins with `.wh.` means a whiteout in a layer", shown_path(path))]
    Whiteout {
        /// Path below the directory that was given.
        path: PathBuf,
    },
    /// A list has a path more than once, or as a file and as a directory.
    #[error("`{path}` is listed twice, or as a file and as a directory")]
    Twice {
        /// Path in the directory.
        path: TreePath,
    },
    /// Its name cannot be a name in an image.
    #[error(transparent)]
    Path(#[from] TreePathError),
}

/// Whether to keep what the file system says of each file, for those who want to know later whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamps {
    /// Keep it, which takes some 70 bytes a file.
    Keep,
    /// Do not.
    Drop,
}

/// Returns what the file system says of a file that changes whenever the file does.
pub fn stamp(metadata: &Metadata) -> Stamp {
    let (modified, changed) =
        ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
    Stamp::new(metadata.dev(), metadata.ino(), metadata.size(), modified, changed)
}

/// Describes one file; links that stay below `dir` are followed.
///
/// # Errors
/// It is not there, not readable, or no regular file.
pub fn read_file(dir: &Arc<Dir>, path: &Path, stamps: Stamps) -> Result<Entry, DirectoryError> {
    let metadata = dir.metadata(path).map_err(|source| DirectoryError::Read { path: path.into(), source })?;
    if !metadata.is_file() {
        return Err(DirectoryError::Type {
            path: path.into(),
            expected: "a file",
            found: type_name(&metadata),
        });
    }
    Ok(file_entry(dir, path, &metadata, stamps))
}

fn file_entry(dir: &Arc<Dir>, path: &Path, metadata: &Metadata, stamps: Stamps) -> Entry {
    let mode = FileMode::new(if metadata.mode() & 0o100 == 0 { 0o644 } else { 0o755 });
    let file = HostFile::new(Arc::clone(dir), path);
    let file = if stamps == Stamps::Keep { file.stamped(stamp(metadata)) } else { file };
    let content = Content::file(file, metadata.size(), None);
    Entry { stat: Stat { mode, ..Stat::FILE }, node: Node::File(content) }
}

/// Looks at the directory at `path`; links that stay below `dir` are followed.
///
/// # Errors
/// It is not there, not readable, or no directory.
pub fn check_directory(dir: &Dir, path: &Path) -> Result<Metadata, DirectoryError> {
    let metadata = dir.metadata(path).map_err(|source| DirectoryError::Read { path: path.into(), source })?;
    if metadata.is_dir() {
        return Ok(metadata);
    }
    let (expected, found) = ("a directory", type_name(&metadata));
    Err(DirectoryError::Type { path: path.into(), expected, found })
}

/// A directory of the host.
#[derive(Debug, Default)]
pub struct HostDirectory {
    /// What is in it.
    pub tree: Tree,
    /// The directories whose entries were read and what the file system said of them before, where stamps are kept: while
    /// these are the same, nothing was added and nothing went.
    pub directories: Vec<(PathBuf, Stamp)>,
}

/// Reads everything below the directory at `path` that the selection does not exclude.
///
/// Links stay links and are not followed.
///
/// # Errors
/// Something cannot be read, or is a device, fifo or socket, or has a name that would mean a whiteout.
pub fn read_directory(
    dir: &Arc<Dir>,
    path: &Path,
    selection: &mut Selection<'_>,
    stamps: Stamps,
) -> Result<HostDirectory, DirectoryError> {
    let metadata = check_directory(dir, path)?;
    let mut entries = BTreeMap::new();
    let mut directories = Vec::new();
    let mut note = |path: &Path, metadata: &Metadata| {
        if stamps == Stamps::Keep {
            directories.push((path.to_path_buf(), stamp(metadata)));
        }
    };
    note(path, &metadata);
    // A stack of our own: a tree that is 3,000 levels deep must not end in a stack overflow.
    let mut pending = vec![(path.to_path_buf(), TreePath::root())];
    while let Some((path, at)) = pending.pop() {
        let read = |source| DirectoryError::Read { path: path.clone(), source };
        for child in dir.read_dir(&path).map_err(read)? {
            let child = child.map_err(read)?;
            let name = child.file_name();
            let child_path = path.join(&name);
            let child_at = at.join(name.as_encoded_bytes())?;
            if selection.excludes(&child_at) {
                continue;
            }
            if name.as_encoded_bytes().starts_with(tar::WHITEOUT) {
                return Err(DirectoryError::Whiteout { path: child_path });
            }
            // Of the open directory: one call, where a path from the top takes three.
            let metadata = child.metadata().map_err(read)?;
            let entry = child_entry(dir, &child_path, &metadata, stamps)?;
            if entry.is_directory() {
                note(&child_path, &metadata);
                pending.push((child_path, child_at.clone()));
            }
            entries.insert(child_at, entry);
        }
    }
    Ok(HostDirectory { tree: Tree { entries, ..Tree::default() }, directories })
}

/// Reads what is at `path`, whatever it is, and everything below it; links, that at `path` too, stay links.
///
/// # Errors
/// As [`read_directory`].
pub fn read_path(dir: &Arc<Dir>, path: &Path, stamps: Stamps) -> Result<(Entry, Tree), DirectoryError> {
    let metadata = dir.symlink_metadata(path);
    let metadata = metadata.map_err(|source| DirectoryError::Read { path: path.into(), source })?;
    let entry = child_entry(dir, path, &metadata, stamps)?;
    let filter = Filter::default();
    let below = match entry.is_directory() {
        true => read_directory(dir, path, &mut Selection::new(&filter), stamps)?.tree,
        false => Tree::default(),
    };
    Ok((entry, below))
}

/// A file that a list says is in a directory.
#[derive(Debug, Clone)]
pub struct ListedFile {
    /// Its path in the directory.
    pub at: TreePath,
    /// Where it is: beneath this directory of the host,
    pub dir: Arc<Dir>,
    /// at this path, where links are followed.
    pub path: PathBuf,
    /// As the user calls it, for messages.
    pub shown: PathBuf,
}

/// Reads a directory of which each file is given: directories are those on the way to them.
///
/// # Errors
/// A file cannot be read, or is none, or has a name that would mean a whiteout; a path is there twice.
pub fn read_listed(files: &[ListedFile], stamps: Stamps) -> Result<Tree, DirectoryError> {
    let mut entries = BTreeMap::new();
    for file in files {
        if file.at.parts().any(|part| part.starts_with(tar::WHITEOUT)) {
            return Err(DirectoryError::Whiteout { path: file.shown.clone() });
        }
        let entry = read_file(&file.dir, &file.path, stamps).map_err(|mut error| {
            if let DirectoryError::Read { path, .. } | DirectoryError::Type { path, .. } = &mut error {
                path.clone_from(&file.shown);
            }
            error
        })?;
        if file.at.is_root() || entries.insert(file.at.clone(), entry).is_some() {
            return Err(DirectoryError::Twice { path: file.at.clone() });
        }
        let mut above = file.at.parent().filter(|above| !above.is_root());
        while let Some(path) = above {
            let entry = entries.entry(path.clone()).or_insert_with(Entry::directory);
            if !entry.is_directory() {
                return Err(DirectoryError::Twice { path });
            }
            above = path.parent().filter(|above| !above.is_root());
        }
    }
    Ok(Tree { entries, ..Tree::default() })
}

fn child_entry(
    dir: &Arc<Dir>,
    path: &Path,
    metadata: &Metadata,
    stamps: Stamps,
) -> Result<Entry, DirectoryError> {
    let read = |source| DirectoryError::Read { path: path.into(), source };
    if metadata.is_dir() {
        Ok(Entry::directory())
    } else if metadata.is_file() {
        Ok(file_entry(dir, path, metadata, stamps))
    } else if metadata.is_symlink() {
        let target = dir.read_link_contents(path).map_err(read)?;
        let target: Box<[u8]> = target.as_os_str().as_encoded_bytes().into();
        Ok(Entry::symlink(target))
    } else {
        let expected = "a file, a directory or a symbolic link";
        Err(DirectoryError::Type { path: path.into(), expected, found: type_name(metadata) })
    }
}

fn type_name(metadata: &Metadata) -> &'static str {
    use cap_std::fs::FileTypeExt as _;
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a fifo",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "a file",
    }
}
