//! Reading the lock of a seed, which may be anything yet.

use std::io::{self, Read as _};

use cap_std::fs::Dir;
use ociseed_spec::lock::FILE_NAME;

/// A lock of a hundred thousand images; more is a mistake or an attack.
const LARGEST_LOCK: u64 = 64 << 20;

/// Reads the bytes of a seed's lock.
///
/// # Errors
/// It cannot be read, or is too large.
pub fn read_lock(seed: &Dir) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    seed.open(FILE_NAME)?.take(LARGEST_LOCK + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_LOCK {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {LARGEST_LOCK} bytes")));
    }
    Ok(bytes)
}
