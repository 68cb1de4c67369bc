//! `build --check`: everything twice, from nothing, to see that it comes out the same.

use std::collections::{BTreeMap, BTreeSet};
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
    match differences(&one, &other) {
        None => first.finish(),
        Some(failure) => Err(failure),
    }
}

/// Says in which files two builds differ.
fn differences(one: &BTreeMap<PathBuf, Digest>, other: &BTreeMap<PathBuf, Digest>) -> Option<Failure> {
    let paths: BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    let say = |path: &&PathBuf| {
        let digest = |files: &BTreeMap<PathBuf, Digest>| {
            files.get(*path).map_or_else(|| "nothing".to_owned(), ToString::to_string)
        };
        let (one, other) = (digest(one), digest(other));
        (one != other)
            .then(|| Failure::new(format!("two builds differ in `{}`: {one} and {other}", shown_path(path))))
    };
    let hint = "something it reads changed meanwhile; if not, this is a defect of `ociseed`: report it";
    Failure::join(paths.iter().filter_map(say).collect()).map(|failure| failure.hint(hint.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_another_content_or_of_one_build_only_are_named() {
        let files = |list: &[(&str, &str)]| -> BTreeMap<PathBuf, Digest> {
            list.iter().map(|(path, text)| (path.into(), Digest::of(text.as_bytes()))).collect()
        };
        let one = files(&[("a", "1"), ("b", "1"), ("c", "1")]);
        assert!(differences(&one, &one).is_none());
        let found = differences(&one, &files(&[("a", "1"), ("b", "2"), ("d", "1")])).expect("they differ");
        let messages = found.into_messages();
        let named = |path: &str| messages.iter().any(|message| message.contains(&format!("`{path}`")));
        assert_eq!(["a", "b", "c", "d"].map(named), [false, true, true, true], "{messages:?}");
    }
}
