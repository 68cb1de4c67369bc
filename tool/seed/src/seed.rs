//! A seed in memory: images with their names and classes, and the lock that follows from them.

use ociseed_image::{Carried, Image, Named, layout_tree};
use ociseed_spec::file::{SeedImage, SeedSpec};
use ociseed_spec::lock::{self, Class, Lock, LockError, LockedImage, LockedLayer, Namespace};
use ociseed_spec::{ChainId, DiffId, Digest, Key, Reference};
use ociseed_tree::{Content, Tree};

/// Images that belong together on a target.
#[derive(Debug)]
pub struct Seed {
    entries: Vec<SeedEntry>,
    lock: Lock,
}

/// One image of a seed.
#[derive(Debug, Clone)]
pub struct SeedEntry {
    /// Its full name.
    pub name: Reference,
    /// The containerd namespaces that get it.
    pub namespaces: Vec<Namespace>,
    /// Whether the boot waits for it.
    pub class: Class,
    /// Whether garbage collection must spare it.
    pub pin: bool,
    /// Its file name in a preseed directory, without `.tar`.
    pub file: Key,
    /// The image.
    pub image: Image,
}

/// Says why images do not make a seed.
#[derive(Debug)]
pub enum SeedError<E> {
    /// The lock would contradict itself.
    Lock(LockError),
    /// An image could not be had.
    Image(E),
}

impl Seed {
    /// Makes a seed of a spec, with the images that `image` finds for its keys.
    ///
    /// # Errors
    /// Whatever `image` returns; names that two images claim.
    pub fn new<E>(
        spec: &SeedSpec,
        mut image: impl FnMut(&Key) -> Result<Image, E>,
    ) -> Result<Self, SeedError<E>> {
        let entry = |entry: &SeedImage| {
            Ok(SeedEntry {
                name: entry.name.clone(),
                namespaces: entry.namespaces.clone(),
                class: entry.class,
                pin: entry.pin,
                file: entry.file.clone().unwrap_or_else(|| entry.image.clone()),
                image: image(&entry.image)?,
            })
        };
        let entries =
            spec.image.iter().map(entry).collect::<Result<Vec<_>, E>>().map_err(SeedError::Image)?;
        let lock = Lock::new(entries.iter().map(locked).collect()).map_err(SeedError::Lock)?;
        Ok(Self { entries, lock })
    }

    /// Returns the images in the order of the spec.
    pub fn entries(&self) -> &[SeedEntry] {
        &self.entries
    }

    /// Returns the lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Makes the tree of the host form: the lock and the image layout, with layer content that `blob` finds.
    ///
    /// # Errors
    /// Whatever `blob` returns.
    pub fn host_form<E>(&self, mut blob: impl FnMut(&Digest, u64) -> Result<Content, E>) -> Result<Tree, E> {
        let named: Vec<_> =
            self.entries.iter().map(|entry| Named::image(&entry.name, &entry.image)).collect();
        let lock = [(lock::FILE_NAME, self.lock.encode())];
        layout_tree(&named, &Carried::default(), &lock, |digest, size| blob(digest, size).map(Some))
    }
}

fn locked(entry: &SeedEntry) -> LockedImage {
    let layers = entry.image.layers();
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
    let chain = ChainId::chain(&diff_ids);
    let layers = layers.iter().zip(chain).map(|(layer, chain_id)| LockedLayer {
        media_type: layer.blob.media_type.clone(),
        digest: layer.blob.digest,
        size: layer.blob.size,
        diff_id: layer.diff_id,
        chain_id,
    });
    LockedImage {
        names: vec![entry.name.clone()],
        namespaces: entry.namespaces.clone(),
        class: entry.class,
        pin: entry.pin,
        platform: entry.image.platform().clone(),
        manifest: entry.image.manifest(),
        config: entry.image.config().clone(),
        layers: layers.collect(),
    }
}
