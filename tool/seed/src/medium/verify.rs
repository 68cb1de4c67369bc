//! Checking a medium against its lock: every layer, every file of a store, every blob, and that there is nothing else.

use std::collections::{BTreeMap, BTreeSet};

use ociseed_image::LAYOUT_FILE;
use ociseed_spec::lock::{self, Engine, LayerBlobs, Lock, LockedStore};
use ociseed_spec::{Digest, TreePath};
use ociseed_store::Source;
use ociseed_tree::{Entry, Node, Stat, Tree, listing};

use super::form::{shown, size_of};
use super::{Medium, layer_path, path, store_path};
use crate::verify::{Findings, verify_images_with, verify_lock};

/// So many paths that should not be there are named.
const MAX_NAMED: usize = 20;

/// Hashes all of a medium and compares it with its lock; `watched` is the medium, or something that counts what is read of it.
pub fn verify_medium(medium: &Medium, watched: &dyn Source, findings: &mut Findings) {
    let lock = match Lock::parse(medium.lock()) {
        Ok(lock) => lock,
        Err(error) => return findings.problem(&error),
    };
    if lock.encode() != medium.lock() {
        findings.problems.push("`seed.json` is not in canonical form".to_owned());
    }
    let blobs = lock.medium.map_or(LayerBlobs::All, |medium| medium.blobs);
    verify_images_with(watched, blobs, findings);
    verify_lock(&lock, watched, findings);
    let Some(said) = lock.medium else {
        return findings
            .problems
            .push("`seed.json` is of a seed in host form: it has no `medium`".to_owned());
    };
    let mut checking = Checking { tree: medium.tree(), findings, distinct: BTreeMap::new() };
    checking.layers(&lock);
    for (engine, store) in &lock.stores {
        checking.store(&store_path(*engine), store);
    }
    let copied = lock.stores.get(&Engine::Containerd).map_or(0, LockedStore::size);
    if copied != said.copied {
        checking
            .problem(format!("`seed.json`: `medium.copied`: expected {copied} bytes, found {}", said.copied));
    }
    checking.rest(&lock);
    checking.size(said.size);
}

/// Returns how many bytes a file has.
fn size_of_file(entry: &Entry) -> u64 {
    match &entry.node {
        Node::File(content) => content.size(),
        _ => 0,
    }
}

struct Checking<'a> {
    tree: &'a Tree,
    findings: &'a mut Findings,
    /// Different files and their sizes.
    distinct: BTreeMap<Digest, u64>,
}

