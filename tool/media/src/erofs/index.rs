//! The index of a compressed file as it is read: for each block of the file, what begins in it.
//!
//! A cluster may begin anywhere in a block, but no two begin in one. The block where it begins says where in it; the next one
//! has the number of the cluster's blocks; others have the way back, or the way on to the next cluster. In the full form
//! (`z_erofs_lcluster_index`) each entry has eight bytes; in the compact one, the only that is written ([`super::packs`]),
//! entries lie in packs with one place for all.

use super::BLOCK;
use super::codec::Algorithm;
use super::read::{u16_at, u32_at};

/// Entries of two bytes; clusters of several blocks; an end that lies behind the index (`Z_EROFS_ADVISE_*`).
pub(super) const SHORT: u16 = 0x1;
pub(super) const BIG: u16 = 0x2;
pub(super) const BIG_2: u16 = 0x4;
pub(super) const INLINE: u16 = 0x8;
/// What begins in a block of a file (`Z_EROFS_LCLUSTER_TYPE_*`).
pub(super) const RAW: u16 = 0;
pub(super) const HEAD: u16 = 1;
pub(super) const INSIDE: u16 = 2;
/// Marks a number of blocks where there would be a way back (`Z_EROFS_LI_D0_CBLKCNT`).
pub(super) const COUNT: u16 = 1 << 11;
/// No cluster has more (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const MAX_BLOCKS: u64 = 256;
/// Entries in packs have two bits for what begins, and twelve for where, or for a number of blocks.
const PACKED_BITS: u32 = 14;
/// Entries of the full form have so many bytes.
const ENTRY: u64 = 8;
/// How many entries packs have: of 8 bytes with four for each, and of 32 bytes with two for each.
pub(super) const FEW: usize = 2;
pub(super) const MANY: usize = 16;

/// The first entries of a compressed file's index, which say what the others are (`z_erofs_map_header`).
#[derive(Debug)]
pub(super) struct Head {
    pub(super) algorithm: Algorithm,
    /// Bytes of the end that lies behind the index, or none.
    pub(super) tail: u64,
    pub(super) advise: u16,
}

impl Head {
    /// Bytes in both forms.
    pub(super) const SIZE: u64 = 8;

    pub(super) fn encode(&self) -> [u8; Self::SIZE as usize] {
        let ([a, b], [c, d]) = ((self.tail as u16).to_le_bytes(), self.advise.to_le_bytes());
        [0, 0, a, b, c, d, self.algorithm as u8, 0]
    }

    /// Tells whether there may be entries of two bytes.
    pub(super) fn is_short(&self) -> bool {
        self.advise & SHORT != 0
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (tail, advise) = (u16_at(bytes, 2), u16_at(bytes, 4));
        if bytes[7] != 0 {
            return Err(
                "it is in a file of fragments, or its index is not of blocks, which is not read here"
                    .to_owned(),
            );
        }
        let unknown = advise & !(SHORT | BIG | BIG_2 | INLINE);
        if unknown != 0 {
            return Err(format!("its index has features that are not read here: {unknown:#x}"));
        }
        let algorithm = Algorithm::of(bytes[6] & 0xf);
        let algorithm = algorithm.ok_or_else(|| {
            format!("it is compressed with number {}, which is not read here", bytes[6] & 0xf)
        })?;
        let tail = if advise & INLINE == 0 { 0 } else { u64::from(tail) };
        Ok(Self { algorithm, tail, advise })
    }
}

/// Where a cluster begins, in the file and in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Bytes from the beginning of the file.
    pub(super) at: u64,
    pub(super) raw: bool,
    /// The first block.
    pub(super) block: u64,
    pub(super) blocks: u64,
}

/// Collects where clusters begin from the entries of an index.
#[derive(Debug, Default)]
pub(super) struct Starts {
    pub(super) found: Vec<Start>,
    /// Entries so far.
    entries: u64,
    /// Whether the last one was the beginning of a cluster.
    fresh: bool,
}

impl Starts {
    /// Reads an index with eight bytes for each block.
    pub(super) fn full(&mut self, head: &Head, entries: &[u8]) -> Result<(), String> {
        for entry in entries.chunks_exact(ENTRY as usize) {
            let (kind, offset) = (u16_at(entry, 0) & 3, u16_at(entry, 2));
            match kind {
                INSIDE => self.inside(head, u16_at(entry, 4))?,
                _ => self.start(kind, offset, u32_at(entry, 4).into())?,
            }
        }
        Ok(())
    }

    /// Reads a pack of entries with a place in common, which is that of the first cluster that begins there.
    pub(super) fn pack(&mut self, head: &Head, pack: &[u8], count: usize, used: usize) -> Result<(), String> {
        let (bits, end) = ((pack.len() - 4) * 8 / count, pack.len() - 4);
        let big = head.advise & BIG != 0;
        let mut next = u64::from(u32_at(pack, end)) + u64::from(!big);
        for number in 0..used {
            let bit = number * bits;
            let three = (0..3).map(|byte| u32::from(pack[bit / 8 + byte]) << (8 * byte)).sum::<u32>();
            let value = (three >> (bit % 8)) as u16 & ((1 << PACKED_BITS) - 1);
            let (kind, value) = (value >> 12, value & 0xfff);
            match kind {
                INSIDE => {
                    self.inside(head, value)?;
                    if value & COUNT != 0 {
                        // The block that was counted for its beginning is one of them, where that is in this pack.
                        next += u64::from(value & !COUNT) - u64::from(number > 0);
                    }
                }
                _ => {
                    self.start(kind, value, next)?;
                    next += 1;
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, kind: u16, offset: u16, block: u64) -> Result<(), String> {
        if kind > HEAD || u64::from(offset) >= BLOCK {
            return Err(format!("no cluster has the kind {kind} and begins {offset} bytes into a block"));
        }
        let at = self.entries * BLOCK + u64::from(offset);
        if self.found.is_empty() && at > 0 {
            return Err("its first cluster does not begin with it".to_owned());
        }
        self.found.push(Start { at, raw: kind == RAW, block, blocks: 1 });
        (self.entries, self.fresh) = (self.entries + 1, true);
        Ok(())
    }

    fn inside(&mut self, head: &Head, value: u16) -> Result<(), String> {
        if value & COUNT != 0 {
            let count = u64::from(value & !COUNT);
            let last = self.found.last_mut().filter(|_| self.fresh && head.advise & BIG != 0);
            match last {
                Some(last) if (1..=MAX_BLOCKS).contains(&count) => last.blocks = count,
                _ => return Err(format!("a cluster of {count} blocks is none, or has no beginning")),
            }
        }
        if self.found.is_empty() {
            return Err("it begins inside of a cluster".to_owned());
        }
        (self.entries, self.fresh) = (self.entries + 1, false);
        Ok(())
    }
}

/// Returns how many bytes a pack of so many entries has.
pub(super) fn pack_size(count: usize) -> usize {
    if count == MANY { 32 } else { 8 }
}

/// How the entries of an index that begins at `start` lie in packs: so many in small ones, until large ones are aligned, then
/// in large ones where there may be such, then in small ones again.
pub(super) fn packs(short: bool, start: u64, entries: u64) -> [(u64, usize); 3] {
    let first = (32 - start % 32) / 4 % 8;
    if !short || first >= entries {
        return [(entries, FEW), (0, MANY), (0, FEW)];
    }
    let large = (entries - first) / 16 * 16;
    [(first, FEW), (large, MANY), (entries - first - large, FEW)]
}
