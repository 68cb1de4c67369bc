//! An image without its layer blobs, checked to hang together.
//!
//! Manifest and configuration are kept as the text that was read: their
//! digests are the identity of the image.

use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};
use ociseed_spec::document::DocumentError;
use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::ImageRecord;
use ociseed_spec::{DiffId, Digest, Platform, media_type};

/// An image: exact documents and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    record: ImageRecord,
    platform: Platform,
    config: BlobRef,
    layers: Vec<Layer>,
}

/// A layer as manifest and configuration together describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob.
    pub blob: BlobRef,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
}

/// Says why documents do not make an image.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The image record's own shape is wrong.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Manifest or configuration is not what the OCI image specification says.
    #[error("{what} is not valid")]
    Parse {
        /// `manifest` or `configuration`.
        what: &'static str,
        /// The parser's reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The documents contradict each other.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What was compared.
        what: String,
        /// What the one document says.
        expected: String,
        /// What the other says, or is.
        found: String,
    },
}

impl Image {
    /// Checks an image record.
    ///
    /// # Errors
    /// Documents that are not valid or do not belong together.
    pub fn from_record(record: ImageRecord) -> Result<Self, RecordError> {
        if record.media_type != media_type::MANIFEST {
            return Err(mismatch("manifest media type", media_type::MANIFEST, &record.media_type));
        }
        let manifest: ImageManifest = parse("manifest", &record.manifest)?;
        let parsed: ImageConfiguration = parse("configuration", &record.config)?;
        let config = blob_ref(manifest.config())?;
        let found = (Digest::of(record.config.as_bytes()), record.config.len() as u64);
        if (config.digest, config.size) != found {
            let show = |(digest, size): (Digest, u64)| format!("{digest} with {size} bytes");
            return Err(mismatch("configuration", &show((config.digest, config.size)), &show(found)));
        }
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers().len() {
            let counts = (diff_ids.len().to_string(), manifest.layers().len().to_string());
            return Err(mismatch("number of layers", &counts.0, &counts.1));
        }
        let layers = manifest.layers().iter().zip(diff_ids).map(|(descriptor, diff_id)| {
            let diff_id = diff_id.parse().map(DiffId::new).map_err(invalid("configuration"))?;
            Ok(Layer { blob: blob_ref(descriptor)?, diff_id })
        });
        let layers = layers.collect::<Result<_, RecordError>>()?;
        let platform = Platform::new(
            &parsed.os().to_string(),
            &parsed.architecture().to_string(),
            parsed.variant().as_deref().filter(|variant| !variant.is_empty()),
        )
        .map_err(invalid("configuration"))?;
        Ok(Self { record, platform, config, layers })
    }

    /// Parses and checks an image record file.
    ///
    /// # Errors
    /// As [`Image::from_record`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::from_record(ImageRecord::parse(bytes)?)
    }

    /// Returns the exact documents.
    pub fn record(&self) -> &ImageRecord {
        &self.record
    }

    /// Returns the platform that the configuration names.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn manifest_document(&self) -> Result<ImageManifest, RecordError> {
        parse("manifest", &self.record.manifest)
    }

    /// Describes the manifest blob.
    pub fn manifest(&self) -> BlobRef {
        BlobRef {
            media_type: self.record.media_type.clone(),
            digest: Digest::of(self.record.manifest.as_bytes()),
            size: self.record.manifest.len() as u64,
        }
    }

    /// Describes the configuration blob.
    pub fn config(&self) -> &BlobRef {
        &self.config
    }

    /// Returns the layers, bottom first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
}

fn parse<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Result<T, RecordError> {
    serde_json::from_str(text).map_err(invalid(what))
}

fn invalid<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> RecordError {
    move |source| RecordError::Parse { what, source: Box::new(source) }
}

fn mismatch(what: &str, expected: &str, found: &str) -> RecordError {
    RecordError::Mismatch { what: what.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}

fn blob_ref(descriptor: &Descriptor) -> Result<BlobRef, RecordError> {
    Ok(BlobRef {
        media_type: descriptor.media_type().to_string(),
        digest: descriptor.digest().to_string().parse().map_err(invalid("manifest"))?,
        size: descriptor.size(),
    })
}
