//! Reading an archive back into a tree: what is written here, and what GNU cpio writes as `newc` and `crc`.
//!
//! Nothing is believed that the archive says of itself, and no more memory is taken than its size explains. Checksums of the form
//! `crc` are not compared: files' bytes stay where they are, and who reads them checks what they are by other means.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};
use ociseed_spec::{Device, DeviceKind, FileMode, Owner, Timestamp, TreePath, shown, shown_path};
use ociseed_tree::{
    Builder, Claim, Content, Entry, Extent, FileRange, HostFile, Node, Precedence, Stat, Tree,
};

use super::{DEVICE_BITS, HEADER, MAX_PATH, NOBODY, TRAILER, UNIT, kind};

/// What directories that are not in the archive may take, beside its size: one name can be below two thousand.
const MAX_BYTES: u64 = 4 << 20;
/// What is behind the end is looked at in pieces of this size.
const PIECE: usize = 64 * 1024;

/// Says why a cpio archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadCpioError {
    /// The operating system does not give its bytes.
    #[error("cannot read `{}`", shown_path(path))]
    Read {
        /// The archive, as it was called.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It is no cpio archive, one of a form that is not known, or one that contradicts itself.
    #[error("`{}`: at byte {at}: {problem}", shown_path(path))]
    Invalid {
        /// The archive, as it was called.
        path: PathBuf,
        /// Where in it the member begins that has the problem.
        at: u64,
        /// What is wrong there.
        problem: String,
    },
}

/// Why a member cannot be read; who asks knows where it is.
enum Fault {
    Read(io::Error),
    Problem(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

fn problem<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Problem(text.into()))
}

/// Reads the tree of an archive; `shown` is what messages call it. Files' bytes stay where they are.
///
/// What the archive says of the root itself is left out: a tree has no place for it. One archive is read: several, one after
/// the other, as an initramfs may be, are refused.
///
/// # Errors
/// It cannot be read, is no cpio archive of a form that is known, or has what no tree can.
pub fn read(file: Arc<File>, shown: &Path) -> Result<Tree, ReadCpioError> {
    let fault = |at, fault| {
        let path = shown.to_path_buf();
        match fault {
            Fault::Read(source) => ReadCpioError::Read { path, source },
            Fault::Problem(problem) => ReadCpioError::Invalid { path, at, problem },
        }
    };
    let size = file.metadata().map_err(|error| fault(0, error.into()))?.len();
    let mut archive = Archive { file, shown: shown.into(), size, at: 0 };
    let mut tree = Collected::default();
    loop {
        let at = archive.at;
        let member = archive.member().map_err(|error| fault(at, error))?;
        if member.name == TRAILER {
            archive.check_end().map_err(|error| fault(archive.at, error))?;
            break;
        }
        tree.add(&archive, member, at).map_err(|error| fault(at, error))?;
    }
    tree.finish(&archive).map_err(|(at, error)| fault(at, error))
}

/// The archive's bytes.
struct Archive {
    file: Arc<File>,
    shown: Arc<Path>,
    size: u64,
    /// Where the next member begins.
    at: u64,
}

/// A member as the archive has it.
struct Member {
    name: Vec<u8>,
    inode: (u32, u32, u32),
    links: u32,
    kind: u32,
    stat: Stat,
    device: (u32, u32),
    /// Where its bytes begin, and how many they are.
    offset: u64,
    size: u64,
}

