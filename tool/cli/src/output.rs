//! Outputs that are there whole or not at all.
//!
//! They are made in a hidden directory beside their place, or if they are one file as that (`hidden`). It goes when the
//! process ends or is interrupted, and they are renamed when they are complete. What a killed process left is removed by
//! the next one.

mod hidden;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, MetadataExt, OpenOptions, Permissions, PermissionsExt};
use rustix::fs::{FlockOperation, RenameFlags};

use crate::context::{cancellation, located};
use crate::failure::Failure;
use crate::scratch;
use hidden::HiddenFile;
use ociseed_spec::shown_path;

/// Hidden directories begin with this.
const STAGE_PREFIX: &str = ".ociseed-stage-";
/// Beside a hidden directory lies a file of its name and this ending, made before it, gone after it, and locked while
/// the process lives: so a directory without one, or with one that nobody holds, is left over.
const LOCK_SUFFIX: &str = ".lock";
/// Numbers what is hidden, so that no thread means another's by the name of its own that is gone.
static NEXT_HIDDEN: AtomicU32 = AtomicU32::new(0);
/// How many directories are remembered as looked through for hidden ones: a few kilobytes.
const MOST_LOOKED: usize = 256;
/// Hidden directories and files that exist now; a signal removes them.
static HIDDEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn hidden() -> MutexGuard<'static, Vec<PathBuf>> {
    HIDDEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget(absolute: &Path) {
    hidden().retain(|path| path != absolute);
}

