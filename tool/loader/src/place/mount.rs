//! Mounts a medium, read-only, where all boots of this seed's name have it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

use super::find::{Medium, Seed};
use super::{loop_device, mounts};

/// Says why a medium is not mounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    /// The place cannot be made.
    #[error("cannot make `{0}`")]
    Place(String, #[source] io::Error),
    /// The kernel refused.
    #[error("cannot mount `{medium}` ({kind}) at `{place}`")]
    Mount {
        /// What.
        medium: String,
        /// Which file system it has.
        kind: &'static str,
        /// Where.
        place: String,
        /// Why not.
        source: io::Error,
    },
    /// The place is taken.
    #[error("at `{place}` something else than `{medium}` is mounted: `{found}`")]
    Taken {
        /// Where.
        place: String,
        /// What should be there.
        medium: String,
        /// What is there.
        found: String,
    },
    /// It is mounted there, but not as it should be.
    #[error("`{medium}` is mounted at `{place}` without {missing}")]
    Loose {
        /// Where.
        place: String,
        /// What.
        medium: String,
        /// The options that it should have.
        missing: String,
    },
}

/// What every mount of a seed must have: no file of it is to be changed, or to give anybody rights.
const OPTIONS: [&str; 3] = ["ro", "nosuid", "nodev"];

/// A seed that can be read; what was mounted for it is unmounted when this is dropped before it is kept.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// What was mounted, if anything.
    pub(crate) medium: Option<String>,
    /// Whether it was mounted just now, and nobody needs it yet.
    ours: bool,
}

impl Mounted {
    /// Leaves the mount to the system.
    pub(crate) fn keep(&mut self) {
        self.ours = false;
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.ours {
            // What cannot be undone is used again by the next `place`.
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::NOFOLLOW);
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Makes a seed readable; `name` is what `--seed` said.
///
/// # Errors
/// It cannot be mounted, or something else is.
pub(crate) fn open(seed: Seed, name: &Path, run_dir: &Path) -> Result<Mounted, MountError> {
    let medium = match seed {
        Seed::Directory(path) => return Ok(Mounted { path, medium: None, ours: false }),
        Seed::Medium(medium) => medium,
    };
    let place = run_dir.join("media").join(escape(name.as_os_str().as_encoded_bytes()));
    let failed = |error| MountError::Place(place.display().to_string(), error);
    DirBuilder::new().recursive(true).mode(0o755).create(&place).map_err(failed)?;
    let path = fs::canonicalize(&place).map_err(failed)?;
    let shown = Some(medium.path.display().to_string());
    match mounts::at(&path).map_err(failed)? {
        Some(mount) if is_of(&mount, &medium, &path) => match missing_of(&mount.options) {
            None => Ok(Mounted { path, medium: shown, ours: false }),
            Some(missing) => {
                let (place, medium) = (path.display().to_string(), medium.path.display().to_string());
                Err(MountError::Loose { place, medium, missing })
            }
        },
        Some(mount) => Err(MountError::Taken {
            place: path.display().to_string(),
            medium: medium.path.display().to_string(),
            found: mount.source.display().to_string(),
        }),
        None => match mount(&medium, &path) {
            Ok(()) => Ok(Mounted { path, medium: shown, ours: true }),
            Err(source) => {
                // Only an empty directory goes.
                let _ = fs::remove_dir(&path);
                let (place, kind) = (path.display().to_string(), medium.kind);
                Err(MountError::Mount { medium: medium.path.display().to_string(), kind, place, source })
            }
        },
    }
}

/// Tells whether a mount is that of a medium.
fn is_of(mount: &mounts::Mount, medium: &Medium, path: &Path) -> bool {
    let Ok(device) = fs::metadata(path).map(|metadata| metadata.dev()) else { return false };
    match medium.device {
        Some(number) => mount.device == mounts::number(number),
        None => mounts::file_behind(device).as_deref() == Some(&medium.path),
    }
}

/// Names the options that a mount lacks.
fn missing_of(options: &str) -> Option<String> {
    let has = |wanted: &str| options.split(',').any(|option| option == wanted);
    let missing: Vec<_> = OPTIONS.iter().filter(|wanted| !has(wanted)).map(|o| format!("`{o}`")).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn mount(medium: &Medium, place: &Path) -> io::Result<()> {
    if medium.device.is_some() {
        return mount_from(&medium.path, medium.kind, place);
    }
    // Linux mounts files of EROFS itself since 6.12, where it is built so.
    if medium.kind == "erofs" && mount_from(&medium.path, medium.kind, place).is_ok() {
        return Ok(());
    }
    let device = loop_device::attach(&File::open(&medium.path)?)?;
    mount_from(&device.path, medium.kind, place)
}

fn mount_from(source: &Path, kind: &str, place: &Path) -> io::Result<()> {
    let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID;
    // Without this ext4 would write what its journal holds to a device that is only to be read.
    let data = (kind == "ext4").then_some(c"noload");
    Ok(rustix::mount::mount(source, place, kind, flags, data)?)
}

/// Writes a name as one part of a path.
fn escape(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'=' | b'_' | b'-' => text.push(char::from(*byte)),
            b'.' if name != b"." && name != b".." => text.push('.'),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_a_mount_lacks_are_named() {
        let cases = [
            ("ro,nosuid,nodev,relatime", None),
            ("nodev,ro,nosuid", None),
            ("ro,relatime", Some("`nosuid`, `nodev`")),
            ("rw,nosuid,nodev,errors=remount-ro", Some("`ro`")),
            ("", Some("`ro`, `nosuid`, `nodev`")),
        ];
        for (options, expected) in cases {
            assert_eq!(missing_of(options).as_deref(), expected, "{options}");
        }
    }

    #[test]
    fn every_name_is_one_part_of_a_path() {
        let cases: [(&[u8], &str); 5] = [
            (b"LABEL=seed", "LABEL=seed"),
            (b"/dev/vd-b_1.2", "%2Fdev%2Fvd-b_1.2"),
            (b"PARTLABEL=a b%\xff", "PARTLABEL=a%20b%25%FF"),
            (b"..", "%2E%2E"),
            (b".", "%2E"),
        ];
        for (name, expected) in cases {
            assert_eq!(escape(name), expected);
        }
    }
}
