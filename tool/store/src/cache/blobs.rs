//! Blobs of a cache: known to be right by their stamps, or read again.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use cap_std::fs::{Dir, File, MetadataExt, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use ociseed_spec::{Digest, Hasher, Stamp};

use super::dir::{Cache, read_checked, write_checked};
use super::{temporary, wire};
use crate::BlobFile;

/// Blobs are copied in pieces of this size.
const PIECE: usize = 1 << 20;
/// What blobs have where they are placed.
const MODE: u32 = 0o644;

impl Cache {
    /// Finds a blob whose bytes are known to be right; one that is not is removed.
    pub fn blob(&self, digest: &Digest, size: u64) -> Option<BlobFile> {
        let path = blob_path(digest);
        let stamp = self.stamp_of(&path).ok()?;
        if !self.is_known(digest, &stamp) {
            if self.check(digest, size, &path).ok()? {
                self.know(digest, &path);
            } else {
                let _ = self.dir.remove_file(&path);
                return None;
            }
        }
        self.mark_used(&stamp_path(digest));
        Some(BlobFile { dir: Arc::clone(&self.dir), path, size })
    }

    /// Tells whether a file is the cached blob itself under another name, and that is known to be right.
    pub fn is_blob(&self, digest: &Digest, stamp: &Stamp) -> bool {
        self.is_known(digest, stamp)
            && self.stamp_of(&blob_path(digest)).is_ok_and(|blob| same_content(&blob, stamp))
    }

    /// Takes a finished file as a blob; it must have this digest.
    ///
    /// It becomes another name of the file where the file system can do that, or shares its bytes, or is copied.
    ///
    /// # Errors
    /// As the operating system says; the cache has the blob or has it not.
    pub fn insert(&self, digest: &Digest, dir: &Dir, file: &Path) -> io::Result<()> {
        let path = blob_path(digest);
        if self.stamp_of(&path).is_ok_and(|stamp| self.is_known(digest, &stamp)) {
            return Ok(());
        }
        temporary::make_parent(&self.dir, &path)?;
        let source = dir.open(file)?;
        let cloned = temporary::write(&self.dir, &path, |new| clone_file(&source, new));
        if cloned.is_err() && temporary::link(dir, file, &source, &self.dir, &path).is_err() {
            temporary::write(&self.dir, &path, |new| copy_checked(source, new, digest))?;
        }
        self.know(digest, &path);
        Ok(())
    }

    /// Puts a blob in a place where nothing is yet, as [`Cache::insert`] takes it, with mode 0644.
    ///
    /// # Errors
    /// As the operating system says; the bytes are not what the digest says.
    pub fn place(&self, blob: &BlobFile, digest: &Digest, dir: &Dir, file: &Path) -> io::Result<()> {
        let source = blob.dir.open(&blob.path)?;
        let mut options = OpenOptions::new();
        let mut create = || dir.open_with(file, options.write(true).create_new(true).mode(MODE));
        let mut new = create()?;
        if clone_file(&source, &new).is_err() {
            dir.remove_file(file)?;
            // Somebody may have changed the mode of another name of it.
            let has_mode = source.metadata()?.mode() & 0o7777 == MODE
                || source.set_permissions(Permissions::from_mode(MODE)).is_ok();
            if has_mode && blob.dir.hard_link(&blob.path, dir, file).is_ok() {
                return Ok(());
            }
            new = create()?;
            copy_checked(source, &mut new, digest)?;
        }
        new.set_permissions(Permissions::from_mode(MODE))
    }

    /// Reads the blobs again that this process took for right, and removes those that are not; returns how many there are,
    /// with those that others removed or replaced meanwhile.
    pub fn forget_damaged(&self) -> usize {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.len();
        known.retain(|digest, stamp| {
            let path = blob_path(digest);
            if !self.stamp_of(&path).is_ok_and(|found| same_content(&found, stamp)) {
                return false;
            }
            let right = self.check(digest, stamp.size, &path).unwrap_or(false);
            if !right {
                let _ = self.dir.remove_file(stamp_path(digest));
                let _ = self.dir.remove_file(path);
            }
            right
        });
        before - known.len()
    }

