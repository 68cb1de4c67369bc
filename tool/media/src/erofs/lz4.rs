//! LZ4, as its C library has it: the only compression that every kernel with EROFS reads.
//!
//! The crate declares no function that fills a given place with as much as goes into it, which is what EROFS wants.

#![expect(unsafe_code, reason = "a C library")]

use std::ffi::{c_char, c_int};

// Links the library.
use lz4_sys as _;

unsafe extern "C" {
    fn LZ4_sizeofStateHC() -> c_int;
    fn LZ4_compress_HC_destSize(
        state: *mut u64,
        from: *const c_char,
        to: *mut c_char,
        from_size: *mut c_int,
        to_size: c_int,
        level: c_int,
    ) -> c_int;
    fn LZ4_decompress_safe_partial(
        from: *const c_char,
        to: *mut c_char,
        from_size: c_int,
        wanted: c_int,
        to_size: c_int,
    ) -> c_int;
}

/// The memory of a compressor.
pub(super) struct Lz4 {
    state: Vec<u64>,
    level: c_int,
}

impl Lz4 {
    pub(super) fn new(level: c_int) -> Self {
        // SAFETY: it returns a number.
        let size = unsafe { LZ4_sizeofStateHC() };
        Self { state: vec![0; usize::try_from(size).unwrap_or_default().div_ceil(8)], level }
    }

    /// Compresses as much of `from` as fits into `to`; returns how much that is, and what it became.
    pub(super) fn fill(&mut self, from: &[u8], to: &mut [u8]) -> Option<(usize, usize)> {
        let (mut taken, room) = (size_of(from.len())?, size_of(to.len())?);
        // SAFETY: the state has the size that the library wants, and is aligned to 8 bytes; both sizes are those of
        // the slices, of which the first is only read.
        let made = unsafe {
            LZ4_compress_HC_destSize(
                self.state.as_mut_ptr(),
                from.as_ptr().cast(),
                to.as_mut_ptr().cast(),
                &raw mut taken,
                room,
                self.level,
            )
        };
        let (taken, made) = (usize::try_from(taken).ok()?, usize::try_from(made).ok()?);
        (made > 0 && taken > 0).then_some((taken, made))
    }
}

/// Decompresses until `to` is full; returns whether it is.
pub(super) fn decompress(from: &[u8], to: &mut [u8]) -> bool {
    let (Some(size), Some(room)) = (size_of(from.len()), size_of(to.len())) else { return false };
    // SAFETY: both sizes are those of the slices. The function is made for input that nobody knows: it stays within
    // both, and writes what it reads back before.
    let made = unsafe {
        LZ4_decompress_safe_partial(from.as_ptr().cast(), to.as_mut_ptr().cast(), size, room, room)
    };
    made == room
}

fn size_of(size: usize) -> Option<c_int> {
    c_int::try_from(size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_filled_and_read_back() {
        let from: Vec<u8> = (0..100_000u32).flat_map(|number| (number / 3).to_le_bytes()).collect();
        for level in [1, 9, 12] {
            let mut to = vec![0; 4096];
            let (taken, made) = Lz4::new(level).fill(&from, &mut to).expect("it fits");
            assert!(made > 4000 && taken > made, "{level}: {taken} become {made}");
            let mut back = vec![0; taken];
            assert!(decompress(&to[..made], &mut back) && back == from[..taken], "{level}");
            assert!(!decompress(&to[..made], &mut vec![0; taken + 1]), "{level}: more than there is");
            assert!(!decompress(&to[..made - 9], &mut back), "{level}: cut");
        }
    }
}
