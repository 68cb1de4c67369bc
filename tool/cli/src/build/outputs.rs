//! What the output directory has of the last build, so that what is right is left alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, MetadataExt};
use ociseed_spec::{Digest, Stamp, json};
use ociseed_store::cache::{OutputFile, OutputMemory};
use ociseed_tree::stamp;

use super::made::Done;
use super::remember::StepKey;
use crate::cache::Opened;
use crate::files::wait_for;
use crate::output::OutDir;
use crate::report::Target;

/// The output directory, and what is remembered of it.
pub(super) struct Outputs<'a> {
    out: &'a OutDir,
    opened: Option<&'a Opened>,
    name: Digest,
    old: BTreeMap<String, OutputMemory>,
    /// What was made, before it was moved to its place.
    staged: BTreeMap<String, BTreeMap<PathBuf, Found>>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(opened: Option<&'a Opened>, out: &'a OutDir) -> Self {
        // Of a directory that cannot be named nothing is remembered.
        let real = out.shown("").canonicalize().unwrap_or_default();
        let name = Digest::of(real.as_os_str().as_encoded_bytes());
        let opened = opened.filter(|_| real.is_absolute());
        let old = opened.map(|opened| opened.cache.outputs(&name)).unwrap_or_default();
        Self { out, opened, name, old, staged: BTreeMap::new() }
    }

    /// Returns what was reported of a target that is there, made by this key and untouched since.
    pub(super) fn current(&self, target: &str, key: Option<&StepKey>) -> Option<Target> {
        let (opened, memory) = (self.opened?, self.old.get(target)?);
        if memory.key != key?.digest {
            return None;
        }
        let untouched = |file: &OutputFile| {
            let Ok(metadata) = self.out.dir().symlink_metadata(path_of(&file.path)) else { return false };
            let found = stamp(&metadata);
            // A blob gets and loses names in other places, which changes the stamps of all of them; as does another mode.
            let another_name = || {
                is_written(&file.stamp, &found)
                    && metadata.mode() & 0o7777 == 0o644
                    && file.blob.is_some_and(|blob| opened.cache.is_blob(&blob, &found))
            };
            found == file.stamp || another_name()
        };
        memory.files.iter().all(untouched).then(|| serde_json::from_slice(&memory.report).ok())?
    }

    /// Looks at what is about to be moved to its place, to know it again there.
    pub(super) fn look_at_stage(&mut self, stage: &Dir, done: &BTreeMap<String, Done>) {
        if self.opened.is_none() {
            return;
        }
        for (name, done) in done.iter().filter(|(_, done)| done.staged) {
            // Of what cannot be looked at nothing is remembered.
            if let Ok(files) = files_of(&done.report, stage, |_| true) {
                self.staged.insert(name.clone(), files);
            }
        }
    }

    /// Remembers what is there now; targets that were not part of this build are as they were.
    pub(super) fn remember(self, done: &BTreeMap<String, Done>) {
        let Some(opened) = self.opened else { return };
        let mut new = self.old.clone();
        for (name, done) in done.iter().filter(|(_, done)| done.staged) {
            new.remove(name);
            if let Some(key) = done.key
                && let Some(staged) = self.staged.get(name)
                // The last change was the move to its place, moments ago.
                && let Ok(found) = files_of(&done.report, self.out.dir(), wait_for)
                && is_moved(staged, &found)
            {
                let files =
                    found.into_iter().map(|(path, file)| output_file(path, &file, &done.report, opened));
                let (report, files) = (json::encode(&done.report), files.collect());
                new.insert(name.clone(), OutputMemory { key, report, files });
            }
        }
        opened.note(opened.cache.settle());
        if new != self.old {
            opened.note(opened.cache.remember_outputs(&self.name, &new));
        }
    }
}

/// A file or directory of a target.
struct Found {
    stamp: Stamp,
    directory: bool,
}

/// Looks at all of the files and directories of a target; `settles` waits until a change would show in a stamp.
fn files_of(
    target: &Target,
    dir: &Dir,
    settles: impl Fn(&Stamp) -> bool,
) -> io::Result<BTreeMap<PathBuf, Found>> {
    let paths = [Some(target.path.as_str()), target.metadata.as_deref()];
    let mut pending: Vec<PathBuf> = paths.into_iter().flatten().map(PathBuf::from).collect();
    let mut files = BTreeMap::new();
    while let Some(path) = pending.pop() {
        if !settles(&stamp(&dir.symlink_metadata(&path)?)) {
            return Err(io::ErrorKind::Other.into());
        }
        let metadata = dir.symlink_metadata(&path)?;
        let found = Found { stamp: stamp(&metadata), directory: metadata.is_dir() };
        if found.directory {
            for entry in dir.read_dir(&path)? {
                pending.push(path.join(entry?.file_name()));
            }
        }
        files.insert(path, found);
    }
    Ok(files)
}

/// Tells whether what is in its place is what was moved there: another build may have put its own there since.
fn is_moved(staged: &BTreeMap<PathBuf, Found>, found: &BTreeMap<PathBuf, Found>) -> bool {
    let same = |((one_path, one), (other_path, other)): ((&PathBuf, &Found), (&PathBuf, &Found))| {
        let inode = |stamp: &Stamp| (stamp.device, stamp.inode);
        one_path == other_path
            && match one.directory {
                // Moving one may write its entry for the directory above.
                true => inode(&one.stamp) == inode(&other.stamp),
                false => is_written(&one.stamp, &other.stamp),
            }
    };
    staged.len() == found.len() && staged.iter().zip(found).all(same)
}

/// Tells whether a file was last written when it was before; its names and its mode may be others.
fn is_written(before: &Stamp, now: &Stamp) -> bool {
    Stamp { changed: before.changed, ..*now } == *before
}

fn output_file(path: PathBuf, file: &Found, target: &Target, opened: &Opened) -> OutputFile {
    let blob = blob_of(&path, target).filter(|blob| opened.cache.is_blob(blob, &file.stamp));
    OutputFile { path: path.into_os_string().into_encoded_bytes(), stamp: file.stamp, blob }
}

/// Returns which blob a file of a target should be.
fn blob_of(path: &Path, target: &Target) -> Option<Digest> {
    if target.metadata.is_some() && path == Path::new(&target.path) {
        return target.digest;
    }
    let named_by_digest = path.parent().is_some_and(|parent| parent.ends_with("blobs/sha256"));
    Digest::from_hex(path.file_name()?.to_str()?).ok().filter(|_| named_by_digest)
}

fn path_of(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