    /// Writes down what the file system now says of blobs that were used, as new names change that.
    ///
    /// # Errors
    /// As the operating system says; a blob that nothing is known of is read again.
    pub fn settle(&self) -> io::Result<()> {
        for (digest, known) in &*self.known.lock().unwrap_or_else(PoisonError::into_inner) {
            let Ok(stamp) = self.stamp_of(&blob_path(digest)) else { continue };
            let path = stamp_path(digest);
            let recorded = self.recorded_stamp(digest);
            if same_content(&stamp, known) && recorded != Some(stamp) {
                write_checked(&self.dir, &path, &wire::encode_stamp(&stamp, &self.boot))?;
            }
        }
        Ok(())
    }

    fn stamp_of(&self, path: &Path) -> io::Result<Stamp> {
        let metadata = self.dir.symlink_metadata(path)?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(stamp(&metadata))
    }

    /// Tells whether a file of this stamp was found right, by this process or by one before it.
    fn is_known(&self, digest: &Digest, stamp: &Stamp) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(digest).is_some_and(|known| same_content(known, stamp)) {
            return true;
        }
        let right = self.recorded_stamp(digest) == Some(*stamp);
        if right {
            known.insert(*digest, *stamp);
        }
        right
    }

    /// Returns the stamp that a blob had when it was last known to be right; none of before the machine was booted, as
    /// what was not on the disk by then is lost.
    fn recorded_stamp(&self, digest: &Digest) -> Option<Stamp> {
        wire::decode_stamp(&read_checked(&self.dir, &stamp_path(digest))?, &self.boot)
    }

    fn know(&self, digest: &Digest, path: &Path) {
        if let Ok(stamp) = self.stamp_of(path) {
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, stamp);
        }
    }

    /// Reads a blob.
    fn check(&self, digest: &Digest, size: u64, path: &Path) -> io::Result<bool> {
        let file = self.dir.open(path)?;
        let before = stamp(&file.metadata()?);
        let mut hasher = Hasher::new();
        hasher.read(&file)?;
        // Others may give it names meanwhile.
        let unchanged = same_content(&stamp(&file.metadata()?), &before);
        Ok(unchanged && hasher.size() == size && hasher.finish() == *digest)
    }
}

/// Tells whether two stamps of one file differ at most by names that it got or lost.
///
/// Good enough for a process that wrote or read the file itself moments ago.
fn same_content(one: &Stamp, other: &Stamp) -> bool {
    Stamp { changed: other.changed, ..*one } == *other
}

pub(super) fn blob_path(digest: &Digest) -> PathBuf {
    PathBuf::from(format!("blobs/sha256/{}", digest.hex()))
}

pub(super) fn stamp_path(digest: &Digest) -> PathBuf {
    Path::new("stamps").join(digest.hex())
}

/// Returns what the file system says of a file.
fn stamp(metadata: &cap_std::fs::Metadata) -> Stamp {
    let (modified, changed) =
        ((metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec()));
    Stamp::new(metadata.dev(), metadata.ino(), metadata.size(), modified, changed)
}

/// Shares all bytes of a file, where the file system can: each file can still be written without the other.
fn clone_file(from: &File, to: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(to, from)?)
}

fn copy_checked(mut from: File, to: &mut File, digest: &Digest) -> io::Result<()> {
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE];
    loop {
        let count = from.read(&mut piece)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        to.write_all(&piece[..count])?;
    }
    let found = hasher.finish();
    if found == *digest {
        Ok(())
    } else {
        let text = format!("expected {digest}, found {found}");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

#[cfg(test)]
mod tests {
    use cap_std::ambient_authority;

    use super::*;

    #[test]
    fn a_copy_that_is_not_what_its_digest_says_is_refused() {
        let path = std::env::temp_dir().join(format!("ociseed-copies-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("can be made");
        let dir = Dir::open_ambient_dir(&path, ambient_authority()).expect("is there");
        dir.write("from", "bytes").expect("can be written");
        let copy = |digest: Digest| {
            let mut to = dir.create("to").expect("can be made");
            copy_checked(dir.open("from").expect("is there"), &mut to, &digest)
        };
        let refused = copy(Digest::of(b"others")).map_err(|error| error.to_string());
        let copied = copy(Digest::of(b"bytes")).map(|()| dir.read("to").expect("is there"));
        std::fs::remove_dir_all(&path).expect("can go");
        let expected = format!("expected {}, found {}", Digest::of(b"others"), Digest::of(b"bytes"));
        assert_eq!(refused, Err(expected));
        assert_eq!(copied.expect("the right digest"), b"bytes");
    }
}
