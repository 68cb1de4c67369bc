//! What the engine should have: images with their blobs, and where the blobs' bytes are.

use std::io::Read;
use std::rc::Rc;

use ociseed_spec::lock::{BlobRef, Class, LayerBlobs};
use ociseed_spec::records::ContentRecord;
use ociseed_spec::{Digest, Reference};
use ociseed_store::{Archive, BlobError, Layout};

/// Everything that one run is to load.
#[derive(Debug)]
pub(crate) struct Source {
    /// The value of our owner label.
    pub(crate) owner: String,
    /// The images, critical ones first.
    pub(crate) images: Vec<Wanted>,
    /// Archives that could not be used.
    pub(crate) refused: Vec<Refused>,
}

/// One image for one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Its names, at least one.
    pub(crate) names: Vec<Reference>,
    /// The namespace.
    pub(crate) namespace: String,
    /// Whether the boot waits for it.
    pub(crate) class: Class,
    /// Whether garbage collection must spare it.
    pub(crate) pin: bool,
    /// The manifest or index that the names stand for.
    pub(crate) target: BlobRef,
    /// Its blobs that the source has, each after those that it refers to; no digest twice.
    pub(crate) blobs: Vec<ContentRecord>,
    /// Whether its layers' blobs are among them.
    pub(crate) layers: LayerBlobs,
    /// Where the bytes are.
    pub(crate) store: Rc<Store>,
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
}
