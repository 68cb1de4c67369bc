//! Inodes before they are written: what they are, and where they go.

use std::collections::BTreeMap;
use std::sync::Arc;

use ociseed_spec::{Device, DeviceKind, Timestamp, TreePath};
use ociseed_tree::{Content, Entry, Node, Stat, Tree};

use super::chunks::Chunks;
use super::clusters::Clusters;
use super::directory::{self, FileType, Name};
use super::inode::{self, Form};
use super::layout::ErofsError;
use super::packs;
use super::{BLOCK, SLOT};

/// What an inode has beside its metadata.
#[derive(Debug)]
pub(super) enum Body<'a> {
    /// A device's number, or nothing.
    Number(u32),
    Directory(Vec<Name<'a>>),
    Symlink(&'a [u8]),
    File(&'a Content, Option<Chunks>),
}

/// An inode and where it is.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    pub(super) stat: &'a Stat,
    /// Nothing for the root.
    pub(super) path: Option<&'a TreePath>,
    pub(super) kind: FileType,
    pub(super) links: u32,
    pub(super) body: Body<'a>,
    pub(super) size: u64,
    pub(super) form: Form,
    pub(super) long: bool,
    pub(super) xattrs: Vec<u8>,
    /// Bytes from the block that inodes begin in.
    pub(super) place: u64,
    /// The first block.
    pub(super) block: u32,
    /// How many blocks are written for it: none where there are none, or another inode has the same.
    pub(super) blocks: u32,
    /// What the file was compressed to, where it was; other inodes may have the same.
    pub(super) clusters: Option<Arc<Clusters>>,
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
        let (long, place, block, blocks, clusters) = (false, 0, 0, 0, None);
        Self { stat, path, kind, links, body, size, form, long, xattrs, place, block, blocks, clusters }
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
    pub(super) fn head(&self) -> u64 {
        inode::size(self.long) + self.xattrs.len() as u64
    }

    /// Bytes behind them.
    pub(super) fn behind(&self) -> u64 {
        if let Some(clusters) = &self.clusters {
            return self.index_end() + clusters.tail.len() as u64 - self.head();
        }
        match (&self.body, self.form) {
            (Body::File(_, Some(chunks)), _) => chunks.holes.len() as u64 * 4,
            (_, Form::Inline) => self.size % BLOCK,
            _ => 0,
        }
    }

    /// Where the index of a compressed file begins, in bytes from the inode.
    pub(super) fn index(&self) -> u64 {
        self.head().next_multiple_of(8)
    }

    /// Where it ends.
    fn index_end(&self) -> u64 {
        self.index() + packs::size(self.index(), self.size)
    }

    /// Bytes in blocks of its own.
    pub(super) fn in_blocks(&self) -> u64 {
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
    pub(super) fn take_place(&mut self, end: u64) -> u64 {
        if self.clusters.is_some() {
            self.place = end.next_multiple_of(SLOT);
            self.place += self.shift(self.place);
            self.form = Form::Clusters;
            return self.place + self.head() + self.behind();
        }
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

    /// Tells how far an inode is moved so that the end of its file, which lies behind its index, crosses no block.
    pub(super) fn shift(&self, place: u64) -> u64 {
        let tail = self.clusters.as_ref().map_or(0, |clusters| clusters.tail.len() as u64);
        let start = place + self.index_end();
        let room = start.next_multiple_of(BLOCK) - start;
        if tail <= room || room == 0 { 0 } else { room.next_multiple_of(SLOT) }
    }
}

/// Returns a device's number as `stat` in the kernel has it (`new_encode_dev`).
fn device_number(device: &Device) -> Option<u32> {
    let (major, minor) = (device.major, device.minor);
    (major < 1 << 12 && minor < 1 << 20).then_some(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

/// Gives every path its inode, the root first; further names of a file lead to the same.
pub(super) fn number(tree: &Tree) -> Result<Vec<Inode<'_>>, ErofsError> {
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
pub(super) fn most_common_time(inodes: &[Inode<'_>]) -> Timestamp {
    let mut counts: BTreeMap<Timestamp, u64> = BTreeMap::new();
    for inode in inodes {
        *counts.entry(inode.stat.mtime).or_default() += 1;
    }
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map_or(Timestamp::EPOCH, |(time, _)| time)
}
