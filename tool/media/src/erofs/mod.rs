//! EROFS, a file system that is only read: written plainly, without compression.
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

mod chunks;
mod directory;
mod image;
mod inode;
mod layout;
mod read;
mod superblock;
mod xattrs;

pub use self::image::{Image, Label, LabelError, Options};
pub use self::layout::ErofsError;
pub use self::read::{ReadErofsError, read};
pub use self::superblock::{HEAD, is_image};

/// Blocks have this size, the only one that every machine's pages can hold.
const BLOCK: u64 = 4096;
/// Inodes begin at multiples of this.
const SLOT: u64 = 32;
