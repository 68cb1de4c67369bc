//! The index of a compressed file: for each block of the file, what begins in it (`z_erofs_lcluster_index`).
//!
//! A cluster may begin anywhere in a block, but no two begin in one. The block where it begins has the place of its own
//! blocks; the next one has their number; that and all others have the way back and the way on to the next cluster.

use super::BLOCK;
use super::clusters::{Cluster, Clusters, ENTRY, HEADER};
use super::codec::Algorithm;
use super::read::{u16_at, u32_at};

/// Entries of two bytes; clusters of several blocks; an end that lies behind the index (`Z_EROFS_ADVISE_*`).
const SHORT: u16 = 0x1;
const BIG: u16 = 0x2;
const BIG_2: u16 = 0x4;
const INLINE: u16 = 0x8;
/// What begins in a block of a file (`Z_EROFS_LCLUSTER_TYPE_*`).
const RAW: u16 = 0;
const HEAD: u16 = 1;
const INSIDE: u16 = 2;
/// Marks a number of blocks where there would be a way back (`Z_EROFS_LI_D0_CBLKCNT`).
const COUNT: u16 = 1 << 11;
/// No cluster has more (`Z_EROFS_PCLUSTER_MAX_SIZE`).
const MAX_BLOCKS: u64 = 256;
/// Entries in packs have two bits for what begins, and twelve for where, or for a number of blocks.
const PACKED_BITS: u32 = 14;

/// Returns how many bytes the index of a file has.
pub(super) fn size(file: u64) -> u64 {
    HEADER + ENTRY * file.div_ceil(BLOCK)
}

/// Writes the index of a file of so many bytes.
pub(super) fn encode(clusters: &Clusters, file: u64, algorithm: Algorithm) -> Vec<u8> {
    let mut index = Index { bytes: Vec::with_capacity(size(file) as usize), at: 0, block: clusters.block };
    let advise = if clusters.tail.is_empty() { BIG } else { BIG | INLINE };
    index.bytes.extend([0, 0]);
    index.bytes.extend((clusters.tail.len() as u16).to_le_bytes());
    index.bytes.extend(advise.to_le_bytes());
    index.bytes.extend([algorithm as u8, 0]);
    index.bytes.resize(HEADER as usize, 0);
    for cluster in &clusters.list {
        index.add(cluster);
    }
    index.finish()
}

struct Index {
    bytes: Vec<u8>,
    /// Bytes of the file so far.
    at: u64,
    /// The next cluster's first block.
    block: u64,
}

impl Index {
    fn add(&mut self, cluster: &Cluster) {
        let mut left = u64::from(cluster.length);
        if !cluster.raw {
            return self.add_one(HEAD, left, cluster.blocks);
        }
        // What is not compressed has clusters of one block.
        while left > 0 {
            let now = left.min(BLOCK);
            self.add_one(RAW, now, cluster.blocks.min(1));
            left -= now;
        }
    }

    fn add_one(&mut self, kind: u16, length: u64, blocks: u32) {
        let offset = self.at % BLOCK;
        // Blocks of the file that end in this cluster; the last cluster may end where none does.
        let ends = ((offset + length) / BLOCK) as u16;
        self.entry(kind, offset, &(self.block as u32).to_le_bytes());
        for back in 1..ends {
            // A cluster that lies with the inode counts as one block.
            let count = if back == 1 { blocks.max(1) as u16 | COUNT } else { back };
            self.entry(INSIDE, 0, &[count.to_le_bytes(), (ends - back).to_le_bytes()].concat());
        }
        self.at += length;
        self.block += u64::from(blocks);
    }

    fn entry(&mut self, kind: u16, offset: u64, place: &[u8]) {
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((offset as u16).to_le_bytes());
        self.bytes.extend(place);
    }

    /// Where the last cluster ends within a block that it does not begin in, that is said there.
    fn finish(mut self) -> Vec<u8> {
        if self.bytes.len() as u64 != size(self.at) {
            self.entry(RAW, self.at % BLOCK, &[0; 4]);
        }
        self.bytes
    }
}

/// The first entries of a compressed file's index, which say what the others are (`z_erofs_map_header`).
#[derive(Debug)]
pub(super) struct Head {
    pub(super) algorithm: Algorithm,
    /// Bytes of the end that lies behind the index, or none.
    pub(super) tail: u64,
    advise: u16,
}

impl Head {
    /// Bytes in both forms.
    pub(super) const SIZE: u64 = 8;

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

/// How the entries of a file's index lie in packs: so many of four bytes, then of two, then of four again.
pub(super) fn packs(head: &Head, start: u64, entries: u64) -> [(u64, usize); 3] {
    let first = (32 - start % 32) / 4 % 8;
    if head.advise & SHORT == 0 || first >= entries {
        return [(entries, 2), (0, 16), (0, 2)];
    }
    let short = (entries - first) / 16 * 16;
    [(first, 2), (short, 16), (entries - first - short, 2)]
}