impl Archive {
    fn bytes(&self, at: u64, count: usize, what: &str) -> Result<Vec<u8>, Fault> {
        if self.size.checked_sub(at).is_none_or(|left| left < count as u64) {
            return problem(format!("the archive ends in {what}: it was cut"));
        }
        let mut bytes = vec![0; count];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Reads the next header and its name, and goes behind the member.
    fn member(&mut self) -> Result<Member, Fault> {
        if self.at > 0 && self.at >= self.size {
            return problem("the archive ends without the member `TRAILER!!!`: it was cut");
        }
        self.check_magic()?;
        let header = self.bytes(self.at, HEADER, "a header")?;
        let [ino, mode, uid, gid, links, mtime, size, major, minor, rmajor, rminor, name_size] =
            numbers(&header)?;
        let start = self.at + HEADER as u64;
        let name = self.name(start, name_size)?;
        let offset = (start + u64::from(name_size)).next_multiple_of(UNIT);
        let end = offset + u64::from(size);
        if size > 0 && end > self.size {
            return problem(format!("the archive ends in the bytes of `{}`: it was cut", shown(&name)));
        }
        self.at = end.next_multiple_of(UNIT);
        let mode_bits = FileMode::new((mode & 0o7777) as u16);
        let stat = Stat::new(mode_bits, Owner { uid, gid }, Timestamp::new(mtime.into(), 0));
        let (inode, device) = ((major, minor, ino), (rmajor, rminor));
        Ok(Member { name, inode, links, kind: mode >> 12, stat, device, offset, size: size.into() })
    }

    fn check_magic(&self) -> Result<(), Fault> {
        let count = self.size.saturating_sub(self.at).min(6) as usize;
        let magic = self.bytes(self.at, count, "a header")?;
        match &magic[..] {
            b"070701" | b"070702" => Ok(()),
            b"070707" => problem("the archive has the old form of POSIX, expected `newc` or `crc`"),
            [0xc7, 0x71, ..] | [0x71, 0xc7, ..] => {
                problem("the archive has the old binary form, expected `newc` or `crc`")
            }
            other => problem(format!(
                "no cpio archive: expected `070701` or `070702`, found `{}`",
                other.escape_ascii()
            )),
        }
    }

    /// Reads a name, behind which one NUL is, or several that bring the bytes to where someone wants them.
    fn name(&self, at: u64, size: u32) -> Result<Vec<u8>, Fault> {
        if size as usize > MAX_PATH {
            return problem(format!("a name has {size} bytes, at most {MAX_PATH} are possible"));
        }
        let mut bytes = self.bytes(at, size as usize, "a name")?;
        let Some(length) = bytes.iter().position(|byte| *byte == 0) else {
            return problem(format!("the name `{}` does not end with NUL", shown(&bytes)));
        };
        if bytes[length..].iter().any(|byte| *byte != 0) {
            return problem(format!("the name `{}` has a NUL in it", shown(&bytes)));
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Looks whether there are only zeros behind the end.
    fn check_end(&self) -> Result<(), Fault> {
        let mut at = self.at;
        while at < self.size {
            let count = (self.size - at).min(PIECE as u64);
            if self.bytes(at, count as usize, "zeros")?.iter().any(|byte| *byte != 0) {
                return problem(
                    "something follows the archive's end; of several archives one after the other none is read",
                );
            }
            at += count;
        }
        Ok(())
    }

    fn content(&self, member: &Member) -> Content {
        let file = HostFile::opened(Arc::clone(&self.file), Arc::clone(&self.shown));
        let (offset, size) = (member.offset, member.size);
        let range = FileRange { file, offset, size, to_end: false, digest: None };
        (size > 0).then_some(Extent::File(range)).into_iter().collect()
    }

    fn target(&self, member: &Member) -> Result<Vec<u8>, Fault> {
        if member.size == 0 || member.size >= MAX_PATH as u64 {
            return problem(format!("a symbolic link leads over {} bytes", member.size));
        }
        let target = self.bytes(member.offset, member.size as usize, "a symbolic link")?;
        if target.contains(&0) {
            return problem("a symbolic link leads over a NUL");
        }
        Ok(target)
    }

    fn node(&self, member: &Member) -> Result<Node, Fault> {
        if member.size > 0 && ![kind::FILE, kind::SYMLINK].contains(&member.kind) {
            return problem(format!("{} bytes are with what is no file", member.size));
        }
        let device = |kind| match member.device {
            (major, minor) if major >> DEVICE_BITS.0 == 0 && minor >> DEVICE_BITS.1 == 0 => {
                Ok(Node::Device(Device { kind, major, minor }))
            }
            (major, minor) => problem(format!("Linux has no device {major}:{minor}")),
        };
        match member.kind {
            kind::FILE => Ok(Node::File(self.content(member))),
            kind::DIRECTORY => Ok(Node::Directory { opaque: false }),
            kind::SYMLINK => Ok(Node::Symlink(self.target(member)?.into())),
            kind::CHAR => device(DeviceKind::Char),
            kind::BLOCK => device(DeviceKind::Block),
            kind::FIFO => Ok(Node::Fifo),
            other => problem(format!("it has a type that no tree has: {other:o}")),
        }
    }
}

/// Reads a header's numbers. The last one is a checksum, which is left out.
fn numbers(header: &[u8]) -> Result<[u32; 12], Fault> {
    let mut numbers = [0; 12];
    for (number, digits) in numbers.iter_mut().zip(header[6..].chunks_exact(8)) {
        let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
        let Some(found) = text.and_then(|text| u32::from_str_radix(text, 16).ok()) else {
            return problem(format!("`{}` is no number of eight digits", digits.escape_ascii()));
        };
        *number = found;
    }
    Ok(numbers)
}

/// The members so far.
#[derive(Default)]
struct Collected {
    entries: BTreeMap<TreePath, (Entry, u64)>,
    /// The first name of what has several.
    names: BTreeMap<(u32, u32, u32), TreePath>,
}

impl Collected {
    fn add(&mut self, archive: &Archive, member: Member, at: u64) -> Result<(), Fault> {
        let path = match &member.name[..] {
            [] => return problem("a member has no name"),
            [b'/', ..] => return problem(format!("the path `{}` is absolute", shown(&member.name))),
            name => TreePath::parse(name).map_err(|error| Fault::Problem(error.to_string()))?,
        };
        let at_path = |fault| match fault {
            Fault::Problem(text) => Fault::Problem(format!("`{path}`: {text}")),
            read @ Fault::Read(_) => read,
        };
        if [member.stat.owner.uid, member.stat.owner.gid].contains(&NOBODY) {
            return problem(format!("`{path}`: {NOBODY} is no number of an owner"));
        }
        let node = archive.node(&member).map_err(at_path)?;
        if path.is_root() {
            return match node {
                Node::Directory { .. } => Ok(()),
                _ => problem("the root is no directory"),
            };
        }
        if self.entries.contains_key(&path) {
            return problem(format!("`{path}` is there twice"));
        }
        let mut entry = Entry { stat: member.stat.clone(), node };
        if member.links > 1 && member.kind != kind::DIRECTORY {
            self.join(&path, &member, &mut entry).map_err(at_path)?;
        }
        self.entries.insert(path, (entry, at));
        Ok(())
    }

    /// Makes a further name of what there is a link to it; its bytes may be with any of the names.
    fn join(&mut self, path: &TreePath, member: &Member, entry: &mut Entry) -> Result<(), Fault> {
        let first = match self.names.entry(member.inode) {
            Slot::Vacant(slot) => {
                slot.insert(path.clone());
                return Ok(());
            }
            Slot::Occupied(slot) => slot.get().clone(),
        };
        let (whole, _) = self.entries.get_mut(&first).expect("what has a name is an entry");
        let same = match (&mut whole.node, &mut entry.node) {
            (Node::File(one), Node::File(other)) => {
                if one.size() > 0 && other.size() > 0 {
                    return problem(format!("it is one file with `{first}`, and both have bytes"));
                }
                if other.size() > 0 {
                    *one = std::mem::take(other);
                }
                true
            }
            (Node::Symlink(one), Node::Symlink(other)) => one == other,
            (Node::Device(one), Node::Device(other)) => one == other,
            (Node::Fifo, Node::Fifo) => true,
            _ => false,
        };
        if !same || whole.stat != entry.stat {
            return problem(format!(
                "it is one file with `{first}`, and another type, target, owner, mode or time"
            ));
        }
        entry.node = Node::Link(first);
        Ok(())
    }

    fn finish(self, archive: &Archive) -> Result<Tree, (u64, Fault)> {
        self.check_parents(archive)?;
        let mut builder = Builder::new();
        for (path, (entry, _)) in self.entries {
            builder.insert(path, entry, Claim::new(0, Precedence::Explicit));
        }
        let contradiction = "two of its paths contradict each other";
        builder.finish().map_err(|_| (0, Fault::Problem(contradiction.to_owned())))
    }

    /// Looks at what paths are below; of directories that are not in the archive, which GNU cpio makes with `-d`, it counts
    /// what they will take.
    fn check_parents(&self, archive: &Archive) -> Result<(), (u64, Fault)> {
        let mut implied: BTreeSet<TreePath> = BTreeSet::new();
        let mut taken: u64 = 0;
        for (path, (_, at)) in &self.entries {
            let mut below = path.parent();
            while let Some(parent) = below.filter(|parent| !parent.is_root()) {
                match self.entries.get(&parent) {
                    Some((found, _)) if !found.is_directory() => {
                        let text = format!("`{path}` is below `{parent}`, which is no directory");
                        return Err((*at, Fault::Problem(text)));
                    }
                    Some(_) => break,
                    None if implied.contains(&parent) => break,
                    None => {}
                }
                taken += (parent.as_bytes().len() + size_of::<(TreePath, Entry)>()) as u64;
                if taken > archive.size.saturating_add(MAX_BYTES) {
                    let text = "directories that are not in the archive take more than it has";
                    return Err((*at, Fault::Problem(text.to_owned())));
                }
                below = parent.parent();
                implied.insert(parent);
            }
        }
        Ok(())
    }
}
