//! Reading an image back into a tree: all that is written here, and what `mkfs.erofs` writes plainly or with LZ4 or zstd.
//!
//! Nothing is believed that the image says of itself: what lies outside of it, is there twice or leads in circles is an error,
//! and no more memory is taken than its size explains.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};
use ociseed_spec::{
    Device, DeviceKind, FileMode, Owner, Timestamp, TreePath, XattrName, XattrValue, shown_path,
};
use ociseed_tree::{
    Builder, Claim, Content, Entry, Extent, FileRange, HostFile, Node, Precedence, Scratch, Stat, Tree,
    most_bytes,
};

use super::superblock::Superblock;
use super::unpack::Unpacker;
use super::xattrs;
use super::{BLOCK, SLOT};

/// What names and attributes may take together, beside the image's size.
const MAX_BYTES: u64 = 64 << 20;
/// The longest path, as Linux takes it from programs (PATH_MAX).
const MAX_PATH: usize = 4096;

/// Says why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadErofsError {
    /// The operating system does not give its bytes.
    #[error("cannot read `{}`", shown_path(path))]
    Read {
        /// The image, as it was called.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// There is no place for what is compressed in it.
    #[error("`{}`: cannot write a scratch file", shown_path(path))]
    Write {
        /// The image, as it was called.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is no EROFS image, one of a form that is not known, or one that contradicts itself.
    #[error("`{}`: {place}: {problem}", shown_path(path))]
    Invalid {
        /// The image, as it was called.
        path: PathBuf,
        /// Where in it: a path of the tree, or the superblock.
        place: String,
        /// What is wrong there.
        problem: String,
    },
}

/// Name and value of an extended attribute.
type Xattr = (Vec<u8>, Vec<u8>);

/// Why a part of an image cannot be read; who asks knows where.
pub(super) enum Fault {
    Read(io::Error),
    /// Of the scratch file.
    Write(io::Error),
    Problem(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

pub(super) fn problem<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Problem(text.into()))
}

/// Reads the tree of an image; `shown` is what messages call it. Files' bytes stay where they are, but for compressed ones,
/// which are all decompressed into one scratch file.
///
/// # Errors
/// It cannot be read, is no EROFS image, has what no tree can, or expands to more than `docs/format.md` allows.
pub fn read(file: Arc<File>, shown: &Path, scratch: &mut Scratch<'_>) -> Result<Tree, ReadErofsError> {
    read_at_most(file, shown, scratch, most_bytes)
}

/// Reads an image that may expand to what `most` says of its size.
fn read_at_most(
    file: Arc<File>,
    shown: &Path,
    scratch: &mut Scratch<'_>,
    most: fn(u64) -> u64,
) -> Result<Tree, ReadErofsError> {
    let at = |place: &str| {
        let (path, place) = (shown.to_path_buf(), place.to_owned());
        move |fault| match fault {
            Fault::Read(source) => ReadErofsError::Read { path, source },
            Fault::Write(source) => ReadErofsError::Write { path, source },
            Fault::Problem(problem) => ReadErofsError::Invalid { path, place, problem },
        }
    };
    let image = Image::open(file, shown).map_err(at("superblock"))?;
    let unpacker = Unpacker::new(most(image.size), shown, scratch);
    let mut walk = Walk { image, unpacker, builder: Builder::new(), names: BTreeMap::new(), taken: 0 };
    let mut pending = vec![(TreePath::root(), u64::from(walk.image.superblock.root_nid))];
    walk.names.insert(pending[0].1, TreePath::root());
    while let Some((path, nid)) = pending.pop() {
        let shown = format!("/{}", ociseed_spec::escape(path.as_bytes()));
        let below = walk.directory(&path, nid).map_err(at(&shown))?;
        pending.extend(below.into_iter().rev());
    }
    let contradiction = |_| at("tree")(Fault::Problem("two of its paths contradict each other".to_owned()));
    walk.builder.finish().map_err(contradiction)
}

/// The image's bytes.
pub(super) struct Image {
    file: Arc<File>,
    shown: Arc<Path>,
    size: u64,
    pub(super) superblock: Superblock,
}

impl Image {
    fn open(file: Arc<File>, shown: &Path) -> Result<Self, Fault> {
        let mut block = vec![0; BLOCK as usize];
        let size = file.metadata()?.len();
        if size < BLOCK {
            return problem(format!("no EROFS image: it has {size} bytes, a block has {BLOCK}"));
        }
        read_exact(&file, &mut block, 0)?;
        let superblock = Superblock::decode(&block).map_err(Fault::Problem)?;
        let expected = u64::from(superblock.blocks) * BLOCK;
        if size < expected {
            return problem(format!("expected {expected} bytes, found {size}: it was cut"));
        }
        Ok(Self { file, shown: shown.into(), size: expected, superblock })
    }

    pub(super) fn bytes(&self, at: u64, count: u64) -> Result<Vec<u8>, Fault> {
        if at.checked_add(count).is_none_or(|end| end > self.size) {
            return problem(format!("{count} bytes at {at} are not in the image, which has {}", self.size));
        }
        let mut bytes = vec![0; count as usize];
        read_exact(&self.file, &mut bytes, at)?;
        Ok(bytes)
    }

    fn inode(&self, nid: u64) -> Result<Inode, Fault> {
        let at = nid
            .checked_mul(SLOT)
            .and_then(|at| at.checked_add(u64::from(self.superblock.meta_block) * BLOCK));
        let Some(at) = at else { return problem(format!("no inode {nid}")) };
        Inode::decode(&self.bytes(at, SLOT)?, at, self)
    }

    /// Describes an inode's bytes as parts of the image.
    fn extents(&self, inode: &Inode) -> Result<Vec<Extent>, Fault> {
        let behind = inode.at + inode.head;
        let start = u64::from(inode.place) * BLOCK;
        match inode.form {
            _ if inode.size == 0 => Ok(Vec::new()),
            0 => Ok(vec![self.extent(start, inode.size)?]),
            2 => {
                let tail = inode.size % BLOCK;
                let mut extents = Vec::new();
                if inode.size > tail {
                    extents.push(self.extent(start, inode.size - tail)?);
                }
                if tail > 0 {
                    if behind / BLOCK != (behind + tail - 1) / BLOCK {
                        return problem("what lies behind the inode goes over the end of its block");
                    }
                    extents.push(self.extent(behind, tail)?);
                }
                Ok(extents)
            }
            4 => self.chunks(inode, behind),
            other => problem(format!("no form of data has the number {other}")),
        }
    }

    fn extent(&self, offset: u64, size: u64) -> Result<Extent, Fault> {
        if offset.checked_add(size).is_none_or(|end| end > self.size) {
            return problem(format!("its data, {size} bytes at {offset}, are not in the image"));
        }
        let file = HostFile::opened(Arc::clone(&self.file), Arc::clone(&self.shown));
        Ok(Extent::File(FileRange { file, offset, size, to_end: false, digest: None }))
    }

    /// Reads the map of a file in chunks; neighbours become one extent.
    fn chunks(&self, inode: &Inode, behind: u64) -> Result<Vec<Extent>, Fault> {
        let (bits, indexes) = (inode.place & 0x1f, inode.place & 0x20 != 0);
        let chunk = BLOCK << bits;
        let unit = if indexes { 8 } else { 4 };
        let map =
            self.bytes(behind.next_multiple_of(unit), inode.size.div_ceil(chunk).saturating_mul(unit))?;
        let mut extents: Vec<(u64, u64, bool)> = Vec::new();
        for (number, entry) in (0..).zip(map.chunks_exact(unit as usize)) {
            let size = (inode.size - number * chunk).min(chunk);
            let block = u32_at(entry, unit as usize - 4);
            if indexes && entry[2..4] != [0, 0] {
                return problem("its data are on another device");
            }
            let (start, hole) = (u64::from(block) * BLOCK, block == u32::MAX);
            match extents.last_mut() {
                Some(last) if last.2 == hole && (hole || last.0 + last.1 == start) => last.1 += size,
                _ => extents.push((start, size, hole)),
            }
        }
        let extent = |(start, size, hole)| match hole {
            true => Ok(Extent::Zeros(size)),
            false => self.extent(start, size),
        };
        extents.into_iter().map(extent).collect()
    }
}

/// An inode as it lies in the image.
pub(super) struct Inode {
    pub(super) at: u64,
    pub(super) form: u16,
    mode: u16,
    pub(super) size: u64,
    place: u32,
    stat: Stat,
    xattrs: u64,
    /// Bytes of itself and its attributes.
    pub(super) head: u64,
}

impl Inode {
    fn decode(short: &[u8], at: u64, image: &Image) -> Result<Self, Fault> {
        let format = u16_at(short, 0);
        let long = format & 1 == 1;
        let bytes = if long { image.bytes(at, 2 * SLOT)? } else { short.to_vec() };
        let mode = u16_at(&bytes, 4);
        let (size, uid, gid, mtime) = match long {
            true => {
                let mtime = Timestamp::new(u64_at(&bytes, 32).cast_signed(), u32_at(&bytes, 40));
                (u64_at(&bytes, 8), u32_at(&bytes, 24), u32_at(&bytes, 28), mtime)
            }
            false => {
                let (uid, gid) = (u16_at(&bytes, 24), u16_at(&bytes, 26));
                (u64::from(u32_at(&bytes, 8)), uid.into(), gid.into(), image.superblock.time)
            }
        };
        if mtime.nanoseconds() >= 1_000_000_000 {
            return problem("its time has a second or more of nanoseconds");
        }
        let xattrs = xattrs::size_of(u16_at(&bytes, 2));
        let stat = Stat::new(FileMode::new(mode & 0o7777), Owner { uid, gid }, mtime);
        let head = bytes.len() as u64 + xattrs;
        Ok(Self { at, form: format >> 1 & 0x7, mode, size, place: u32_at(&bytes, 16), stat, xattrs, head })
    }
}

/// Goes through all directories.
struct Walk<'s> {
    image: Image,
    unpacker: Unpacker<'s>,
    builder: Builder,
    /// The first name of each inode.
    names: BTreeMap<u64, TreePath>,
    /// Bytes of names and attributes so far.
    taken: u64,
}

