//! What is mounted where, as `/proc/self/mountinfo` says it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::loop_device;

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The number of its device, as text.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
    /// Its file system, in Linux's word.
    pub(crate) kind: String,
    /// The options of this mount, and not of its file system.
    pub(crate) options: String,
    /// What is mounted there: a device, a file, or a word.
    pub(crate) source: PathBuf,
}

/// Lists all mounts, later ones behind earlier ones.
///
/// # Errors
/// `/proc` is not there.
pub(crate) fn all() -> io::Result<Vec<Mount>> {
    let bytes = std::fs::read("/proc/self/mountinfo")?;
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// Returns the file behind a block device or a mount of a file, by a device's number.
pub(crate) fn file_behind(device: u64) -> Option<PathBuf> {
    if is_loop(device) {
        return file_of_loop(device);
    }
    // The text is what the one who mounted it said, and only EROFS takes a file there.
    let number = number(device);
    let mounts = all().ok()?;
    let mount = mounts.into_iter().rev().find(|mount| mount.device == number)?;
    let is_file = mount.kind == "erofs" && mount.source.is_absolute() && mount.source.is_file();
    is_file.then_some(mount.source)
}

/// Tells whether a device is one that holds a file.
pub(crate) fn is_loop(device: u64) -> bool {
    sys(device).join("loop").exists()
}

/// Finds the file of a loop device. The path that Linux shows may lead to another one by now, or to none.
fn file_of_loop(device: u64) -> Option<PathBuf> {
    let shown = std::fs::read(sys(device).join("loop/backing_file")).ok()?;
    let path = path_of(shown.trim_ascii_end().to_vec());
    let found = std::fs::metadata(&path).ok()?;
    let held = loop_device::file_of(&File::open(node(device)?).ok()?).ok()?;
    (held == (found.dev(), found.ino())).then_some(path)
}

/// Returns the path of a block device; those of file systems that are on none have no such device.
pub(crate) fn node(device: u64) -> Option<PathBuf> {
    let uevent = std::fs::read_to_string(sys(device).join("uevent")).ok()?;
    let name = uevent.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(Path::new("/dev").join(name))
}

fn sys(device: u64) -> PathBuf {
    Path::new("/sys/dev/block").join(number(device))
}

/// Writes the number of a device as Linux does.
pub(crate) fn number(device: u64) -> String {
    format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
}

/// Returns what is mounted last at a place.
///
/// # Errors
/// As [`all`].
pub(crate) fn at(point: &Path) -> io::Result<Option<Mount>> {
    Ok(all()?.into_iter().rev().find(|mount| mount.point == point))
}

/// A line: `36 35 98:0 /root /point options [tags]... - type source options` (proc_pid_mountinfo(5)).
fn parse(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|byte| *byte == b' ');
    let device = str::from_utf8(words.nth(2)?).ok()?.to_owned();
    let point = unescape(words.nth(1)?);
    let options = String::from_utf8_lossy(words.next()?).into_owned();
    words.find(|word| *word == b"-")?;
    let kind = str::from_utf8(words.next()?).ok()?.to_owned();
    Some(Mount { device, point, kind, options, source: unescape(words.next()?) })
}

/// Blanks, tabs, newlines and backslashes are three octal digits behind a backslash.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, more)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| more.get(..3)).flatten();
        match octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[3..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    path_of(bytes)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whatever_tags_they_have() {
        let mount = |device: &str, point: &str, kind: &str, options: &str, source: &str| {
            let (device, kind, options) = (device.to_owned(), kind.to_owned(), options.to_owned());
            Some(Mount { device, point: point.into(), kind, options, source: source.into() })
        };
        let cases: [(&str, Option<Mount>); 4] = [
            (
                "36 35 98:0 / /a rw,noatime - ext4 /dev/root ro",
                mount("98:0", "/a", "ext4", "rw,noatime", "/dev/root"),
            ),
            (
                "1 2 0:44 / /a\\040b\\134 ro shared:1 master:2 - erofs /x\\011y ro",
                mount("0:44", "/a b\\", "erofs", "ro", "/x\ty"),
            ),
            ("1 2 0:44 / /a ro", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }
}
