//! A seed as a source: the lock says what there is, the layout has the bytes.

use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::containerd_root::{self, Numbers};
use ociseed_spec::lock::{Class, Engine, FILE_NAME, LayerBlobs, Lock, LockError, LockedImage, Namespace};
use ociseed_spec::records::{ContentRecord, content_records, snapshot_label};
use ociseed_spec::{ChainId, Digest};
use ociseed_store::{Layout, LayoutError, read_lock};

use crate::collect::set;
use crate::place::{About, Opened, Problem};
use crate::source::{Links, Previous, Source, Store, Wanted, name_records};

/// Says why a seed cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    /// The directory or a file of it cannot be read.
    #[error("cannot read `{0}`")]
    Read(String, #[source] io::Error),
    /// The lock is not the one that was asked for.
    #[error("`{place}`: expected {expected}, found {found}")]
    Expected {
        /// The lock's file.
        place: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The lock's.
        found: Digest,
    },
    /// The lock says nothing that can be followed.
    #[error("`{0}`")]
    Lock(String, #[source] LockError),
    /// The blobs do not lie in an image layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A seed whose lock was read.
#[derive(Debug)]
pub(crate) struct Seed {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its directory.
    pub(crate) dir: Dir,
    /// The digest of its lock.
    pub(crate) digest: Digest,
    /// Its lock.
    pub(crate) lock: Lock,
}

/// Reads the lock of a seed, which must have each of the digests `expected`.
///
/// # Errors
/// It is not there, not valid, of another version, or another seed.
pub(crate) fn read(path: &Path, expected: &[Digest]) -> Result<Seed, SeedError> {
    let place = path.display().to_string();
    let lock_place = path.join(FILE_NAME).display().to_string();
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|e| SeedError::Read(place, e))?;
    let bytes = read_lock(&dir).map_err(|error| SeedError::Read(lock_place.clone(), error))?;
    let digest = Digest::of(&bytes);
    if let Some(&expected) = expected.iter().find(|expected| **expected != digest) {
        return Err(SeedError::Expected { place: lock_place, expected, found: digest });
    }
    let lock = Lock::parse(&bytes).map_err(|error| SeedError::Lock(lock_place, error))?;
    Ok(Seed { path: path.to_owned(), dir, digest, lock })
}

/// Makes opened seeds a source of images: those of a class, or all.
///
/// # Errors
/// One is no image layout.
pub(crate) fn source(
    current: &Opened,
    previous: Previous,
    class: Option<Class>,
) -> Result<Source, SeedError> {
    let (mut images, links) = images(current)?;
    images.sort_by_key(|image| image.class);
    let (images, others) =
        images.into_iter().partition(|image| class.is_none_or(|class| image.class == class));
    let lock = &current.seed.lock;
    let copies = match (&links, &lock.medium) {
        (Some(_), _) => None,
        (None, Some(_)) => Some("the seed has no store `containerd`"),
        (None, None) => Some("the seed is in host form, which has no stores"),
    };
    let owner = current.report.id.to_string();
    Ok(Source { owner, images, others, previous, refused: Vec::new(), links, copies })
}

/// Returns a seed's images, and how they are linked.
///
/// # Errors
/// It is no image layout.
pub(crate) fn images(opened: &Opened) -> Result<(Vec<Wanted>, Option<Rc<Links>>), SeedError> {
    let Opened { seed, problems, .. } = opened;
    let place = seed.path.display().to_string();
    let dir = seed.dir.try_clone().map_err(|error| SeedError::Read(place.clone(), error))?;
    let store = Rc::new(Store::Layout(Layout::open(Arc::new(dir), place)?));
    let id = seed.lock.seed_id();
    let of_engine = seed.lock.stores.get(&Engine::Containerd);
    let links = of_engine.map(|engine| {
        Rc::new(Links {
            seed: id,
            alias: containerd_root::alias(&id),
            untold: opened.untold,
            snapshotter: engine.options.snapshotter.unwrap_or_default().as_str(),
            numbers: Numbers::of(&seed.lock.content),
        })
    });
    let making = Making { seed, problems, store, links: links.clone(), owner: id.to_string().into() };
    let images = seed.lock.content.images.iter().flat_map(|image| making.wanted(image));
    let mut images: Vec<_> = images.collect();
    name_records(&mut images);
    Ok((images, links))
}

/// What the images of a seed have in common.
struct Making<'a> {
    seed: &'a Seed,
    problems: &'a [Problem],
    store: Rc<Store>,
    links: Option<Rc<Links>>,
    owner: Rc<str>,
}

impl Making<'_> {
    /// One image for each of its namespaces.
    fn wanted(&self, image: &LockedImage) -> Vec<Wanted> {
        // In host form all blobs are there.
        let layers = self.seed.lock.medium.map_or(LayerBlobs::All, |medium| medium.blobs);
        let mut blobs = content_records(image, layers);
        let chains: Vec<_> = image.layers.iter().map(|layer| layer.chain_id).collect();
        if let (Some(links), Some(top)) = (&self.links, chains.last())
            && let Some(config) = blobs.iter_mut().find(|blob| blob.digest == image.config.digest)
        {
            config.labels.insert(snapshot_label(links.snapshotter), top.to_string());
        }
        let absent: Vec<_> = if layers.is_all() {
            Vec::new()
        } else {
            image.layers.iter().map(|layer| layer.digest).collect()
        };
        let wrong = self.wrong(&blobs, &chains);
        let one = |namespace: &Namespace| Wanted {
            owner: Rc::clone(&self.owner),
            names: image.names.clone(),
            records: Vec::new(),
            namespace: namespace.as_str().to_owned(),
            class: image.class,
            pin: image.pin,
            target: image.manifest.clone(),
            config: Some(image.config.digest),
            blobs: blobs.clone(),
            layers,
            absent: absent.clone(),
            chains: chains.clone(),
            links: self.links.clone(),
            wrong: wrong.clone(),
            store: Rc::clone(&self.store),
        };
        image.namespaces.iter().map(one).collect()
    }

    /// Returns what is wrong with the seed that this image needs.
    fn wrong(&self, blobs: &[ContentRecord], chains: &[ChainId]) -> Vec<String> {
        let trees = chains.iter().filter_map(|chain| self.seed.lock.layers.get(chain));
        let trees = set(trees.map(|layer| layer.tree));
        let needs = |about| match about {
            About::Blob(digest) => blobs.iter().any(|blob| blob.digest == digest),
            About::Layer(tree) => trees.contains(&tree),
            About::All => true,
        };
        let path = self.seed.path.display();
        let problems = self.problems.iter().filter(|problem| needs(problem.about));
        problems.map(|problem| format!("`{path}`: {}", problem.text)).collect()
    }
}
