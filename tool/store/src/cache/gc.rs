//! How much a cache holds, and making it hold less.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ociseed_spec::Digest;

use super::blobs::{blob_path, stamp_path};
use super::dir::{Cache, Kind};

/// What a cache holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many blobs.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// How many records of steps and outputs.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
}

/// What garbage collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many blobs and records.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that goes or stays as a whole.
struct Item {
    used: SystemTime,
    /// Its files: what counts first.
    paths: Vec<PathBuf>,
    bytes: u64,
}

impl Cache {
    /// Counts what there is.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for item in self.blob_items()? {
            usage.blobs += 1;
            usage.blob_bytes += item.bytes;
        }
        for item in self.record_items()? {
            usage.records += 1;
            usage.record_bytes += item.bytes;
        }
        Ok(usage)
    }

    /// Removes what was not used for longest until at most `most` bytes are left.
    ///
    /// Builds that run meanwhile go on: what they miss they make.
    ///
    /// # Errors
    /// The cache cannot be read or written.
    pub fn collect_garbage(&self, most: u64) -> io::Result<Removed> {
        let mut items = self.blob_items()?;
        items.extend(self.record_items()?);
        items.sort_by(|one, other| (one.used, &one.paths).cmp(&(other.used, &other.paths)));
        let mut left: u64 = items.iter().map(|item| item.bytes).sum();
        let mut removed = Removed::default();
        for item in items {
            if left <= most {
                break;
            }
            for path in &item.paths {
                match self.dir.remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            left -= item.bytes;
            removed.files += 1;
            removed.bytes += item.bytes;
        }
        Ok(removed)
    }

    fn blob_items(&self) -> io::Result<Vec<Item>> {
        let names = self.names(Path::new("blobs/sha256"))?;
        let items = names.iter().filter_map(|name| Digest::from_hex(name).ok()).map(|digest| {
            let (blob, stamp) = (blob_path(&digest), stamp_path(&digest));
            // Of a blob whose stamp is gone nothing is known: it is the first to go.
            let used = self.modified(&stamp).unwrap_or(SystemTime::UNIX_EPOCH);
            let bytes = self.dir.symlink_metadata(&blob).map_or(0, |metadata| metadata.len());
            Item { used, bytes, paths: vec![blob, stamp] }
        });
        Ok(items.collect())
    }

    fn record_items(&self) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for kind in Kind::ALL {
            let directory = Path::new(kind.directory());
            for name in self.names(directory)? {
                let path = directory.join(name);
                let bytes = self.dir.symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                let used = self.modified(&path).unwrap_or(SystemTime::UNIX_EPOCH);
                items.push(Item { used, bytes, paths: vec![path] });
            }
        }
        Ok(items)
    }

    fn modified(&self, path: &Path) -> Option<SystemTime> {
        self.dir.symlink_metadata(path).ok()?.modified().ok().map(cap_std::time::SystemTime::into_std)
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match self.dir.read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }
}
