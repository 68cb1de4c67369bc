//! See `fuzz_targets::compressed`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz_targets::compressed(bytes));
