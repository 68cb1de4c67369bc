//! Writing an archive: a function from a tree to extents, which depends on nothing else.
//!
//! Names of one file share an inode number. Its bytes are with the first of them: Linux makes a file of the first name that it
//! sees and opens it without cutting it off at the others, and GNU cpio keeps names without bytes until the end.

use std::collections::BTreeMap;
use std::iter;

use ociseed_spec::{DeviceKind, TreePath, escape};
use ociseed_tree::{Entry, Extent, Node, Stat, Tree};

use super::{DEVICE_BITS, HEADER, MAX_PATH, NOBODY, TRAILER, UNIT, kind};

/// An archive is filled up to a multiple of this, GNU cpio's block.
const END: u64 = 512;

/// Says why a tree cannot be a cpio archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpioError {
    /// Whiteouts and opaque directories are of layers.
    #[error(
        "`{0}`: whiteouts and opaque directories have no place in a file system: they take the overlay form first"
    )]
    Layer(TreePath),
    /// The format has no extended attributes.
    #[error("`{path}`: cpio has no place for xattrs, found {names}")]
    Xattrs {
        /// The first path that has any.
        path: TreePath,
        /// Their names.
        names: String,
    },
    /// The format has 32 bits for a size.
    #[error("`{path}`: cpio has files of at most 4294967295 bytes, found {size}")]
    Large {
        /// The file.
        path: TreePath,
        /// Its size.
        size: u64,
    },
    /// The format has 32 bits for a time, from 1970 on.
    #[error("`{path}`: cpio has times from 0 to 4294967295, found {seconds}")]
    Time {
        /// The path.
        path: TreePath,
        /// The time's whole seconds.
        seconds: i64,
    },
    /// Linux would leave it out.
    #[error("`{path}`: Linux takes paths of at most 4095 bytes from an archive, found {size}")]
    LongPath {
        /// The path.
        path: TreePath,
        /// Its size.
        size: usize,
    },
    /// Linux would not make the symbolic link.
    #[error("`{0}`: a symbolic link leads over 1 to 4095 bytes without NUL")]
    Target(TreePath),
    /// Linux has no such device.
    #[error("`{0}`: Linux has 12 bits for a device's major number and 20 for its minor one")]
    Device(TreePath),
    /// Who unpacks it would leave the owner as it is.
    #[error("`{0}`: 4294967295 is no number of an owner")]
    Owner(TreePath),
}

/// A member before it is written.
struct Member<'a> {
    /// Nothing for the root.
    path: Option<&'a TreePath>,
    stat: &'a Stat,
    /// What it is, of a further name what the first is.
    node: &'a Node,
    inode: u32,
    links: u32,
    /// Whether the bytes of a file are with this name.
    first: bool,
}

static ROOT: (Stat, Node) = (Stat::DIRECTORY, Node::Directory { opaque: false });

/// Describes the archive of a tree as extents, in order; together they are the whole file.
///
/// Names of owners, fractions of seconds and holes are left out.
///
/// # Errors
/// The tree has what the format cannot hold or Linux would not unpack; the first such path is named.
pub fn extents(tree: &Tree) -> Result<impl Iterator<Item = Extent>, CpioError> {
    let members = members(tree)?;
    let size = members.iter().map(|member| filled(head_size(&member.name())) + filled(member.size())).sum();
    let last = members.last().map_or(0, Member::fill);
    let mut fill = 0;
    let all = members.into_iter().flat_map(move |member| {
        // What fills up the bytes comes with the next head: an extent of its own costs more than itself.
        let head = [vec![0; fill], member.head()].concat();
        fill = member.fill();
        iter::once(Extent::Bytes(head.into())).chain(member.bytes())
    });
    Ok(all.chain(iter::once_with(move || Extent::Bytes([vec![0; last], end(size)].concat().into()))))
}

/// Returns all members but the end, the root first.
fn members(tree: &Tree) -> Result<Vec<Member<'_>>, CpioError> {
    let mut names: BTreeMap<&TreePath, u32> = BTreeMap::new();
    for (_, entry) in tree {
        if let Node::Link(first) = &entry.node {
            *names.entry(first).or_insert(1) += 1;
        }
    }
    let mut numbers: BTreeMap<&TreePath, u32> = BTreeMap::new();
    let mut members = vec![Member::new(None, &ROOT.0, &ROOT.1, 1)];
    let mut inode = 1;
    for (path, entry) in tree {
        check(path, entry)?;
        let Node::Link(first) = &entry.node else {
            inode += 1;
            let links = names.get(path).copied();
            if links.is_some() {
                numbers.insert(path, inode);
            }
            let member = Member::new(Some(path), &entry.stat, &entry.node, inode);
            members.push(Member { links: links.unwrap_or(member.links), ..member });
            continue;
        };
        let whole = tree.get(first).expect("what a link names is in the tree");
        let member = Member::new(Some(path), &whole.stat, &whole.node, numbers[first]);
        members.push(Member { links: names[first], first: false, ..member });
    }
    Ok(members)
}

