//! Finds what `--seed` says: a directory, an image file, a block device by its path, or one by a label, without udev.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::superblock::{self, Superblock};
use crate::notify::Notify;

/// How soon is looked again; a device that comes is there 25 ms later on average.
const PAUSE: Duration = Duration::from_millis(50);

/// What `--seed` stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seed {
    /// A directory.
    Directory(PathBuf),
    /// Something that can be mounted.
    Medium(Medium),
}

/// A device or a file that holds a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Medium {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its number, of a device.
    pub(crate) device: Option<u64>,
    /// The file system's name in Linux.
    pub(crate) kind: &'static str,
}

/// Says why there is no seed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FindError {
    /// Nothing is there.
    #[error("`{0}` is not there")]
    Absent(String),
    /// More than one is there.
    #[error("`{0}` is the label of several devices: {1}")]
    Several(String, String),
    /// It is there and cannot be used.
    #[error("`{0}` is neither a directory nor a device or file with EROFS, ext4 or squashfs")]
    Kind(String),
    /// It cannot be looked at.
    #[error("cannot read `{0}`")]
    Read(String, #[source] io::Error),
}

/// Finds a seed, and waits for it.
///
/// # Errors
/// It is not there in time, or is nothing that can be a seed.
pub(crate) fn find(seed: &Path, wait: Duration, notify: &Notify) -> Result<Seed, FindError> {
    let deadline = Instant::now() + wait;
    loop {
        notify.alive();
        match look(seed) {
            Err(FindError::Absent(_)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
}

fn look(seed: &Path) -> Result<Seed, FindError> {
    let shown = seed.display().to_string();
    match Wanted::parse(seed) {
        Some(wanted) => {
            let mut devices = devices(&wanted, Path::new("/sys/class/block"), Path::new("/dev"));
            match (devices.pop(), devices.is_empty()) {
                (None, _) => Err(FindError::Absent(shown)),
                (Some(medium), true) => Ok(Seed::Medium(medium)),
                (Some(medium), false) => {
                    devices.push(medium);
                    let paths: Vec<_> = devices.iter().map(|d| d.path.display().to_string()).collect();
                    Err(FindError::Several(shown, paths.join(", ")))
                }
            }
        }
        None => at(seed, &shown),
    }
}

/// Looks at a path.
fn at(path: &Path, shown: &str) -> Result<Seed, FindError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FindError::Absent(shown.to_owned()),
        _ => FindError::Read(shown.to_owned(), error),
    };
    let path = fs::canonicalize(path).map_err(failed)?;
    let metadata = fs::metadata(&path).map_err(failed)?;
    if metadata.is_dir() {
        return Ok(Seed::Directory(path));
    }
    let device = metadata.file_type().is_block_device().then(|| metadata.rdev());
    if device.is_none() && !metadata.is_file() {
        return Err(FindError::Kind(shown.to_owned()));
    }
    let superblock = superblock(&path).map_err(failed)?;
    let kind = superblock.ok_or_else(|| FindError::Kind(shown.to_owned()))?.kind;
    Ok(Seed::Medium(Medium { path, device, kind }))
}

/// Reads the superblock of a device or a file, if it has one that is known.
///
/// # Errors
/// It cannot be read.
pub(super) fn superblock(path: &Path) -> io::Result<Option<Superblock>> {
    let mut bytes = Vec::with_capacity(superblock::LENGTH);
    File::open(path)?.take(superblock::LENGTH as u64).read_to_end(&mut bytes)?;
    Ok(superblock::parse(&bytes))
}

/// By which label a device is looked for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    /// The file system's.
    Label(&'a [u8]),
    /// The partition's.
    PartLabel(&'a [u8]),
}

impl<'a> Wanted<'a> {
    fn parse(seed: &'a Path) -> Option<Self> {
        let bytes = seed.as_os_str().as_encoded_bytes();
        let label = bytes.strip_prefix(b"LABEL=").map(Wanted::Label);
        label.or_else(|| bytes.strip_prefix(b"PARTLABEL=").map(Wanted::PartLabel))
    }
}

/// Finds all devices with a label, but those that another one with it lies on: of a dm-verity device and the partition below
/// it, the first is meant.
fn devices(wanted: &Wanted<'_>, class: &Path, dev: &Path) -> Vec<Medium> {
    let mut found: Vec<(String, Medium)> = Vec::new();
    let Ok(entries) = fs::read_dir(class) else { return Vec::new() };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        // What comes or goes while it is looked at is looked at again, or not there.
        if let Some(medium) = device(wanted, &entry.path(), dev) {
            found.push((name, medium));
        }
    }
    let mut found = topmost(found, class);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Leaves out what another one of them lies on, by the names of both.
fn topmost(mut found: Vec<(String, Medium)>, class: &Path) -> Vec<Medium> {
    let names: BTreeSet<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let is_held = |name: &str| {
        let holders = fs::read_dir(class.join(name).join("holders")).into_iter().flatten();
        let mut holders = holders.filter_map(Result::ok).map(|entry| entry.file_name());
        holders.any(|holder| names.contains(&*holder.to_string_lossy()))
    };
    found.retain(|(name, _)| !is_held(name));
    found.into_iter().map(|(_, medium)| medium).collect()
}

/// Looks at one device.
fn device(wanted: &Wanted<'_>, entry: &Path, dev: &Path) -> Option<Medium> {
    let uevent = fs::read(entry.join("uevent")).ok()?;
    let value = |key: &[u8]| uevent.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key));
    if matches!(wanted, Wanted::PartLabel(label) if value(b"PARTNAME=") != Some(label)) {
        return None;
    }
    let path = dev.join(str::from_utf8(value(b"DEVNAME=")?).ok()?);
    let metadata = fs::metadata(&path).ok().filter(|metadata| metadata.file_type().is_block_device())?;
    let superblock = superblock(&path).ok()??;
    if matches!(wanted, Wanted::Label(label) if superblock.label != *label) {
        return None;
    }
    Some(Medium { path, device: Some(metadata.rdev()), kind: superblock.kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_told_from_paths() {
        let cases = [
            ("LABEL=seed", Some(Wanted::Label(b"seed"))),
            ("PARTLABEL=a b", Some(Wanted::PartLabel(b"a b"))),
            ("/dev/vdb", None),
            ("./LABEL=seed", None),
            ("label=seed", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Wanted::parse(Path::new(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_a_device_with_the_same_label_lies_on_is_left_out() {
        let class = std::env::temp_dir().join(format!("ociseed-find-{}", std::process::id()));
        let medium = |name: &str| Medium { path: Path::new("/dev").join(name), device: None, kind: "erofs" };
        // What bears the label, what lies on what, and what is left.
        let cases = [
            ("vdb", "", "vdb"),
            ("vdb dm-0", "vdb/dm-0", "dm-0"),
            ("dm-0 vdb1", "vdb1/dm-0", "dm-0"),
            ("vdb dm-0 dm-1", "vdb/dm-0 dm-0/dm-1", "dm-1"),
            // What lies on it bears another label.
            ("vdb", "vdb/dm-0", "vdb"),
            ("vdb vdc dm-0", "vdb/dm-0", "vdc dm-0"),
        ];
        for (found, held, expected) in cases {
            for (below, holder) in held.split(' ').filter_map(|pair| pair.split_once('/')) {
                fs::create_dir_all(class.join(below).join("holders").join(holder)).expect("made");
            }
            let media = found.split(' ').map(|name| (name.to_owned(), medium(name))).collect();
            let expected: Vec<_> = expected.split(' ').map(medium).collect();
            assert_eq!(topmost(media, &class), expected, "{found}: {held}");
            let _ = fs::remove_dir_all(&class);
        }
    }

    #[test]
    fn what_is_not_there_is_waited_for_no_longer_than_was_said() {
        let (start, notify) = (Instant::now(), Notify::new());
        let result = find(Path::new("/nonexistent/seed"), Duration::from_millis(120), &notify);
        assert!(matches!(result, Err(FindError::Absent(_))), "{result:?}");
        assert!(start.elapsed() >= Duration::from_millis(120));
        assert!(matches!(find(Path::new("/dev/null"), Duration::ZERO, &notify), Err(FindError::Kind(_))));
    }
}
