//! Files cut into clusters: a segment of a file becomes clusters that fill blocks, and an end that lies with the inode.
//!
//! A segment is cut on its own, so that the size of what is done at once, and the number of those who do it, change no byte.

use super::BLOCK;
use super::codec::{Algorithm, CLUSTER, Codec, Decoder};

/// Files are cut into segments of this size: half a block is lost at the end of each, and several are in memory for each thread.
pub(super) const SEGMENT: usize = 2 << 20;
/// The end of a file has at most so many bytes: it must not cross a block, and is moved there by steps of a slot.
pub(super) const MAX_TAIL: usize = (BLOCK - super::SLOT) as usize;
/// What an index takes of a file: so much, and at most so much for each two blocks.
const HEADER: usize = 8;
const TWO: usize = 8;
/// A file that is compressed must be smaller by a block, or by one part in so many.
const LEAST_GAIN: usize = 8;

const WHOLE: usize = BLOCK as usize;

/// A part of a file that is compressed on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Bytes of the file.
    pub(super) length: u32,
    /// Blocks in the image; none for the end of a file that lies with its inode.
    pub(super) blocks: u32,
    /// Whether it is as it is in the file; then it may be of any length.
    pub(super) raw: bool,
}

/// What a segment became.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pub(super) clusters: Vec<Cluster>,
    /// Whole blocks.
    pub(super) bytes: Vec<u8>,
    /// The end of the file, which lies with its inode.
    pub(super) tail: Vec<u8>,
}

impl Packed {
    /// Packs a segment; `last` says that the file ends there. Where nothing is gained, it is one raw cluster.
    pub(super) fn of(segment: &[u8], last: bool, codec: &mut Codec) -> Self {
        let mut packed = Self::default();
        let mut place = vec![0; CLUSTER];
        let mut rest = segment;
        while !rest.is_empty() {
            let taken = match codec.fill(rest, &mut place) {
                Some((taken, made)) if last && taken == rest.len() => {
                    packed.push_last(rest, &place[..made], codec);
                    taken
                }
                Some((taken, made)) if made.next_multiple_of(WHOLE) < taken => {
                    packed.push(taken, &place[..made]);
                    taken
                }
                found => {
                    let taken = found.map_or(CLUSTER, |(taken, _)| taken);
                    let taken = (taken - taken % WHOLE).max(WHOLE).min(rest.len());
                    packed.push_raw(&rest[..taken]);
                    taken
                }
            };
            rest = &rest[taken..];
        }
        match packed.pays(segment.len()) {
            true => packed,
            false => Self::raw(segment),
        }
    }

    /// Packs a segment as it is.
    fn raw(segment: &[u8]) -> Self {
        let mut packed = Self::default();
        packed.push_raw(segment);
        packed
    }

    pub(super) fn is_raw(&self) -> bool {
        self.clusters.iter().all(|cluster| cluster.raw && cluster.blocks > 0)
    }

    /// Tells whether it is worth the index, and that readers decompress.
    fn pays(&self, size: usize) -> bool {
        let index = HEADER + TWO * size.div_ceil(2 * WHOLE);
        let cost = self.bytes.len() + self.tail.len() + index;
        cost + WHOLE.min(size.div_ceil(LEAST_GAIN)) <= size
    }

    /// Adds what was compressed: its first byte is not zero, and zeros go before it, so that a reader finds where it ends.
    fn push(&mut self, length: usize, made: &[u8]) {
        let blocks = made.len().div_ceil(WHOLE);
        self.clusters.push(Cluster { length: length as u32, blocks: blocks as u32, raw: false });
        self.bytes.resize(self.bytes.len() + blocks * WHOLE - made.len(), 0);
        self.bytes.extend(made);
    }

