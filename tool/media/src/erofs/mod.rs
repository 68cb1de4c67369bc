//! EROFS, a file system that is only read: written plainly, or compressed with LZ4 or zstd.
//!
//! The on-disk form is that of Linux's `fs/erofs/erofs_fs.h` and of its page in the kernel's documentation
//! ("EROFS - Enhanced Read-Only File System"), with nothing that Linux 6.1 does not read. An image is, in this order:
//!
//! 1. the superblock, in a block of its own;
//! 2. blocks of directories that are larger than one, in the order of paths;
//! 3. blocks of files, in the order of paths; files of one digest share theirs;
//! 4. inodes, in the order of paths, the root first, each with its xattrs and with what does not fill a block;
//! 5. xattrs that several inodes share.
//!
//! Inodes come last so that nothing but their places is known in advance: files are read once, and nothing is kept of them.
//! Of a compressed image the sizes are not known in advance: it is written into a file, with directories behind the other
//! files, and the superblock last ([`write()`]).

mod chunks;
mod clusters;
mod codec;
mod directory;
mod image;
mod index;
mod inode;
mod layout;
mod lz4;
mod node;
mod packs;
mod pipeline;
mod read;
mod superblock;
mod unpack;
mod write;
mod xattrs;

pub use self::codec::Compression;
pub use self::image::{Image, Options};
pub use self::layout::ErofsError;
pub use self::read::{ReadErofsError, read};
pub use self::superblock::{HEAD, is_image};
pub use self::write::{WriteErofsError, write};

/// Blocks have this size, the only one that every machine's pages can hold.
const BLOCK: u64 = 4096;
/// Inodes begin at multiples of this.
const SLOT: u64 = 32;
