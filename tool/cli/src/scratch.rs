//! Files for what must lie somewhere while a step works, and has no name.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::fs::{File, OpenOptions};
use ociseed_tree::{ArchiveError, SpoolError, Tree, read_archive_at, spool_at};

use crate::context::{Cancellation, cancellation};
use crate::failure::Failure;
use crate::output::OutDir;

/// Files begin with this while they have a name.
pub(crate) const PREFIX: &str = ".ociseed-scratch-";
/// Numbers files, so that threads do not meet.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes such files beside the output or in a stage: on the file system of the output, which has room for what the output is made of.
#[derive(Debug, Clone)]
pub(crate) struct Scratch {
    dir: OutDir,
    /// Files of archives that nobody writes to now: a process may have some thousand open, and a seed tens of thousands of layers.
    spools: Arc<Mutex<Vec<Spool>>>,
    /// Of the step that they are for: other threads of it make files, too.
    cancellation: Cancellation,
}

/// A file and where the last archive in it ends.
type Spool = (Arc<File>, u64);

/// What the next archive in a file begins at a multiple of, so that zeros in it can stay holes.
const BLOCK: u64 = 4096;

impl Scratch {
    /// Makes files in this directory.
    pub(crate) fn new(out: OutDir) -> Self {
        Self { dir: out, spools: Arc::default(), cancellation: cancellation() }
    }

    /// Makes files in the system's directory for such (`TMPDIR`).
    pub(crate) fn temporary() -> Result<Self, Failure> {
        OutDir::open(&std::env::temp_dir()).map(Self::new)
    }

    /// Makes an empty file to write and read, which goes when it is closed.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.cancellation.check()?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}{}-{number}", std::process::id());
            let mut options = OpenOptions::new();
            match self.dir.dir().open_with(&name, options.read(true).write(true).create_new(true)) {
                // Another process namespace has this number too.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => {
                    let file = opened?;
                    return match self.dir.dir().remove_file(&name) {
                        // Another process took it for left over.
                        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                        _ => Ok(file),
                    };
                }
            }
        }
    }

    /// Decompresses an archive, `size` compressed bytes, and reads it; `shown` is what messages call it.
    pub(crate) fn archive(&self, archive: impl Read, size: u64, shown: &Path) -> Result<Tree, ArchiveError> {
        let fail = |source| ArchiveError::Spool { archive: shown.to_path_buf(), source };
        let (file, at) = match self.spools.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(spool) => spool,
            None => (Arc::new(self.file().map_err(SpoolError::Write).map_err(fail)?), 0),
        };
        let plain = spool_at(self.cancellation.over(archive), size, &file, at).map_err(fail)?;
        let tree = read_archive_at(Arc::clone(&file), at, plain, shown.into(), &mut || self.file())?;
        let end = (at + plain).next_multiple_of(BLOCK);
        self.spools.lock().unwrap_or_else(PoisonError::into_inner).push((file, end));
        Ok(tree)
    }
}
