//! See `fuzz_targets::image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::image(bytes));
