//! Whether there is room for what is to be written.

use std::os::fd::AsFd;

use super::walk::{Node, Walk, WalkError};

/// What stays free at least, unless the file system is so small that a twentieth of it is less.
const RESERVE: u64 = 64 << 20;

/// What is needed, or what there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) inodes: u64,
}

/// What a name takes in its directory, next to its length, at most: 12 bytes in ext4, 56 in btrfs.
const ENTRY: u64 = 64;

/// Adds up what a copy takes, in blocks of a size.
///
/// # Errors
/// The directory cannot be read.
pub(crate) fn of(walk: Walk, block: u64) -> Result<Room, WalkError> {
    let (mut room, mut names) = (Room { bytes: block, inodes: 1 }, 0);
    for found in walk {
        let found = found?;
        room.inodes += 1;
        names += name(found.path.name());
        room.bytes += match found.node {
            Node::File(_) => u64::try_from(found.stat.st_size).unwrap_or(0).next_multiple_of(block),
            Node::Symlink(target) if target.len() < 60 => 0,
            _ => block,
        };
    }
    // A block of each directory was counted, which makes up for what is left of its last one.
    room.bytes += names;
    Ok(room)
}

/// What a name takes: a directory with many keeps its blocks half full.
fn name(name: &[u8]) -> u64 {
    2 * (name.len() as u64 + ENTRY)
}

/// Says what is short on the file system that something is on.
///
/// # Errors
/// The kernel does not say what is free.
pub(crate) fn short(on: impl AsFd, need: Room) -> rustix::io::Result<Option<String>> {
    let vfs = rustix::fs::fstatvfs(on)?;
    let size = vfs.f_blocks.saturating_mul(vfs.f_frsize);
    let free = Room { bytes: vfs.f_bavail.saturating_mul(vfs.f_frsize), inodes: vfs.f_favail };
    // A file system that counts no inodes has no end of them.
    Ok(what_is_short(need, free, size, vfs.f_files > 0))
}

fn what_is_short(need: Room, free: Room, size: u64, counts_inodes: bool) -> Option<String> {
    let reserve = RESERVE.min(size / 20);
    if free.bytes < need.bytes + reserve {
        let (bytes, found) = (need.bytes, free.bytes);
        return Some(format!("{bytes} bytes and a reserve of {reserve} are needed, {found} are free"));
    }
    (counts_inodes && free.inodes < need.inodes)
        .then(|| format!("{} inodes are needed, {} are free", need.inodes, free.inodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_takes_what_its_names_take() {
        let top = std::env::temp_dir().join(format!("ociseed-space-{}", std::process::id()));
        std::fs::create_dir_all(top.join("many")).expect("a directory");
        for number in 0..200 {
            std::os::unix::fs::symlink("target", top.join(format!("many/{number:0>64}"))).expect("a link");
        }
        std::fs::write(top.join("file"), [0; 4097]).expect("a file");
        let walk = Walk::new(super::super::walk::open_host(&top).expect("there")).expect("read");
        let room = of(walk, 4096).expect("read");
        std::fs::remove_dir_all(&top).expect("removed");
        let names = 200 * 2 * (64 + ENTRY) + 2 * 2 * (4 + ENTRY);
        assert_eq!(room, Room { bytes: 4 * 4096 + names, inodes: 203 });
    }

    #[test]
    fn a_reserve_stays_free() {
        let need = Room { bytes: 1000, inodes: 5 };
        let large = 100 << 30;
        let cases = [
            ((1000 + RESERVE, 5, large, true), None),
            (
                (999 + RESERVE, 5, large, true),
                Some("1000 bytes and a reserve of 67108864 are needed, 67109863 are free"),
            ),
            ((1100, 5, 2000, true), None),
            ((1099, 5, 2000, true), Some("1000 bytes and a reserve of 100 are needed, 1099 are free")),
            ((1100, 4, 2000, true), Some("5 inodes are needed, 4 are free")),
            ((1100, 0, 2000, false), None),
        ];
        for ((bytes, inodes, size, counts), expected) in cases {
            let found = what_is_short(need, Room { bytes, inodes }, size, counts);
            assert_eq!(found.as_deref(), expected, "{bytes} {inodes}");
        }
    }
}