    fn push_raw(&mut self, bytes: &[u8]) {
        let (length, blocks) = (bytes.len() as u32, bytes.len().div_ceil(WHOLE) as u32);
        match self.clusters.last_mut() {
            Some(last) if last.raw && last.length.is_multiple_of(WHOLE as u32) => {
                last.length += length;
                last.blocks += blocks;
            }
            _ => self.clusters.push(Cluster { length, blocks, raw: true }),
        }
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(WHOLE), 0);
    }

    fn push_tail(&mut self, length: usize, tail: &[u8], raw: bool) {
        self.clusters.push(Cluster { length: length as u32, blocks: 0, raw });
        self.tail = tail.to_vec();
    }

    /// Adds the end of a file, `rest`, which became `made`: what does not fill a block lies with the inode.
    fn push_last(&mut self, rest: &[u8], made: &[u8], codec: &mut Codec) {
        if made.len() < rest.len() && made.len() <= MAX_TAIL {
            self.push_tail(rest.len(), made, false);
        } else if rest.len() <= MAX_TAIL {
            self.push_tail(rest.len(), rest, true);
        } else if self.push_divided(rest, made.len(), codec) {
        } else if made.len().next_multiple_of(WHOLE) < rest.len() {
            self.push(rest.len(), made);
        } else {
            self.push_raw(rest);
        }
    }

    /// Fills one block less, and puts what is left then with the inode, where that is shorter.
    fn push_divided(&mut self, rest: &[u8], made: usize, codec: &mut Codec) -> bool {
        let (mut place, mut tail) = (vec![0; made - made % WHOLE], vec![0; MAX_TAIL]);
        if place.is_empty() || place.len() == made {
            return false;
        }
        let Some((taken, first)) = codec.fill(rest, &mut place) else { return false };
        let blocks = first.next_multiple_of(WHOLE);
        let left = &rest[taken..];
        if blocks >= taken || left.is_empty() {
            return false;
        }
        let end = codec.fill(left, &mut tail).filter(|(all, made)| *all == left.len() && made < all);
        let size = end.map_or(left.len(), |(_, made)| made);
        if size > MAX_TAIL || blocks + size >= made.next_multiple_of(WHOLE) {
            return false;
        }
        self.push(taken, &place[..first]);
        match end {
            Some((_, made)) => self.push_tail(left.len(), &tail[..made], false),
            None => self.push_tail(left.len(), left, true),
        }
        true
    }
}

/// The clusters of a file, and where they are.
#[derive(Debug, Default, Clone)]
pub(super) struct Clusters {
    pub(super) list: Vec<Cluster>,
    pub(super) tail: Vec<u8>,
    /// The first block.
    pub(super) block: u64,
    /// How many blocks there are.
    pub(super) blocks: u64,
}

impl Clusters {
    /// Puts the end of a file of so many bytes into a block of its own, and returns that; nothing where there is no memory.
    pub(super) fn take_tail(&mut self, file: u64, algorithm: Algorithm) -> Option<Vec<u8>> {
        let mut tail = std::mem::take(&mut self.tail);
        let Some(last) = self.list.last_mut().filter(|_| !tail.is_empty()) else { return Some(tail) };
        (last.blocks, self.blocks) = (1, self.blocks + 1);
        // Linux 6.1 reads the entry behind that of a compressed cluster, and there is none behind the last.
        let is_last_entry = (file - 1) / BLOCK == (file - u64::from(last.length)) / BLOCK;
        if !last.raw && is_last_entry {
            let mut bytes = vec![0; last.length as usize];
            last.raw = Decoder::new()?.fill(algorithm, &tail, &mut bytes);
            tail = bytes;
        }
        let padding = vec![0; WHOLE - tail.len()];
        Some(if last.raw { [tail, padding].concat() } else { [padding, tail].concat() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::erofs::codec::Compression;

    #[test]
    fn an_end_in_a_block_of_its_own_is_compressed_only_where_an_entry_follows() {
        let compression = Compression::Lz4(9);
        let mut codec = Codec::new(compression).expect("there is memory");
        let mut taken = |size: usize, before: u32| {
            let from: Vec<u8> = (0..size).map(|at| (at / 9) as u8).collect();
            let mut place = vec![0; WHOLE];
            let (all, made) = codec.fill(&from, &mut place).expect("it fits");
            assert_eq!(all, size);
            let mut clusters = Clusters { tail: place[..made].to_vec(), ..Clusters::default() };
            clusters.list.push(Cluster { length: before, blocks: 1, raw: false });
            clusters.list.push(Cluster { length: size as u32, blocks: 0, raw: false });
            let file = u64::from(before) + size as u64;
            let block = clusters.take_tail(file, Algorithm::Lz4).expect("there is memory");
            assert_eq!((clusters.blocks, clusters.list[1].blocks, block.len()), (1, 1, WHOLE));
            (clusters.list[1].raw, block.starts_with(&from), block.ends_with(&place[..made]))
        };
        assert_eq!(taken(4000, 8192), (true, true, false), "all in one block of the file");
        assert_eq!(taken(4000, 8192 + 96), (true, true, false), "up to the end of one");
        assert_eq!(taken(4000, 8192 + 97), (false, false, true), "over the end of one");
        assert_eq!(taken(9000, 8192), (false, false, true), "in several");
    }
}
