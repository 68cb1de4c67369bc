//! Walks a directory in the order of the list: each directory before what is in it, names by their bytes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, openat, statx,
};
use serde_json::Value;

use crate::{entry, text};

/// What was found: mount points that were not entered, and all else.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) mounts: Vec<String>,
    pub(crate) entries: Vec<Value>,
    /// The first path of each file that has several.
    first: BTreeMap<(u32, u32, u64), String>,
}

/// Lists a directory and all below it that lies on the same mount.
pub(crate) fn list(root: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    listing.top(root).map_err(|error| at(&text::escape(root.as_os_str().as_bytes()), &error))?;
    Ok(listing)
}

impl Listing {
    fn top(&mut self, root: &Path) -> io::Result<()> {
        let directory = open_directory(CWD, root.as_os_str().as_bytes())?;
        let status = status_of(&directory, b".")?;
        self.entries.push(entry::describe(&directory, b".", "/", &status)?);
        self.below(&directory, "")
    }

    /// Lists what is in an open directory; errors name the path already.
    fn below(&mut self, directory: &OwnedFd, parent: &str) -> io::Result<()> {
        let own = if parent.is_empty() { "/" } else { parent };
        for name in names_in(directory).map_err(|error| at(own, &error))? {
            let path = format!("{parent}/{}", text::escape(&name));
            let is_directory = self.add(directory, &name, &path).map_err(|error| at(&path, &error))?;
            if is_directory {
                let inner = open_directory(directory, &name).map_err(|error| at(&path, &error))?;
                self.below(&inner, &path)?;
            }
        }
        Ok(())
    }

    /// Lists one name, and tells whether it is a directory to enter.
    fn add(&mut self, directory: &OwnedFd, name: &[u8], path: &str) -> io::Result<bool> {
        let status = status_of(directory, name)?;
        if status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
            self.mounts.push(path.to_owned());
            return Ok(false);
        }
        let is_directory = FileType::from_raw_mode(status.stx_mode.into()).is_dir();
        let inode = (status.stx_dev_major, status.stx_dev_minor, status.stx_ino);
        if let Some(first) = self.first.get(&inode) {
            self.entries.push(entry::link(path, first));
            return Ok(false);
        }
        if status.stx_nlink > 1 && !is_directory {
            self.first.insert(inode, path.to_owned());
        }
        self.entries.push(entry::describe(directory, name, path, &status)?);
        Ok(is_directory)
    }
}

fn open_directory(parent: impl std::os::fd::AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

fn status_of(directory: &OwnedFd, name: &[u8]) -> io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let status = statx(directory, name, flags, StatxFlags::BASIC_STATS)?;
    // Device numbers would not do: a bind mount can have those of the directory that it is mounted in.
    if !status.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(io::Error::other("the kernel does not say what is a mount point (needs Linux 5.8)"));
    }
    Ok(status)
}

fn names_in(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn at(path: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{path}`: {error}"))
}
