//! Copies the skeleton of a store, and checks the store by its tree digest meanwhile.
//!
//! Directories, files and symbolic links are all that a skeleton has. What is copied is not in its place yet, so that a copy
//! that turns out wrong harms nobody.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use ociseed_spec::containerd_root::SKELETON;
use ociseed_spec::listing::Line;
use ociseed_spec::lock::{LockedFile, LockedStore};
use ociseed_spec::{Digest, Hasher, TreePath};
use rustix::fs::{AtFlags, Mode, OFlags, Stat};

use super::walk::{Found, Node, Walk, WalkError, flags, owner};
use crate::collect::set;

/// What is read and written at once.
const PIECE: usize = 64 << 10;

/// Says why there is no copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    /// The store cannot be read.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// The store is not what the lock says.
    #[error("the store is not what the lock says")]
    Wrong(Vec<String>),
    /// The copy cannot be written.
    #[error("cannot write the copy of `{0}`")]
    Write(TreePath, #[source] io::Error),
}

/// Copies the skeleton of the store in `dir` into the empty directory `stage`; returns the bytes of its files.
///
/// # Errors
/// The store is not the lock's, or something cannot be read or written.
pub(crate) fn copy(dir: OwnedFd, store: &LockedStore, stage: &OwnedFd) -> Result<u64, CopyError> {
    let top = rustix::fs::openat(stage, ".", flags() | OFlags::DIRECTORY, Mode::empty());
    let top = top.map_err(|error| CopyError::Write(TreePath::root(), error.into()))?;
    let mut copying = Copying {
        store,
        listing: Hasher::new(),
        missing: set(store.files.keys().map(String::as_str)),
        problems: Vec::new(),
        levels: vec![top],
        copied: 0,
        buffer: vec![0; PIECE],
    };
    for found in Walk::new(dir)? {
        copying.take(&found?)?;
    }
    copying.finish()
}

struct Copying<'a> {
    store: &'a LockedStore,
    listing: Hasher,
    missing: BTreeSet<&'a str>,
    problems: Vec<String>,
    /// The directories of the copy from its top to where the walk is.
    levels: Vec<OwnedFd>,
    copied: u64,
    buffer: Vec<u8>,
}

impl Copying<'_> {
    fn take(&mut self, found: &Found) -> Result<(), CopyError> {
        let mut line = found.line();
        let depth = found.path.parts().count();
        let in_skeleton = depth > 1 && found.path.parts().next() == Some(SKELETON.as_bytes());
        let failed = |error| CopyError::Write(found.path.clone(), error);
        if in_skeleton {
            self.levels.truncate(depth - 1);
            let digest = self.make(found).map_err(failed)?;
            self.file(&mut line, digest);
        } else if let Node::File(_) = &found.node {
            self.problems.push(format!("`{}` is a file beside the skeleton", found.path));
        }
        self.listing.update(&line.encode());
        Ok(())
    }

    /// Makes a path of the copy; returns the digest of what was copied.
    fn make(&mut self, found: &Found) -> io::Result<Option<Digest>> {
        let (name, stat) = (found.path.name(), &found.stat);
        let bits = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let above = self.levels.last().expect("the top is never left");
        match &found.node {
            Node::Directory => {
                rustix::fs::mkdirat(above, name, Mode::RWXU)?;
                own(above, name, stat)?;
                let dir = rustix::fs::openat(above, name, flags() | OFlags::DIRECTORY, Mode::empty())?;
                rustix::fs::fchmod(&dir, bits)?;
                self.levels.push(dir);
            }
            Node::Symlink(target) => {
                rustix::fs::symlinkat(target.as_slice(), above, name)?;
                own(above, name, stat)?;
            }
            Node::File(file) => {
                let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut out = File::from(rustix::fs::openat(above, name, new, Mode::RUSR | Mode::WUSR)?);
                own(above, name, stat)?;
                rustix::fs::fchmod(&out, bits)?;
                return self.bytes(&mut File::from(file.try_clone()?), &mut out).map(Some);
            }
            Node::Special(_) | Node::Link(_) => {
                self.problems
                    .push(format!("`{}` is neither a directory nor a file nor a symbolic link", found.path));
            }
        }
        Ok(None)
    }

    fn bytes(&mut self, from: &mut File, to: &mut File) -> io::Result<Digest> {
        let mut hasher = Hasher::new();
        loop {
            let length = from.read(&mut self.buffer)?;
            if length == 0 {
                break;
            }
            hasher.update(&self.buffer[..length]);
            to.write_all(&self.buffer[..length])?;
        }
        self.copied += hasher.size();
        Ok(hasher.finish())
    }

    /// Holds a file against the lock.
    fn file(&mut self, line: &mut Line, digest: Option<Digest>) {
        let Some(digest) = digest else { return };
        line.digest = Some(digest);
        let path = &line.path[1..];
        self.missing.remove(path);
        self.problems.extend(wrong_file(path, self.store.files.get(path), &digest));
    }

    fn finish(mut self) -> Result<u64, CopyError> {
        self.problems.extend(self.missing.iter().map(|path| format!("`{path}` is not there")));
        let (expected, found) = (self.store.tree, self.listing.finish());
        if self.problems.is_empty() && found != expected {
            self.problems.push(format!("expected the tree digest {expected}, found {found}"));
        }
        if self.problems.is_empty() { Ok(self.copied) } else { Err(CopyError::Wrong(self.problems)) }
    }
}

/// Says what is wrong with a file of a store, if anything is; `place` is what it is called.
pub(crate) fn wrong_file(place: &str, locked: Option<&LockedFile>, digest: &Digest) -> Option<String> {
    match locked {
        None => Some(format!("`{place}` is not in the lock")),
        Some(file) if file.digest != *digest => {
            Some(format!("`{place}`: expected {}, found {digest}", file.digest))
        }
        Some(_) => None,
    }
}

/// Gives what was just made to whom it belongs, should that not be so.
fn own(above: &OwnedFd, name: &[u8], wanted: &Stat) -> io::Result<()> {
    let found = rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if owner(&found) == owner(wanted) {
        return Ok(());
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(wanted.st_uid), rustix::fs::Gid::from_raw(wanted.st_gid));
    Ok(rustix::fs::chownat(above, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Computes a digest of a directory, file or link by which equal ones are known, whatever their times and xattrs are: those
/// differ between what is in a seed and a copy of it. `None` where nothing is there.
///
/// # Errors
/// It cannot be read.
pub(crate) fn likeness(above: &OwnedFd, name: &[u8]) -> io::Result<Option<Digest>> {
    let stat = match rustix::fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut hasher = Hasher::new();
    let owner = owner(&stat);
    hasher.update(format!("{:o} {} {}\n", stat.st_mode, owner.uid, owner.gid).as_bytes());
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::Symlink => {
            hasher.update(rustix::fs::readlinkat(above, name, Vec::new())?.as_bytes());
        }
        rustix::fs::FileType::Directory => {
            let dir = rustix::fs::openat(above, name, flags() | OFlags::DIRECTORY, Mode::empty())?;
            for found in Walk::new(dir).map_err(io::Error::other)? {
                let found = found.map_err(io::Error::other)?;
                let mut line = found.line();
                (line.mtime, line.xattrs) = (None, std::collections::BTreeMap::new());
                if let Node::File(file) = found.node {
                    line.digest = Some(super::hashers::hash(&file, &mut vec![0; PIECE], &|| {})?.0);
                }
                hasher.update(&line.encode());
            }
        }
        _ => {}
    }
    Ok(Some(hasher.finish()))
}
