//! Reading a tar into a tree: what the entries mean together.
//!
//! File data stay in the archive; the tree says where. Of each entry no more
//! is kept than the tree needs, and all that together has a limit, so that an
//! archive cannot take more memory than its own size explains.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_spec::{Device, DeviceKind, TreePath};

use super::error::{Fault, Place, TarError, TarProblem, shown};
use super::members::{Kind, Member, Members};
use super::metadata::{self, Names};
use super::notes::Notes;
use super::records::Records;
use super::sparse::PIECE_COST;
use super::{OPAQUE, RESERVED, WHITEOUT};
use crate::content::FileRange;
use crate::part::Part;
use crate::spool::most_bytes;
use crate::{Content, Entry, Extent, HostFile, Node, Stat, Tree};

/// What paths, links and attributes of all entries may take together, beside [`BYTES_AN_ENTRY`].
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// What they may take more for each entry.
const BYTES_AN_ENTRY: u64 = 1000;

/// Reads a plain tar; `shown` is what messages call it.
///
/// # Errors
/// It cannot be read, is no tar, was cut, holds what no layer can, or contradicts itself.
pub fn read(file: Arc<File>, shown: Arc<Path>) -> Result<Tree, TarError> {
    match Part::whole(file) {
        Ok(part) => read_part(part, shown),
        Err(source) => Err(TarError::Read { archive: shown.to_path_buf(), source }),
    }
}

/// Reads a plain tar of a file system, as of a disk: directories may bear the xattrs of overlayfs.
///
/// # Errors
/// As [`read`].
pub fn read_file_system(file: Arc<File>, shown: Arc<Path>) -> Result<Tree, TarError> {
    match Part::whole(file) {
        Ok(part) => read_with(part, shown, Names::FileSystem),
        Err(source) => Err(TarError::Read { archive: shown.to_path_buf(), source }),
    }
}

/// Reads a plain tar that is a part of a file.
pub(crate) fn read_part(part: Part, shown: Arc<Path>) -> Result<Tree, TarError> {
    read_with(part, shown, Names::Layer)
}

fn read_with(part: Part, shown: Arc<Path>, xattrs: Names) -> Result<Tree, TarError> {
    let data = Data { file: HostFile::opened(Arc::clone(&part.file), Arc::clone(&shown)), at: part.at };
    let mut collected = Collected::new(most_bytes(part.left()), xattrs);
    let mut members = Members::new(part);
    let mut walk = || {
        while let Some(member) = members.next()? {
            let added = collected.add(&member, members.shared(), &data);
            added.map_err(|problem| Fault::Problem(member.place(), problem))?;
        }
        Ok(())
    };
    walk().and_then(|()| collected.finish()).map_err(|fault| TarError::new(&shown, fault))
}

/// Where data of entries are.
struct Data {
    file: HostFile,
    at: u64,
}

impl Data {
    fn content(&self, member: &Member) -> Content {
        let extent = |at: u64, size: u64| {
            let offset = self.at + member.data_at + at;
            Extent::File(FileRange { file: self.file.clone(), offset, size, to_end: false, digest: None })
        };
        let Some(pieces) = &member.pieces else {
            return (member.size > 0).then(|| extent(0, member.size)).into_iter().collect();
        };
        let (mut extents, mut end, mut stored) = (Vec::new(), 0, 0);
        for piece in pieces {
            extents.extend((piece.at > end).then(|| Extent::Zeros(piece.at - end)));
            extents.push(extent(stored, piece.size));
            (end, stored) = (piece.at + piece.size, stored + piece.size);
        }
        extents.extend((member.size > end).then(|| Extent::Zeros(member.size - end)));
        extents.into_iter().collect()
    }
}

/// What an entry's path means.
enum Meaning {
    /// A path.
    Path(TreePath),
    /// The root itself, which no tree has as a path.
    Root,
    /// The absence of a path.
    Whiteout(TreePath),
    /// The directory hides what layers below have in it.
    Opaque(TreePath),
    /// AUFS's own.
    Nothing,
}

