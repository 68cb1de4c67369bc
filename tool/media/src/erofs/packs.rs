//! The index of a compressed file as it is written: the compact form, two bytes for most blocks of a file.
//!
//! Entries lie in packs, with the place of one cluster for all of a pack (`fs/erofs/zmap.c`): that of the first whose number of
//! blocks is not known before it. From there on readers count. The last entry of a pack has the way on to the next cluster,
//! others have the way back. All that is compressed here can be said so: a way leads over a segment's 512 blocks at most, and
//! there is room for 2047; clusters of a file lie one behind the other.

use super::BLOCK;
use super::clusters::{Cluster, Clusters};
use super::codec::Algorithm;
use super::index::{BIG, BIG_2, COUNT, FEW, HEAD, Head, INLINE, INSIDE, MANY, RAW, SHORT, pack_size, packs};

/// Returns how many bytes an index has that begins so many bytes behind its inode.
pub(super) fn size(start: u64, file: u64) -> u64 {
    let packs = packs(true, start + Head::SIZE, file.div_ceil(BLOCK));
    let bytes = |(entries, count): (u64, usize)| entries.div_ceil(count as u64) * pack_size(count) as u64;
    Head::SIZE + packs.into_iter().map(bytes).sum::<u64>()
}

/// Writes the index of a file of so many bytes, which begins `start` bytes behind its inode.
pub(super) fn encode(clusters: &Clusters, start: u64, file: u64, algorithm: Algorithm) -> Vec<u8> {
    let tail = clusters.tail.len() as u64;
    // What is said of the second algorithm, which no file has, must be said of both.
    let advise = SHORT | BIG | BIG_2 | if tail == 0 { 0 } else { INLINE };
    let mut index = Index {
        bytes: Vec::with_capacity(size(start, file) as usize),
        packs: packs(true, start + Head::SIZE, file.div_ceil(BLOCK)),
        pack: Vec::with_capacity(MANY),
        at: 0,
        block: clusters.block,
    };
    index.bytes.extend(Head { algorithm, tail, advise }.encode());
    for cluster in &clusters.list {
        index.add(cluster);
    }
    index.finish(file)
}

/// What is said of a block of a file.
struct Entry {
    kind: u16,
    /// Where in it a cluster begins, how many blocks that has, or the way back.
    value: u16,
    /// The same, or the way on, where it is the last of its pack.
    last: u16,
    /// The place of a pack that begins with it.
    place: u64,
}

