//! Where everything of an image is: known before a byte is written.

use std::collections::BTreeMap;

use ociseed_spec::{Digest, Timestamp, TreePath};
use ociseed_tree::{Entry, Extent, Tree};

use super::codec::Algorithm;
use super::directory::{self, FileType};
use super::inode::{self, Fields, Form};
use super::node::{Body, Inode, most_common_time, number};
use super::xattrs::{Refused, Shared};
use super::{BLOCK, SLOT, packs};

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

/// An image before it is written.
#[derive(Debug)]
pub(super) struct Layout<'a> {
    pub(super) inodes: Vec<Inode<'a>>,
    shared: Shared,
    /// The time of all inodes of the short form.
    pub(super) time: Timestamp,
    pub(super) meta_block: u32,
    pub(super) xattr_block: u32,
    pub(super) blocks: u32,
    /// Bytes of inodes and what lies behind them.
    pub(super) meta_size: u64,
    /// What compresses files.
    pub(super) algorithm: Option<Algorithm>,
}

impl<'a> Layout<'a> {
    /// Finds a place for everything; `digest` says of files what they hold, where it is known, to find equal ones.
    pub(super) fn of(
        tree: &'a Tree,
        digest: &dyn Fn(&TreePath) -> Option<Digest>,
    ) -> Result<Self, ErofsError> {
        let mut layout = Self::without_places(tree)?;
        for inode in &mut layout.inodes {
            layout.meta_size = inode.take_place(layout.meta_size);
        }
        layout.place_blocks(digest)?;
        Ok(layout)
    }

    /// Finds out all that is known before places are.
    pub(super) fn without_places(tree: &'a Tree) -> Result<Self, ErofsError> {
        let mut inodes = number(tree)?;
        let time = most_common_time(&inodes);
        let shared = Shared::choose(inodes.iter().map(|inode| inode.stat.xattrs()));
        let shared = shared.map_err(|refused| xattr_error(tree, &refused))?;
        for inode in &mut inodes {
            inode.long = inode::is_long(inode.stat, inode.links, inode.size, time);
            let body = shared.body(inode.stat.xattrs());
            inode.xattrs = body.map_err(|refused| xattr_error(tree, &refused))?;
        }
        let (meta_block, xattr_block, blocks, algorithm) = (0, 0, 0, None);
        // The first slot is empty: inode 0 means none.
        let meta_size = SLOT;
        Ok(Self { inodes, shared, time, meta_block, xattr_block, blocks, meta_size, algorithm })
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
        self.place_end(next)
    }

    /// Finds a place for what follows the blocks of files and directories.
    pub(super) fn place_end(&mut self, mut next: u64) -> Result<(), ErofsError> {
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
        blocks.flat_map(|inode| self.blocks_of(inode)).chain(self.end())
    }

    /// Returns what follows the blocks of files and directories.
    pub(super) fn end(&self) -> impl Iterator<Item = Extent> {
        let shared = self.shared.encode();
        let shared_padding = padding(shared.len() as u64);
        self.metadata().chain([Extent::Bytes(shared.into()), Extent::Zeros(shared_padding)])
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
            _ => inode.clusters.as_ref().map_or(inode.block, |clusters| clusters.blocks as u32),
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
        if let (Some(clusters), Some(algorithm)) = (&inode.clusters, self.algorithm) {
            let index = packs::encode(clusters, inode.index(), inode.size, algorithm);
            let gap = inode.index() - inode.head();
            let all = [vec![0; gap as usize], index, clusters.tail.clone()].concat();
            return vec![Extent::Bytes(all.into())];
        }
        match (&inode.body, inode.form) {
            (Body::File(_, Some(chunks)), _) => vec![Extent::Bytes(chunks.map(inode.block).into())],
            (Body::File(content, None), Form::Inline) => content.part(from..inode.size).collect(),
            (_, Form::Inline) => vec![Extent::Bytes(self.bytes(inode)[from as usize..].into())],
            _ => Vec::new(),
        }
    }

    pub(super) fn blocks_of(&self, inode: &Inode<'_>) -> Vec<Extent> {
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

pub(super) fn number_of(blocks: u64) -> Result<u32, ErofsError> {
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
