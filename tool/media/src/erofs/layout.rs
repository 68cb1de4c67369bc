//! Where everything of an image is: known before a byte is written.

use std::collections::BTreeMap;

use ociseed_spec::{Device, DeviceKind, Digest, Timestamp, TreePath};
use ociseed_tree::{Content, Entry, Extent, Node, Stat, Tree};

use super::chunks::Chunks;
use super::directory::{self, FileType, Name};
use super::inode::{self, Fields, Form};
use super::xattrs::{Refused, Shared};
use super::{BLOCK, SLOT};

/// No block has this number (`EROFS_NULL_ADDR`).
const NO_BLOCK: u32 = u32::MAX;

/// Says why a tree cannot be an EROFS image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErofsError {
    /// Whiteouts and opaque directories are of layers.
    #[error(
        "`{0}`: whiteouts and opaque directories have no place in a file system: they take the overlay form first"
    )]
    Layer(TreePath),
    /// The format has no number for the namespace.
    #[error("`{path}`: EROFS has no place for the xattr `{name}`")]
    Xattr {
        /// A path that has it.
        path: TreePath,
        /// The name.
        name: String,
    },
    /// Linux could not read it as what its name says.
    #[error("`{path}`: the xattr `{name}` is no access control list")]
    List {
        /// A path that has the name.
        path: TreePath,
        /// The name.
        name: String,
    },
    /// The image would be too large.
    #[error("the image would have {0} blocks of 4096 bytes, at most 4294967294 are possible")]
    Blocks(u64),
    /// A device's numbers do not fit.
    #[error("`{0}`: EROFS has 12 bits for a device's major number and 20 for its minor one")]
    Device(TreePath),
}

