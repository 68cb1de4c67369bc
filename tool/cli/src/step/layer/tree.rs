//! From the entries of a layer to its tree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ociseed_spec::file::{Add, AddError, Attributes, Entry as SpecEntry, Filter, LayerSpec, Source};
use ociseed_spec::metadata::Package;
use ociseed_spec::{Key, Stamp, TreePath};
use ociseed_tree::tar::TarError;
use ociseed_tree::{
    ArchiveError, BuildError, Builder, Claim, Content, DirectoryError, Entry, HostDirectory, Node,
    Precedence, Selection, Stamps, Tree, apply, apply_rules, check_directory, deb, read_archive,
    read_directory, read_file, read_listed,
};

use crate::failure::{Failure, chain};
use crate::inputs::{Directory, Inputs, Place};
use crate::scratch::Scratch;

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
type Taken = Vec<(TreePath, Entry)>;

/// What the host has for one entry of a layer.
#[derive(Debug)]
pub(crate) enum Found {
    /// Files and directories, described but not read, and where they go; then the directories of the host whose
    /// entries these are.
    Files(Taken, Vec<(PathBuf, Stamp)>),
    /// An archive, not yet opened.
    Archive(Place),
    /// The entry needs nothing.
    Nothing,
}

/// A layer before it is written.
#[derive(Debug)]
pub(crate) struct LayerTree {
    pub(crate) tree: Tree,
    /// Debian packages in it, sorted.
    pub(crate) packages: Vec<Package>,
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
                    let tree = read_listed(files, sources.stamps);
                    let tree = tree.map_err(|error| {
                        Failure::new(format!("{place}: input `{word}`: {}", chain(&error)))
                    })?;
                    HostDirectory { tree, ..HostDirectory::default() }
                }
            };
            let mut taken = take(selection, read.tree, entry, place)?;
            // The directory itself is there even when nothing is in it.
            if filter.strip == 0 {
                taken.push((entry.to.clone(), Entry::directory()));
            }
            Found::Files(taken, read.directories)
        }
        Source::Tar(word, _) | Source::Deb(word, ..) => {
            let found = sources.inputs.find(word, place)?;
            check_file(&found)?;
            Found::Archive(found)
        }
        Source::Layer(key) => Found::Archive((sources.layer)(key, place)?),
        _ => Found::Nothing,
    })
}

/// Makes the tree of a layer of what was found for it; `place` is the layer's name in messages, as `layer.site`.
pub(crate) fn tree(
    spec: &LayerSpec,
    found: Vec<Found>,
    scratch: &Scratch,
    place: &str,
) -> Result<LayerTree, Failure> {
    let mut making = Making { scratch, builder: Builder::new(), packages: Vec::new() };
    for ((index, add), found) in (0..).zip(&spec.add).zip(found) {
        let place = format!("{place}.add[{index}]");
        making.add(entry_of(add, &place)?, found, index, &place)?;
    }
    let Making { builder, mut packages, .. } = making;
    let mut tree = builder.finish().map_err(|conflicts| {
        let say = |conflict: &BuildError| format!("{place}: {}", describe(conflict, &spec.add));
        let failure = Failure::usages(conflicts.iter().map(say).collect());
        let twice = conflicts.iter().any(|conflict| matches!(conflict, BuildError::SamePath { .. }));
        let hint = "leave it out of one with `exclude`, or write `replace = true` in the one that wins";
        if twice { failure.hint(hint.to_owned()) } else { failure }
    })?;
    apply_rules(&mut tree, &spec.set).map_err(|unmatched| {
        let say = |index: usize| {
            let path = &spec.set[index].path;
            format!("{place}.set[{index}]: `{path}` matches nothing that can have what the rule says")
        };
        Failure::usages(unmatched.into_iter().map(say).collect())
    })?;
    packages.sort();
    Ok(LayerTree { tree, packages })
}

/// A layer that entries are put into.
struct Making<'a> {
    /// For what compressed inputs hold.
    scratch: &'a Scratch,
    builder: Builder,
    packages: Vec<Package>,
}

