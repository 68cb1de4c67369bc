//! From a seed and its unpacked layers to the tree that a medium holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use ociseed_image::{Carried, Named, layout_tree};
use ociseed_spec::file::{ArchivesOptions, SeedSpec, StoreForm};
use ociseed_spec::lock::{
    self, Engine, LayerBlobs, Lock, LockError, LockedFile, LockedLayer, LockedOptions, LockedStore, Medium,
    UnpackedLayer,
};
use ociseed_spec::{ChainId, Digest, TreePath};
use ociseed_tree::{Claim, Content, Entry, Node, Precedence, ReadError, Tree, listing, overlay};

use super::{layer_path, path, store_path};
use crate::archives::{self, ArchivesError, SameFileError};
use crate::containerd::{self, StoreOptions};
use crate::seed::Seed;

/// A layer as its tar says it, and what its files hold.
#[derive(Debug)]
pub struct Unpacked {
    /// The layer.
    pub tree: Tree,
    /// The digest of each of its files.
    pub digests: BTreeMap<TreePath, Digest>,
}

/// What decides the form beside the seed.
#[derive(Debug, Clone, Copy)]
pub struct MediumOptions<'a> {
    /// The seed's table of the spec, for its stores and whether layers' blobs are wanted.
    pub spec: &'a SeedSpec,
    /// Whether the medium has no place for fractions of seconds.
    pub whole_seconds: bool,
}

/// The medium form of a seed.
#[derive(Debug)]
pub struct MediumForm {
    /// All of it.
    pub tree: Tree,
    /// Its lock, which is in the tree, too.
    pub lock: Lock,
    /// What each of its files holds.
    pub digests: BTreeMap<TreePath, Digest>,
}

/// Says why there is no medium form.
#[derive(Debug, thiserror::Error)]
pub enum MediumError<E> {
    /// A layer or blob could not be had.
    #[error("a blob could not be had")]
    Blob(E),
    /// A file cannot be read or is not what it was.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The lock would contradict itself.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Two images would be one file of a store.
    #[error(transparent)]
    SameFile(Box<SameFileError>),
}

impl<E> From<ArchivesError<E>> for MediumError<E> {
    fn from(error: ArchivesError<E>) -> Self {
        match error {
            ArchivesError::Blob(error) => Self::Blob(error),
            ArchivesError::SameFile(error) => Self::SameFile(error),
        }
    }
}

impl Seed {
    /// Makes the medium form, with layers that `unpacked` finds and the content of blobs that `blob` finds.
    ///
    /// # Errors
    /// Whatever these return; files that cannot be read for their digests.
    pub fn medium_form<E>(
        &self,
        options: MediumOptions<'_>,
        unpacked: impl FnMut(&LockedLayer) -> Result<Arc<Unpacked>, E>,
        mut blob: impl FnMut(&Digest, u64) -> Result<Content, E>,
    ) -> Result<MediumForm, MediumError<E>> {
        let mut lock = self.lock().clone();
        let mut making = Making::default();
        making.layout(self, options.spec.blobs, &mut blob)?;
        lock.layers = making.layers(&lock, options.whole_seconds, unpacked)?;
        for engine in &options.spec.stores {
            let store = making.store(self, &lock, *engine, options.spec, &mut blob)?;
            lock.stores.insert(*engine, store);
        }
        let copied = lock.stores.get(&Engine::Containerd).map_or(0, LockedStore::size);
        lock.medium = Some(Medium { blobs: options.spec.blobs, copied, size: making.size() });
        let lock = Lock::parse(&lock.encode())?;
        making.file(path(lock::FILE_NAME), lock.encode());
        Ok(MediumForm { tree: making.tree, lock, digests: making.digests })
    }
}

/// What is made so far.
#[derive(Default)]
struct Making {
    tree: Tree,
    digests: BTreeMap<TreePath, Digest>,
}

impl Making {
    /// Adds the image layout, without layers where these are not wanted.
    fn layout<E>(
        &mut self,
        seed: &Seed,
        blobs: LayerBlobs,
        blob: &mut impl FnMut(&Digest, u64) -> Result<Content, E>,
    ) -> Result<(), MediumError<E>> {
        let entries = seed.entries().iter();
        let named: Vec<_> = entries.map(|entry| Named::image(&entry.name, &entry.image)).collect();
        let find = |digest: &Digest, size| match blobs {
            LayerBlobs::All => blob(digest, size).map(Some),
            LayerBlobs::Metadata => Ok(None),
        };
        let layout = layout_tree(&named, &Carried::default(), &[], find).map_err(MediumError::Blob)?;
        for (path, entry) in &layout {
            let Node::File(content) = &entry.node else { continue };
            let blob = path.parts().nth(2).and_then(|hex| Digest::from_hex(str::from_utf8(hex).ok()?).ok());
            // A blob's digest is its name, and is checked when it is copied.
            self.digests.insert(path.clone(), blob.map_or_else(|| listing::digest(content), Ok)?);
        }
        self.tree.add(layout);
        Ok(())
    }