/// What an inode has beside its metadata.
#[derive(Debug)]
enum Body<'a> {
    /// A device's number, or nothing.
    Number(u32),
    Directory(Vec<Name<'a>>),
    Symlink(&'a [u8]),
    File(&'a Content, Option<Chunks>),
}

/// An inode and where it is.
#[derive(Debug)]
struct Inode<'a> {
    stat: &'a Stat,
    /// Nothing for the root.
    path: Option<&'a TreePath>,
    kind: FileType,
    links: u32,
    body: Body<'a>,
    size: u64,
    form: Form,
    long: bool,
    xattrs: Vec<u8>,
    /// Bytes from the block that inodes begin in.
    place: u64,
    /// The first block.
    block: u32,
    /// How many blocks are written for it: none where there are none, or another inode has the same.
    blocks: u32,
}

static ROOT: Stat = Stat::DIRECTORY;

impl<'a> Inode<'a> {
    fn new(path: Option<&'a TreePath>, stat: &'a Stat, kind: FileType, body: Body<'a>) -> Self {
        let size = match &body {
            Body::Symlink(target) => target.len() as u64,
            Body::File(content, _) => content.size(),
            Body::Number(_) | Body::Directory(_) => 0,
        };
        let links = if kind == FileType::Directory { 2 } else { 1 };
        let form = Form::Plain;
        let xattrs = Vec::new();
        Self { stat, path, kind, links, body, size, form, long: false, xattrs, place: 0, block: 0, blocks: 0 }
    }

    fn of(path: &'a TreePath, entry: &'a Entry) -> Result<Self, ErofsError> {
        let (kind, body) = match &entry.node {
            Node::Whiteout | Node::Directory { opaque: true } => return Err(ErofsError::Layer(path.clone())),
            Node::Directory { opaque: false } => (FileType::Directory, Body::Directory(Vec::new())),
            Node::File(content) => (FileType::Regular, Body::File(content, Chunks::of(content))),
            Node::Symlink(target) => (FileType::Symlink, Body::Symlink(target)),
            Node::Device(device) => {
                let number = device_number(device).ok_or_else(|| ErofsError::Device(path.clone()))?;
                let block = device.kind == DeviceKind::Block;
                (if block { FileType::Block } else { FileType::Character }, Body::Number(number))
            }
            Node::Fifo => (FileType::Fifo, Body::Number(0)),
            Node::Link(_) => unreachable!("a link is no inode"),
        };
        Ok(Self::new(Some(path), &entry.stat, kind, body))
    }

    /// Bytes of the inode itself and its xattrs.
    fn head(&self) -> u64 {
        inode::size(self.long) + self.xattrs.len() as u64
    }

    /// Bytes behind them.
    fn behind(&self) -> u64 {
        match (&self.body, self.form) {
            (Body::File(_, Some(chunks)), _) => chunks.holes.len() as u64 * 4,
            (_, Form::Inline) => self.size % BLOCK,
            _ => 0,
        }
    }

    /// Bytes in blocks of its own.
    fn in_blocks(&self) -> u64 {
        match (&self.body, self.form) {
            (Body::File(_, Some(chunks)), _) => {
                chunks.runs(self.size).iter().map(|(start, end)| end - start).sum()
            }
            (_, Form::Inline) => self.size - self.size % BLOCK,
            _ => self.size,
        }
    }

    /// Tells whether what does not fill a block can lie behind the inode.
    fn may_be_inline(&self) -> bool {
        match &self.body {
            // One that is checked as a whole is read as a whole.
            Body::File(content, None) => !content.is_checked(),
            Body::File(..) => false,
            _ => true,
        }
    }

    /// Takes the next place for an inode and what lies behind it; returns where that ends.
    fn take_place(&mut self, end: u64) -> u64 {
        let (here, next) = (end.next_multiple_of(SLOT), end.next_multiple_of(BLOCK));
        let (tail, head) = (self.size % BLOCK, self.head());
        let in_one_block = |place: u64| (place + head) / BLOCK == (place + head + tail - 1) / BLOCK;
        self.place = here;
        if matches!(self.body, Body::File(_, Some(_))) {
            self.form = Form::Chunks;
        } else if tail > 0 && self.may_be_inline() {
            if in_one_block(here) {
                self.form = Form::Inline;
            } else if in_one_block(next) && next - here <= BLOCK - tail {
                // What is lost here is less than what is lost of a block of its own.
                (self.form, self.place) = (Form::Inline, next);
            }
        }
        self.place + head + self.behind()
    }
}

/// Returns a device's number as `stat` in the kernel has it (`new_encode_dev`).
fn device_number(device: &Device) -> Option<u32> {
    let (major, minor) = (device.major, device.minor);
    (major < 1 << 12 && minor < 1 << 20).then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// An image before it is written.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    inodes: Vec<Inode<'a>>,
    shared: Shared,
    /// The time of all inodes of the short form.
    pub(super) time: Timestamp,
    pub(super) meta_block: u32,
    pub(super) xattr_block: u32,
    pub(super) blocks: u32,
    meta_size: u64,
}

impl<'a> Layout<'a> {
    /// Finds a place for everything; `digest` says of files what they hold, where it is known, to find equal ones.
    pub(super) fn of(
        tree: &'a Tree,
        digest: &dyn Fn(&TreePath) -> Option<Digest>,
    ) -> Result<Self, ErofsError> {
        let inodes = number(tree)?;
        let time = most_common_time(&inodes);
        let shared = Shared::choose(inodes.iter().map(|inode| inode.stat.xattrs()));
        let shared = shared.map_err(|refused| xattr_error(tree, &refused))?;
        let (meta_block, xattr_block, blocks, meta_size) = (0, 0, 0, 0);
        let mut layout = Self { inodes, shared, time, meta_block, xattr_block, blocks, meta_size };
        layout.place_inodes(tree)?;
        layout.place_blocks(digest)?;
        Ok(layout)
    }

    pub(super) fn inodes(&self) -> u64 {
        self.inodes.len() as u64
    }

    pub(super) fn has_chunks(&self) -> bool {
        self.inodes.iter().any(|inode| inode.form == Form::Chunks)
    }

    /// Inode numbers count slots; that of 0 means none.
    pub(super) fn root_nid(&self) -> u16 {
        (self.inodes[0].place / SLOT) as u16
    }

    fn place_inodes(&mut self, tree: &Tree) -> Result<(), ErofsError> {
        let mut end = SLOT;
        for inode in &mut self.inodes {
            inode.long = inode::is_long(inode.stat, inode.links, inode.size, self.time);
            let body = self.shared.body(inode.stat.xattrs());
            inode.xattrs = body.map_err(|refused| xattr_error(tree, &refused))?;
            end = inode.take_place(end);
        }
        self.meta_size = end;
        Ok(())
    }

    fn place_blocks(&mut self, digest: &dyn Fn(&TreePath) -> Option<Digest>) -> Result<(), ErofsError> {
        let mut next = 1;
        let mut known: BTreeMap<(Digest, u64, Vec<bool>), u64> = BTreeMap::new();
        let (directories, others): (Vec<_>, Vec<_>) =
            self.inodes.iter_mut().partition(|inode| inode.kind == FileType::Directory);
        for inode in directories.into_iter().chain(others) {
            let blocks = inode.in_blocks().div_ceil(BLOCK);
            if blocks == 0 {
                continue;
            }
            let holes = match &inode.body {
                Body::File(_, Some(chunks)) => chunks.holes.clone(),
                _ => Vec::new(),
            };
            let is_file = inode.kind == FileType::Regular;
            let key = inode.path.filter(|_| is_file).and_then(digest).map(|digest| (digest, blocks, holes));
            let first = match key {
                Some(key) => *known.entry(key).or_insert(next),
                None => next,
            };
            inode.block = number_of(first)?;
            if first == next {
                inode.blocks = number_of(blocks)?;
                next += blocks;
            }
        }
        self.meta_block = number_of(next)?;
        next += self.meta_size.div_ceil(BLOCK);
        self.xattr_block = number_of(next)?;
        next += self.shared.size().div_ceil(BLOCK);
        self.blocks = number_of(next)?;
        Ok(())
    }

    /// Returns everything behind the superblock's block, in order.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> {
        let is_directory = |inode: &&Inode<'_>| inode.kind == FileType::Directory;
        let directories = self.inodes.iter().filter(is_directory);
        let others = self.inodes.iter().filter(move |inode| !is_directory(inode));
        let blocks = directories.chain(others).filter(|inode| inode.blocks > 0);
        let shared = self.shared.encode();
        let shared_padding = padding(shared.len() as u64);
        blocks
            .flat_map(|inode| self.blocks_of(inode))
            .chain(self.metadata())
            .chain([Extent::Bytes(shared.into()), Extent::Zeros(shared_padding)])
    }

    /// Returns the inodes and what lies behind each.
    pub(super) fn metadata(&self) -> impl Iterator<Item = Extent> {
        let mut end = 0;
        let inodes = self.inodes.iter().zip(1..).flat_map(move |(inode, number)| {
            let gap = inode.place - end;
            end = inode.place + inode.head() + inode.behind();
            let head = Extent::Bytes(self.head_of(inode, number).into());
            [Extent::Zeros(gap), head].into_iter().chain(self.behind(inode))
        });
        inodes.chain([Extent::Zeros(padding(self.meta_size))])
    }

    fn head_of(&self, inode: &Inode<'_>, number: u32) -> Vec<u8> {
        let place = match &inode.body {
            Body::Number(number) => *number,
            Body::File(_, Some(chunks)) => chunks.bits,
            _ => inode.block,
        };
        let kind = match inode.kind {
            FileType::Regular => 0o10,
            FileType::Directory => 0o4,
            FileType::Character => 0o2,
            FileType::Block => 0o6,
            FileType::Fifo => 0o1,
            FileType::Symlink => 0o12,
        };
        let fields = Fields {
            form: inode.form,
            mode: kind << 12 | inode.stat.mode.bits(),
            links: inode.links,
            size: inode.size,
            place,
            number,
            xattrs: Shared::count(&inode.xattrs),
            stat: inode.stat,
        };
        let mut bytes = fields.encode(inode.long);
        bytes.extend(&inode.xattrs);
        bytes
    }

    fn behind(&self, inode: &Inode<'_>) -> Vec<Extent> {
        let from = inode.size - inode.size % BLOCK;
        match (&inode.body, inode.form) {
            (Body::File(_, Some(chunks)), _) => vec![Extent::Bytes(chunks.map(inode.block).into())],
            (Body::File(content, None), Form::Inline) => content.part(from..inode.size).collect(),
            (_, Form::Inline) => vec![Extent::Bytes(self.bytes(inode)[from as usize..].into())],
            _ => Vec::new(),
        }
    }

    fn blocks_of(&self, inode: &Inode<'_>) -> Vec<Extent> {
        let size = inode.in_blocks();
        let mut extents: Vec<Extent> = match &inode.body {
            Body::File(content, Some(chunks)) => chunks
                .runs(inode.size)
                .into_iter()
                .flat_map(|(start, end)| content.part(start..end))
                .collect(),
            Body::File(content, None) => content.part(0..size).collect(),
            _ => vec![Extent::Bytes(self.bytes(inode)[..size as usize].into())],
        };
        extents.push(Extent::Zeros(padding(size)));
        extents
    }

    /// Returns what a directory or symbolic link holds.
    fn bytes(&self, inode: &Inode<'_>) -> Vec<u8> {
        match &inode.body {
            Body::Directory(names) => {
                directory::encode(names, |number| self.inodes[number as usize].place / SLOT)
            }
            Body::Symlink(target) => target.to_vec(),
            Body::Number(_) | Body::File(..) => Vec::new(),
        }
    }
}