/// Ends the process on SIGINT, SIGTERM and SIGHUP after removing what is half-written.
pub(crate) fn remove_stages_on_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]) else {
        return;
    };
    std::thread::spawn(move || {
        for signal in &mut signals {
            // Held on to, so that no other thread makes a new one meanwhile.
            let hidden = hidden();
            for path in hidden.iter() {
                // A file, or a directory with its lock beside it.
                if std::fs::remove_file(path).is_err() {
                    remove_while_written(path);
                    let _ = std::fs::remove_file(lock_of(path));
                }
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
}

/// Removes a directory in which other threads make files meanwhile: one made behind our back keeps the directory.
fn remove_while_written(stage: &Path) {
    for _ in 0..1000 {
        match std::fs::remove_dir_all(stage) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            _ => return,
        }
    }
}

fn lock_of(stage: &Path) -> PathBuf {
    let mut name = stage.as_os_str().to_owned();
    name.push(LOCK_SUFFIX);
    name.into()
}

/// A directory that outputs go to, and how it is called in messages.
#[derive(Debug, Clone)]
pub(crate) struct OutDir {
    dir: Arc<Dir>,
    /// As the user wrote it, for messages.
    path: PathBuf,
}

impl OutDir {
    /// Opens a directory, making it and its parents where they are not there.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = path.exists() && !path.is_dir();
        let hint = file.then(|| "a file is there, and outputs need a directory".to_owned());
        let fail = |error| match &hint {
            None => write_failure(path, &error),
            hint => write_failure(path, &error).hint(hint.clone()),
        };
        Dir::create_ambient_dir_all(path, ambient_authority()).map_err(fail)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(fail)?;
        Ok(Self { dir: Arc::new(dir), path: path.into() })
    }

    /// Opens a directory that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let opened = Dir::open_ambient_dir(path, ambient_authority());
        Ok(Self { dir: Arc::new(opened.map_err(|error| write_failure(path, &error))?), path: path.into() })
    }

    /// Splits the path of an output into its directory, which must be there, and its name.
    pub(crate) fn of_output(path: &Path) -> Result<(Self, OsString), Failure> {
        let Some(name) = path.file_name() else {
            return Err(Failure::usage(format!("`{}` cannot be an output", shown_path(path))));
        };
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        let open = located(if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
        let dir =
            Dir::open_ambient_dir(open, ambient_authority()).map_err(|error| write_failure(path, &error))?;
        Ok((Self { dir: Arc::new(dir), path: parent.into() }, name.into()))
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Arc<Dir> {
        &self.dir
    }

    /// Returns how a path in it is called in messages.
    pub(crate) fn shown(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory below, making it where it is not there.
    pub(crate) fn below(&self, name: impl AsRef<Path>) -> Result<Self, Failure> {
        let name = name.as_ref();
        let path = self.shown(name);
        let open = || {
            self.dir.create_dir_all(name)?;
            self.dir.open_dir(name)
        };
        let dir = open().map_err(|error| write_failure(&path, &error))?;
        Ok(Self { dir: Arc::new(dir), path })
    }

    /// Writes one file of a stage.
    pub(crate) fn write_file<T>(
        &self,
        name: &OsStr,
        content: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let path = self.shown(name);
        let file = self.dir.create(name).map_err(|error| write_failure(&path, &error))?;
        write_to(file, &path, content)
    }

    /// Writes one file of a stage at any places, and reads it where it was written.
    pub(crate) fn write_placed<T>(
        &self,
        name: &OsStr,
        content: impl FnOnce(&File) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let fail = |error: io::Error| write_failure(&self.shown(name), &error);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true);
        let file = self.dir.open_with(name, options).map_err(fail)?;
        let value = content(&file)?;
        file.set_permissions(Permissions::from_mode(0o644)).map_err(fail)?;
        Ok(value)
    }

    /// Starts a hidden directory, and removes those that killed processes left.
    pub(crate) fn stage(&self) -> Result<Stage, Failure> {
        self.remove_stale_once();
        for _ in 0..100 {
            let number = NEXT_HIDDEN.fetch_add(1, Ordering::Relaxed);
            let name = format!("{STAGE_PREFIX}{}-{number}", std::process::id());
            match self.create_stage(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(write_failure(&self.shown(&name), &error)),
                Ok(stage) => return Ok(stage),
            }
        }
        Err(self.too_many())
    }

    fn too_many(&self) -> Failure {
        Failure::new(format!("`{}`: too many hidden outputs of ours", shown_path(&self.path)))
    }

    /// Returns where a path in it is, for whoever has another working directory.
    fn absolute(&self, name: &str) -> io::Result<PathBuf> {
        std::path::absolute(located(&self.shown(name)))
    }

    fn create_stage(&self, name: &str) -> io::Result<Stage> {
        let absolute = self.absolute(name)?;
        // Held while the directory is made, so that a signal finds it in the list or not there at all.
        let mut list = hidden();
        let mut options = OpenOptions::new();
        let lock = self.dir.open_with(lock_of(Path::new(name)), options.write(true).create_new(true))?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
        if lock.metadata()?.nlink() == 0 {
            // Another process took it for left over before it was locked: the next name is tried.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let made = self.dir.create_dir(name);
        list.push(absolute.clone());
        drop(list);
        // From here on its drop removes both.
        let mut stage =
            Stage { parent: self.clone(), name: name.to_owned(), absolute, dir: None, _lock: lock };
        made?;
        stage.dir = Some(Arc::new(self.dir.open_dir(name)?));
        Ok(stage)
    }

    /// Removes what killed processes left, once in the life of this one: a worker has a directory of thousands of outputs again and
    /// again.
    fn remove_stale_once(&self) {
        static LOOKED: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());
        let Ok(metadata) = self.dir.dir_metadata() else { return };
        let mut looked = LOOKED.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker in a sandbox has a new directory each time; some are looked at twice then.
        if looked.len() >= MOST_LOOKED {
            looked.clear();
        }
        let is_new = looked.insert((metadata.dev(), metadata.ino()));
        drop(looked);
        if is_new {
            self.remove_stale();
        }
    }

    /// Removes what is hidden and whose process is gone, which locks tell.
    pub(crate) fn remove_stale(&self) {
        let Ok(entries) = self.dir.entries() else { return };
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            if name.starts_with(STAGE_PREFIX) {
                self.remove_stale_stage(Path::new(name.strip_suffix(LOCK_SUFFIX).unwrap_or(&name)));
            } else if name.starts_with(hidden::PREFIX) {
                self.remove_stale_file(&name);
            } else if name.starts_with(scratch::PREFIX) {
                // Nobody needs the name for long.
                let _ = self.dir.remove_file(&name);
            }
        }
    }

    fn remove_stale_stage(&self, name: &Path) {
        let lock_name = lock_of(name);
        // Best effort: what cannot be removed hinders nobody.
        match self.dir.open(&lock_name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = self.dir.remove_dir_all(name);
            }
            Err(_) => {}
            Ok(lock) => {
                // Held until all is gone, so that whoever just made it and waits for the lock sees that.
                let locked = rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
                // A lock without a name is of a directory that is gone; one of its name may be another's by now.
                if locked && lock.metadata().is_ok_and(|metadata| metadata.nlink() > 0) {
                    let _ = self.dir.remove_dir_all(name);
                    let _ = self.dir.remove_file(lock_name);
                }
            }
        }
    }
}