    /// Adds the layers of all images, equal ones once.
    fn layers<E>(
        &mut self,
        lock: &Lock,
        whole_seconds: bool,
        mut unpacked: impl FnMut(&LockedLayer) -> Result<Arc<Unpacked>, E>,
    ) -> Result<BTreeMap<ChainId, UnpackedLayer>, MediumError<E>> {
        let mut chains: BTreeMap<ChainId, UnpackedLayer> = BTreeMap::new();
        let mut forms: BTreeMap<Digest, (Arc<Tree>, Arc<Unpacked>)> = BTreeMap::new();
        for image in &lock.content.images {
            let mut lowers: Vec<Arc<Tree>> = Vec::new();
            for layer in &image.layers {
                let digest = match chains.get(&layer.chain_id) {
                    Some(known) => known.tree,
                    None => {
                        let source = unpacked(layer).map_err(MediumError::Blob)?;
                        let below: Vec<&Tree> = lowers.iter().map(|tree| &**tree).collect();
                        let mut tree = overlay(&below, &source.tree);
                        if whole_seconds {
                            tree.cut_fractions();
                        }
                        let known = |path: &TreePath| source.digests.get(path).copied();
                        let digest = listing::tree_digest(&tree, &known)?;
                        chains.insert(layer.chain_id, UnpackedLayer { tree: digest, size: size_of(&tree) });
                        forms.entry(digest).or_insert_with(|| (Arc::new(tree), source));
                        digest
                    }
                };
                lowers.push(Arc::clone(&forms[&digest].0));
            }
        }
        for (digest, (tree, source)) in forms {
            self.part(Arc::unwrap_or_clone(tree), &layer_path(&digest), &source.digests);
        }
        Ok(chains)
    }

    /// Puts a tree below a directory.
    fn part(&mut self, tree: Tree, directory: &TreePath, digests: &BTreeMap<TreePath, Digest>) {
        // Not `append`, which goes through all that is there, and so once for each of many layers.
        self.digests.extend(digests.iter().map(|(path, digest)| (path.below(directory), *digest)));
        self.tree.add(tree.below(directory));
    }

    /// Adds a store.
    fn store<E>(
        &mut self,
        seed: &Seed,
        lock: &Lock,
        engine: Engine,
        spec: &SeedSpec,
        blob: &mut impl FnMut(&Digest, u64) -> Result<Content, E>,
    ) -> Result<LockedStore, MediumError<E>> {
        let (tree, options) = match engine {
            Engine::Archives => {
                // Here a store has a place of its own, wherever it lies on the target otherwise.
                let options = spec.archives.clone().unwrap_or_default();
                let options = ArchivesOptions { form: StoreForm::Directory, ..options };
                (archives::arrange(seed, &options, blob)?.tree, LockedOptions::default())
            }
            Engine::Containerd => {
                let options = spec.containerd.clone().unwrap_or_default();
                let store = StoreOptions { containerd: &options, blobs: spec.blobs };
                let tree = containerd::medium_store(lock, &lock.layers, store);
                let (root, snapshotter) = (Some(options.root), Some(options.snapshotter));
                (tree, LockedOptions { root, snapshotter })
            }
        };
        let (mut files, mut digests) = (BTreeMap::new(), BTreeMap::new());
        for (path, entry) in &tree {
            if let Node::File(content) = &entry.node {
                let digest = listing::digest(content)?;
                digests.insert(path.clone(), digest);
                files.insert(shown(path), LockedFile { digest, size: content.size() });
            }
        }
        let digest = listing::tree_digest(&tree, &|path| digests.get(path).copied())?;
        self.part(tree, &store_path(engine), &digests);
        Ok(LockedStore { tree: digest, files, options })
    }

    fn file(&mut self, path: TreePath, bytes: Vec<u8>) {
        self.digests.insert(path.clone(), Digest::of(&bytes));
        let mut builder = ociseed_tree::Builder::new();
        builder.insert(path, Entry::file(Content::bytes(bytes)), Claim::new(0, Precedence::Explicit));
        self.tree.add(builder.finish().expect("one file contradicts nothing"));
    }

    /// Returns how many bytes different files have together.
    fn size(&self) -> u64 {
        let size = |(path, digest): (&TreePath, &Digest)| match self.tree.get(path).map(|entry| &entry.node) {
            Some(Node::File(content)) => (*digest, content.size()),
            _ => (*digest, 0),
        };
        let distinct: BTreeMap<Digest, u64> = self.digests.iter().map(size).collect();
        distinct.values().sum()
    }
}

/// Returns how a path below a store's directory is written in the lock.
pub(super) fn shown(path: &TreePath) -> String {
    ociseed_spec::escape(path.as_bytes())
}

/// Returns how many bytes the files of a tree have; further names have none.
pub(super) fn size_of(tree: &Tree) -> u64 {
    let size = |entry: &Entry| match &entry.node {
        Node::File(content) => content.size(),
        _ => 0,
    };
    tree.iter().map(|(_, entry)| size(entry)).sum()
}
