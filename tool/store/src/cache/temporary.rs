//! Files that are being written: locked by their process, so that others know whether it still lives.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use cap_std::fs::{Dir, File, OpenOptions, Permissions, PermissionsExt};
use rustix::fs::FlockOperation;

/// Where they lie.
pub(super) const DIRECTORY: &str = "tmp";

/// Numbers files, so that threads do not meet.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Writes a file and puts it in its place, with the directory that it lies in.
pub(super) fn write(
    dir: &Dir,
    path: &Path,
    content: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let (mut file, temporary) = create(dir)?;
    let result = content(&mut file)
        // Not left to the umask: the owner's other programs read it.
        .and_then(|()| file.set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| make_parent(dir, path))
        .and_then(|()| dir.rename(&temporary, dir, path));
    if result.is_err() {
        let _ = dir.remove_file(&temporary);
    }
    result
}

/// Makes a path another name of a file, also where another file has it, which nobody ever finds missing.
pub(super) fn link(from_dir: &Dir, from: &Path, file: &File, dir: &Dir, path: &Path) -> io::Result<()> {
    // Held until the name is in its place, so that nobody takes it for left over.
    rustix::fs::flock(file, FlockOperation::LockExclusive)?;
    let temporary = next_name();
    dir.create_dir_all(DIRECTORY)?;
    from_dir.hard_link(from, dir, &temporary)?;
    let renamed = dir.rename(&temporary, dir, path);
    // Of two names of one file both stay (rename(2)).
    let _ = dir.remove_file(&temporary);
    rustix::fs::flock(file, FlockOperation::Unlock)?;
    renamed
}

fn next_name() -> PathBuf {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Path::new(DIRECTORY).join(format!("{}-{number}", std::process::id()))
}

/// Makes the directory that a file lies in.
pub(super) fn make_parent(dir: &Dir, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| dir.create_dir_all(parent))
}

fn create(dir: &Dir) -> io::Result<(File, PathBuf)> {
    dir.create_dir_all(DIRECTORY)?;
    loop {
        let path = next_name();
        let file = match dir.open_with(&path, OpenOptions::new().read(true).write(true).create_new(true)) {
            // Another process namespace has this number too.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            opened => opened?,
        };
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        // Without a name, another process took it for left over before it was locked.
        if rustix::fs::fstat(&file)?.st_nlink > 0 {
            return Ok((file, path));
        }
    }
}

/// Removes files whose process is gone; best effort.
pub(super) fn clean(dir: &Dir) {
    let Ok(entries) = dir.read_dir(DIRECTORY) else { return };
    for entry in entries.flatten() {
        let gone = |file: File| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if entry.open().is_ok_and(gone) {
            let _ = entry.remove_file();
        }
    }
}