impl Meaning {
    fn of(path: &[u8], kind: Kind) -> Result<Self, TarProblem> {
        let parse =
            |path: &[u8]| TreePath::parse(path).map_err(|error| TarProblem::path("path", path, &error));
        let mut parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let Some(last) = parts.next_back() else { return parse(path).map(|_| Self::Root) };
        if parts.clone().any(|part| part.starts_with(RESERVED)) {
            return parse(path).map(|_| Self::Nothing);
        }
        if let Some(part) = parts.clone().find(|part| part.starts_with(WHITEOUT)) {
            return Err(TarProblem::WhiteoutDirectory(shown(part)));
        }
        let Some(hidden) = last.strip_prefix(WHITEOUT) else { return parse(path).map(Self::Path) };
        let directory = parse(&parts.collect::<Vec<_>>().join(&b'/'))?;
        if last == OPAQUE {
            return Ok(Self::Opaque(directory));
        }
        if last.starts_with(RESERVED) {
            return Ok(Self::Nothing);
        }
        if kind == Kind::Directory {
            return Err(TarProblem::WhiteoutDirectory(shown(last)));
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(TarProblem::Whiteout(shown(hidden)));
        }
        let path = directory.join(hidden).map_err(|error| TarProblem::path("path", path, &error))?;
        Ok(Self::Whiteout(path))
    }
}

/// What was read so far.
struct Collected {
    entries: BTreeMap<TreePath, Entry>,
    opaque: BTreeSet<TreePath>,
    /// Files with several names. `entries` has only place holders for them.
    files: Vec<Option<Entry>>,
    names: BTreeMap<TreePath, usize>,
    count: u64,
    bytes: u64,
    holes: u64,
    max_holes: u64,
    xattrs: Names,
    notes: Notes,
}

impl Collected {
    fn new(max_holes: u64, xattrs: Names) -> Self {
        let (entries, opaque, names) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let (notes, count, bytes, holes) = (Notes::default(), 0, 0, 0);
        Self { entries, opaque, files: Vec::new(), names, count, bytes, holes, max_holes, xattrs, notes }
    }

    fn add(&mut self, member: &Member, shared: &Records, data: &Data) -> Result<(), TarProblem> {
        self.count += 1;
        self.charge(member, shared)?;
        if let Kind::Unknown(kind) = member.kind {
            return Err(TarProblem::Type(shown(&[kind])));
        }
        match Meaning::of(&member.path, member.kind)? {
            Meaning::Nothing => Ok(()),
            Meaning::Root if member.kind == Kind::Directory => Ok(()),
            Meaning::Root => Err(TarProblem::Root),
            Meaning::Opaque(path) if path.is_root() => Err(TarProblem::OpaqueRoot),
            Meaning::Opaque(path) => {
                self.opaque.insert(path);
                Ok(())
            }
            Meaning::Whiteout(path) => {
                // Unpacking gives the device that it becomes the owner of the entry.
                let stat = Stat { owner: metadata::owner(member)?, ..Stat::FILE };
                self.put(path, Entry { stat, ..Entry::whiteout() })
            }
            Meaning::Path(path) if member.kind == Kind::Link => {
                self.link(path, &member.link, metadata::stat(member, shared, self.xattrs)?.0)
            }
            Meaning::Path(path) => {
                let (stat, listless) = metadata::stat(member, shared, self.xattrs)?;
                let late = member.kind == Kind::Directory && self.is_late(&path);
                self.notes.is_listed(&path, member.kind, late, listless);
                self.put(path, Entry { stat, node: node(member, data)? })
            }
        }
    }

    /// Tells whether a directory that is listed now was made before, because something lies in it.
    fn is_late(&self, path: &TreePath) -> bool {
        let behind = (Bound::Excluded(path), Bound::Unbounded);
        let lies_in_it = |found: Option<&TreePath>| found.is_some_and(|found| found.is_below(path));
        let listed = self.entries.get(path).is_some_and(Entry::is_directory);
        let marked = self.opaque.contains(path) || lies_in_it(self.opaque.range(behind).next());
        !listed && (marked || lies_in_it(self.entries.range(behind).next().map(|(path, _)| path)))
    }

