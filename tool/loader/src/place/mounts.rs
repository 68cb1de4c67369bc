//! What is mounted where, as `/proc/self/mountinfo` says it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// A mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The number of its device, as text.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) point: PathBuf,
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
    let number = number(device);
    let of_loop = std::fs::read(format!("/sys/dev/block/{number}/loop/backing_file")).ok();
    if let Some(path) = of_loop {
        return Some(path_of(path.trim_ascii_end().to_vec()));
    }
    let mounts = all().ok()?;
    let source = mounts.into_iter().rev().find(|mount| mount.device == number)?.source;
    (source.is_absolute() && source.is_file()).then_some(source)
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
    words.find(|word| *word == b"-")?;
    Some(Mount { device, point, source: unescape(words.nth(1)?) })
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
        let mount = |device: &str, point: &str, source: &str| {
            Some(Mount { device: device.to_owned(), point: point.into(), source: source.into() })
        };
        let cases: [(&str, Option<Mount>); 4] = [
            ("36 35 98:0 / /a rw,noatime - ext4 /dev/root rw", mount("98:0", "/a", "/dev/root")),
            (
                "1 2 0:44 / /a\\040b\\134 ro shared:1 master:2 - erofs /x\\011y ro",
                mount("0:44", "/a b\\", "/x\ty"),
            ),
            ("1 2 0:44 / /a ro", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), expected, "{line}");
        }
    }
}
