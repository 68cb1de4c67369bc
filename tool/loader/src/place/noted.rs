//! Remembers on which media a lock's seed was found right, so that no boot hashes again what an earlier one did.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use ociseed_spec::Digest;
use rustix::fs::{Mode, OFlags};

use super::trust;
use crate::files;
use crate::seed::Seed;
use crate::state::SEALED;

/// How many media are remembered of one lock: those of two slots and of some that came and went.
const MOST: usize = 16;

/// Says why nothing was noted.
#[derive(Debug, thiserror::Error)]
#[error("`{place}` cannot be written, so the seed will be hashed again at the next boot")]
pub(crate) struct NoteError {
    place: String,
    source: io::Error,
}

/// The file of one lock: a medium a line.
#[derive(Debug)]
pub(crate) struct Notes {
    dir: PathBuf,
    file: PathBuf,
}

/// Describes the medium of a seed in a line; `None` where it could not be told from another one at the next boot.
///
/// # Errors
/// The kernel does not say what it is.
pub(crate) fn medium(seed: &Seed) -> io::Result<Option<String>> {
    let dir = rustix::fs::openat(&seed.dir, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let Some((file_system, size)) = trust::file_system(&dir)? else { return Ok(None) };
    Ok(Some(format!("{file_system} {size} {}", rustix::fs::fstat(&dir)?.st_ino)))
}

impl Notes {
    /// The notes on a lock.
    pub(crate) fn new(state_dir: &Path, lock: &Digest) -> Self {
        let dir = state_dir.join(SEALED);
        Self { file: dir.join(lock.hex()), dir }
    }

    /// Tells whether a medium was found right; what cannot be read was not.
    pub(crate) fn has(&self, medium: &str) -> bool {
        self.lines().iter().any(|line| line == medium)
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read(&self.file).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect::<Vec<_>>();
        let first = lines.len().saturating_sub(MOST - 1);
        lines[first..].to_vec()
    }

    /// Notes a medium, the oldest of too many going.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub(crate) fn add(&self, medium: &str) -> Result<(), NoteError> {
        self.write(medium).map_err(|source| NoteError { place: self.file.display().to_string(), source })
    }

    fn write(&self, medium: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o755).create(&self.dir)?;
        let name = self.file.file_name().and_then(|name| name.to_str()).expect("the digits of a digest");
        let text: String = self.lines().iter().map(String::as_str).chain([medium]).map(line).collect();
        files::replace_synced(&self.dir, name, text.as_bytes())
    }
}

fn line(medium: &str) -> String {
    format!("{medium}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_media_are_remembered() {
        let state = std::env::temp_dir().join(format!("ociseed-noted-{}", std::process::id()));
        let notes = Notes::new(&state, &Digest::of(b"lock"));
        assert!(!notes.has("medium 0"));
        for number in 0..=MOST {
            notes.add(&format!("medium {number}")).expect("written");
        }
        let known: Vec<_> = (0..=MOST).filter(|number| notes.has(&format!("medium {number}"))).collect();
        assert_eq!(known, (2..=MOST).collect::<Vec<_>>());
        assert!(!Notes::new(&state, &Digest::of(b"other")).has("medium 5"));
        fs::remove_dir_all(&state).expect("removed");
    }
}