/// Gives every path its inode, the root first; further names of a file lead to the same.
fn number(tree: &Tree) -> Result<Vec<Inode<'_>>, ErofsError> {
    let mut inodes = vec![Inode::new(None, &ROOT, FileType::Directory, Body::Directory(Vec::new()))];
    let mut parents = vec![0];
    let mut numbers = first_names(tree);
    // The directories above, as everything below one follows it directly.
    let mut above: Vec<(&TreePath, u32)> = Vec::new();
    for (path, entry) in tree {
        while above.last().is_some_and(|(directory, _)| !path.is_below(directory)) {
            above.pop();
        }
        let parent = above.last().map_or(0, |(_, number)| *number);
        let inode = match &entry.node {
            Node::Link(first) => {
                let number = numbers[first];
                inodes[number as usize].links += 1;
                number
            }
            _ => {
                inodes.push(Inode::of(path, entry)?);
                parents.push(parent);
                inodes.len() as u32 - 1
            }
        };
        if let Some(number) = numbers.get_mut(path) {
            *number = inode;
        }
        let name = Name { name: path.name(), inode, file_type: inodes[inode as usize].kind };
        let directory = &mut inodes[parent as usize];
        directory.links += u32::from(name.file_type == FileType::Directory);
        if let Body::Directory(names) = &mut directory.body {
            names.push(name);
        }
        if entry.is_directory() {
            above.push((path, inode));
        }
    }
    for ((inode, parent), number) in inodes.iter_mut().zip(parents).zip(0..) {
        if let Body::Directory(names) = &mut inode.body {
            let own = |name, inode| Name { name, inode, file_type: FileType::Directory };
            names.extend([own(&b"."[..], number), own(&b".."[..], parent)]);
            directory::sort(names);
            inode.size = directory::size(names);
        }
    }
    Ok(inodes)
}

