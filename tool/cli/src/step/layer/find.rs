//! Finding what the entries of a layer need of the host.

use std::path::{Path, PathBuf};

use ociseed_spec::file::{Add, AddError, Entry as SpecEntry, LayerSpec, Source};
use ociseed_spec::{Key, Stamp, TreePath};
use ociseed_tree::{
    DirectoryError, Entry, HostDirectory, Selection, Stamps, check_directory, read_directory, read_file,
    read_listed,
};

use super::closure;
use crate::failure::{Failure, chain};
use crate::inputs::{Directory, Inputs, Place};

/// Where a layer's sources are found.
pub(crate) struct Sources<'a> {
    /// Host files and directories.
    pub(crate) inputs: &'a Inputs,
    /// Blobs of other layers; the second word is who asks.
    pub(crate) layer: &'a dyn Fn(&Key, &str) -> Result<Place, Failure>,
    /// Whether to keep what the file system says of each file.
    pub(crate) stamps: Stamps,
}

/// What is taken of one source, and where it goes.
pub(super) type Taken = Vec<(TreePath, Entry)>;

/// What the host has for one entry of a layer.
#[derive(Debug)]
pub(crate) enum Found {
    /// Files and directories, described but not read, and where they go; then the directories of the host whose
    /// entries these are.
    Files(Taken, Vec<(PathBuf, Stamp)>),
    /// Archives, not yet opened: one, or each package of a list.
    Archives(Vec<Place>),
    /// The entry needs nothing.
    Nothing,
}

/// Finds what the entries of a layer need, and says all that is missing; `place` is the layer's name in
/// messages, as `layer.site`.
pub(crate) fn find(spec: &LayerSpec, sources: &Sources<'_>, place: &str) -> Result<Vec<Found>, Failure> {
    let (found, failures): (Vec<_>, Vec<_>) = (0..)
        .zip(&spec.add)
        .map(|(index, add)| {
            let place = format!("{place}.add[{index}]");
            find_one(&entry_of(add, &place)?, sources, &place)
        })
        .partition(Result::is_ok);
    match Failure::join(failures.into_iter().filter_map(Result::err).collect()) {
        Some(failure) => Err(failure),
        None => Ok(found.into_iter().flatten().collect()),
    }
}

/// Looks whether what the entries of a layer need of the host is there, without walking directories, and says all
/// that is missing.
pub(crate) fn look(spec: &LayerSpec, inputs: &Inputs, place: &str) -> Result<(), Failure> {
    let none = |_: &Key, _: &str| unreachable!("other layers are not looked at");
    let sources = Sources { inputs, layer: &none, stamps: Stamps::Drop };
    let look_one = |(index, add): (usize, &Add)| {
        let place = format!("{place}.add[{index}]");
        let entry = entry_of(add, &place)?;
        match &entry.source {
            Source::Layer(_) => Ok(()),
            Source::Closure(closure) => closure::look(closure, &entry.to, inputs, &place),
            Source::Dir(word, _) => {
                let Directory::Host(found) = inputs.find_directory(word, &place)? else { return Ok(()) };
                let checked = check_directory(&found.dir, &found.path);
                checked.map(drop).map_err(|error| host_failure(&place, &found, error))
            }
            _ => find_one(&entry, &sources, &place).map(drop),
        }
    };
    let failures = spec.add.iter().enumerate().map(look_one).filter_map(Result::err).collect();
    Failure::join(failures).map_or(Ok(()), Err)
}

/// Returns what an entry of a layer says; `place` is its name in messages.
pub(crate) fn entry_of(add: &Add, place: &str) -> Result<SpecEntry, Failure> {
    add.entry().map_err(|error: AddError| Failure::usage(format!("{place}: {error}")))
}

