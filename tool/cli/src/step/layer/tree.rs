//! From the entries of a layer to its tree.

use std::path::Path;
use std::sync::Arc;

use ociseed_spec::Key;
use ociseed_spec::file::{Attributes, Entry as SpecEntry, Filter, LayerSpec, Source};
use ociseed_spec::metadata::Package;
use ociseed_tree::tar::TarError;
use ociseed_tree::{
    ArchiveError, BuildError, Builder, Claim, Content, Entry, Node, Precedence, Selection, Tree, apply,
    apply_rules, deb, read_archive,
};

use super::closure::database_files;
use super::find::{Found, Taken, check_file, check_used, entry_of, package_place};
use crate::failure::Failure;
use crate::inputs::Place;
use crate::scratch::Scratch;

/// A layer before it is written.
#[derive(Debug)]
pub(crate) struct LayerTree {
    pub(crate) tree: Tree,
    /// Debian packages in it, sorted.
    pub(crate) packages: Vec<Package>,
}

/// Makes the tree of a layer of what was found for it; `place` is the layer's name in messages, as `layer.site`.
pub(crate) fn tree(
    spec: &LayerSpec,
    found: Vec<Found>,
    scratch: &Scratch,
    place: &str,
) -> Result<LayerTree, Failure> {
    let mut making = Making { scratch, builder: Builder::new(), packages: Vec::new() };
    for ((index, (source, add)), found) in spec.numbered().enumerate().zip(found) {
        let place = format!("{place}.add[{index}]");
        making.add(&entry_of(add, &place)?, found, source, &place)?;
    }
    let Making { builder, mut packages, .. } = making;
    let mut tree = builder.finish().map_err(|conflicts| {
        let say = |conflict: &BuildError| format!("{place}: {}", describe(conflict, spec));
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
    /// Adds what an entry makes; `source` is the number of its first source.
    fn add(&mut self, entry: &SpecEntry, found: Found, source: u32, place: &str) -> Result<(), Failure> {
        let precedence = match entry.source {
            Source::Dir(..) | Source::Closure(_) => Precedence::Host,
            Source::Tar(..) | Source::Deb(..) | Source::Layer(_) => Precedence::Incidental,
            _ => Precedence::Explicit,
        };
        let all = Filter { devices: true, ..Filter::default() };
        let made = match (&entry.source, found) {
            (Source::Deb(_, filter, status), Found::Archives(found)) => {
                return self.packages(&found, filter, *status, entry, source, place);
            }
            (Source::Tar(_, filter), Found::Archives(found)) => self.tar(&found, filter, entry, place)?,
            (Source::NixDatabase(_), Found::Archives(found)) => {
                let [found] = &*found else { unreachable!("a graph is one file") };
                database_files(found, place)?
            }
            (_, Found::Archives(found)) => self.tar(&found, &all, entry, place)?,
            (_, Found::Files(taken, _)) => taken,
            (single, Found::Nothing) => vec![(entry.to.clone(), made_of(single))],
        };
        self.insert(made, entry, Claim::new(source, precedence));
        Ok(())
    }

    fn insert(&mut self, made: Taken, entry: &SpecEntry, claim: Claim) {
        let claim = Claim { replace: entry.replace, ..claim };
        // What a directory's entry says of a mode it says of files.
        let of_directories = match entry.source {
            Source::Dir(..) => Attributes { mode: None, ..entry.attributes.clone() },
            _ => entry.attributes.clone(),
        };
        for (path, mut made) in made {
            apply(if made.is_directory() { &of_directories } else { &entry.attributes }, &mut made);
            self.builder.insert(path, made, claim);
        }
    }

    fn tar(
        &self,
        found: &[Place],
        filter: &Filter,
        entry: &SpecEntry,
        place: &str,
    ) -> Result<Taken, Failure> {
        let [found] = found else { unreachable!("a tar is one archive") };
        let (file, shown) = open(found, place)?;
        let tree = read_archive(file, shown, &mut || self.scratch.file());
        let tree = tree.map_err(|error| Failure::because(place, &error).hint(no_tar(&error)))?;
        let mut selection = Selection::new(filter);
        let taken = chosen(&mut selection, tree, filter, entry, place)?;
        check_used(&selection, place)?;
        Ok(taken)
    }

    /// Adds the packages of an entry, each of which is a source of its own; patterns need match in one of them.
    fn packages(
        &mut self,
        found: &[Place],
        filter: &Filter,
        status: bool,
        entry: &SpecEntry,
        first: u32,
        place: &str,
    ) -> Result<(), Failure> {
        let mut selection = Selection::new(filter);
        for ((index, source), one) in (first..).enumerate().zip(found) {
            let place = package_place(place, found.len(), index);
            let (tree, status) = self.read_package(one, status, &place)?;
            let mut taken = chosen(&mut selection, tree, filter, entry, &place)?;
            taken.extend(status);
            self.insert(taken, entry, Claim::new(source, Precedence::Incidental));
        }
        check_used(&selection, place)
    }

    /// Reads a package and notes it; returns its files, and those of its status where these are wanted.
    fn read_package(&mut self, found: &Place, status: bool, place: &str) -> Result<(Tree, Taken), Failure> {
        let (file, shown) = open(found, place)?;
        let read = deb::read(file, shown, &mut || self.scratch.file())
            .map_err(|error| Failure::because(place, &error))?;
        // With `replace` the later one wins; without, their files contradict each other.
        let same = |other: &Package| {
            (&other.name, &other.architecture) == (&read.package.name, &read.package.architecture)
        };
        self.packages.retain(|other| !same(other));
        self.packages.push(read.package.clone());
        let status = if status { read.status_files().into_iter().collect() } else { Taken::new() };
        Ok((read.tree, status))
    }
}

/// Takes what is chosen of an archive, and refuses devices that nobody wanted.
fn chosen(
    selection: &mut Selection<'_>,
    tree: Tree,
    filter: &Filter,
    entry: &SpecEntry,
    place: &str,
) -> Result<Taken, Failure> {
    let taken = selection.take(tree, &entry.to);
    let device = taken.iter().find(|(_, entry)| matches!(entry.node, Node::Device(_)));
    match device.filter(|_| !filter.devices) {
        None => Ok(taken),
        Some((path, _)) => {
            let hint = "write `devices = true` where devices are wanted".to_owned();
            Err(Failure::new(format!("{place}: `{path}` is a device")).hint(hint))
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
        Source::File(_)
        | Source::Dir(..)
        | Source::Tar(..)
        | Source::Deb(..)
        | Source::Layer(_)
        | Source::Closure(_)
        | Source::NixDatabase(_) => {
            unreachable!("what the host has for it was found")
        }
    }
}

/// Says what a tar may be to those whose file is none from its first byte on.
fn no_tar(error: &ArchiveError) -> Option<String> {
    let ArchiveError::Tar(TarError::Invalid(invalid)) = error else { return None };
    let hint = "a tar is plain or compressed with gzip, zstd, xz, bzip2 or lzma; `file` takes other files";
    (invalid.place.at == Some(0)).then(|| hint.to_owned())
}

fn open(found: &Place, place: &str) -> Result<(Arc<cap_std::fs::File>, Arc<Path>), Failure> {
    check_file(found, place)?;
    let file = found.dir.open(&found.path).map_err(|error| found.failure(&error))?;
    Ok((Arc::new(file), Path::new(&found.shown).into()))
}

/// Says which entries are wrong.
fn describe(conflict: &BuildError, spec: &LayerSpec) -> String {
    let name = |source: u32| {
        let numbered = spec.numbered().enumerate();
        let (index, (first, add)) =
            numbered.take_while(|(_, (first, _))| *first <= source).last().expect("sources are of entries");
        let deb = add.deb.as_ref().map(|deb| &*deb.words()[(source - first) as usize]);
        let kinds = [
            ("file", add.file.as_deref()),
            ("dir", add.dir.as_deref()),
            ("tar", add.tar.as_deref()),
            ("deb", deb),
            ("layer", add.layer.as_ref().map(Key::as_str)),
            ("closure", add.closure.as_ref().map(|closure| &*closure.store)),
            ("nix-database", add.nix_database.as_deref()),
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
