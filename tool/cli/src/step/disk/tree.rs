//! What a disk holds, before it is written.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_image::Image;
use ociseed_seed::Seed;
use ociseed_seed::medium::{MediumError, MediumForm, MediumOptions, Unpacked};
use ociseed_spec::file::{DiskSpec, MediumKind, SeedSpec};
use ociseed_spec::lock::{Engine, Lock, LockedLayer};
use ociseed_spec::{Digest, Packing, TreePath};
use ociseed_store::VerifiedReader;
use ociseed_tree::{Content, Extent, Node, Tree, flatten, listing, overlay, read_archive};
use rayon::prelude::*;

use crate::blobs::Blobs;
use crate::failure::{Failure, chain};
use crate::file_systems;
use crate::inputs::Place;
use crate::scratch::Scratch;
use crate::step::store;

/// What a disk holds.
pub(crate) struct DiskTree {
    pub(crate) tree: Tree,
    /// What its files hold, where that is known.
    pub(crate) digests: BTreeMap<TreePath, Digest>,
    /// The lock in it, of a seed.
    pub(crate) lock: Option<Lock>,
}

/// So many layers are held open while they are read; each file of more is opened anew, as a process may have a thousand
/// files open and not many more.
const MOST_OPEN: usize = 512;

/// Makes such trees.
pub(crate) struct Making<'a> {
    pub(crate) spec: &'a DiskSpec,
    pub(crate) blobs: &'a Blobs,
    /// For what compressed layers hold.
    pub(crate) scratch: &'a Scratch,
}

impl Making<'_> {
    /// Takes a layer in overlay form, as if it lay over another one.
    pub(crate) fn layer(&self, digest: &Digest, size: u64) -> Result<DiskTree, Failure> {
        self.over_nothing(&self.unpacked(digest, size)?)
    }

    /// Takes a layer of which no digest is known.
    pub(crate) fn unknown_layer(&self, blob: &Place) -> Result<DiskTree, Failure> {
        let file = blob.dir.open(&blob.path).map_err(|error| blob.failure(&error))?;
        let shown = Path::new(&blob.shown).into();
        let tree = read_archive(Arc::new(file), shown, &mut || self.scratch.file());
        self.over_nothing(&tree.map_err(|error| Failure::new(chain(&error)))?)
    }

    fn over_nothing(&self, layer: &Tree) -> Result<DiskTree, Failure> {
        self.hashed(overlay(&[&Tree::default()], layer))
    }

    /// Takes what a container of an image sees.
    pub(crate) fn image(&self, image: &Image) -> Result<DiskTree, Failure> {
        let layers = image.layers().par_iter();
        let layers = layers.map(|layer| self.unpacked(&layer.blob.digest, layer.blob.size));
        self.hashed(flatten(layers.collect::<Result<Vec<_>, _>>()?))
    }

    /// Takes a store of a seed.
    pub(crate) fn store(&self, seed: &Seed, spec: &SeedSpec, engine: Engine) -> Result<DiskTree, Failure> {
        let tree = match engine {
            Engine::Archives => store::archives(seed, spec, self.blobs)?.0.tree,
            Engine::Containerd => store::containerd(seed, spec),
        };
        Ok(DiskTree { tree, digests: BTreeMap::new(), lock: None })
    }

    /// Takes the medium form of a seed.
    pub(crate) fn seed(&self, seed: &Seed, spec: &SeedSpec) -> Result<DiskTree, Failure> {
        let whole_seconds = self.spec.medium == MediumKind::Cpio;
        let layers = self.layers(seed.lock())?;
        let unpacked = |layer: &LockedLayer| Ok(Arc::clone(&layers[&layer.digest]));
        let options = MediumOptions { spec, whole_seconds };
        let form = seed.medium_form(options, unpacked, |digest, size| self.blobs.content(digest, size));
        let MediumForm { tree, lock, digests } = form.map_err(|error| match error {
            MediumError::Blob(failure) => failure,
            MediumError::SameFile(error) => store::same_file(&error),
            other => Failure::new(chain(&other)),
        })?;
        Ok(DiskTree { tree, digests, lock: Some(lock) })
    }

    /// Reads all layers of a seed, many at a time, and what is in their files.
    fn layers(&self, lock: &Lock) -> Result<BTreeMap<Digest, Arc<Unpacked>>, Failure> {
        let layers = lock.content.images.iter().flat_map(|image| &image.layers);
        let distinct: BTreeMap<Digest, u64> = layers.map(|layer| (layer.digest, layer.size)).collect();
        let many = distinct.len() > MOST_OPEN;
        let read = |(digest, size): (Digest, u64)| {
            let content = self.blobs.content(&digest, size)?;
            let place = format!("layer {digest}");
            let Some(file) = plain_file(&content) else {
                let tree = self.decompressed(&content, &digest, size, &place)?;
                let digests = hash_files(&tree)?;
                return Ok((digest, Arc::new(Unpacked { tree, digests })));
            };
            let mut tree = self.in_place(file, &place)?;
            if let ([Extent::File(range)], true) = (content.extents(), many) {
                tree.name_file(&range.file);
            }
            // That the whole is right is seen while its parts are hashed.
            let (checked, digests) = rayon::join(|| check(&content, &place), || hash_files(&tree));
            checked?;
            Ok((digest, Arc::new(Unpacked { tree, digests: digests? })))
        };
        distinct.into_par_iter().map(read).collect()
    }

    /// Reads a layer blob, checking its digest.
    fn unpacked(&self, digest: &Digest, size: u64) -> Result<Tree, Failure> {
        let content = self.blobs.content(digest, size)?;
        let place = format!("layer {digest}");
        match plain_file(&content) {
            None => self.decompressed(&content, digest, size, &place),
            Some(file) => {
                check(&content, &place)?;
                self.in_place(file, &place)
            }
        }
    }

    fn decompressed(
        &self,
        content: &Content,
        digest: &Digest,
        size: u64,
        place: &str,
    ) -> Result<Tree, Failure> {
        let reader = VerifiedReader::new(content.reader(), *digest, size, "the inputs".to_owned());
        file_systems::of_reader(reader, size, place, self.scratch)
    }

    /// Reads a layer that is not compressed, whose files stay where they are.
    fn in_place(&self, file: Arc<File>, place: &str) -> Result<Tree, Failure> {
        let tree = read_archive(file, Path::new(place).into(), &mut || self.scratch.file());
        tree.map_err(|error| Failure::because(place, &error))
    }

    fn hashed(&self, mut tree: Tree) -> Result<DiskTree, Failure> {
        if self.spec.medium == MediumKind::Cpio {
            tree.cut_fractions();
        }
        let digests = match self.spec.medium {
            // Only here equal files share what they have.
            MediumKind::Erofs if self.spec.uuid.is_some() => hash_those_of_one_size(&tree)?,
            // The UUID follows from all that is in it.
            MediumKind::Erofs => hash_files(&tree)?,
            MediumKind::Tar | MediumKind::Cpio => BTreeMap::new(),
        };
        Ok(DiskTree { tree, digests, lock: None })
    }
}

