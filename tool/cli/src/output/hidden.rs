//! One file that is there whole or not at all.
//!
//! It needs no directory: it is made beside its place under a hidden name, and is its own lock. On ext4 what was made and removed
//! lately makes each file that follows slower, and a worker makes thousands.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use cap_std::fs::{File, MetadataExt as _, OpenOptions};
use rustix::fs::FlockOperation;

use super::{NEXT_HIDDEN, OutDir, forget, hidden, write_failure, write_to};
use crate::context::cancellation;
use crate::failure::Failure;

/// Hidden files begin with this.
pub(super) const PREFIX: &str = ".ociseed-file-";

/// A hidden file, locked as long as its process writes to it; removed when dropped, unless it got its name.
#[derive(Debug)]
pub(super) struct HiddenFile<'a> {
    parent: &'a OutDir,
    name: String,
    /// As signals know it.
    absolute: PathBuf,
    /// Its lock; what is written goes to another one of it.
    file: File,
    placed: bool,
}

impl<'a> HiddenFile<'a> {
    /// Makes one, and removes those that killed processes left.
    pub(super) fn new(parent: &'a OutDir) -> Result<Self, Failure> {
        parent.remove_stale_once();
        for _ in 0..100 {
            let number = NEXT_HIDDEN.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", std::process::id());
            match Self::create(parent, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(write_failure(&parent.shown(&name), &error)),
                Ok(hidden) => return Ok(hidden),
            }
        }
        Err(parent.too_many())
    }

    fn create(parent: &'a OutDir, name: &str) -> io::Result<Self> {
        let absolute = parent.absolute(name)?;
        // Held while the file is made, so that a signal finds it in the list or not there at all.
        let mut list = hidden();
        let file = parent.dir.open_with(name, OpenOptions::new().write(true).create_new(true))?;
        list.push(absolute.clone());
        drop(list);
        // From here on its drop removes it.
        let made = Self { parent, name: name.to_owned(), absolute, file, placed: false };
        rustix::fs::flock(&made.file, FlockOperation::LockExclusive)?;
        if made.file.metadata()?.nlink() == 0 {
            // Another process took it for left over before it was locked: the next name is tried.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(made)
    }

    /// Writes it, and gives it its name, under which a file that is there goes.
    pub(super) fn write<T>(
        mut self,
        name: &OsStr,
        content: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let path = self.parent.shown(name);
        let fail = |error: io::Error| write_failure(&path, &error);
        let value = write_to(self.file.try_clone().map_err(fail)?, &path, content)?;
        cancellation().check().map_err(fail)?;
        self.parent.dir.rename(&self.name, &self.parent.dir, name).map_err(fail)?;
        self.placed = true;
        Ok(value)
    }
}

impl Drop for HiddenFile<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = self.parent.dir.remove_file(&self.name);
        }
        forget(&self.absolute);
    }
}

impl OutDir {
    /// Removes a hidden file whose process is gone, which its lock tells.
    pub(super) fn remove_stale_file(&self, name: &str) {
        // Best effort: what cannot be removed hinders nobody.
        let Ok(file) = self.dir.open(name) else { return };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        // By now it may have its name, and another one this.
        let same = |metadata: &cap_std::fs::Metadata| {
            self.dir
                .symlink_metadata(name)
                .is_ok_and(|named| (named.dev(), named.ino()) == (metadata.dev(), metadata.ino()))
        };
        if file.metadata().is_ok_and(|metadata| same(&metadata)) {
            let _ = self.dir.remove_file(name);
        }
    }
}