/// A hidden directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    parent: OutDir,
    name: String,
    /// As signals know it.
    absolute: PathBuf,
    dir: Option<Arc<Dir>>,
    /// Locked as long as the process lives.
    _lock: File,
}

impl Stage {
    /// Returns the hidden directory as a place to write to.
    pub(crate) fn out(&self) -> OutDir {
        let dir = self.dir.as_ref().expect("opened when it was made");
        // Called by where things will be: that is what people asked for and can look at.
        OutDir { dir: Arc::clone(dir), path: self.parent.path.clone() }
    }

    /// Moves a finished directory or file of the stage to `name` below `to`.
    ///
    /// `replace` tells whether a directory that is there and not empty may go.
    pub(crate) fn commit(
        &self,
        from: impl AsRef<Path>,
        to: &OutDir,
        name: &OsStr,
        replace: bool,
    ) -> Result<(), Failure> {
        let path = to.shown(name);
        cancellation().check().map_err(|error| write_failure(&path, &error))?;
        let (old, new) = (self.out(), &to.dir);
        let rename = |flags| rustix::fs::renameat_with(&*old.dir, from.as_ref(), &**new, name, flags);
        match rename(RenameFlags::empty()) {
            Ok(()) => Ok(()),
            // A directory that is not empty, or a file in place of a directory.
            Err(
                error @ (rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST | rustix::io::Errno::NOTDIR),
            ) => {
                if !replace {
                    let failure = write_failure(&path, &io::Error::from(error));
                    return Err(failure.hint("remove it, or choose another output".to_owned()));
                }
                // The old one lands in the stage and goes with it.
                rename(RenameFlags::EXCHANGE).map_err(|error| write_failure(&path, &io::Error::from(error)))
            }
            Err(error) => Err(write_failure(&path, &io::Error::from(error))),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.parent.dir.remove_dir_all(&self.name);
        let _ = self.parent.dir.remove_file(lock_of(Path::new(&self.name)));
        forget(&self.absolute);
    }
}

/// Writes what a file is to hold; the disk is not waited for (docs/decisions/0007).
fn write_to<T>(
    file: File,
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let fail = |error: io::Error| write_failure(path, &error);
    // Outside of the buffer, which what compresses well takes long to fill.
    let mut buffered = cancellation().over(BufWriter::with_capacity(256 * 1024, file));
    let value = content(&mut buffered)?;
    let file = buffered.into_inner().into_inner().map_err(|error| fail(error.into_error()))?;
    // Set, not left to the umask.
    file.set_permissions(Permissions::from_mode(0o644)).map_err(fail)?;
    Ok(value)
}

/// Says that something cannot be written.
pub(crate) fn write_failure(path: &Path, error: &io::Error) -> Failure {
    Failure::writing(format_args!("cannot write `{}`", shown_path(path)), error)
}

/// Writes a file that the command line names, whole or not at all.
///
/// It is not made without a name (O_TMPFILE): giving it one later takes /proc, which strict sandboxes do not have.
pub(crate) fn write_output<T>(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (out, name) = OutDir::of_output(path)?;
    HiddenFile::new(&out)?.write(&name, content)
}

/// Writes a small file that the command line names.
pub(crate) fn write_document(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_output(path, |writer| writer.write_all(bytes).map_err(|error| write_failure(path, &error)))
}

/// Prints data.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::because("standard output", &error))
        }
        _ => Ok(()),
    }
}
