//! A directory on a disk, path by path in the order of a canonical listing, with everything that a listing says.
//!
//! Nothing is followed: each path is opened in the directory above it, and links are what they are. Memory is that of the names of
//! the directories on the way to where the walk is, and of the names of files that have several until all of them were met.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use ociseed_spec::listing::Line;
use ociseed_spec::{FileMode, Owner, Timestamp, TreePath};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

/// What the kernel gives of an xattr, of its name or of the list of names at most.
const LARGEST_XATTR: usize = 64 << 10;

/// Says where a walk could not go on.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{path}`")]
pub(crate) struct WalkError {
    path: TreePath,
    source: io::Error,
}

/// A path and what is there.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where, from the directory that is walked.
    pub(crate) path: TreePath,
    /// What.
    pub(crate) node: Node,
    /// What the kernel says of it.
    pub(crate) stat: Stat,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What can be at a path.
#[derive(Debug)]
pub(crate) enum Node {
    /// A directory; what is in it follows.
    Directory,
    /// A file, open to be read.
    File(OwnedFd),
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A device, as a listing calls it, or a fifo.
    Special(&'static str),
    /// A further name of what is at another path.
    Link(TreePath),
}

impl Found {
    /// Returns the line of the listing, of a file without its digest.
    pub(crate) fn line(&self) -> Line {
        let line = match &self.node {
            Node::Link(first) => return Line::new(&self.path, "link").with_link(first),
            Node::Directory => Line::new(&self.path, "directory"),
            Node::File(_) => {
                let size = u64::try_from(self.stat.st_size).ok();
                Line { size, ..Line::new(&self.path, "file") }
            }
            Node::Symlink(target) => Line::new(&self.path, "symlink").with_target(target),
            Node::Special("fifo") => Line::new(&self.path, "fifo"),
            Node::Special(kind) => {
                let device = self.stat.st_rdev;
                let (major, minor) = (Some(rustix::fs::major(device)), Some(rustix::fs::minor(device)));
                Line { major, minor, ..Line::new(&self.path, kind) }
            }
        };
        let xattrs = self.xattrs.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        line.with_stat(mode(&self.stat), owner(&self.stat), mtime(&self.stat)).with_xattrs(xattrs)
    }
}

/// Returns the permission bits.
pub(crate) fn mode(stat: &Stat) -> FileMode {
    FileMode::new(u16::try_from(stat.st_mode & 0o7777).expect("four octal digits fit"))
}

/// Returns the numbers of owner and group.
pub(crate) fn owner(stat: &Stat) -> Owner {
    Owner { uid: stat.st_uid, gid: stat.st_gid }
}

fn mtime(stat: &Stat) -> Timestamp {
    Timestamp::new(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}

/// The names in a directory, sorted; packed, because a directory may have a million of them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    places: Vec<(u32, u8)>,
}

impl Names {
    /// Reads the names in a directory.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of(dir: &OwnedFd) -> io::Result<Self> {
        let mut names = Self::default();
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let too_many = |_| io::Error::from(Errno::OVERFLOW);
                let start = u32::try_from(names.bytes.len()).map_err(too_many)?;
                names.bytes.extend_from_slice(name);
                names.places.push((start, u8::try_from(name.len()).map_err(too_many)?));
            }
        }
        let bytes = &names.bytes;
        names.places.sort_unstable_by(|a, b| slice(bytes, *a).cmp(slice(bytes, *b)));
        Ok(names)
    }

    /// Returns them in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| slice(&self.bytes, *place))
    }

    /// Tells whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

fn slice(bytes: &[u8], (start, length): (u32, u8)) -> &[u8] {
    let start = usize::try_from(start).expect("addresses have 32 bits or more");
    &bytes[start..start + usize::from(length)]
}

/// A directory that is being walked.
#[derive(Debug)]
struct Level {
    dir: OwnedFd,
    path: TreePath,
    names: Names,
    next: usize,
}

