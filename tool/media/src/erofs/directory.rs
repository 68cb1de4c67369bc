//! Directories: names with the inodes that they lead to, in blocks that can be searched.
//!
//! A block has an array of entries of twelve bytes, sorted by name, then the names. A name ends where the next one begins;
//! the last one of a block ends with the block, or at a NUL.

use super::BLOCK;

/// Bytes of an entry without its name.
const ENTRY: usize = 12;

/// What a name leads to, as `readdir` tells it (`FT_*` of the on-disk format).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FileType {
    Regular = 1,
    Directory = 2,
    Character = 3,
    Block = 4,
    Fifo = 5,
    Symlink = 7,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) name: &'a [u8],
    /// Number of the inode in the order of the image.
    pub(super) inode: u32,
    pub(super) file_type: FileType,
}

/// Sorts the names of a directory as the kernel looks for them, which is byte by byte.
pub(super) fn sort(names: &mut [Name<'_>]) {
    names.sort_unstable_by_key(|name| name.name);
}

/// Tells how many bytes a directory takes.
pub(super) fn size(names: &[Name<'_>]) -> u64 {
    let mut size = 0;
    let mut left = names;
    while !left.is_empty() {
        let (count, bytes) = fit(left);
        left = &left[count..];
        size += if left.is_empty() { bytes as u64 } else { BLOCK };
    }
    size
}

/// Writes a directory; `nid` gives the inode numbers.
pub(super) fn encode(names: &[Name<'_>], nid: impl Fn(u32) -> u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = names;
    while !left.is_empty() {
        let (count, _) = fit(left);
        let (now, rest) = left.split_at(count);
        let mut offset = count * ENTRY;
        for name in now {
            bytes.extend(nid(name.inode).to_le_bytes());
            bytes.extend((offset as u16).to_le_bytes());
            bytes.extend([name.file_type as u8, 0]);
            offset += name.name.len();
        }
        now.iter().for_each(|name| bytes.extend(name.name));
        left = rest;
        if !left.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        }
    }
    bytes
}

/// Tells how many names fit into a block, and how many bytes they take.
fn fit(names: &[Name<'_>]) -> (usize, usize) {
    let mut bytes = 0;
    let fits = |name: &&Name<'_>| {
        bytes += ENTRY + name.name.len();
        bytes <= BLOCK as usize
    };
    let count = names.iter().take_while(fits).count();
    let taken = names[..count].iter().map(|name| ENTRY + name.name.len()).sum();
    (count, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fill_a_block_leave_no_room_and_the_next_goes_on() {
        // 15 entries of 12 + 255 bytes, and one that fills the block to its last byte.
        let long: Vec<Vec<u8>> = (0..15).map(|number| vec![b'a' + number; 255]).collect();
        let fill = vec![b'p'; 4096 - 15 * 267 - 12];
        let name = |name| Name { name, inode: 7, file_type: FileType::Regular };
        let mut names: Vec<Name<'_>> = long.iter().map(|text| name(text.as_slice())).collect();
        names.push(name(&fill));
        assert_eq!(size(&names), 4096);
        names.push(name(b"q"));
        assert_eq!(size(&names), 4096 + 13);
        let bytes = encode(&names, u64::from);
        assert_eq!(bytes.len(), 4096 + 13);
        assert_eq!(bytes[4096..], [7, 0, 0, 0, 0, 0, 0, 0, 12, 0, 1, 0, b'q']);
    }
}
