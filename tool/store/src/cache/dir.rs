//! The directory of a cache, and its small files.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cap_std::fs::Dir;
use cap_std::time::SystemTime as CapSystemTime;
use ociseed_spec::{Digest, Stamp};

use super::temporary;

/// The directory of this layout of the cache; another layout gets another one.
const VERSION: &str = "v1";
/// What was used less long ago than this is not marked as used again: garbage collection does not need to know better.
const USED_AGAIN: Duration = Duration::from_secs(3600);
/// A file that says of a million others what the file system said has less.
const MAX_SMALL: u64 = 1 << 30;

/// Kinds of small files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What a step made, by its key.
    Action,
    /// What the last run of a step read, by the digest of its name.
    Memory,
    /// What an output directory has, by the digest of its path.
    Outputs,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Action, Self::Memory, Self::Outputs];

    pub(super) fn directory(self) -> &'static str {
        match self {
            Self::Action => "actions",
            Self::Memory => "memory",
            Self::Outputs => "outputs",
        }
    }

    fn path(self, name: &Digest) -> PathBuf {
        Path::new(self.directory()).join(name.hex())
    }
}

/// A cache; nobody else's files are ever changed in place.
#[derive(Debug)]
pub struct Cache {
    pub(super) dir: Arc<Dir>,
    /// Blobs that this process knows to be right, and their stamps when it last looked.
    pub(super) known: Mutex<BTreeMap<Digest, Stamp>>,
    /// Tells this boot of the machine from others.
    pub(super) boot: String,
}

impl Cache {
    /// Opens the cache in a directory; where nothing can be written, what is there is read.
    ///
    /// `boot` tells this boot of the machine from others: a crash may lose what was written before, so what the file system
    /// said of blobs and outputs holds for one boot; where it is empty, for this process alone.
    ///
    /// # Errors
    /// There is no cache, and none can be made.
    pub fn open(dir: &Dir, boot: impl Into<String>) -> io::Result<Self> {
        let made = dir.create_dir_all(VERSION);
        let cache = Self {
            dir: Arc::new(dir.open_dir(VERSION).map_err(|error| made.err().unwrap_or(error))?),
            known: Mutex::new(BTreeMap::new()),
            boot: boot.into(),
        };
        temporary::clean(&cache.dir);
        Ok(cache)
    }

    /// Reads a small file; nothing where it is missing or damaged.
    pub fn read(&self, kind: Kind, name: &Digest) -> Option<Vec<u8>> {
        let path = kind.path(name);
        let payload = read_checked(&self.dir, &path)?;
        self.mark_used(&path);
        Some(payload)
    }

    /// Writes a small file, in place of the one that is there.
    ///
    /// # Errors
    /// As the operating system says; what was there stays.
    pub fn write(&self, kind: Kind, name: &Digest, payload: &[u8]) -> io::Result<()> {
        write_checked(&self.dir, &kind.path(name), payload)
    }

    /// Notes that a file was of use, for garbage collection; best effort.
    pub(super) fn mark_used(&self, path: &Path) {
        let Ok(metadata) = self.dir.metadata(path) else { return };
        let now = SystemTime::now();
        let recent =
            |time: CapSystemTime| now.duration_since(time.into_std()).is_ok_and(|age| age < USED_AGAIN);
        if !metadata.modified().is_ok_and(recent) {
            let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
            let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
            // A cache that cannot be written is read all the same.
            let _ = rustix::fs::utimensat(&*self.dir, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        }
    }
}

/// Reads what [`write_checked`] wrote; nothing where it is missing or damaged.
pub(super) fn read_checked(dir: &Dir, path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.open(path).ok()?.take(MAX_SMALL).read_to_end(&mut bytes).ok()?;
    let (head, payload) = bytes.split_at_checked(HEAD)?;
    let hex = std::str::from_utf8(head.strip_suffix(b"\n")?).ok()?;
    (Digest::from_hex(hex).ok()? == Digest::of(payload)).then(|| payload.to_vec())
}

/// The digest of what follows, in hexadecimal, and a line end.
const HEAD: usize = 65;

/// Writes a small file behind its digest.
pub(super) fn write_checked(dir: &Dir, path: &Path, payload: &[u8]) -> io::Result<()> {
    let head = format!("{}\n", Digest::of(payload).hex());
    temporary::write(dir, path, |file| {
        file.write_all(head.as_bytes())?;
        file.write_all(payload)
    })
}