impl Walk<'_> {
    /// Describes an inode's bytes.
    fn content(&mut self, inode: &Inode) -> Result<Content, Fault> {
        let extents = match inode.form {
            1 | 3 if inode.size > 0 => self.unpacker.unpack(&self.image, inode)?,
            _ => self.image.extents(inode)?,
        };
        Ok(extents.into_iter().collect())
    }

    /// Adds what a directory has, and returns the directories among it.
    fn directory(&mut self, path: &TreePath, nid: u64) -> Result<Vec<(TreePath, u64)>, Fault> {
        let inode = self.image.inode(nid)?;
        if inode.mode >> 12 != 0o4 {
            return problem("it is no directory");
        }
        self.take(inode.size)?;
        let mut below = Vec::new();
        for (name, nid) in self.names_of(&inode)? {
            if name == b"." || name == b".." {
                continue;
            }
            let path = match path.join(&name) {
                Ok(path) if !name.contains(&b'/') && path.as_bytes().len() < MAX_PATH => path,
                Ok(path) => return problem(format!("no name of a file: `{path}`")),
                Err(error) => return problem(error.to_string()),
            };
            self.take(path.as_bytes().len() as u64)?;
            let (entry, directory) = self.entry(&path, nid)?;
            if directory {
                below.push((path.clone(), nid));
            }
            self.builder.insert(path, entry, Claim::new(0, Precedence::Explicit));
        }
        Ok(below)
    }

    fn take(&mut self, count: u64) -> Result<(), Fault> {
        self.taken = self.taken.saturating_add(count);
        if self.taken > self.image.size.saturating_add(MAX_BYTES) {
            return problem("names and attributes take more than the image has");
        }
        Ok(())
    }

    fn names_of(&mut self, inode: &Inode) -> Result<Vec<(Vec<u8>, u64)>, Fault> {
        let content = self.content(inode)?;
        let mut bytes = Vec::new();
        content.copy_to(&mut bytes).map_err(|error| Fault::Problem(error.to_string()))?;
        let mut names = Vec::new();
        for block in bytes.chunks(BLOCK as usize) {
            let first = block.get(8..10).map_or(0, |bytes| usize::from(u16_at(bytes, 0)));
            if first < 12 || first % 12 != 0 || first > block.len() {
                return problem("a block of the directory has no entries");
            }
            let offset = |entry: &[u8]| usize::from(u16_at(entry, 8));
            let entries: Vec<_> = block[..first].chunks_exact(12).collect();
            for (index, entry) in entries.iter().enumerate() {
                let end = entries.get(index + 1).map_or(block.len(), |next| offset(next));
                let Some(name) = block.get(offset(entry)..end) else {
                    return problem("a name of the directory lies outside of its block");
                };
                let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
                names.push((name[..length].to_vec(), u64_at(entry, 0)));
            }
        }
        match names.is_sorted_by(|(one, _), (other, _)| one < other) {
            true => Ok(names),
            false => problem("the names of the directory are not in order, or one is there twice"),
        }
    }

    /// Reads what a name leads to, and tells whether it is a directory.
    fn entry(&mut self, path: &TreePath, nid: u64) -> Result<(Entry, bool), Fault> {
        let inode = self.image.inode(nid)?;
        let mut stat = inode.stat.clone();
        for (name, value) in self.xattrs(&inode)? {
            self.take((name.len() + value.len()) as u64)?;
            let name = XattrName::of_file_system(&name).map_err(|error| Fault::Problem(error.to_string()))?;
            let value = XattrValue::new(&value).map_err(|error| Fault::Problem(error.to_string()))?;
            stat.set_xattr(name, value);
        }
        let kind = inode.mode >> 12;
        if let Some(first) = self.names.get(&nid) {
            if kind == 0o4 {
                return problem(format!("the directory `{path}` is `{first}`, too"));
            }
            return Ok((Entry { stat, node: Node::Link(first.clone()) }, false));
        }
        self.names.insert(nid, path.clone());
        let device = |kind| {
            let number = inode.place;
            let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
            Node::Device(Device { kind, major, minor })
        };
        let node = match kind {
            0o10 => Node::File(self.content(&inode)?),
            0o4 => Node::Directory { opaque: false },
            0o12 => Node::Symlink(self.target(&inode)?.into()),
            0o2 => device(DeviceKind::Char),
            0o6 => device(DeviceKind::Block),
            0o1 => Node::Fifo,
            other => return problem(format!("`{path}` has a type that no tree has: {other:o}")),
        };
        Ok((Entry { stat, node }, kind == 0o4))
    }

    fn target(&mut self, inode: &Inode) -> Result<Vec<u8>, Fault> {
        if inode.size == 0 || inode.size >= MAX_PATH as u64 {
            return problem(format!("a symbolic link leads over {} bytes", inode.size));
        }
        self.take(inode.size)?;
        let content = self.content(inode)?;
        let mut bytes = Vec::new();
        content.copy_to(&mut bytes).map_err(|error| Fault::Problem(error.to_string()))?;
        Ok(bytes)
    }

    fn xattrs(&self, inode: &Inode) -> Result<Vec<Xattr>, Fault> {
        if inode.xattrs == 0 {
            return Ok(Vec::new());
        }
        let body = self.image.bytes(inode.at + inode.head - inode.xattrs, inode.xattrs)?;
        let shared = u64::from(self.image.superblock.xattr_block) * BLOCK;
        let mut found = Vec::new();
        let (ids, own) = xattrs::split(&body).map_err(Fault::Problem)?;
        for id in ids.chunks_exact(4) {
            let at = shared + u64::from(u32_at(id, 0)) * 4;
            let size = xattrs::entry_size(&self.image.bytes(at, 4)?);
            let bytes = self.image.bytes(at, size)?;
            found.push(xattrs::decode(&bytes).map_err(Fault::Problem)?);
        }
        let mut left = own;
        while left.len() >= 4 {
            let size = xattrs::entry_size(left) as usize;
            let Some((entry, rest)) = left.split_at_checked(size) else {
                return problem("an xattr goes over the end of its inode");
            };
            found.push(xattrs::decode(entry).map_err(Fault::Problem)?);
            left = rest;
        }
        Ok(found)
    }
}

fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(bytes, at)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> io::Result<File> {
        let file = rustix::fs::memfd_create("scratch", rustix::fs::MemfdFlags::CLOEXEC)?;
        Ok(File::from_std(file.into()))
    }

    fn golden(name: &str, most: fn(u64) -> u64) -> Result<Tree, ReadErofsError> {
        let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/erofs");
        let dir = cap_std::fs::Dir::open_ambient_dir(place, cap_std::ambient_authority()).expect("is there");
        read_at_most(Arc::new(dir.open(name).expect("is there")), Path::new(name), &mut scratch, most)
    }

    #[test]
    fn what_expands_to_too_much_is_refused() {
        for name in ["lz4.erofs", "zstd.erofs"] {
            golden(name, |_| 8 << 20).expect("it has less");
            let error = golden(name, |size| size * 10).expect_err("it has more").to_string();
            assert!(error.contains("the most for this image"), "{error}");
        }
        golden("everything.erofs", |_| 0).expect("nothing in it is compressed");
    }
}
