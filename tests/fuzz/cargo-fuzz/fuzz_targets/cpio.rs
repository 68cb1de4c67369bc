//! See `fuzz_targets::initramfs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::initramfs(bytes));
