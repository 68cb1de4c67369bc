//! Files for what must lie somewhere while a step works, and has no name.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use cap_std::fs::{File, OpenOptions};

use crate::failure::Failure;
use crate::output::OutDir;

/// Numbers files, so that threads do not meet.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes such files in a stage: on the file system of the output, which has room for what the output is made of.
#[derive(Debug, Clone)]
pub(crate) struct Scratch(OutDir);

impl Scratch {
    /// Makes files in this directory of a stage.
    pub(crate) fn new(out: OutDir) -> Self {
        Self(out)
    }

    /// Makes files in the system's directory for such (`TMPDIR`).
    pub(crate) fn temporary() -> Result<Self, Failure> {
        OutDir::open(&std::env::temp_dir()).map(Self)
    }

    /// Makes an empty file to write and read, which goes when it is closed.
    pub(crate) fn file(&self) -> io::Result<File> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!(".ociseed-scratch-{}-{number}", std::process::id());
            let mut options = OpenOptions::new();
            match self.0.dir().open_with(&name, options.read(true).write(true).create_new(true)) {
                // Another process namespace has this number too.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => {
                    let file = opened?;
                    self.0.dir().remove_file(&name)?;
                    return Ok(file);
                }
            }
        }
    }
}
