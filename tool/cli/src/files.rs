//! Digests of the host's files, without reading those whose stamps say that they are what they were.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cap_std::fs::File;
use ociseed_spec::{Digest, Hasher, Stamp, shown_path};
use ociseed_store::cache::{FileMemory, Memory};
use ociseed_tree::{HostFile, stamp};
use rustix::fs::AtFlags;

use crate::failure::Failure;
use crate::inputs::Place;

/// How long to wait for a file that was changed just now, until its stamp tells of a further change.
const LONGEST_WAIT: Duration = Duration::from_millis(25);

/// A file of the host that a step reads.
pub(crate) struct Wanted {
    /// Which of the step's inputs it belongs to.
    pub(crate) source: u32,
    pub(crate) file: HostFile,
    /// What the file system said of it just now.
    pub(crate) stamp: Stamp,
}

impl Wanted {
    /// Looks at a file.
    pub(crate) fn of(source: u32, place: &Place) -> Result<Self, Failure> {
        let metadata = place.dir.metadata(&place.path).map_err(|error| place.failure(&error))?;
        Ok(Self { source, file: HostFile::new(place.dir.clone(), &place.path), stamp: stamp(&metadata) })
    }

    fn path(&self) -> &[u8] {
        self.file.path().as_os_str().as_encoded_bytes()
    }

    fn remembered(&self, digest: Digest, stamp: Option<Stamp>) -> FileMemory {
        FileMemory { source: self.source, path: self.path().to_vec(), stamp, digest: Some(digest) }
    }
}

/// Returns what files hold, in their order; only those that `old` does not know are read.
pub(crate) fn digests(
    wanted: &[Wanted],
    old: Option<&Memory>,
    threads: usize,
) -> Result<Vec<FileMemory>, Failure> {
    let old = old.map(|old| &*old.files).unwrap_or_default();
    let known: HashMap<_, _> = old.iter().map(|file| ((file.source, file.path.as_slice()), file)).collect();
    let mut unknown = Vec::new();
    let mut files: Vec<Option<FileMemory>> = Vec::with_capacity(wanted.len());
    for file in wanted {
        let same = known.get(&(file.source, file.path())).filter(|old| old.stamp == Some(file.stamp));
        if same.is_none() {
            unknown.push((files.len(), file));
        }
        files.push(same.map(|old| (*old).clone()));
    }
    // The same threads take files in turn, so a few large ones do not all fall to one.
    let threads = threads.clamp(1, unknown.len().max(1));
    let read = |first: usize| {
        let mine = unknown.iter().skip(first).step_by(threads);
        mine.map(|(index, file)| Ok((*index, read(file)?))).collect::<Result<Vec<_>, Failure>>()
    };
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|first| scope.spawn(move || read(first))).collect();
        let mut results = vec![read(0)];
        results.extend(
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        results
    });
    for result in results {
        for (index, file) in result? {
            files[index] = Some(file);
        }
    }
    Ok(files.into_iter().map(|file| file.expect("known or read")).collect())
}

/// Tells whether files and directories all are what they were, by looking at each one's stamp.
///
/// `places` says where the paths of each input begin.
pub(crate) fn untouched(files: &[FileMemory], places: &HashMap<u32, Place>, threads: usize) -> bool {
    let looks = |file: &FileMemory| {
        let (Some(stamp), Some(place)) = (&file.stamp, places.get(&file.source)) else { return false };
        let path = Path::new(OsStr::from_bytes(&file.path));
        // Of a spec that now names a directory inside of the one that was read, the rest was read for nothing.
        if !path.starts_with(&place.path) {
            return false;
        }
        // What the spec names may be a link; what is found below never is followed. Whether a directory on the way
        // still is one is seen when that itself is looked at.
        let flags = if path == place.path { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        rustix::fs::statat(&*place.dir, path, flags).is_ok_and(|found| stamp_of(&found) == *stamp)
    };
    // A spec that now names another path reads other files, however untouched these are.
    let named = |(source, place): (&u32, &Place)| {
        let path = place.path.as_os_str().as_encoded_bytes();
        files.iter().any(|file| file.source == *source && file.path == path)
    };
    if !places.iter().all(named) {
        return false;
    }
    let part = files.len().div_ceil(threads.max(1)).max(1000);
    thread::scope(|scope| {
        let parts: Vec<_> =
            files.chunks(part).map(|part| scope.spawn(move || part.iter().all(looks))).collect();
        parts.into_iter().all(|part| part.join().unwrap_or(false))
    })
}

fn stamp_of(found: &rustix::fs::Stat) -> Stamp {
    let nanoseconds = |number| i64::try_from(number).unwrap_or_default();
    let modified = (found.st_mtime, nanoseconds(found.st_mtime_nsec));
    let changed = (found.st_ctime, nanoseconds(found.st_ctime_nsec));
    Stamp::new(
        found.st_dev,
        found.st_ino,
        u64::try_from(found.st_size).unwrap_or_default(),
        modified,
        changed,
    )
}

/// Reads a file; it gets a stamp only if no change can have escaped that, and none came since it was found: what was
/// found, as whether it can be executed, goes with what is read.
fn read(wanted: &Wanted) -> Result<FileMemory, Failure> {
    let read = || -> io::Result<_> {
        let file = wanted.file.open()?;
        let before = settled(&file)?;
        let mut hasher = Hasher::new();
        hasher.read(&*file)?;
        let after = stamp(&file.metadata()?);
        Ok(wanted.remembered(hasher.finish(), before.filter(|before| [after, wanted.stamp] == [*before; 2])))
    };
    read().map_err(|error| {
        Failure::because(format_args!("cannot read `{}`", shown_path(wanted.file.path())), &error)
    })
}

/// Returns the stamp of a file if a change after this would show in it, waiting a little where that helps.
fn settled(file: &File) -> io::Result<Option<Stamp>> {
    let first = stamp(&file.metadata()?);
    let left = first.settles() - now();
    if left <= 0 {
        return Ok(Some(first));
    }
    match u64::try_from(left).map(Duration::from_nanos) {
        Ok(left) if left <= LONGEST_WAIT => thread::sleep(left),
        _ => return Ok(None),
    }
    let second = stamp(&file.metadata()?);
    Ok(Some(second).filter(|stamp| stamp.settles() <= now()))
}

/// Returns the digest of the stamps of places; nothing where a change after this might not show in one.
pub(crate) fn digest_of_stamps(places: &[Place]) -> Option<Digest> {
    let mut hasher = Hasher::new();
    for place in places {
        let stamp = settled(&place.dir.open(&place.path).ok()?).ok()??;
        hasher.update(format!("{stamp:?}\n").as_bytes());
    }
    Some(hasher.finish())
}

/// Waits until a change would show in a stamp, if that takes no longer than a moment.
pub(crate) fn wait_for(stamp: &Stamp) -> bool {
    match u64::try_from(stamp.settles() - now()).map(Duration::from_nanos) {
        Err(_) => true,
        Ok(left) if left <= LONGEST_WAIT => {
            thread::sleep(left);
            true
        }
        Ok(_) => false,
    }
}

/// Returns nanoseconds since the epoch.
pub(crate) fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().cast_signed())
}