    /// Counts what an entry takes.
    fn charge(&mut self, member: &Member, shared: &Records) -> Result<(), TarProblem> {
        let Member { path, link, user, group, .. } = member;
        let names = [path, link, user, group].iter().map(|name| name.len() as u64).sum::<u64>();
        let attributes =
            member.records.attributes(shared).map(|(key, value)| (key.len() + value.len()) as u64);
        let pieces = member.pieces.as_ref().map_or(0, |pieces| pieces.len() as u64 * PIECE_COST);
        self.charge_bytes(names + attributes.sum::<u64>() + pieces)?;
        if let Some(pieces) = &member.pieces {
            let stored = pieces.iter().map(|piece| piece.size).sum::<u64>();
            self.holes = self.holes.saturating_add(member.size - stored);
            if self.holes > self.max_holes {
                let (found, max) = (self.holes, self.max_holes);
                return Err(TarProblem::Limit { what: "bytes of holes in sparse files", found, max });
            }
        }
        Ok(())
    }

    fn charge_bytes(&mut self, bytes: u64) -> Result<(), TarProblem> {
        self.bytes += bytes;
        let max = MAX_BYTES + BYTES_AN_ENTRY * self.count;
        if self.bytes > max {
            let what = "bytes of paths, links and attributes";
            return Err(TarProblem::Limit { what, found: self.bytes, max });
        }
        Ok(())
    }

    /// Puts an entry at its path, over what is there.
    fn put(&mut self, path: TreePath, entry: Entry) -> Result<(), TarProblem> {
        match self.entries.entry(path) {
            Slot::Vacant(slot) => drop(slot.insert(entry)),
            Slot::Occupied(mut slot) => match (&slot.get().node, &entry.node) {
                // A whiteout hides what is below, not what its own layer has; what that is hides a file by itself.
                (Node::Directory { .. }, Node::Whiteout) => drop(self.opaque.insert(slot.key().clone())),
                (_, Node::Whiteout) => {}
                (Node::Whiteout, node) => {
                    if matches!(node, Node::Directory { .. }) {
                        self.opaque.insert(slot.key().clone());
                    }
                    slot.insert(entry);
                }
                (before, found) => {
                    contradiction(before, found)?;
                    self.names.remove(slot.key());
                    slot.insert(entry);
                }
            },
        }
        Ok(())
    }

    /// Gives a further name to what is at `target` now, whatever comes there later.
    fn link(&mut self, path: TreePath, target: &[u8], stat: Stat) -> Result<(), TarProblem> {
        let parsed = TreePath::parse(target)
            .map_err(|error| TarProblem::path("hard link's target", target, &error))?;
        let refused = |found| Err(TarProblem::Link { target: shown(target), found });
        match self.entries.get(&parsed).map(|entry| &entry.node) {
            None => return refused("not there"),
            Some(Node::Directory { .. }) => return refused("a directory"),
            Some(Node::Whiteout) => return refused("a whiteout"),
            Some(_) => {}
        }
        let file = self.shared_file(&parsed);
        self.notes.is_linked(file, &stat);
        let entry = self.files[file].as_mut().expect("taken only at the end");
        let mut stat = stat;
        for (name, value) in entry.stat.xattrs() {
            // Some write xattrs only with the first name.
            if !stat.xattrs().contains_key(name) {
                stat.set_xattr(name.clone(), value.clone());
            }
        }
        entry.stat = stat;
        if path != parsed {
            self.put(path.clone(), place_holder())?;
            self.names.insert(path, file);
        }
        Ok(())
    }

    /// Returns the number of the file at a path, which is one with several names from now on.
    fn shared_file(&mut self, path: &TreePath) -> usize {
        if let Some(file) = self.names.get(path) {
            return *file;
        }
        let entry = self.entries.get_mut(path).expect("looked up just now");
        self.files.push(Some(mem::replace(entry, place_holder())));
        self.names.insert(path.clone(), self.files.len() - 1);
        self.files.len() - 1
    }

    fn finish(mut self) -> Result<Tree, Fault> {
        let mut implied = BTreeSet::new();
        for path in mem::take(&mut self.opaque) {
            let name = [path.as_bytes(), b"/", OPAQUE].concat();
            self.imply(&path, &name, &mut implied)?;
            let entry = self.entries.get_mut(&path).expect("implied just now");
            entry.node = Node::Directory { opaque: true };
        }
        for (directory, path) in self.missing_parents() {
            self.imply(&directory, path.as_bytes(), &mut implied)?;
        }
        let unpacking = mem::take(&mut self.notes).finish(&self.names);
        self.name_files();
        Ok(Tree { entries: self.entries, implied, unpacking })
    }

