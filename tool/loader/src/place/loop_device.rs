//! A loop device for an image file, on kernels that mount no files of its kind.
//!
//! The kernel lets go of the device when it is unmounted. Linux has the call that sets one up in one step since 5.8.
#![expect(unsafe_code, reason = "no crate has these ioctls")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::ioctl::{self, Getter, Ioctl, IoctlOutput, Opcode, Setter};

// linux/loop.h
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_GET_STATUS64: Opcode = 0x4C05;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often another process may take the device that was free a moment before.
const ATTEMPTS: usize = 16;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A device that is bound to a file as long as this or a mount holds it.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    /// Where it is.
    pub(crate) path: PathBuf,
    _file: File,
}

/// Binds a free device to a file, read-only.
///
/// # Errors
/// The kernel has no loop devices, or none that is free.
pub(crate) fn attach(file: &File) -> io::Result<LoopDevice> {
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..ATTEMPTS {
        let path = PathBuf::from(format!("/dev/loop{}", free_number(control.as_fd())?));
        let device = File::open(&path)?;
        match configure(&device, file) {
            Ok(()) => return Ok(LoopDevice { path, _file: device }),
            Err(Errno::BUSY) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::BUSY.into())
}

fn configure(device: &File, file: &File) -> Result<(), Errno> {
    let flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
    let info = Info {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let fd = u32::try_from(file.as_raw_fd()).expect("numbers of open files are not negative");
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE takes a pointer to `struct loop_config`, which `Config` is field by field, and only reads it.
    unsafe { ioctl::ioctl(device, Setter::<LOOP_CONFIGURE, Config>::new(config)) }
}

/// Returns the device and the inode of the file that a loop device holds.
///
/// # Errors
/// It is no loop device, or holds none.
pub(crate) fn file_of(device: &File) -> io::Result<(u64, u64)> {
    // SAFETY: LOOP_GET_STATUS64 takes a pointer to `struct loop_info64`, which `Info` is field by field, and fills it.
    let info = unsafe { ioctl::ioctl(device, Getter::<LOOP_GET_STATUS64, Info>::new()) }?;
    Ok((info.device, info.inode))
}

fn free_number(control: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument, and what it returns is its result.
    Ok(unsafe { ioctl::ioctl(control, GetFree) }?)
}

/// The call that answers by what it returns.
struct GetFree;

// SAFETY: the opcode takes no argument, so no pointer is followed.
unsafe impl Ioctl for GetFree {
    type Output = i32;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        std::ptr::null_mut()
    }

    // SAFETY: nothing is done with the pointer.
    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut rustix::ffi::c_void) -> rustix::io::Result<i32> {
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reads_structures_of_these_sizes() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
    }
}
