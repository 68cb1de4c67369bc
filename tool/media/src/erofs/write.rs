//! Writing an image into a file: the only way where files are compressed, for their places follow from what they become.
//!
//! Clusters are written as they come, in the order of paths, and so are other blocks; then directories, inodes and shared
//! xattrs; the superblock last.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};
use ociseed_spec::{Digest, TreePath};
use ociseed_tree::{Content, ReadError, Tree};

use super::BLOCK;
use super::clusters::{Cluster, Clusters};
use super::codec::{Algorithm, Compression};
use super::directory::FileType;
use super::image::{Image, Options, superblock};
use super::layout::{ErofsError, Layout, number_of};
use super::node::{Body, Inode};
use super::pipeline::{self, Done, Stopped};

/// Ends of files that lie with their inodes are kept until those are written: so many bytes, and no more.
const MAX_KEPT: usize = 32 << 20;
/// Inodes are small: so many bytes of them are written at once.
const BUFFER: usize = 256 * 1024;

/// Says why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteErofsError {
    /// The tree cannot be an image.
    #[error(transparent)]
    Tree(#[from] ErofsError),
    /// A file cannot be read.
    #[error("`{path}`")]
    Read {
        /// The file's path in the tree.
        path: TreePath,
        /// Why not.
        source: ReadError,
    },
    /// Files cannot be read, of which the path is not known here.
    #[error("cannot copy what lies with inodes")]
    Copy(#[source] ReadError),
    /// The image cannot be written.
    #[error("cannot write the image")]
    Write(#[source] io::Error),
    /// There is no memory to compress with.
    #[error("no memory for a compressor")]
    Memory,
}

/// Is told how many more bytes of files are done; where it fails, so does the work.
type Progress<'a> = &'a (dyn Fn(u64) -> io::Result<()> + Sync);

/// Writes the image of a tree into a file, which is empty and can be written at any place, and returns its size.
///
/// Compresses with rayon's threads, whose number changes no byte. Without compression the bytes are those that
/// [`Image::plan`] describes; `digest` is as there.
///
/// # Errors
/// The tree has what the format cannot hold, a file cannot be read or is not what it was, the image cannot be written, or `progress` failed.
pub fn write(
    tree: &Tree,
    digest: &dyn Fn(&TreePath) -> Option<Digest>,
    options: &Options,
    progress: Progress<'_>,
    out: &File,
) -> Result<u64, WriteErofsError> {
    if options.compression == Compression::None {
        let plain = Image::plan(tree, digest, options)?;
        let mut writer = At { out, at: 0, progress };
        plain.content().copy_to(&mut writer).map_err(copy_error)?;
        return Ok(plain.size());
    }
    // It follows from the plain image, whatever the compression; that one is needed for nothing else.
    let uuid =
        options.uuid.map_or_else(|| Image::plan(tree, digest, options).map(|plain| plain.uuid()), Ok)?;
    let mut layout = Layout::without_places(tree)?;
    layout.algorithm = Algorithm::by(options.compression);
    let mut blocks = Blocks { out, next: 1, kept: 0, known: BTreeMap::new(), plain: BTreeMap::new() };
    blocks.write_files(&mut layout, options.compression, digest, progress)?;
    blocks.write_directories(&mut layout)?;
    layout.place_end(blocks.next)?;
    let size = u64::from(layout.blocks) * BLOCK;
    write_end(&layout, out)?;
    let first = superblock(&layout, &options.label, uuid);
    out.write_all_at(&first, 0).and_then(|()| out.set_len(size)).map_err(WriteErofsError::Write)?;
    Ok(size)
}

/// Writes inodes, what lies behind them, and shared xattrs; one by one, for together they may be large.
fn write_end(layout: &Layout<'_>, out: &File) -> Result<(), WriteErofsError> {
    let at = At { out, at: u64::from(layout.meta_block) * BLOCK, progress: &|_| Ok(()) };
    let mut writer = BufWriter::with_capacity(BUFFER, at);
    for extent in layout.end() {
        let content: Content = [extent].into_iter().collect();
        content.copy_to(&mut writer).map_err(copy_error)?;
    }
    writer.flush().map_err(WriteErofsError::Write)
}

/// Writes one byte after the other into a file.
struct At<'a> {
    out: &'a File,
    at: u64,
    progress: Progress<'a>,
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write_at(bytes, self.at)?;
        self.at += count as u64;
        (self.progress)(count as u64)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tells files apart whose bytes are not looked at.
type Key = (Digest, u64);

/// The blocks of files and directories, as they are written.
struct Blocks<'a> {
    out: &'a File,
    /// The next block.
    next: u64,
    /// Bytes that are kept until inodes are written.
    kept: usize,
    /// The first inode of each content.
    known: BTreeMap<Key, usize>,
    /// Where blocks of files are that are not compressed.
    plain: BTreeMap<(Digest, u64, Vec<bool>), u32>,
}

/// A file while it comes in segments.
#[derive(Default)]
struct Coming {
    clusters: Clusters,
    raw: bool,
}

impl Blocks<'_> {
    /// Writes all but directories, and finds a place for every inode.
    fn write_files(
        &mut self,
        layout: &mut Layout<'_>,
        compression: Compression,
        digest: &dyn Fn(&TreePath) -> Option<Digest>,
        progress: Progress<'_>,
    ) -> Result<(), WriteErofsError> {
        let keys: Vec<Option<Key>> = layout.inodes.iter().map(|inode| key(inode, digest)).collect();
        let pending = self.firsts(&layout.inodes, &keys);
        let contents: Vec<&Content> =
            pending.iter().filter_map(|index| compressible(&layout.inodes[*index])).collect();
        let (mut done, mut at, mut coming) = (0, 0, Coming { raw: true, ..Coming::default() });
        let taken = pipeline::run(&contents, compression, |segment| {
            let index = pending[done];
            while at < index {
                self.place(layout, at, &keys)?;
                at += 1;
            }
            progress(segment.size).map_err(WriteErofsError::Write)?;
            let last = segment.last;
            self.add(&mut coming, segment)?;
            if last {
                let coming = std::mem::replace(&mut coming, Coming { raw: true, ..Coming::default() });
                self.finish(layout, index, coming, keys[index])?;
                (done, at) = (done + 1, index + 1);
            }
            Ok(())
        });
        taken.map_err(|stopped| match stopped {
            Stopped::Read(number, source) => {
                let path = layout.inodes[pending[number]].path.cloned();
                read_error(path.unwrap_or_else(TreePath::root), source)
            }
            Stopped::Memory => WriteErofsError::Memory,
            Stopped::Taker(error) => error,
        })?;
        (at..layout.inodes.len()).try_for_each(|index| self.place(layout, index, &keys))
    }

    /// Returns the files that are compressed: of equal ones the first.
    fn firsts(&mut self, inodes: &[Inode<'_>], keys: &[Option<Key>]) -> Vec<usize> {
        let mut pending = Vec::new();
        for (index, inode) in inodes.iter().enumerate() {
            if compressible(inode).is_some() {
                let first = keys[index].map_or(index, |key| *self.known.entry(key).or_insert(index));
                pending.extend((first == index).then_some(index));
            }
        }
        pending
    }

    /// Writes what a segment became.
    fn add(&mut self, coming: &mut Coming, segment: Done) -> Result<(), WriteErofsError> {
        let Coming { clusters, raw } = coming;
        if clusters.list.is_empty() {
            clusters.block = self.next;
        }
        let packed = segment.packed;
        *raw &= packed.is_raw();
        for cluster in packed.clusters {
            push(&mut clusters.list, cluster);
        }
        clusters.tail = packed.tail;
        clusters.blocks += packed.bytes.len() as u64 / BLOCK;
        self.append(&packed.bytes)
    }

    /// Finds a place for a file whose last segment came.
    fn finish(
        &mut self,
        layout: &mut Layout<'_>,
        index: usize,
        coming: Coming,
        key: Option<Key>,
    ) -> Result<(), WriteErofsError> {
        let (end, mut clusters) = (layout.meta_size, coming.clusters);
        let inode = &mut layout.inodes[index];
        if coming.raw {
            // Its blocks are those of a plain file, but for the last one where that lies with the inode.
            layout.meta_size = inode.take_place(end);
            let count = inode.in_blocks().div_ceil(BLOCK);
            self.next = clusters.block + count;
            if count > 0 {
                inode.block = number_of(clusters.block)?;
                self.plain.extend(key.map(|(digest, _)| ((digest, count, Vec::new()), inode.block)));
            }
            return Ok(());
        }
        let tail = clusters.tail.len();
        inode.clusters = Some(Arc::new(clusters.clone()));
        let shift = inode.shift(end.next_multiple_of(super::SLOT)) as usize;
        // What would be lost before the inode is more than what is lost of a block, or too much is kept.
        if shift > BLOCK as usize - tail || self.kept + tail > MAX_KEPT {
            let algorithm = layout.algorithm.unwrap_or(Algorithm::Lz4);
            let block = clusters.take_tail(inode.size, algorithm).ok_or(WriteErofsError::Memory)?;
            self.append(&block)?;
            inode.clusters = Some(Arc::new(clusters));
        } else {
            self.kept += tail;
        }
        layout.meta_size = inode.take_place(end);
        Ok(())
    }

    /// Finds a place for what is not compressed, or as another file is, and writes its blocks.
    fn place(
        &mut self,
        layout: &mut Layout<'_>,
        index: usize,
        keys: &[Option<Key>],
    ) -> Result<(), WriteErofsError> {
        let first = keys[index].and_then(|key| self.known.get(&key)).copied().filter(|first| *first < index);
        let clusters = first.and_then(|first| layout.inodes[first].clusters.clone());
        let end = layout.meta_size;
        let inode = &mut layout.inodes[index];
        inode.clusters = clusters.filter(|_| compressible(inode).is_some());
        layout.meta_size = inode.take_place(end);
        let count = inode.in_blocks().div_ceil(BLOCK);
        if inode.clusters.is_some() || count == 0 || inode.kind == FileType::Directory {
            return Ok(());
        }
        let holes = match &inode.body {
            Body::File(_, Some(chunks)) => chunks.holes.clone(),
            _ => Vec::new(),
        };
        let plain = keys[index].map(|(digest, _)| (digest, count, holes));
        if let Some(block) = plain.as_ref().and_then(|key| self.plain.get(key)) {
            inode.block = *block;
            return Ok(());
        }
        let block = number_of(self.next)?;
        (inode.block, inode.blocks) = (block, number_of(count)?);
        self.plain.extend(plain.map(|key| (key, block)));
        self.write_blocks(layout, index)
    }

    fn write_directories(&mut self, layout: &mut Layout<'_>) -> Result<(), WriteErofsError> {
        let is_large = |inode: &Inode<'_>| inode.kind == FileType::Directory && inode.in_blocks() > 0;
        for index in 0..layout.inodes.len() {
            let inode = &mut layout.inodes[index];
            if is_large(inode) {
                let count = inode.in_blocks().div_ceil(BLOCK);
                (inode.block, inode.blocks) = (number_of(self.next)?, number_of(count)?);
                self.write_blocks(layout, index)?;
            }
        }
        Ok(())
    }

    /// Writes the blocks of an inode that knows where they go.
    fn write_blocks(&mut self, layout: &Layout<'_>, index: usize) -> Result<(), WriteErofsError> {
        let inode = &layout.inodes[index];
        let content: Content = layout.blocks_of(inode).into_iter().collect();
        let path = || inode.path.cloned().unwrap_or_else(TreePath::root);
        self.write_content(self.next, &content).map_err(|error| read_error(path(), error))?;
        self.next += content.size() / BLOCK;
        Ok(())
    }

    fn write_content(&self, block: u64, content: &Content) -> Result<(), ReadError> {
        content.copy_to(&mut At { out: self.out, at: block * BLOCK, progress: &|_| Ok(()) })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), WriteErofsError> {
        self.out.write_all_at(bytes, self.next * BLOCK).map_err(WriteErofsError::Write)?;
        self.next += bytes.len() as u64 / BLOCK;
        number_of(self.next)?;
        Ok(())
    }
}

fn copy_error(error: ReadError) -> WriteErofsError {
    match error {
        ReadError::Write(source) => WriteErofsError::Write(source),
        source => WriteErofsError::Copy(source),
    }
}

fn read_error(path: TreePath, error: ReadError) -> WriteErofsError {
    match error {
        ReadError::Write(source) => WriteErofsError::Write(source),
        source => WriteErofsError::Read { path, source },
    }
}

/// Adds a cluster; those that are not compressed become one, where whole blocks were before.
fn push(list: &mut Vec<Cluster>, cluster: Cluster) {
    match list.last_mut() {
        Some(last) if last.raw && cluster.raw && cluster.blocks > 0 && mergeable(last, &cluster) => {
            last.length += cluster.length;
            last.blocks += cluster.blocks;
        }
        _ => list.push(cluster),
    }
}

fn mergeable(last: &Cluster, next: &Cluster) -> bool {
    u64::from(last.length) == u64::from(last.blocks) * BLOCK && last.length.checked_add(next.length).is_some()
}

/// Returns the content of a file that may be compressed: it has bytes, and no holes that are kept.
fn compressible<'a>(inode: &Inode<'a>) -> Option<&'a Content> {
    match &inode.body {
        Body::File(content, None) if inode.size > 0 => Some(content),
        _ => None,
    }
}

fn key(inode: &Inode<'_>, digest: &dyn Fn(&TreePath) -> Option<Digest>) -> Option<Key> {
    let is_file = inode.kind == FileType::Regular && inode.size > 0;
    let digest = inode.path.filter(|_| is_file).and_then(digest)?;
    Some((digest, inode.size))
}
