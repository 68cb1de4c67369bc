//! cpio archives of the form "newc", as Linux unpacks an initramfs from and GNU cpio reads.
//!
//! The form is that of Linux's documentation (`driver-api/early-userspace/buffer-format`). A member is a header of hexadecimal
//! numbers, its name with a NUL, and its bytes, name and bytes each filled up to a multiple of four; a member named
//! `TRAILER!!!` ends the archive.

mod read;
mod write;

pub use self::read::{ReadCpioError, read};
pub use self::write::{CpioError, extents};

/// Magic number and thirteen numbers of eight digits.
const HEADER: usize = 6 + 13 * 8;
/// Names and bytes are filled up to multiples of this.
const UNIT: u64 = 4;
/// The end of an archive has this name.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The longest path and target with the NUL behind it (PATH_MAX): Linux leaves out what has a longer one.
const MAX_PATH: usize = 4096;
/// So many bits Linux has for a device's major and minor number.
const DEVICE_BITS: (u32, u32) = (12, 20);
/// To `chown` this number is no owner but says that nothing changes.
const NOBODY: u32 = u32::MAX;

/// What a mode says of a member's type.
mod kind {
    pub(super) const FIFO: u32 = 0o1;
    pub(super) const CHAR: u32 = 0o2;
    pub(super) const DIRECTORY: u32 = 0o4;
    pub(super) const BLOCK: u32 = 0o6;
    pub(super) const FILE: u32 = 0o10;
    pub(super) const SYMLINK: u32 = 0o12;
}
