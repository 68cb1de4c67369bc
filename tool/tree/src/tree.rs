//! The tree itself: paths with metadata, in one fixed order.

use std::collections::btree_map::{IntoIter, Iter};
use std::collections::{BTreeMap, BTreeSet};

use ociseed_spec::{Device, FileMode, Owner, OwnerName, Timestamp, TreePath, XattrName, XattrValue};

use crate::{Content, HostFile};

/// Metadata that every path has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Permission bits.
    pub mode: FileMode,
    /// Owner.
    pub owner: Owner,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// What few paths have; boxed, because a tree may have a million of the others.
    pub(crate) extra: Option<Box<Extra>>,
}

/// Metadata that few paths have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    user: Option<OwnerName>,
    group: Option<OwnerName>,
    xattrs: Xattrs,
}

/// Extended attributes by name.
pub type Xattrs = BTreeMap<XattrName, XattrValue>;

static NO_XATTRS: Xattrs = Xattrs::new();

impl Stat {
    /// What a directory has unless somebody says otherwise: 0755, 0:0.
    pub const DIRECTORY: Self = Self::root_owned(0o755);
    /// What a file has unless somebody says otherwise: 0644, 0:0.
    pub const FILE: Self = Self::root_owned(0o644);
    /// What a symbolic link has: 0777, as Linux shows it.
    pub const SYMLINK: Self = Self::root_owned(0o777);
    /// What a device has unless somebody says otherwise: 0600, 0:0.
    pub const DEVICE: Self = Self::root_owned(0o600);

    const fn root_owned(mode: u16) -> Self {
        Self::new(FileMode::new(mode), Owner { uid: 0, gid: 0 }, Timestamp::EPOCH)
    }

    /// Makes metadata without what few paths have.
    pub const fn new(mode: FileMode, owner: Owner, mtime: Timestamp) -> Self {
        Self { mode, owner, mtime, extra: None }
    }

    /// Returns the name of the owner, where one is known.
    pub fn user(&self) -> Option<&OwnerName> {
        self.extra.as_ref()?.user.as_ref()
    }

    /// Returns the name of the group, where one is known.
    pub fn group(&self) -> Option<&OwnerName> {
        self.extra.as_ref()?.group.as_ref()
    }

    /// Returns the extended attributes.
    pub fn xattrs(&self) -> &Xattrs {
        self.extra.as_ref().map_or(&NO_XATTRS, |extra| &extra.xattrs)
    }

    /// Names owner and group; nothing is a name of nobody.
    pub fn set_names(&mut self, user: Option<OwnerName>, group: Option<OwnerName>) {
        self.change_extra(|extra| (extra.user, extra.group) = (user, group));
    }

    /// Sets one extended attribute.
    pub fn set_xattr(&mut self, name: XattrName, value: XattrValue) {
        self.change_extra(|extra| {
            extra.xattrs.insert(name, value);
        });
    }

    /// Replaces all extended attributes.
    pub(crate) fn set_xattrs(&mut self, xattrs: Xattrs) {
        self.change_extra(|extra| extra.xattrs = xattrs);
    }

    /// Changes the rare part, and drops it where nothing is left in it, so that equal values are equal.
    fn change_extra(&mut self, change: impl FnOnce(&mut Extra)) {
        let mut extra = self.extra.take().unwrap_or_default();
        change(&mut extra);
        self.extra = Some(extra).filter(|extra| **extra != Extra::default());
    }
}

/// What a path is.
#[derive(Debug, Clone)]
pub enum Node {
    /// A directory.
    Directory {
        /// Whether what layers below have in it is gone.
        opaque: bool,
    },
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A further name of what is at this path, which sorts before and is no directory, link or whiteout.
    Link(TreePath),
    /// A device.
    Device(Device),
    /// A named pipe.
    Fifo,
    /// The absence of what layers below have.
    Whiteout,
}

/// One path of a tree.
///
/// The metadata of a [`Node::Link`] is that of the path it names, repeated.
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
        Self { stat: Stat::DIRECTORY, node: Node::Directory { opaque: false } }
    }

    /// Makes a file, 0644 and 0:0.
    pub fn file(content: Content) -> Self {
        Self { stat: Stat::FILE, node: Node::File(content) }
    }

    /// Makes a symbolic link.
    pub fn symlink(target: impl Into<Box<[u8]>>) -> Self {
        Self { stat: Stat::SYMLINK, node: Node::Symlink(target.into()) }
    }

    /// Makes a device, 0600 and 0:0.
    pub fn device(device: Device) -> Self {
        Self { stat: Stat::DEVICE, node: Node::Device(device) }
    }

    /// Makes a named pipe, 0644 and 0:0.
    pub fn fifo() -> Self {
        Self { stat: Stat::FILE, node: Node::Fifo }
    }

    /// Makes a whiteout, which has no metadata of its own.
    pub fn whiteout() -> Self {
        Self { stat: Stat::FILE, node: Node::Whiteout }
    }

    /// Tells whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.node, Node::Directory { .. })
    }
}

/// A file system in memory: every path below the root, parents before what is below them.
///
/// Each path's parent is there too and is a directory, and each hard link's target is there;
/// [`crate::Builder`] sees to it.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(crate) entries: BTreeMap<TreePath, Entry>,
    /// Directories that are there only because something is in them: over another layer they change nothing.
    pub(crate) implied: BTreeSet<TreePath>,
    /// What the tar that it was read from says beside that.
    pub(crate) unpacking: BTreeMap<TreePath, Unpacking>,
}

/// What a tar says of a path that no tree shows, but that decides what unpacking makes of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unpacking {
    /// It has no list that decides who may use it, whatever its directory would give it.
    pub(crate) no_access_list: bool,
    /// Nor one for new files in it.
    pub(crate) no_default_list: bool,
    /// It is a directory that is listed behind what lies in it: until then it is what the layers below have.
    pub(crate) late: bool,
    /// A further name of the file, which does not repeat them, takes its capabilities away.
    pub(crate) loses_capabilities: bool,
}

impl Tree {
    /// Walks all paths in order.
    pub fn iter(&self) -> Iter<'_, TreePath, Entry> {
        self.entries.iter()
    }

    /// Names the file that has the bytes of all files, as that of an archive: by a path, it need not be held open.
    pub fn name_file(&mut self, file: &HostFile) {
        for entry in self.entries.values_mut() {
            if let Node::File(content) = &mut entry.node {
                content.name_file(file);
            }
        }
    }

    /// Returns what is at a path.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.get(path)
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

impl IntoIterator for Tree {
    type Item = (TreePath, Entry);
    type IntoIter = IntoIter<TreePath, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}
