//! See `fuzz_targets::package`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::package(bytes));
