//! Files that are written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

/// The name under which a file is written until it is whole.
pub(crate) fn temporary(name: &str) -> String {
    format!(".{name}.new")
}

/// Writes a file of a directory that does not outlive the boot.
///
/// Two that write the same file at once are kept apart by the lock of the run directory, or by the units' order. What a killed one left is
/// written over.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(temporary(name));
    fs::write(&temporary, bytes)?;
    fs::rename(&temporary, dir.join(name))
}

/// As [`replace`], also when the power goes.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn replace_synced(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(temporary(name));
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    File::open(dir)?.sync_all()
}
