//! The superblock: where everything is, and what a kernel has to know to read it.

use ociseed_spec::Timestamp;

use super::BLOCK;
use super::codec::{Algorithm, CLUSTER, WINDOW_LOG};
use super::read::{u16_at, u32_at, u64_at};

/// Bytes of its own; what it says of algorithms follows.
const SIZE: usize = 128;
/// Where it lies in its block.
const OFFSET: usize = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// It has a checksum; inodes have times of change (`EROFS_FEATURE_COMPAT_SB_CHKSUM`, `EROFS_FEATURE_COMPAT_MTIME`).
const COMPATIBLE: u32 = 0x1 | 0x2;
/// Some files are maps of chunks (`EROFS_FEATURE_INCOMPAT_CHUNKED_FILE`).
pub(super) const CHUNKED: u32 = 0x4;
/// Zeros are before what is compressed; it is said how; ends of compressed files lie with their inodes
/// (`EROFS_FEATURE_INCOMPAT_ZERO_PADDING`, `_COMPR_CFGS` and `_BIG_PCLUSTER`, `_ZTAILPACKING`).
pub(super) const COMPRESSED: u32 = ZERO_PADDING | CONFIGURED | 0x10;
pub(super) const ZERO_PADDING: u32 = 0x1;
const CONFIGURED: u32 = 0x2;
/// Features that are read here.
const READABLE: u32 = COMPRESSED | CHUNKED;

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
    /// What files may be compressed with: a bit for each algorithm.
    pub(super) algorithms: u16,
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
        put(84, &self.algorithms.to_le_bytes());
        let mut end = SIZE;
        for algorithm in [Algorithm::Lz4, Algorithm::Zstd] {
            if self.algorithms & algorithm.bit() != 0 {
                let settings = settings(algorithm);
                put(end, &(settings.len() as u16).to_le_bytes());
                put(end + 2, &settings);
                end += 2 + settings.len();
            }
        }
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
            algorithms: if incompatible & CONFIGURED == 0 { 1 } else { u16_at(bytes, 84) },
        })
    }
}

/// What a kernel has to know to decompress (`z_erofs_lz4_cfgs`, `z_erofs_zstd_cfgs`).
fn settings(algorithm: Algorithm) -> Vec<u8> {
    /// Windows are counted from this on.
    const LEAST_WINDOW_LOG: u8 = 10;
    let mut bytes = Vec::new();
    match algorithm {
        Algorithm::Lz4 => {
            // How far back bytes are repeated, and how many blocks a cluster has at most.
            bytes.extend(u16::MAX.to_le_bytes());
            bytes.extend(((CLUSTER as u64 / BLOCK) as u16).to_le_bytes());
            bytes.resize(14, 0);
        }
        Algorithm::Zstd => {
            bytes.extend([0, WINDOW_LOG - LEAST_WINDOW_LOG]);
            bytes.resize(6, 0);
        }
    }
    bytes
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
