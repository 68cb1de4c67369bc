//! What the engine should have: images with their blobs, and where the blobs' bytes are.

use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

use ociseed_spec::lock::{BlobRef, Class};
use ociseed_spec::{DiffId, Digest, Reference};
use ociseed_store::{Archive, BlobError, Layout};

use crate::collect::map;

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
    /// All its blobs, each after those that it refers to; no digest twice.
    pub(crate) blobs: Vec<Blob>,
    /// Where the bytes are.
    pub(crate) store: Rc<Store>,
}

/// A blob and the labels that its record must bear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blob {
    /// Its digest.
    pub(crate) digest: Digest,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Labels of its content record.
    pub(crate) labels: BTreeMap<String, String>,
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

/// Collects an image's blobs in the order in which they must be written.
#[derive(Debug, Default)]
pub(crate) struct Blobs(Vec<Blob>);

impl Blobs {
    /// Adds a manifest with its configuration and layers.
    pub(crate) fn manifest(
        &mut self,
        manifest: &BlobRef,
        config: &BlobRef,
        layers: &[(BlobRef, Option<DiffId>)],
    ) {
        let mut references = map([label("config", &config.digest)]);
        for (index, (layer, diff_id)) in layers.iter().enumerate() {
            let compressed = diff_id.filter(|diff_id| *diff_id.digest() != layer.digest);
            let uncompressed = compressed.map(|id| ("containerd.io/uncompressed".to_owned(), id.to_string()));
            self.add(layer, map(uncompressed));
            let (key, digest) = label(&format!("l.{index}"), &layer.digest);
            references.insert(key, digest);
        }
        self.add(config, BTreeMap::new());
        self.add(manifest, references);
    }

    /// Adds an index whose manifests were added before.
    pub(crate) fn index(&mut self, index: &BlobRef, manifests: &[BlobRef]) {
        let references =
            manifests.iter().enumerate().map(|(n, manifest)| label(&format!("m.{n}"), &manifest.digest));
        self.add(index, map(references));
    }

    /// Returns the blobs.
    pub(crate) fn finish(self) -> Vec<Blob> {
        self.0
    }

    fn add(&mut self, blob: &BlobRef, labels: BTreeMap<String, String>) {
        match self.0.iter_mut().find(|other| other.digest == blob.digest) {
            Some(other) => other.labels.extend(labels),
            None => self.0.push(Blob { digest: blob.digest, size: blob.size, labels }),
        }
    }
}

/// The label by which containerd's garbage collection follows a reference; the keys are those that containerd sets.
fn label(what: &str, digest: &Digest) -> (String, String) {
    (format!("containerd.io/gc.ref.content.{what}"), digest.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(text: &str) -> BlobRef {
        BlobRef { media_type: String::new(), digest: Digest::of(text.as_bytes()), size: 1 }
    }

    #[test]
    fn blobs_come_after_what_they_refer_to_and_only_once() {
        let tar = DiffId::new(Digest::of(b"tar"));
        let plain = (blob("plain"), Some(DiffId::new(blob("plain").digest)));
        let layers = [(blob("a"), Some(tar)), plain, (blob("a"), Some(tar)), (blob("b"), None)];
        let mut blobs = Blobs::default();
        blobs.manifest(&blob("m"), &blob("c"), &layers);
        blobs.index(&blob("i"), &[blob("m")]);
        let blobs = blobs.finish();
        let expected = ["a", "plain", "b", "c", "m", "i"].map(|text| blob(text).digest);
        assert_eq!(blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>(), expected);

        let uncompressed = BTreeMap::from([("containerd.io/uncompressed".to_owned(), tar.to_string())]);
        assert_eq!(blobs[0].labels, uncompressed);
        // An uncompressed layer is its own diff id; without a lock nobody says what a layer's is.
        assert!(blobs[1].labels.is_empty() && blobs[2].labels.is_empty());
        let digest = |text: &str| blob(text).digest.to_string();
        let references: BTreeMap<_, _> =
            [("config", "c"), ("l.0", "a"), ("l.1", "plain"), ("l.2", "a"), ("l.3", "b")]
                .map(|(key, text)| (format!("containerd.io/gc.ref.content.{key}"), digest(text)))
                .into();
        assert_eq!(blobs[4].labels, references);
        assert_eq!(blobs[5].labels.get("containerd.io/gc.ref.content.m.0"), Some(&digest("m")));
    }
}