/// Lets this process open as many files as it may: a walk has one open for each directory on its way, and 1024, as many as programs may
/// open that do not ask for more, are fewer than a layer can have directories below each other.
pub(crate) fn raise_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // What is refused leaves things as they were; a walk that cannot go on says why.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// A walk.
#[derive(Debug)]
pub(crate) struct Walk {
    levels: Vec<Level>,
    /// The first name of what has several, and what the kernel said of it, less the names that were met.
    first_names: BTreeMap<(u64, u64), (TreePath, Stat)>,
    buffer: Vec<u8>,
}

impl Walk {
    /// Begins in a directory, which is not part of what is found.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn new(dir: OwnedFd) -> Result<Self, WalkError> {
        let mut walk =
            Self { levels: Vec::new(), first_names: BTreeMap::new(), buffer: vec![0; LARGEST_XATTR] };
        let path = TreePath::root();
        walk.enter(dir, &path).map_err(|source| WalkError { path, source })?;
        Ok(walk)
    }

    fn enter(&mut self, dir: OwnedFd, path: &TreePath) -> io::Result<()> {
        let names = Names::of(&dir)?;
        self.levels.push(Level { dir, path: path.clone(), names, next: 0 });
        Ok(())
    }

    /// Looks at one name in the directory that was entered last.
    fn look(&mut self, path: &TreePath) -> io::Result<Found> {
        let dir = &self.levels.last().expect("a walk that is under way").dir;
        let name = path.name();
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory
            && stat.st_nlink > 1
            && let Some(first) = self.first_name(&stat, path)
        {
            return Ok(Found { path: path.clone(), node: Node::Link(first), stat, xattrs: Vec::new() });
        }
        let dir = &self.levels.last().expect("as above").dir;
        // Names of xattrs of what cannot be opened are had by a path, and only /proc gives one that follows nothing.
        let at = || [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        let open = |more| rustix::fs::openat(dir, name, flags() | more, Mode::empty());
        let buffer = &mut self.buffer;
        let (node, xattrs) = match kind {
            FileType::Directory => {
                let below = open(OFlags::DIRECTORY)?;
                let xattrs = xattrs_of(&below, buffer)?;
                self.enter(below, path)?;
                (Node::Directory, xattrs)
            }
            FileType::RegularFile => {
                let file = open(OFlags::NONBLOCK)?;
                let xattrs = xattrs_of(&file, buffer)?;
                (Node::File(file), xattrs)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new())?;
                (Node::Symlink(target.into_bytes()), xattrs_at(&at(), buffer)?)
            }
            FileType::CharacterDevice => (Node::Special("char"), xattrs_at(&at(), buffer)?),
            FileType::BlockDevice => (Node::Special("block"), xattrs_at(&at(), buffer)?),
            FileType::Fifo => (Node::Special("fifo"), xattrs_at(&at(), buffer)?),
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a socket, which nothing here can be",
                ));
            }
        };
        Ok(Found { path: path.clone(), node, stat, xattrs })
    }

    /// Says of a path that lies too deep that this is so.
    fn explain(&self, error: io::Error) -> io::Error {
        if error.raw_os_error() != Some(Errno::MFILE.raw_os_error()) {
            return error;
        }
        let (depth, limit) = (self.levels.len(), rustix::process::getrlimit(Resource::Nofile).current);
        let limit = limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        io::Error::other(format!(
            "{depth} directories are open on the way to it, and the limit of open files is {limit}"
        ))
    }

    /// Returns the name under which a file with several was met first, or remembers this one.
    fn first_name(&mut self, stat: &Stat, path: &TreePath) -> Option<TreePath> {
        let key = (stat.st_dev, stat.st_ino);
        let Some((first, left)) = self.first_names.get_mut(&key) else {
            self.first_names.insert(key, (path.clone(), *stat));
            return None;
        };
        let first = first.clone();
        // Counted in a copy of what the kernel said, as each architecture has another type for it.
        left.st_nlink -= 1;
        if left.st_nlink == 1 {
            self.first_names.remove(&key);
        }
        Some(first)
    }
}

