//! Who vouches for what an engine reads from a seed later: the kernel, this program, or nobody.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ociseed_spec::Digest;
use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use serde::{Deserialize, Serialize};

use super::sealed::{Findings, Problem};
use super::{find, mounts, noted, sealed};
use crate::args::Trust;
use crate::exit::Exit;
use crate::seed::Seed;
use crate::stop::Stop;
use crate::talk::{Talk, chain};

/// How often a file system may lie in a file of another one.
const DEPTH: usize = 4;

/// How a seed was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Checked {
    /// The kernel checks each read.
    Kernel,
    /// All of it was hashed just now.
    Hashed,
    /// All of it was hashed at an earlier boot.
    Noted,
    /// Not at all.
    No,
}

impl Checked {
    /// Returns its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Hashed => "hashed",
            Self::Noted => "noted",
            Self::No => "no",
        }
    }
}

/// What came of trusting a seed.
#[derive(Debug)]
pub(crate) struct Trusted {
    /// How it was checked.
    pub(crate) checked: Checked,
    /// How many bytes were hashed for that.
    pub(crate) bytes: u64,
    /// What is wrong with it.
    pub(crate) problems: Vec<Problem>,
}

/// Trusts a seed as it was asked for.
///
/// # Errors
/// Nobody vouches for it as was asked for.
pub(crate) fn trust(seed: &Seed, trust: Trust, state_dir: &Path, talk: &Talk) -> Result<Trusted, Stop> {
    let unhashed = |checked| Trusted { checked, bytes: 0, problems: Vec::new() };
    match trust {
        Trust::Verity => kernel(seed).map(|()| unhashed(Checked::Kernel)),
        Trust::Unchecked => Ok(unhashed(Checked::No)),
        Trust::Sealed => {
            let unreadable = |error: io::Error| {
                Stop::saying(Exit::Seed, format!("cannot read `{}`: {error}", seed.path.display()))
            };
            let medium = noted::medium(seed).map_err(unreadable)?;
            let notes = noted::Notes::new(state_dir, &seed.digest);
            if medium.as_ref().is_some_and(|medium| notes.has(medium)) {
                return Ok(unhashed(Checked::Noted));
            }
            let trusted = hash(seed, talk);
            if let Some(medium) = medium.filter(|_| trusted.problems.is_empty())
                && let Err(error) = notes.add(&medium)
            {
                // The seed is as good without; it is hashed again at the next boot.
                talk.warning(&chain(&error));
            }
            Ok(trusted)
        }
    }
}

/// Hashes a seed.
pub(crate) fn hash(seed: &Seed, talk: &Talk) -> Trusted {
    talk.notify.status("hashing the seed");
    let Findings { problems, bytes } = sealed::check(seed, &talk.notify);
    Trusted { checked: Checked::Hashed, bytes, problems }
}

/// Looks whether the kernel checks what it reads of a seed.
///
/// # Errors
/// It does not, or that cannot be found out.
fn kernel(seed: &Seed) -> Result<(), Stop> {
    let path = seed.path.display();
    let untrusted =
        |reason: String| Stop::saying(Exit::Seed, format!("`{path}`: nothing verifies it: {reason}"));
    let stat = rustix::fs::fstat(&seed.dir).map_err(|error| untrusted(error.to_string()))?;
    let mut device = stat.st_dev;
    for _ in 0..DEPTH {
        if is_verity_device(Path::new("/sys/dev/block"), device) {
            return Ok(());
        }
        let Some(file) = mounts::file_behind(device) else { break };
        let stat = rustix::fs::statx(CWD, &file, AtFlags::empty(), StatxFlags::BASIC_STATS)
            .map_err(|error| untrusted(format!("`{}`: {error}", file.display())))?;
        if stat.stx_attributes.contains(StatxAttributes::VERITY) {
            return Ok(());
        }
        device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    }
    Err(untrusted("it is on no dm-verity device and in no file with fs-verity".to_owned()))
}

/// device-mapper names its devices for what they are (`DM_UUID_PREFIX`, cryptsetup's and systemd's veritysetup).
fn is_verity_device(sys: &Path, device: u64) -> bool {
    let uuid = std::fs::read(sys.join(mounts::number(device)).join("dm/uuid"));
    uuid.is_ok_and(|uuid| uuid.starts_with(b"CRYPT-VERITY-"))
}

/// Returns the file system that something open is on, to be told from others at the next boot; `None` where it could not be.
///
/// # Errors
/// The kernel does not say.
pub(super) fn file_system(dir: &OwnedFd) -> io::Result<Option<(String, u64)>> {
    let (stat, vfs) = (rustix::fs::fstat(dir)?, rustix::fs::fstatvfs(dir)?);
    let kind = rustix::fs::fstatfs(dir)?.f_type;
    let size = vfs.f_blocks.saturating_mul(vfs.f_frsize);
    // The numbers of loop devices and of mounts of files are those of the boot; the file's are not.
    let device = match mounts::file_behind(stat.st_dev) {
        Some(file) => {
            let stat = rustix::fs::stat(&file)?;
            // What writes to a file can put its mtime back, but not its ctime.
            let times = [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)];
            let [modified, changed] =
                times.map(|(seconds, nanoseconds)| format!("{seconds}.{nanoseconds:09}"));
            format!("{}/{} {modified} {changed}", mounts::number(stat.st_dev), stat.st_ino)
        }
        None if mounts::is_loop(stat.st_dev) => return Ok(None),
        None => format!("{} {}", mounts::number(stat.st_dev), superblock_id(stat.st_dev)),
    };
    Ok(Some((format!("{kind:x} {device}"), size)))
}

/// Tells a device's file system from one that was made there later; a directory may be on one that has no such device.
fn superblock_id(device: u64) -> String {
    let superblock = mounts::node(device).and_then(|node| find::superblock(&node).ok()?);
    superblock.map_or_else(|| "-".to_owned(), |superblock| Digest::of(&superblock.id).hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_verity_devices_of_device_mapper_are_verified() {
        let sys = std::env::temp_dir().join(format!("ociseed-trust-{}", std::process::id()));
        let device = rustix::fs::makedev(254, 3);
        let cases = [
            (Some("CRYPT-VERITY-0c3f-root\n"), true),
            (Some("CRYPT-LUKS2-0c3f-root\n"), false),
            (Some("LVM-CRYPT-VERITY-\n"), false),
            (Some(""), false),
            (None, false),
        ];
        for (uuid, expected) in cases {
            let dm = sys.join("254:3/dm");
            std::fs::create_dir_all(&dm).expect("a directory");
            if let Some(uuid) = uuid {
                std::fs::write(dm.join("uuid"), uuid).expect("a file");
            }
            assert_eq!(is_verity_device(&sys, device), expected, "{uuid:?}");
            std::fs::remove_dir_all(&sys).expect("removed");
        }
    }
}
