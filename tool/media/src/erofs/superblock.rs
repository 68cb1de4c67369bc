//! The superblock: where everything is, and what a kernel has to know to read it.

use ociseed_spec::Timestamp;

use super::BLOCK;
use super::read::{u16_at, u32_at, u64_at};

/// Where it lies in its block.
const OFFSET: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// It has a checksum; inodes have times of change (`EROFS_FEATURE_COMPAT_SB_CHKSUM`, `EROFS_FEATURE_COMPAT_MTIME`).
const COMPATIBLE: u32 = 0x1 | 0x2;
/// Some files are maps of chunks (`EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`).
pub(super) const CHUNKED: u32 = 0x4;
/// Features that change nothing of what is read here: padding of compressed blocks, and chunks.
const READABLE: u32 = 0x1 | CHUNKED;

/// As many first bytes as tell an image from other files.
pub const HEAD: usize = OFFSET + 4;

/// Tells from the first [`HEAD`] bytes, or all where there are fewer, whether a file is an EROFS image.
pub fn is_image(head: &[u8]) -> bool {
    head.get(OFFSET..HEAD).is_some_and(|magic| magic == MAGIC.to_le_bytes())
}

/// What the superblock says.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) root_nid: u16,
    pub(super) inodes: u64,
    /// The time of all compact inodes.
    pub(super) time: Timestamp,
    pub(super) blocks: u32,
    pub(super) meta_block: u32,
    pub(super) xattr_block: u32,
    pub(super) uuid: [u8; 16],
    pub(super) label: [u8; 16],
    pub(super) incompatible: u32,
}

impl Superblock {
    /// Writes the block that it lies in.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK as usize];
        let mut put =
            |at: usize, bytes: &[u8]| block[OFFSET + at..OFFSET + at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC.to_le_bytes());
        put(8, &COMPATIBLE.to_le_bytes());
        put(12, &[BLOCK.trailing_zeros() as u8]);
        put(14, &self.root_nid.to_le_bytes());
        put(16, &self.inodes.to_le_bytes());
        put(24, &self.time.seconds().to_le_bytes());
        put(32, &self.time.nanoseconds().to_le_bytes());
        put(36, &self.blocks.to_le_bytes());
        put(40, &self.meta_block.to_le_bytes());
        put(44, &self.xattr_block.to_le_bytes());
        put(48, &self.uuid);
        put(64, &self.label);
        put(80, &self.incompatible.to_le_bytes());
        let checksum = crc32c(&block[OFFSET..]);
        block[OFFSET + 4..OFFSET + 8].copy_from_slice(&checksum.to_le_bytes());
        block
    }
}

impl Superblock {
    /// Reads it from the image's first block.
    pub(super) fn decode(block: &[u8]) -> Result<Self, String> {
        let bytes = &block[OFFSET..];
        if u32_at(bytes, 0) != MAGIC {
            return Err("no EROFS image: it has another magic number".to_owned());
        }
        if bytes[12] != BLOCK.trailing_zeros() as u8 || bytes[13] != 0 {
            return Err(format!("expected blocks of 4096 bytes, found 2 to the power of {}", bytes[12]));
        }
        let mut blank = bytes.to_vec();
        blank[4..8].fill(0);
        let (expected, found) = (u32_at(bytes, 4), crc32c(&blank));
        if u32_at(bytes, 8) & 1 == 1 && expected != found {
            return Err(format!("expected the checksum {expected:08x}, found {found:08x}"));
        }
        let incompatible = u32_at(bytes, 80);
        if incompatible & !READABLE != 0 {
            return Err(format!("it has features that are not read here: {:#x}", incompatible & !READABLE));
        }
        let nanoseconds = u32_at(bytes, 32);
        if nanoseconds >= 1_000_000_000 {
            return Err("its time has a second or more of nanoseconds".to_owned());
        }
        Ok(Self {
            root_nid: u16_at(bytes, 14),
            inodes: u64_at(bytes, 16),
            time: Timestamp::new(u64_at(bytes, 24).cast_signed(), nanoseconds),
            blocks: u32_at(bytes, 36),
            meta_block: u32_at(bytes, 40),
            xattr_block: u32_at(bytes, 44),
            uuid: bytes[48..64].try_into().expect("16 bytes"),
            label: bytes[64..80].try_into().expect("16 bytes"),
            incompatible,
        })
    }
}

/// CRC-32C as the kernel takes it here: begun with all ones, and not inverted at the end.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0x82f6_3b78;
    let bit = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ REVERSED_POLYNOMIAL } else { crc >> 1 };
    bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), bit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
    }
}
