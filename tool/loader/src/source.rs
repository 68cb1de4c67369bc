//! What the engine should have: images with their blobs, and where the blobs' bytes are.

use std::io::Read;
use std::rc::Rc;

use ociseed_spec::containerd_root::{self, Numbers};
use ociseed_spec::lock::{BlobRef, Class, LayerBlobs};
use ociseed_spec::records::{ContentRecord, NamedImage, names_by_digest};
use ociseed_spec::{ChainId, Digest, Reference};
use ociseed_store::{Archive, BlobError, Document, LARGEST_MANIFEST, Layout, ManifestError};

/// Everything that one run is to load.
#[derive(Debug)]
pub(crate) struct Source {
    /// The value of our owner label.
    pub(crate) owner: String,
    /// The images, critical ones first.
    pub(crate) images: Vec<Wanted>,
    /// Images of the current seed that are not this run's, but claim names and records as well.
    pub(crate) others: Vec<Wanted>,
    /// Images of the previous seed.
    pub(crate) previous: Previous,
    /// Archives that could not be used.
    pub(crate) refused: Vec<Refused>,
    /// Where an engine that can read it there finds blobs and layers.
    pub(crate) links: Option<Rc<Links>>,
    /// Why nothing can be linked, if so.
    pub(crate) copies: Option<&'static str>,
}

impl Source {
    /// No image at all, so that whatever is ours has nobody who asks for it.
    pub(crate) fn nothing() -> Self {
        Self {
            owner: "reset".to_owned(),
            images: Vec::new(),
            others: Vec::new(),
            previous: Previous::None,
            refused: Vec::new(),
            links: None,
            copies: None,
        }
    }
}

/// What is known of the seed to which a rollback would go.
#[derive(Debug)]
pub(crate) enum Previous {
    /// There is none.
    None,
    /// Its images, and how they are linked.
    Images(Vec<Wanted>, Option<Rc<Links>>),
    /// There is one that cannot be read, so nobody knows what is its.
    Unknown,
}

/// One image for one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Whose it is: the value of the owner label of its records.
    pub(crate) owner: Rc<str>,
    /// Its names, at least one.
    pub(crate) names: Vec<Reference>,
    /// The names of its records.
    pub(crate) records: Vec<String>,
    /// The namespace.
    pub(crate) namespace: String,
    /// Whether the boot waits for it.
    pub(crate) class: Class,
    /// Whether garbage collection must spare it.
    pub(crate) pin: bool,
    /// The manifest or index that the names stand for.
    pub(crate) target: BlobRef,
    /// The configuration, which an index has none of.
    pub(crate) config: Option<Digest>,
    /// Its blobs that the source has, each after those that it refers to; no digest twice.
    pub(crate) blobs: Vec<ContentRecord>,
    /// Whether its layers' blobs are among them.
    pub(crate) layers: LayerBlobs,
    /// The layers' blobs that are not.
    pub(crate) absent: Vec<Digest>,
    /// The chain ids of its layers, bottom first, where they can be linked.
    pub(crate) chains: Vec<ChainId>,
    /// How its blobs and layers are linked, if they can be.
    pub(crate) links: Option<Rc<Links>>,
    /// What of the seed it needs and is wrong.
    pub(crate) wrong: Vec<String>,
    /// Where the bytes are.
    pub(crate) store: Rc<Store>,
}

/// Gives each image the names of its records. The images must be all that the source has, in its order: of several that could have
/// a name by digest the first gets it, as in the arrangement of a root.
pub(crate) fn name_records(images: &mut [Wanted]) {
    let named = images.iter().map(|image| NamedImage {
        names: &image.names,
        namespace: &image.namespace,
        target: &image.target.digest,
        config: image.config.as_ref(),
    });
    let by_digest = names_by_digest(named);
    for (image, by_digest) in images.iter_mut().zip(by_digest) {
        image.records = image.names.iter().map(ToString::to_string).chain(by_digest).collect();
    }
}

/// Where links lead to a seed.
#[derive(Debug)]
pub(crate) struct Links {
    /// The seed.
    pub(crate) seed: Digest,
    /// The name of the link in an engine's root through which the others lead.
    pub(crate) alias: String,
    /// Whether an engine that runs may have found nothing behind them.
    pub(crate) untold: bool,
    /// The snapshotter that the seed's store is for.
    pub(crate) snapshotter: &'static str,
    /// How blobs and layers are numbered.
    pub(crate) numbers: Numbers,
}

impl Links {
    /// Returns where the alias leads.
    pub(crate) fn store(&self) -> String {
        format!(
            "{}/{}",
            containerd_root::seed_link(&self.seed),
            ociseed_spec::lock::Engine::Containerd.place()
        )
    }

    /// Returns where the link in place of a blob leads.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<String> {
        self.numbers.blobs.get(digest).map(|number| containerd_root::blob_target(&self.alias, *number))
    }

    /// Returns where the link in place of a snapshot leads, or that in place of its files.
    pub(crate) fn layer(&self, chain: &ChainId, whole: bool) -> Option<String> {
        let target =
            if whole { containerd_root::snapshot_target } else { containerd_root::snapshot_fs_target };
        self.numbers.layers.get(chain).map(|number| target(&self.alias, *number))
    }
}

/// An archive that could not be used.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The image's name, if it came to that.
    pub(crate) name: Option<String>,
    /// The namespace that it lies under.
    pub(crate) namespace: String,
    /// Why.
    pub(crate) error: String,
}

/// Where blobs are read from.
#[derive(Debug)]
pub(crate) enum Store {
    /// A seed's image layout.
    Layout(Layout),
    /// An oci-archive.
    Archive(Archive),
}

impl Store {
    /// Opens a blob; the reader fails at its end if the bytes are not those of the digest.
    pub(crate) fn open(&self, digest: &Digest, size: u64) -> Result<Box<dyn Read + '_>, BlobError> {
        Ok(match self {
            Self::Layout(layout) => Box::new(layout.open_blob(digest, size)?),
            Self::Archive(archive) => Box::new(archive.open_blob(digest, size)?),
        })
    }

    /// Reads a blob of at most `limit` bytes.
    pub(crate) fn read(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        match self {
            Self::Layout(layout) => layout.read_blob(digest, size, limit),
            Self::Archive(archive) => archive.read_blob(digest, size, limit),
        }
    }

    /// Reads a manifest or index.
    pub(crate) fn document(&self, blob: &BlobRef) -> Result<Document, ManifestError> {
        let bytes = self.read(&blob.digest, blob.size, LARGEST_MANIFEST)?;
        Document::parse(blob.digest, &bytes)
    }
}