impl Iterator for Walk {
    type Item = Result<Found, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = loop {
            let level = self.levels.last_mut()?;
            match level.names.places.get(level.next) {
                Some(place) => {
                    level.next += 1;
                    break level.path.join(slice(&level.names.bytes, *place));
                }
                None => drop(self.levels.pop()),
            }
        };
        let path = path.expect("a name that the kernel gave is one part of a path");
        let found = self.look(&path).map_err(|error| self.explain(error));
        Some(found.map_err(|source| WalkError { path, source }))
    }
}

/// How everything is opened here: to be read, itself and not what it links to.
pub(crate) fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Opens a directory by parts below another one, following no link.
///
/// # Errors
/// One of them is not there, or is no directory.
pub(crate) fn open_dir(dir: impl rustix::fd::AsFd, path: &str) -> io::Result<OwnedFd> {
    let mut at = rustix::fs::openat(dir, ".", flags() | OFlags::DIRECTORY, Mode::empty())?;
    for part in path.split('/') {
        at = rustix::fs::openat(&at, part, flags() | OFlags::DIRECTORY, Mode::empty())?;
    }
    Ok(at)
}

/// Opens a directory of the host, following links.
///
/// # Errors
/// It is not there, or is no directory.
pub(crate) fn open_host(path: &std::path::Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

fn xattrs_of(file: &OwnedFd, buffer: &mut [u8]) -> io::Result<Xattrs> {
    let Some(names) = listed(rustix::fs::flistxattr(file, &mut buffer[..]), buffer)? else {
        return Ok(Vec::new());
    };
    collect(names, |name| {
        let length = rustix::fs::fgetxattr(file, name, &mut buffer[..])?;
        Ok(buffer[..length].to_vec())
    })
}

fn xattrs_at(path: &[u8], buffer: &mut [u8]) -> io::Result<Xattrs> {
    let Some(names) = listed(rustix::fs::llistxattr(path, &mut buffer[..]), buffer)? else {
        return Ok(Vec::new());
    };
    collect(names, |name| {
        let length = rustix::fs::lgetxattr(path, name, &mut buffer[..])?;
        Ok(buffer[..length].to_vec())
    })
}

/// Returns the list of names, or nothing where there are none, or the file system has none for anything.
fn listed(length: Result<usize, Errno>, buffer: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match length {
        Ok(0) | Err(Errno::NOTSUP) => Ok(None),
        Ok(length) => Ok(Some(buffer[..length].to_vec())),
        Err(error) => Err(error.into()),
    }
}

fn collect(names: Vec<u8>, mut get: impl FnMut(&[u8]) -> io::Result<Vec<u8>>) -> io::Result<Xattrs> {
    let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| Ok((name.to_vec(), get(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_come_in_the_order_of_their_parts_and_names_of_one_file_once() {
        let top = std::env::temp_dir().join(format!("ociseed-walk-{}", std::process::id()));
        fs::create_dir_all(top.join("a/b")).expect("a directory");
        for (file, bytes) in [("a-b", "1"), ("a/b/c", "22"), ("B", "")] {
            fs::write(top.join(file), bytes).expect("a file");
        }
        for (at, first) in [("z", "a-b"), ("a/b/d", "a-b")] {
            fs::hard_link(top.join(first), top.join(at)).expect("a link");
        }
        symlink("nowhere", top.join("a/z")).expect("a link");
        let walk = Walk::new(open_host(&top).expect("there")).expect("read");
        let found: Vec<_> = walk
            .map(|found| {
                let line = found.expect("read").line();
                let detail = line.target.or(line.link).unwrap_or_default();
                format!("{} {} {detail}{:?}", line.path, line.kind, line.size)
            })
            .collect();
        fs::remove_dir_all(&top).expect("removed");
        let expected = [
            "/B file Some(0)",
            "/a directory None",
            "/a/b directory None",
            "/a/b/c file Some(2)",
            "/a/b/d file Some(1)",
            "/a/z symlink nowhereNone",
            "/a-b link /a/b/dNone",
            "/z link /a/b/dNone",
        ];
        assert_eq!(found, expected);
    }
}
