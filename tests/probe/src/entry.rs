//! What the list says about one path: its kind, its metadata, its content and its extended attributes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Statx, openat, readlinkat};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::text;

/// The kernel's limit for the value of an extended attribute, and for the list of their names (`XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 65536;

/// Describes what a name in an open directory is; `path` is how the list calls it.
pub(crate) fn describe(directory: &OwnedFd, name: &[u8], path: &str, status: &Statx) -> io::Result<Value> {
    let file_type = FileType::from_raw_mode(status.stx_mode.into());
    let mut entry = Map::new();
    entry.insert("path".into(), path.into());
    entry.insert("kind".into(), kind(file_type).into());
    entry.insert("mode".into(), format!("{:04o}", status.stx_mode & 0o7777).into());
    entry.insert("uid".into(), status.stx_uid.into());
    entry.insert("gid".into(), status.stx_gid.into());
    entry.insert("mtime".into(), text::time(status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec).into());
    match file_type {
        FileType::RegularFile => {
            let (size, digest) = content(directory, name)?;
            entry.insert("size".into(), size.into());
            entry.insert("digest".into(), format!("sha256:{digest}").into());
        }
        FileType::Symlink => {
            let target = readlinkat(directory, name, Vec::new())?;
            entry.insert("target".into(), text::escape(target.as_bytes()).into());
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            entry.insert("major".into(), status.stx_rdev_major.into());
            entry.insert("minor".into(), status.stx_rdev_minor.into());
        }
        _ => {}
    }
    let xattrs = xattrs(directory, name)?;
    if !xattrs.is_empty() {
        entry.insert("xattrs".into(), json!(xattrs));
    }
    Ok(entry.into())
}

/// Describes a further name of a file whose first one was described.
pub(crate) fn link(path: &str, first: &str) -> Value {
    json!({ "kind": "link", "link": first, "path": path })
}

fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::CharacterDevice => "char",
        FileType::BlockDevice => "block",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::Unknown => "unknown",
    }
}

/// Reads a file: how many bytes there were, not what its inode says, and their sha256.
fn content(directory: &OwnedFd, name: &[u8]) -> io::Result<(u64, String)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, name, flags, Mode::empty())?);
    let mut hash = HashWriter(Sha256::new());
    let size = io::copy(&mut file, &mut hash)?;
    Ok((size, text::hex(&hash.0.finalize())))
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the extended attributes of a name, but not the label that the host's policy puts on every file.
fn xattrs(directory: &OwnedFd, name: &[u8]) -> io::Result<BTreeMap<String, String>> {
    // Only these calls work on everything, and they take a path, not a directory and a name. This path is short however
    // deep the directory lies, and its last part is not followed.
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut names = vec![0; XATTR_MAX];
    let length = match rustix::fs::llistxattr(&*path, &mut *names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for attribute in names[..length].split(|byte| *byte == 0) {
        if attribute.is_empty() || attribute == b"security.selinux" {
            continue;
        }
        let mut value = vec![0; XATTR_MAX];
        let length = rustix::fs::lgetxattr(&*path, attribute, &mut *value)?;
        found.insert(text::escape(attribute), text::hex(&value[..length]));
    }
    Ok(found)
}
