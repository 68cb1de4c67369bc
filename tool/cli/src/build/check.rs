//! `build --check`: everything twice, from nothing, to see that it comes out the same.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use ociseed_spec::{Digest, Hasher, shown_path};

use super::{Built, Request};
use crate::failure::Failure;

/// Builds twice without the cache, with different numbers of threads, and keeps the one if the other is the same.
pub(super) fn build(request: &Request<'_>, threads: usize) -> Result<Built, Failure> {
    let first = request.make(None, threads)?;
    let second = request.make(None, if threads == 1 { 2 } else { 1 })?;
    let fail = |error: io::Error| Failure::because("cannot compare the two builds", &error);
    let files = |out: &crate::output::OutDir| files(out.dir()).map_err(fail);
    let (one, other) = (files(&first.stage()?)?, files(&second.stage()?)?);
    let differ = |path: &&PathBuf| one.get(*path) != other.get(*path);
    let mut paths: Vec<&PathBuf> = one.keys().chain(other.keys()).filter(differ).collect();
    paths.sort();
    paths.dedup();
    let say = |path: &PathBuf| {
        let digest = |files: &BTreeMap<PathBuf, Digest>| {
            files.get(path).map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        Failure::new(format!(
            "two builds differ in `{}`: {} and {}",
            shown_path(path),
            digest(&one),
            digest(&other)
        ))
    };
    match Failure::join(paths.into_iter().map(say).collect()) {
        None => first.finish(),
        Some(failure) => {
            let hint =
                "something it reads changed meanwhile; if not, this is a defect of `ociseed`: report it";
            Err(failure.hint(hint.to_owned()))
        }
    }
}

/// Hashes every file below a directory.
fn files(root: &Dir) -> io::Result<BTreeMap<PathBuf, Digest>> {
    let mut files = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(below) = pending.pop() {
        let dir = if below == Path::new("") { root.try_clone()? } else { root.open_dir(&below)? };
        for entry in dir.entries()? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                pending.push(path);
            } else {
                let mut hasher = Hasher::new();
                hasher.read(entry.open()?)?;
                files.insert(path, hasher.finish());
            }
        }
    }
    Ok(files)
}