struct Index {
    bytes: Vec<u8>,
    /// Entries that are missing, and how many are in a pack of theirs.
    packs: [(u64, usize); 3],
    /// What is in the pack so far.
    pack: Vec<Entry>,
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
        let offset = (self.at % BLOCK) as u16;
        // Blocks of the file that end in this cluster; the last cluster may end where none does.
        let ends = ((self.at % BLOCK + length) / BLOCK) as u16;
        self.push(Entry { kind, value: offset, last: offset, place: self.block });
        if ends > 1 {
            // A cluster that lies with the inode counts as one block.
            let count = blocks.max(1) as u16 | COUNT;
            self.push(Entry { kind: INSIDE, value: count, last: count, place: self.block });
        }
        self.at += length;
        self.block += u64::from(blocks);
        for back in 2..ends {
            self.push(Entry { kind: INSIDE, value: back, last: ends - back, place: self.block });
        }
    }

    fn push(&mut self, entry: Entry) {
        self.pack.push(entry);
        let Some((left, count)) = self.packs.iter_mut().find(|(left, _)| *left > 0) else { return };
        *left -= 1;
        let count = *count;
        if self.pack.len() == count {
            self.end_pack(count);
        }
    }

    fn end_pack(&mut self, count: usize) {
        let mut bytes = vec![0; pack_size(count)];
        let place = bytes.len() - 4;
        for (number, entry) in self.pack.iter().enumerate() {
            let value = if number + 1 == count { entry.last } else { entry.value };
            let bit = number * place * 8 / count;
            let shifted = u32::from(entry.kind << 12 | value) << (bit % 8);
            for (byte, part) in bytes[bit / 8..].iter_mut().zip(shifted.to_le_bytes()) {
                *byte |= part;
            }
        }
        let first = self.pack.first().map_or(0, |entry| entry.place as u32);
        bytes[place..].copy_from_slice(&first.to_le_bytes());
        self.bytes.append(&mut bytes);
        self.pack.clear();
    }

    /// Where the last cluster ends within a block that it does not begin in, that is said there.
    fn finish(mut self, file: u64) -> Vec<u8> {
        if self.packs.iter().any(|(left, _)| *left > 0) {
            let offset = (file % BLOCK) as u16;
            self.push(Entry { kind: RAW, value: offset, last: offset, place: self.block });
        }
        if !self.pack.is_empty() {
            self.end_pack(FEW);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Looks entries up one by one, as readers do that want a part of a file.
    struct Reader {
        bytes: Vec<u8>,
        /// Where packs begin, the number of their first entry, and how many are in them.
        packs: Vec<(usize, u64, usize)>,
    }

    impl Reader {
        /// Packs lie where Linux expects them, which counts from the beginning of the block.
        fn new(bytes: Vec<u8>, start: u64, entries: u64) -> Self {
            let (mut packs, mut at, mut number) = (Vec::new(), 8, 0);
            while number < entries {
                let here = start + at as u64;
                let large = here.is_multiple_of(32) && entries - number >= 16;
                packs.push((at, number, if large { 16 } else { 2 }));
                at += if large { 32 } else { 8 };
                number += if large { 16 } else { 2 };
            }
            assert_eq!(bytes.len(), at, "an end of a file lies behind the last pack");
            Self { bytes, packs }
        }

        fn pack(&self, number: u64) -> (usize, u64, usize) {
            self.packs[self.packs.partition_point(|(_, first, _)| *first <= number) - 1]
        }

        fn entry(&self, number: u64) -> (u16, u16) {
            let (at, first, count) = self.pack(number);
            let bits = if count == 16 { 14 } else { 16 };
            let bit = (number - first) as usize * bits;
            let bytes = &self.bytes[at + bit / 8..at + bit / 8 + 3];
            let value =
                (u32::from(bytes[0]) | u32::from(bytes[1]) << 8 | u32::from(bytes[2]) << 16) >> (bit % 8);
            ((value >> 12) as u16 & 3, value as u16 & 0xfff)
        }

        fn is_last(&self, number: u64) -> bool {
            let (_, first, count) = self.pack(number);
            number + 1 == first + count as u64
        }

        /// Where the cluster begins that the block lies in.
        fn back(&self, number: u64) -> u64 {
            match self.entry(number) {
                (INSIDE, value) if value & COUNT != 0 => number - 1,
                (INSIDE, _) if self.is_last(number) => match self.entry(number - 1) {
                    (INSIDE, value) if value & COUNT != 0 => number - 2,
                    (INSIDE, value) => number - 1 - u64::from(value),
                    _ => number - 1,
                },
                (INSIDE, value) => number - u64::from(value),
                _ => number,
            }
        }

        /// Where the next cluster begins, or the file ends.
        fn on(&self, mut number: u64, entries: u64) -> u64 {
            number += 1;
            while number < entries {
                match self.entry(number) {
                    (INSIDE, value) if value & COUNT == 0 && self.is_last(number) => {
                        number += u64::from(value)
                    }
                    (INSIDE, _) => number += 1,
                    _ => break,
                }
            }
            number
        }

        /// The first block of the cluster that begins there: what is before it in its pack is counted from the pack's place.
        fn block(&self, number: u64) -> u64 {
            let (at, first, count) = self.pack(number);
            let place = at + if count == 16 { 28 } else { 4 };
            let mut block = u64::from(crate::erofs::read::u32_at(&self.bytes, place));
            let mut before = number;
            while before > first {
                before -= 1;
                match self.entry(before) {
                    (INSIDE, value) if value & COUNT != 0 => {
                        block += u64::from(value & !COUNT);
                        before = before.saturating_sub(1);
                    }
                    // From there to the number of blocks of the same cluster.
                    (INSIDE, value) => before = (before + 2).saturating_sub(u64::from(value)),
                    _ => block += 1,
                }
            }
            block
        }

        fn blocks(&self, number: u64, entries: u64) -> u64 {
            match (number + 1 < entries).then(|| self.entry(number + 1)) {
                Some((INSIDE, value)) => u64::from(value & !COUNT),
                _ => 1,
            }
        }
    }

    /// Looks at every block of a file.
    fn check(clusters: &Clusters, start: u64) {
        let file = clusters.list.iter().map(|cluster| u64::from(cluster.length)).sum::<u64>();
        let entries = file.div_ceil(BLOCK);
        let bytes = encode(clusters, start, file, Algorithm::Lz4);
        assert_eq!(bytes.len() as u64, size(start, file));
        assert_eq!((bytes[4], bytes[5]), (if clusters.tail.is_empty() { 7 } else { 15 }, 0));
        let reader = Reader::new(bytes, start, entries);
        let (mut at, mut block, mut begun) = (0, clusters.block, 0);
        for cluster in &clusters.list {
            let parts = if cluster.raw { cluster.length.div_ceil(BLOCK as u32).max(1) } else { 1 };
            for part in 0..parts {
                let left = u64::from(cluster.length) - u64::from(part) * BLOCK;
                let length = if cluster.raw { left.min(BLOCK) } else { left };
                let blocks = if cluster.raw { cluster.blocks.min(1) } else { cluster.blocks };
                let (first, next) = (at / BLOCK, (at + length) / BLOCK);
                let kind = if cluster.raw { RAW } else { HEAD };
                assert_eq!(reader.entry(first), (kind, (at % BLOCK) as u16), "{first}");
                assert_eq!(reader.block(first), block, "the place of {first}");
                if blocks > 0 {
                    assert_eq!(reader.blocks(first, entries), u64::from(blocks), "blocks of {first}");
                }
                assert_eq!(reader.on(first, entries), next.max(first + 1), "behind {first}");
                for inside in first + 1..next {
                    assert_eq!(reader.back(inside), first, "back from {inside}");
                    assert_eq!(reader.on(inside, entries), next, "on from {inside}");
                }
                (at, block, begun) = (at + length, block + u64::from(blocks), next.max(first + 1));
            }
        }
        if begun < entries {
            assert_eq!((begun + 1, reader.entry(begun)), (entries, (RAW, (file % BLOCK) as u16)), "the end");
        }
    }

    /// Clusters as they come: of several blocks and more of the file, or as they are, up to the end of a segment.
    fn any_clusters() -> impl Strategy<Value = Clusters> {
        let cluster = (any::<bool>(), 1u32..=16, prop_oneof![1u32..20_000, 1u32..2_000_000]);
        let end = prop_oneof![Just(None), (any::<bool>(), 1u32..=4064).prop_map(Some)];
        (proptest::collection::vec(cluster, 0..60), end, 1u64..1 << 32).prop_map(|(parts, end, block)| {
            let mut clusters = Clusters { block: block / 2, ..Clusters::default() };
            for (raw, blocks, more) in parts {
                let length = blocks * BLOCK as u32 + if raw { 0 } else { more };
                clusters.list.push(Cluster { length, blocks, raw });
            }
            if let Some((raw, length)) = end {
                clusters.list.push(Cluster { length, blocks: 0, raw });
                clusters.tail = vec![1];
            }
            if clusters.list.is_empty() {
                clusters.list.push(Cluster { length: 5000, blocks: 1, raw: false });
            }
            clusters
        })
    }

    #[test]
    fn entries_lie_where_linux_expects_them() {
        // 33 blocks in one cluster of three, 80 bytes into a slot: two small packs, a large one, and the rest.
        let list = vec![Cluster { length: 33 * 4096 - 96, blocks: 3, raw: false }];
        let clusters = Clusters { list, block: 0x0102_0304, blocks: 3, ..Clusters::default() };
        let bytes = encode(&clusters, 72, 33 * 4096 - 96, Algorithm::Zstd);
        assert_eq!(bytes[..8], [0, 0, 0, 0, 7, 0, 3, 0]);
        assert_eq!(bytes[8..16], [0, 0x10, 3, 0x28, 4, 3, 2, 1]);
        // The way back, and of the last one the way on; the place is that of what follows.
        assert_eq!(bytes[16..24], [2, 0x20, 29, 0x20, 7, 3, 2, 1]);
        assert_eq!((bytes[24], bytes[25] & 0x3f, &bytes[52..56]), (4, 0x20, &[7, 3, 2, 1][..]));
        assert_eq!(bytes.len() as u64, size(72, 33 * 4096 - 96));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_entry_is_found(clusters in any_clusters(), start in (4u64..40).prop_map(|start| start * 8)) {
            check(&clusters, start);
        }
    }
}