/// Finds what would not come back.
fn check(path: &TreePath, entry: &Entry) -> Result<(), CpioError> {
    let (at, stat) = (|| path.clone(), &entry.stat);
    match &entry.node {
        Node::Whiteout | Node::Directory { opaque: true } => return Err(CpioError::Layer(at())),
        Node::File(content) if u32::try_from(content.size()).is_err() => {
            return Err(CpioError::Large { path: at(), size: content.size() });
        }
        Node::Symlink(to) if to.is_empty() || to.len() >= MAX_PATH || to.contains(&0) => {
            return Err(CpioError::Target(at()));
        }
        Node::Device(device) if device.major >> DEVICE_BITS.0 > 0 || device.minor >> DEVICE_BITS.1 > 0 => {
            return Err(CpioError::Device(at()));
        }
        _ => {}
    }
    if !stat.xattrs().is_empty() {
        let names = stat.xattrs().keys().map(|name| format!("`{}`", escape(name.as_bytes())));
        return Err(CpioError::Xattrs { path: at(), names: names.collect::<Vec<_>>().join(", ") });
    }
    let seconds = stat.mtime.seconds();
    if u32::try_from(seconds).is_err() {
        return Err(CpioError::Time { path: at(), seconds });
    }
    if [stat.owner.uid, stat.owner.gid].contains(&NOBODY) {
        return Err(CpioError::Owner(at()));
    }
    match name_of(path).len() {
        size if size >= MAX_PATH => Err(CpioError::LongPath { path: at(), size }),
        _ => Ok(()),
    }
}

impl<'a> Member<'a> {
    fn new(path: Option<&'a TreePath>, stat: &'a Stat, node: &'a Node, inode: u32) -> Self {
        let links = if matches!(node, Node::Directory { .. }) { 2 } else { 1 };
        Self { path, stat, node, inode, links, first: true }
    }

    fn name(&self) -> Vec<u8> {
        self.path.map_or_else(|| b".".to_vec(), name_of)
    }

    /// Returns the bytes of a file or a symbolic link.
    ///
    /// The target is with every name: nobody makes one symbolic link of several names, and one to nothing is none.
    fn bytes(&self) -> Vec<Extent> {
        match self.node {
            Node::File(content) if self.first => content.extents().to_vec(),
            Node::Symlink(target) => vec![Extent::Bytes(target[..].into())],
            _ => Vec::new(),
        }
    }

    fn size(&self) -> u64 {
        match self.node {
            Node::File(content) if self.first => content.size(),
            Node::Symlink(target) => target.len() as u64,
            _ => 0,
        }
    }

    /// Returns how many bytes fill up those of the member.
    fn fill(&self) -> usize {
        (filled(self.size()) - self.size()) as usize
    }

    fn head(&self) -> Vec<u8> {
        let (kind, device) = match self.node {
            Node::Directory { .. } => (kind::DIRECTORY, None),
            Node::File(_) => (kind::FILE, None),
            Node::Symlink(_) => (kind::SYMLINK, None),
            Node::Device(device) if device.kind == DeviceKind::Block => (kind::BLOCK, Some(device)),
            Node::Device(device) => (kind::CHAR, Some(device)),
            Node::Fifo => (kind::FIFO, None),
            Node::Link(_) | Node::Whiteout => unreachable!("links were followed and whiteouts refused"),
        };
        let (major, minor) = device.map_or((0, 0), |device| (device.major, device.minor));
        let mode = kind << 12 | u32::from(self.stat.mode.bits());
        let (uid, gid) = (self.stat.owner.uid, self.stat.owner.gid);
        let (time, size) = (self.stat.mtime.seconds() as u32, self.size() as u32);
        head(&self.name(), [self.inode, mode, uid, gid, self.links, time, size, 0, 0, major, minor])
    }
}

/// Returns how a path is called in the archive; of the name that ends one, so that it does not.
fn name_of(path: &TreePath) -> Vec<u8> {
    let bytes = path.as_bytes();
    if bytes == TRAILER { [b"./", bytes].concat() } else { bytes.to_vec() }
}

/// Writes a header and its name; behind the numbers come the name's size and a checksum, which this form does not have.
fn head(name: &[u8], numbers: [u32; 11]) -> Vec<u8> {
    let mut bytes = b"070701".to_vec();
    for number in numbers.into_iter().chain([name.len() as u32 + 1, 0]) {
        bytes.extend(format!("{number:08X}").bytes());
    }
    bytes.extend(name);
    bytes.resize(filled(head_size(name)) as usize, 0);
    bytes
}

fn head_size(name: &[u8]) -> u64 {
    (HEADER + name.len() + 1) as u64
}

fn filled(size: u64) -> u64 {
    size.next_multiple_of(UNIT)
}

/// Writes the end of an archive that has so many bytes before it.
fn end(size: u64) -> Vec<u8> {
    let mut bytes = head(TRAILER, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let end = (size + bytes.len() as u64).next_multiple_of(END);
    bytes.resize((end - size) as usize, 0);
    bytes
}