impl Checking<'_> {
    fn problem(&mut self, text: String) {
        self.findings.problems.push(text);
    }

    /// Hashes what a file holds.
    fn hash(&mut self, at: &TreePath, entry: &Entry) -> Option<Digest> {
        let Node::File(content) = &entry.node else { return None };
        match listing::digest(content) {
            Ok(digest) => {
                self.findings.blobs += 1;
                self.findings.bytes += content.size();
                self.distinct.insert(digest, content.size());
                Some(digest)
            }
            Err(error) => {
                self.problem(format!("`{at}`: {error}"));
                None
            }
        }
    }

    fn layers(&mut self, lock: &Lock) {
        let mut seen = BTreeSet::new();
        for (chain, layer) in &lock.layers {
            if !seen.insert(layer.tree) {
                continue;
            }
            let directory = layer_path(&layer.tree);
            let Some(tree) = self.tree.within(&directory) else {
                self.problem(format!(
                    "layer with chain id {chain}: `{directory}` is not there, or not all of it"
                ));
                continue;
            };
            let mut known = BTreeMap::new();
            for (path, entry) in &tree {
                if let Some(digest) = self.hash(&path.below(&directory), entry) {
                    known.insert(path.clone(), digest);
                }
            }
            match listing::tree_digest(&tree, &|path| known.get(path).copied()) {
                Ok(found) if found == layer.tree && size_of(&tree) == layer.size => {}
                Ok(found) if found == layer.tree => {
                    let (expected, found) = (layer.size, size_of(&tree));
                    self.problem(format!("`{directory}`: expected {expected} bytes of files, found {found}"));
                }
                Ok(found) => self.problem(format!(
                    "`{directory}`: expected the tree digest {}, found {found}",
                    layer.tree
                )),
                // A file that cannot be read was named above.
                Err(_) => {}
            }
        }
    }

    fn store(&mut self, directory: &TreePath, store: &LockedStore) {
        let tree = self.tree.within(directory).unwrap_or_default();
        let mut missing: BTreeSet<&String> = store.files.keys().collect();
        let (before, mut known) = (self.findings.problems.len(), BTreeMap::new());
        for (path, entry) in &tree {
            let at = path.below(directory);
            let Some(digest) = self.hash(&at, entry) else { continue };
            known.insert(path.clone(), digest);
            let name = shown(path);
            missing.remove(&name);
            match store.files.get(&name) {
                None => self.problem(format!("`{at}` is not in the lock")),
                Some(file) if file.digest == digest && file.size == size_of_file(entry) => {}
                Some(file) if file.digest == digest => {
                    let found = size_of_file(entry);
                    self.problem(format!("`{at}`: expected {} bytes, found {found}", file.size));
                }
                Some(file) => self.problem(format!("`{at}`: expected {}, found {digest}", file.digest)),
            }
        }
        for name in missing {
            self.problem(format!("`{directory}/{name}` is not there"));
        }
        // With other problems it only follows from them.
        if self.findings.problems.len() == before
            && let Ok(found) = listing::tree_digest(&tree, &|path| known.get(path).copied())
            && found != store.tree
        {
            self.problem(format!("`{directory}`: expected the tree digest {}, found {found}", store.tree));
        }
    }

    /// Checks that what is in no layer or store is plain, and that there is nothing that the lock does not lead to.
    fn rest(&mut self, lock: &Lock) {
        let layers = lock.layers.values().map(|layer| layer_path(&layer.tree));
        let parts: BTreeSet<TreePath> =
            layers.chain(lock.stores.keys().map(|engine| store_path(*engine))).collect();
        let (blobs, files) = (path("blobs/sha256"), [lock::FILE_NAME, "oci-layout", "index.json"].map(path));
        // These and all that is above them.
        let mut known = BTreeSet::new();
        for end in parts.iter().chain(&files).chain([&blobs]) {
            let mut at = Some(end.clone());
            while let Some(next) = at.filter(|at| known.insert(at.clone())) {
                at = next.parent();
            }
        }
        let known = |at: &TreePath| known.contains(at) || at.is_below(&blobs);
        // Everything below a layer or store follows it directly.
        let mut checked: Option<TreePath> = None;
        let mut problems = Vec::new();
        for (at, entry) in self.tree {
            if checked.as_ref().is_some_and(|checked| at.is_below(checked)) {
                continue;
            }
            checked = parts.contains(at).then(|| at.clone());
            let plain = match &entry.node {
                Node::Directory { opaque: false } => entry.stat == Stat::DIRECTORY,
                Node::File(_) => entry.stat == Stat::FILE,
                _ => false,
            };
            match (known(at), plain) {
                (false, _) => problems.push(format!("`{at}` is not in the lock")),
                (true, false) => {
                    problems.push(format!("`{at}` is not a plain 0644 file or 0755 directory of 0:0"));
                }
                (true, true) => self.count(at, entry),
            }
        }
        let more = problems.len().saturating_sub(MAX_NAMED);
        problems.truncate(MAX_NAMED);
        problems.extend((more > 0).then(|| format!("and {more} paths more")));
        self.findings.problems.extend(problems);
    }

    /// Counts a file outside of layers and stores among those of the medium: a blob by its name, which was checked.
    fn count(&mut self, at: &TreePath, entry: &Entry) {
        let Node::File(content) = &entry.node else { return };
        let blob = at.is_below(&path("blobs/sha256"));
        let named = |name: &[u8]| Digest::from_hex(str::from_utf8(name).ok()?).ok();
        match named(at.name()).filter(|_| blob) {
            Some(digest) => drop(self.distinct.insert(digest, content.size())),
            None if blob => self.problem(format!("`{at}` is no blob")),
            None if at.parts().count() == 1 && *at != path(lock::FILE_NAME) => {
                let found = self.hash(at, entry);
                // The index was compared with what follows from the lock.
                if *at == path("oci-layout") && found.is_some_and(|found| found != Digest::of(&LAYOUT_FILE)) {
                    self.problem("`/oci-layout` has other bytes than a seed's".to_owned());
                }
            }
            None => {}
        }
    }

    fn size(&mut self, expected: u64) {
        let found: u64 = self.distinct.values().sum();
        // With other problems it only follows from them.
        if found != expected && self.findings.problems.is_empty() {
            self.problem(format!("`seed.json`: `medium.size`: expected {found} bytes, found {expected}"));
        }
    }
}
