//! The lock file: one loader at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::exit::Exit;
use crate::stop::Stop;

/// Says why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockFileError {
    /// Another loader runs.
    #[error("another loader holds `{0}`")]
    Held(String),
    /// The file cannot be made or locked.
    #[error("cannot lock `{0}`")]
    Io(String, #[source] io::Error),
}

impl From<LockFileError> for Stop {
    fn from(error: LockFileError) -> Self {
        match &error {
            LockFileError::Held(_) => Self::new(Exit::Locked, &error),
            LockFileError::Io(..) => Self::new(Exit::Engine, &error),
        }
    }
}

/// Takes the lock; it is held until the file is dropped, or the process ends in whatever way.
///
/// # Errors
/// Somebody else holds it, or the run directory cannot be written.
pub(crate) fn take(run_dir: &Path) -> Result<File, LockFileError> {
    let path = run_dir.join("lock");
    let place = path.display().to_string();
    let failed = |error| LockFileError::Io(place.clone(), error);
    DirBuilder::new().recursive(true).mode(0o755).create(run_dir).map_err(failed)?;
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let file = options.open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LockFileError::Held(place)),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
