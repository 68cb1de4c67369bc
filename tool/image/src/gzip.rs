//! gzip as layers have it: members of one size, one after the other, which RFC 1952 takes for one file.
//!
//! Each member is made alone, so many can be made at once, and its bytes
//! follow from its part of the tar and the level.

use libdeflater::{CompressionLvl, Compressor};

/// How much of the tar a member has; the last one has the rest. Part of the format: another number gives other bytes.
pub(crate) const MEMBER: usize = 1 << 20;

/// Makes members.
pub(crate) struct Deflater(Compressor);

impl Deflater {
    /// Starts at a level from 1 to 12.
    pub(crate) fn new(level: i32) -> Self {
        Self(Compressor::new(CompressionLvl::new(level).expect("levels are checked where they are read")))
    }

    /// Compresses one piece of the tar. libdeflate's header has no name, time 0 and operating system 255.
    pub(crate) fn member(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut member = vec![0; self.0.gzip_compress_bound(piece.len())];
        let size = self.0.gzip_compress(piece, &mut member).expect("the bound is large enough");
        member.truncate(size);
        member
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_nothing_of_the_host_and_members_nothing_of_each_other() {
        for level in 1..=12 {
            let mut deflater = Deflater::new(level);
            let first = deflater.member(b"some bytes, some bytes");
            let flags = if level == 1 { 4 } else { u8::from(level >= 8) * 2 };
            assert_eq!(first[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, flags, 255], "level {level}");
            deflater.member(&[7; 70_000]);
            assert_eq!(deflater.member(b"some bytes, some bytes"), first, "level {level}");
        }
    }
}
