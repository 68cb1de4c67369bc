//! What the output directory has of the last build, so that what is right is left alone.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

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
}

impl<'a> Outputs<'a> {
    pub(super) fn new(opened: Option<&'a Opened>, out: &'a OutDir) -> Self {
        // Of a directory that cannot be named nothing is remembered.
        let real = out.shown("").canonicalize().unwrap_or_default();
        let name = Digest::of(real.as_os_str().as_encoded_bytes());
        let opened = opened.filter(|_| real.is_absolute());
        let old = opened.map(|opened| opened.cache.outputs(&name)).unwrap_or_default();
        Self { out, opened, name, old }
    }

    /// Returns what was reported of a target that is there, made by this key and untouched since.
    pub(super) fn current(&self, target: &str, key: Option<&StepKey>) -> Option<Target> {
        let (opened, memory) = (self.opened?, self.old.get(target)?);
        if memory.key != key?.digest {
            return None;
        }
        let untouched = |file: &OutputFile| {
            let found = self.out.dir().symlink_metadata(path_of(&file.path)).ok().map(|found| stamp(&found));
            // A blob gets and loses names in other places, which changes the stamps of all of them.
            let another_name = |found: &Stamp| {
                Stamp { changed: file.stamp.changed, ..*found } == file.stamp
                    && file.blob.is_some_and(|blob| opened.cache.is_blob(&blob, found))
            };
            found.is_some_and(|found| found == file.stamp || another_name(&found))
        };
        memory.files.iter().all(untouched).then(|| serde_json::from_slice(&memory.report).ok())?
    }

    /// Remembers what is there now; targets that were not part of this build are as they were.
    pub(super) fn remember(self, done: &BTreeMap<String, Done>) {
        let Some(opened) = self.opened else { return };
        let mut new = self.old.clone();
        for (name, done) in done.iter().filter(|(_, done)| done.staged) {
            new.remove(name);
            if let Some(key) = done.key
                && let Ok(files) = self.files_of(&done.report, opened)
            {
                new.insert(name.clone(), OutputMemory { key, report: json::encode(&done.report), files });
            }
        }
        opened.note(opened.cache.settle());
        if new != self.old {
            opened.note(opened.cache.remember_outputs(&self.name, &new));
        }
    }

    fn files_of(&self, target: &Target, opened: &Opened) -> io::Result<Vec<OutputFile>> {
        let paths = [Some(target.path.as_str()), target.metadata.as_deref()];
        let mut pending: Vec<PathBuf> = paths.into_iter().flatten().map(PathBuf::from).collect();
        let mut files = Vec::new();
        while let Some(path) = pending.pop() {
            let dir = self.out.dir();
            let mut found = stamp(&dir.symlink_metadata(&path)?);
            // Its last change was the move to its place, moments ago.
            if !wait_for(&found) {
                return Err(io::ErrorKind::Other.into());
            }
            let metadata = dir.symlink_metadata(&path)?;
            found = stamp(&metadata);
            if metadata.is_dir() {
                for entry in dir.read_dir(&path)? {
                    pending.push(path.join(entry?.file_name()));
                }
            }
            let digest = blob_of(&path, target).filter(|blob| opened.cache.is_blob(blob, &found));
            files.push(OutputFile {
                path: path.into_os_string().into_encoded_bytes(),
                stamp: found,
                blob: digest,
            });
        }
        Ok(files)
    }
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
