//! The link to a seed, through which all links in engines' roots lead.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use ociseed_spec::Digest;

/// Makes `<run-dir>/seeds/<seed id>` lead to a seed; one that leads elsewhere is replaced at once.
///
/// # Errors
/// The run directory cannot be written.
pub(crate) fn make(run_dir: &Path, id: &Digest, seed: &Path) -> io::Result<()> {
    let seeds = run_dir.join("seeds");
    let link = seeds.join(id.hex());
    if fs::read_link(&link).is_ok_and(|target| target == seed) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(&seeds)?;
    // The lock is held, so this is nobody's but of one that was killed.
    let temporary = seeds.join(".new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(seed, &temporary)?;
    fs::rename(&temporary, &link)
}