/// Returns the first names of files that have several, for the numbers of their inodes.
fn first_names(tree: &Tree) -> BTreeMap<&TreePath, u32> {
    tree.iter()
        .filter_map(|(_, entry)| match &entry.node {
            Node::Link(first) => Some((first, 0)),
            _ => None,
        })
        .collect()
}

/// Returns the time that most inodes have, of several the first: those need no place for it.
fn most_common_time(inodes: &[Inode<'_>]) -> Timestamp {
    let mut counts: BTreeMap<Timestamp, u64> = BTreeMap::new();
    for inode in inodes {
        *counts.entry(inode.stat.mtime).or_default() += 1;
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(Timestamp::EPOCH, |(time, _)| time)
}

fn number_of(blocks: u64) -> Result<u32, ErofsError> {
    u32::try_from(blocks).ok().filter(|number| *number < NO_BLOCK).ok_or(ErofsError::Blocks(blocks))
}

/// Returns how many bytes are missing to a whole block.
fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK) - size
}

fn xattr_error(tree: &Tree, refused: &Refused) -> ErofsError {
    let has = |entry: &Entry| entry.stat.xattrs().contains_key(refused.name());
    let path = tree.iter().find(|(_, entry)| has(entry)).map(|(path, _)| path.clone());
    let (path, name) = (path.unwrap_or_else(TreePath::root), refused.name().to_string());
    match refused {
        Refused::Name(_) => ErofsError::Xattr { path, name },
        Refused::List(_) => ErofsError::List { path, name },
    }
}
