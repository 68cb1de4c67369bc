//! Inodes: 32 bytes where that suffices, 64 where not.

use ociseed_spec::Timestamp;
use ociseed_tree::Stat;

/// How an inode's bytes lie (`EROFS_INODE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Form {
    /// In whole blocks.
    Plain = 0,
    /// In whole blocks, and what does not fill one behind the inode.
    Inline = 2,
    /// In clusters, of which a compact index says where they are.
    Clusters = 3,
    /// In chunks, which are in blocks or are holes.
    Chunks = 4,
}

/// The fields of an inode.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    pub(super) form: Form,
    /// Type and permissions, as `stat` has them.
    pub(super) mode: u16,
    pub(super) links: u32,
    pub(super) size: u64,
    /// The first block, the device number, the size of chunks, or how many blocks are compressed.
    pub(super) place: u32,
    /// What tells it from others, for systems with 32-bit inode numbers.
    pub(super) number: u32,
    pub(super) xattrs: u16,
    pub(super) stat: &'a Stat,
}

/// Tells whether an inode needs its long form; `time` is what the short one has.
pub(super) fn is_long(stat: &Stat, links: u32, size: u64, time: Timestamp) -> bool {
    let long = |number: u32| number > u32::from(u16::MAX);
    stat.mtime != time
        || long(stat.owner.uid)
        || long(stat.owner.gid)
        || long(links)
        || size > u64::from(u32::MAX)
}

/// Tells how many bytes an inode has.
pub(super) fn size(long: bool) -> u64 {
    if long { 64 } else { 32 }
}

impl Fields<'_> {
    pub(super) fn encode(&self, long: bool) -> Vec<u8> {
        let mut bytes = vec![0; size(long) as usize];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let (owner, mtime) = (self.stat.owner, self.stat.mtime);
        put(0, &((self.form as u16) << 1 | u16::from(long)).to_le_bytes());
        put(2, &self.xattrs.to_le_bytes());
        put(4, &self.mode.to_le_bytes());
        put(16, &self.place.to_le_bytes());
        put(20, &self.number.to_le_bytes());
        if long {
            put(8, &self.size.to_le_bytes());
            put(24, &owner.uid.to_le_bytes());
            put(28, &owner.gid.to_le_bytes());
            put(32, &mtime.seconds().to_le_bytes());
            put(40, &mtime.nanoseconds().to_le_bytes());
            put(44, &self.links.to_le_bytes());
        } else {
            put(6, &(self.links as u16).to_le_bytes());
            put(8, &(self.size as u32).to_le_bytes());
            put(24, &(owner.uid as u16).to_le_bytes());
            put(26, &(owner.gid as u16).to_le_bytes());
        }
        bytes
    }
}
