//! The tree itself: paths with metadata, in one fixed order.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;

use ociseed_spec::{FileMode, Owner, TreePath};

use crate::Content;

/// Metadata that every path has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits.
    pub mode: FileMode,
    /// Owner.
    pub owner: Owner,
}

impl Stat {
    /// What a directory has unless somebody says otherwise: 0755, 0:0.
    pub const DIRECTORY: Self = Self::root_owned(0o755);
    /// What a file has unless somebody says otherwise: 0644, 0:0.
    pub const FILE: Self = Self::root_owned(0o644);
    /// What a symbolic link has: 0777, as Linux shows it.
    pub const SYMLINK: Self = Self::root_owned(0o777);

    const fn root_owned(mode: u16) -> Self {
        Self { mode: FileMode::new(mode), owner: Owner { uid: 0, gid: 0 } }
    }
}

/// What a path is.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
}

/// One path of a tree.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its metadata.
    pub stat: Stat,
    /// What it is.
    pub node: Node,
}

impl Entry {
    /// Makes a directory, 0755 and 0:0.
    pub fn directory() -> Self {
        Self { stat: Stat::DIRECTORY, node: Node::Directory }
    }

    /// Makes a file, 0644 and 0:0.
    pub fn file(content: Content) -> Self {
        Self { stat: Stat::FILE, node: Node::File(content) }
    }
}

/// A file system in memory: every path below the root, parents before what is below them.
///
/// Each path's parent is there too and is a directory; [`crate::Builder`] sees to it.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(crate) entries: BTreeMap<TreePath, Entry>,
}

impl Tree {
    /// Walks all paths in order.
    pub fn iter(&self) -> Iter<'_, TreePath, Entry> {
        self.entries.iter()
    }

    /// Returns how many paths there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is nothing below the root.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a Tree {
    type Item = (&'a TreePath, &'a Entry);
    type IntoIter = Iter<'a, TreePath, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