impl Making<'_> {
    fn add(&mut self, entry: SpecEntry, found: Found, index: u32, place: &str) -> Result<(), Failure> {
        let precedence = match entry.source {
            Source::Dir(..) => Precedence::Host,
            Source::Tar(..) | Source::Deb(..) | Source::Layer(_) => Precedence::Incidental,
            _ => Precedence::Explicit,
        };
        let made = match (&entry.source, found) {
            (Source::Tar(_, filter), Found::Archive(found)) => self.tar(&found, filter, &entry, place)?,
            (Source::Deb(_, filter, status), Found::Archive(found)) => {
                self.package(&found, filter, *status, &entry, place)?
            }
            (Source::Layer(_), Found::Archive(found)) => {
                let all = Filter { devices: true, ..Filter::default() };
                self.tar(&found, &all, &entry, place)?
            }
            (_, Found::Files(taken, _)) => taken,
            (single, _) => vec![(entry.to.clone(), made_of(single))],
        };
        // What it says of a mode it says of files.
        let of_directories = match entry.source {
            Source::Dir(..) => Attributes { mode: None, ..entry.attributes.clone() },
            _ => entry.attributes.clone(),
        };
        for (path, mut made) in made {
            apply(if made.is_directory() { &of_directories } else { &entry.attributes }, &mut made);
            let claim = Claim { replace: entry.replace, ..Claim::new(index, precedence) };
            self.builder.insert(path, made, claim);
        }
        Ok(())
    }

    fn tar(&self, found: &Place, filter: &Filter, entry: &SpecEntry, place: &str) -> Result<Taken, Failure> {
        let (file, shown) = open(found)?;
        let tree = read_archive(file, shown, &mut || self.scratch.file());
        let tree = tree.map_err(|error| Failure::because(place, &error).hint(no_tar(&error)))?;
        self.chosen(tree, filter, entry, place)
    }

    fn package(
        &mut self,
        found: &Place,
        filter: &Filter,
        status: bool,
        entry: &SpecEntry,
        place: &str,
    ) -> Result<Taken, Failure> {
        let (file, shown) = open(found)?;
        let read = deb::read(file, shown, &mut || self.scratch.file())
            .map_err(|error| Failure::because(place, &error))?;
        // With `replace` the later one wins; without, their files contradict each other.
        let same = |other: &Package| {
            (&other.name, &other.architecture) == (&read.package.name, &read.package.architecture)
        };
        self.packages.retain(|other| !same(other));
        self.packages.push(read.package.clone());
        let status = status.then(|| read.status_files());
        let mut taken = self.chosen(read.tree, filter, entry, place)?;
        taken.extend(status.into_iter().flatten());
        Ok(taken)
    }

    /// Takes what the filter takes of an archive, and refuses devices that nobody wanted.
    fn chosen(&self, tree: Tree, filter: &Filter, entry: &SpecEntry, place: &str) -> Result<Taken, Failure> {
        let taken = take(Selection::new(filter), tree, entry, place)?;
        let device = taken.iter().find(|(_, entry)| matches!(entry.node, Node::Device(_)));
        match device.filter(|_| !filter.devices) {
            None => Ok(taken),
            Some((path, _)) => {
                let hint = "write `devices = true` where devices are wanted".to_owned();
                Err(Failure::new(format!("{place}: `{path}` is a device")).hint(hint))
            }
        }
    }
}

/// Makes what is one path and needs nothing of the host.
fn made_of(source: &Source) -> Entry {
    match source {
        Source::Text(text) => Entry::file(Content::bytes(text.as_bytes())),
        Source::Symlink(target) => Entry::symlink(target.as_bytes()),
        Source::Hardlink(target) => {
            Entry { node: Node::Link(target.clone()), ..Entry::file(Content::default()) }
        }
        Source::Mkdir(opaque) => Entry { node: Node::Directory { opaque: *opaque }, ..Entry::directory() },
        Source::Device(device) => Entry::device(*device),
        Source::Fifo => Entry::fifo(),
        Source::Whiteout => Entry::whiteout(),
        Source::File(_) | Source::Dir(..) | Source::Tar(..) | Source::Deb(..) | Source::Layer(_) => {
            unreachable!("what the host has for it was found")
        }
    }
}

/// Refuses what is no regular file before it is opened, which with a fifo would wait for a writer.
fn check_file(found: &Place) -> Result<(), Failure> {
    let metadata = found.dir.metadata(&found.path).map_err(|error| found.failure(&error))?;
    if metadata.is_file() {
        Ok(())
    } else {
        Err(Failure::new(format!("`{}` is no regular file", found.shown)))
    }
}

/// Says what a tar may be to those whose file is none from its first byte on.
fn no_tar(error: &ArchiveError) -> Option<String> {
    let ArchiveError::Tar(TarError::Invalid(invalid)) = error else { return None };
    let hint = "a tar is plain or compressed with gzip, zstd, xz, bzip2 or lzma; `file` takes other files";
    (invalid.place.at == Some(0)).then(|| hint.to_owned())
}

fn open(found: &Place) -> Result<(Arc<cap_std::fs::File>, Arc<Path>), Failure> {
    check_file(found)?;
    let file = found.dir.open(&found.path).map_err(|error| found.failure(&error))?;
    Ok((Arc::new(file), Path::new(&found.shown).into()))
}

fn take(mut selection: Selection<'_>, tree: Tree, entry: &SpecEntry, place: &str) -> Result<Taken, Failure> {
    let taken = selection.take(tree, &entry.to);
    let unused = selection.unused();
    if unused.is_empty() {
        return Ok(taken);
    }
    let say = |pattern: &String| format!("{place}: pattern `{pattern}` matches nothing");
    Err(Failure::usages(unused.iter().map(say).collect()))
}

fn host_failure(place: &str, found: &Place, mut error: DirectoryError) -> Failure {
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

/// Says which entries are wrong.
fn describe(conflict: &BuildError, adds: &[Add]) -> String {
    let name = |index: u32| {
        let add = &adds[index as usize];
        let kinds = [
            ("file", add.file.as_deref()),
            ("dir", add.dir.as_deref()),
            ("tar", add.tar.as_deref()),
            ("deb", add.deb.as_deref()),
            ("layer", add.layer.as_ref().map(Key::as_str)),
            ("symlink", add.symlink.as_deref()),
        ];
        match kinds.into_iter().find_map(|(kind, value)| Some((kind, value?))) {
            Some((kind, value)) => format!("`add[{index}]` ({kind} `{value}`)"),
            None => format!("`add[{index}]`"),
        }
    };
    match conflict {
        BuildError::SamePath { path, sources: [first, second] } => {
            format!("two entries write `{path}`: {} and {}", name(*first), name(*second))
        }
        BuildError::BelowFile { path, file, sources: [above, below] } => {
            format!(
                "{} puts `{path}` below `{file}`, which is no directory in {}",
                name(*above),
                name(*below)
            )
        }
        BuildError::LinkTarget { path, target, source } => {
            format!(
                "`{path}` of {} is a hard link to `{target}`, which is no file of this layer",
                name(*source)
            )
        }
    }
}
