//! Files with holes: a map says of each chunk where it is, or that it is a hole.

use ociseed_tree::{Content, Extent};

use super::BLOCK;

/// A hole of a chunked file (`EROFS_NULL_ADDR`).
const HOLE: u32 = u32::MAX;
/// A file's map has at most so many chunks, as long as chunks can grow.
const MAX_CHUNKS: u64 = 16 * 1024;
/// Chunks have at most 2^31 blocks (`EROFS_CHUNK_FORMAT_BLKBITS_MASK`).
const MAX_CHUNK_BITS: u32 = 31;

/// Which parts of a file are holes.
#[derive(Debug)]
pub(super) struct Chunks {
    /// The logarithm of a chunk's number of blocks.
    pub(super) bits: u32,
    pub(super) holes: Vec<bool>,
}

impl Chunks {
    /// Divides a file that has holes of a block or more; nothing where it has none.
    pub(super) fn of(content: &Content) -> Option<Self> {
        let zeros = |extent: &Extent| matches!(extent, Extent::Zeros(size) if *size >= BLOCK);
        if !content.extents().iter().any(zeros) {
            return None;
        }
        let size = content.size();
        let bits = (0..MAX_CHUNK_BITS).find(|bits| size.div_ceil(BLOCK << bits) <= MAX_CHUNKS);
        let bits = bits.unwrap_or(MAX_CHUNK_BITS);
        let chunk = BLOCK << bits;
        let mut holes = vec![true; size.div_ceil(chunk) as usize];
        let mut at = 0;
        for extent in content.extents() {
            let end = at + extent.size();
            if !matches!(extent, Extent::Zeros(_)) && end > at {
                holes[(at / chunk) as usize..=((end - 1) / chunk) as usize].fill(false);
            }
            at = end;
        }
        holes.contains(&true).then_some(Self { bits, holes })
    }

    fn size(&self) -> u64 {
        BLOCK << self.bits
    }

    /// Returns where each run of chunks that are no holes begins and ends, in bytes of the file.
    pub(super) fn runs(&self, size: u64) -> Vec<(u64, u64)> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (index, hole) in (0..).zip(&self.holes) {
            let (start, end) = (index * self.size(), ((index + 1) * self.size()).min(size));
            match runs.last_mut() {
                _ if *hole => {}
                Some(last) if last.1 == start => last.1 = end,
                _ => runs.push((start, end)),
            }
        }
        runs
    }

    /// Writes the map: each chunk's first block.
    pub(super) fn map(&self, first: u32) -> Vec<u8> {
        let mut next = first;
        let place = |hole: &bool| {
            let place = if *hole { HOLE } else { next };
            next = if *hole { next } else { next.saturating_add(1 << self.bits) };
            place.to_le_bytes()
        };
        self.holes.iter().flat_map(place).collect()
    }
}