/// Reads a blob for its digest.
fn check(content: &Content, place: &str) -> Result<(), Failure> {
    content.copy_to(&mut io::sink()).map_err(|error| Failure::because(place, &error))
}

/// Opens a blob that is a whole file and is not compressed.
fn plain_file(content: &Content) -> Option<Arc<File>> {
    let [Extent::File(range)] = content.extents() else { return None };
    let file = range.file.open().ok().filter(|_| range.offset == 0 && range.to_end)?;
    let mut head = Vec::new();
    content.reader().take(Packing::HEAD as u64).read_to_end(&mut head).ok()?;
    (Packing::of(&head) == Packing::Plain).then_some(file)
}

/// Hashes every file of a tree, on all threads.
fn hash_files(tree: &Tree) -> Result<BTreeMap<TreePath, Digest>, Failure> {
    hash(&files(tree))
}

/// Hashes those files of a tree that can be equal to another one.
fn hash_those_of_one_size(tree: &Tree) -> Result<BTreeMap<TreePath, Digest>, Failure> {
    let mut sizes: HashMap<u64, usize> = HashMap::new();
    let mut files = files(tree);
    files.iter().for_each(|(_, content)| *sizes.entry(content.size()).or_default() += 1);
    files.retain(|(_, content)| sizes[&content.size()] > 1);
    hash(&files)
}

fn files(tree: &Tree) -> Vec<(&TreePath, &Content)> {
    let mut files = Vec::new();
    for (path, entry) in tree {
        if let Node::File(content) = &entry.node {
            files.push((path, content));
        }
    }
    files
}

fn hash(files: &[(&TreePath, &Content)]) -> Result<BTreeMap<TreePath, Digest>, Failure> {
    let hashed = files.par_iter().map(|(path, content)| {
        let digest = listing::digest(content).map_err(|error| Failure::new(chain(&error)))?;
        Ok(((*path).clone(), digest))
    });
    hashed.collect()
}
