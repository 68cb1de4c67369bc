//! What a bolt file is made of: its numbers, the header of a page, and the checksum of a meta page.
//!
//! All numbers are little-endian. A page is a header, then as many elements of 16 bytes as it counts, then the keys and
//! values that these point to, counted from where the element itself begins. Pages 0 and 1 are meta pages: the valid one
//! of the later transaction counts.

/// The size of a page that we write: that of the machines we write for; bbolt reads a file of any other size too.
pub(super) const PAGE: usize = 4096;
/// The sizes of pages that are read, all powers of two: what pages of memory have on machines that run containers.
pub(super) const MIN_PAGE: usize = 4096;
pub(super) const MAX_PAGE: usize = 65536;

/// A page's header: number (8 bytes), kind (2), count of elements (2), further pages that belong to it (4).
pub(super) const HEADER: usize = 16;
/// An element of a leaf (kind, position, sizes of key and value, 4 bytes each) or of a branch (position, size of the key,
/// 4 bytes each, number of the page below, 8).
pub(super) const ELEMENT: usize = 16;
/// What stands before an inline bucket's page, and all that there is of another: number of its root page, or 0, and
/// sequence.
pub(super) const BUCKET_HEADER: usize = 16;

/// Kinds of pages.
pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const META: u16 = 0x04;
pub(super) const FREELIST: u16 = 0x10;

/// The kind of a leaf's element that is a bucket.
pub(super) const BUCKET: u32 = 0x01;

/// A freelist that counts so many has its true count as its first number.
pub(super) const MANY: u16 = 0xffff;
/// In place of the freelist's page where none was written, which containerd asks bbolt for: what no bucket uses is free.
pub(super) const NO_FREELIST: u64 = u64::MAX;

pub(super) const MAGIC: u32 = 0xed0c_daed;
pub(super) const VERSION: u32 = 2;
/// A meta page's bytes after its header that have a checksum; this is behind them.
pub(super) const CHECKED: usize = 56;

/// As many first bytes as tell a bolt file from other files.
pub const HEAD: usize = HEADER + 4;

/// Tells from the first [`HEAD`] bytes, or all where there are fewer, whether a file is one of bolt.
pub fn is_bolt(head: &[u8]) -> bool {
    head.get(HEADER..HEAD).is_some_and(|magic| magic == MAGIC.to_le_bytes())
}

/// Where an element begins in its page.
pub(super) fn element_at(index: usize) -> usize {
    HEADER + index * ELEMENT
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const SIZE: usize>(bytes: &[u8], at: usize) -> [u8; SIZE] {
    let mut array = [0; SIZE];
    array.copy_from_slice(&bytes[at..at + SIZE]);
    array
}

/// Sums up a meta page with FNV-1a of 64 bits.
pub(super) fn checksum(meta: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    meta.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the list of test vectors of FNV's authors (draft-eastlake-fnv).
    #[test]
    fn checksums_are_fnv_1a() {
        for (text, sum) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(checksum(text.as_bytes()), sum, "{text}");
        }
    }

    #[test]
    fn a_file_is_told_by_its_head() {
        let mut head = [0; HEAD];
        head[HEADER..].copy_from_slice(&[0xed, 0xda, 0x0c, 0xed]);
        assert!(is_bolt(&head));
        assert!(!is_bolt(&head[..HEAD - 1]));
        assert!(!is_bolt(&[0; HEAD]));
    }
}