fn find_one(entry: &SpecEntry, sources: &Sources<'_>, place: &str) -> Result<Found, Failure> {
    Ok(match &entry.source {
        Source::File(word) => {
            let found = sources.inputs.find(word, place)?;
            let file = read_file(&found.dir, &found.path, sources.stamps);
            let file = file.map_err(|error| host_failure(place, &found, error))?;
            Found::Files(vec![(entry.to.clone(), file)], Vec::new())
        }
        Source::Dir(word, filter) => {
            let mut selection = Selection::new(filter);
            let read = match sources.inputs.find_directory(word, place)? {
                Directory::Host(found) => {
                    let read = read_directory(&found.dir, &found.path, &mut selection, sources.stamps);
                    read.map_err(|error| host_failure(place, &found, error))?
                }
                Directory::Listed(files) => {
                    let tree = read_listed(&files, sources.stamps);
                    let tree = tree.map_err(|error| {
                        Failure::new(format!("{place}: input `{word}`: {}", chain(&error)))
                    })?;
                    HostDirectory { tree, ..HostDirectory::default() }
                }
            };
            let mut taken = selection.take(read.tree, &entry.to);
            check_used(&selection, place)?;
            // The directory itself is there even when nothing is in it.
            if filter.strip == 0 {
                taken.push((entry.to.clone(), Entry::directory()));
            }
            Found::Files(taken, read.directories)
        }
        Source::Tar(word, _) => Found::Archives(vec![find_archive(word, sources, place)?]),
        Source::Deb(packages, ..) => {
            let words = packages.words();
            let find = |(index, word): (usize, &String)| {
                find_archive(word, sources, &package_place(place, words.len(), index))
            };
            let (found, failures): (Vec<_>, Vec<_>) =
                words.iter().enumerate().map(find).partition(Result::is_ok);
            match Failure::join(failures.into_iter().filter_map(Result::err).collect()) {
                Some(failure) => return Err(failure),
                None => Found::Archives(found.into_iter().flatten().collect()),
            }
        }
        Source::Layer(key) => Found::Archives(vec![(sources.layer)(key, place)?]),
        Source::Closure(closure) => {
            let taken = closure::find(closure, &entry.to, sources.inputs, sources.stamps, place)?;
            Found::Files(taken, Vec::new())
        }
        Source::NixDatabase(word) => Found::Archives(vec![find_archive(word, sources, place)?]),
        _ => Found::Nothing,
    })
}

fn find_archive(word: &str, sources: &Sources<'_>, place: &str) -> Result<Place, Failure> {
    let found = sources.inputs.find(word, place)?;
    check_file(&found, place)?;
    Ok(found)
}

/// Returns the name in messages of a package of an entry; `place` is the entry's, which alone is enough for its only one.
pub(super) fn package_place(place: &str, count: usize, index: usize) -> String {
    if count == 1 { place.to_owned() } else { format!("{place}.deb[{index}]") }
}

/// Refuses what is no regular file before it is opened, which with a fifo would wait for a writer.
pub(super) fn check_file(found: &Place, place: &str) -> Result<(), Failure> {
    let shown = &found.shown;
    let metadata = found.dir.metadata(&found.path).map_err(|error| {
        Failure::because(format_args!("{place}: `{shown}`"), &error).hint(Place::missing_hint(&error))
    })?;
    match metadata.is_file() {
        true => Ok(()),
        false => Err(Failure::new(format!("{place}: `{shown}` is no regular file"))),
    }
}

/// Refuses patterns that matched nothing of what was taken.
pub(super) fn check_used(selection: &Selection<'_>, place: &str) -> Result<(), Failure> {
    let unused = selection.unused();
    if unused.is_empty() {
        return Ok(());
    }
    let say = |pattern: &String| format!("{place}: pattern `{pattern}` matches nothing");
    Err(Failure::usages(unused.iter().map(say).collect()))
}

pub(super) fn host_failure(place: &str, found: &Place, mut error: DirectoryError) -> Failure {
    if let DirectoryError::Read { path, .. } | DirectoryError::Type { path, .. } = &mut error
        && path.as_path() == found.path
    {
        // As the user calls it: an input is opened by where it is, and may be `.` there.
        *path = Path::new(&found.shown).into();
    }
    let failure = Failure::new(format!("{place}: {}", chain(&error)));
    let escapes = matches!(&error, DirectoryError::Read { source, .. }
        if source.kind() == std::io::ErrorKind::PermissionDenied && source.to_string().contains("outside"));
    let missing = match &error {
        DirectoryError::Read { source, .. } => Place::missing_hint(source),
        _ => None,
    };
    match error {
        _ if escapes => failure.hint(
            "a link leads out of the directory: use `--input NAME=PATH` for what lies elsewhere".to_owned(),
        ),
        _ if missing.is_some() => failure.hint(
            "paths are relative to the spec's directory; `--input NAME=PATH` takes NAME from elsewhere"
                .to_owned(),
        ),
        DirectoryError::Type { expected: "a file", .. } => {
            failure.hint("`dir` takes a directory with all that is below it".to_owned())
        }
        DirectoryError::Type { found: "a file", .. } => {
            failure.hint("`file` takes a single file, `tar` and `deb` take archives".to_owned())
        }
        DirectoryError::Whiteout { .. } => {
            failure.hint("leave it out with `exclude`, and say `whiteout = \"/PATH\"`".to_owned())
        }
        _ => failure,
    }
}