    /// Returns directories that nobody listed, or that are none, each with the first entry that needs it.
    fn missing_parents(&self) -> BTreeMap<TreePath, TreePath> {
        let mut missing = BTreeMap::new();
        // Whatever leads to a path sorts before it, so that nothing has to be looked up, which takes time with long paths.
        let mut above: Vec<&TreePath> = Vec::new();
        for (path, entry) in &self.entries {
            while above.last().is_some_and(|top| !path.is_below(top)) {
                above.pop();
            }
            let length = path.as_bytes().len().checked_sub(path.name().len() + 1);
            if length != above.last().map(|top| top.as_bytes().len()) && length.is_some() {
                let parent = path.parent().expect("it is below something");
                missing.entry(parent).or_insert_with(|| path.clone());
            }
            if entry.is_directory() {
                above.push(path);
            }
        }
        missing
    }

    /// Makes a directory and all that lead to it where nothing is, for the sake of entry `name`.
    fn imply(
        &mut self,
        directory: &TreePath,
        name: &[u8],
        implied: &mut BTreeSet<TreePath>,
    ) -> Result<(), Fault> {
        let fault = |problem| Fault::Problem(Place { at: None, name: name.to_vec() }, problem);
        let mut at = Some(directory.clone());
        while let Some(path) = at.filter(|path| !path.is_root()) {
            at = path.parent();
            let cost = 2 * path.as_bytes().len() as u64;
            match self.entries.entry(path) {
                Slot::Occupied(found) if found.get().is_directory() => break,
                Slot::Occupied(mut found) if matches!(found.get().node, Node::Whiteout) => {
                    found.insert(Entry { node: Node::Directory { opaque: true }, ..Entry::directory() });
                }
                Slot::Occupied(found) => return Err(fault(TarProblem::Below(found.key().clone()))),
                Slot::Vacant(slot) => {
                    implied.insert(slot.key().clone());
                    slot.insert(Entry::directory());
                }
            }
            self.charge_bytes(cost).map_err(fault)?;
        }
        Ok(())
    }

    /// Puts each file with several names at the first of them.
    fn name_files(&mut self) {
        let mut first: Vec<Option<TreePath>> = vec![None; self.files.len()];
        for (path, file) in mem::take(&mut self.names) {
            let entry = match &first[file] {
                None => self.files[file].take().expect("each file has one first name"),
                Some(first) => {
                    let stat = self.entries.get(first).expect("put there just now").stat.clone();
                    Entry { stat, node: Node::Link(first.clone()) }
                }
            };
            self.entries.insert(path.clone(), entry);
            first[file].get_or_insert(path);
        }
    }
}

/// What stands for a file with several names until all are known.
fn place_holder() -> Entry {
    Entry::fifo()
}

fn node(member: &Member, data: &Data) -> Result<Node, TarProblem> {
    let device = |kind| {
        let [major, minor] = member.device;
        Node::Device(Device { kind, major, minor })
    };
    Ok(match member.kind {
        Kind::File => Node::File(data.content(member)),
        Kind::Directory => Node::Directory { opaque: false },
        Kind::Symlink if member.link.is_empty() => return Err(TarProblem::NoTarget),
        Kind::Symlink if member.link.contains(&0) => {
            return Err(TarProblem::Nul { what: "symbolic link's target", found: shown(&member.link) });
        }
        Kind::Symlink => Node::Symlink(member.link.as_slice().into()),
        Kind::Char => device(DeviceKind::Char),
        Kind::Block => device(DeviceKind::Block),
        Kind::Fifo => Node::Fifo,
        Kind::Link | Kind::Unknown(_) => unreachable!("neither has a node of its own"),
    })
}

/// Sees that an entry can come over what is at its path.
fn contradiction(before: &Node, found: &Node) -> Result<(), TarProblem> {
    let word = |node: &Node| match node {
        Node::Directory { .. } => "directory",
        _ => "file or the like",
    };
    let (found, before) = (word(found), word(before));
    if found == before { Ok(()) } else { Err(TarProblem::Contradiction { found, before }) }
}
