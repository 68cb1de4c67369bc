//! An image without its layer blobs, checked to hang together.
//!
//! Manifest and configuration are kept as the text that was read: their
//! digests are the identity of the image.

use oci_spec::image::ImageConfiguration;
use ociseed_spec::document::DocumentError;
use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::ImageRecord;
use ociseed_spec::{DiffId, Digest, Platform};
use serde_json::{Map, Value, json};

use crate::document::{Manifest, is_manifest};

/// An image: exact documents and what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    record: ImageRecord,
    manifest: Manifest,
    config: ImageConfiguration,
    platform: Platform,
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
    /// The record's own shape is wrong.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is of a type that is no manifest's and no index's.
    #[error("media type `{found}` is neither an image manifest's nor an index's")]
    MediaType {
        /// What it says.
        found: String,
    },
    /// Manifest, index or configuration is not what the OCI image specification says.
    #[error("{what} is not valid")]
    Parse {
        /// `manifest`, `index` or `configuration`.
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
        if !is_manifest(&record.media_type) {
            return Err(RecordError::MediaType { found: record.media_type });
        }
        let manifest = Manifest::parse(&record.media_type, &record.manifest)?;
        let wanted = manifest.config().blob();
        let found = (Digest::of(record.config.as_bytes()), record.config.len() as u64);
        if (wanted.digest, wanted.size) != found {
            let show = |(digest, size): (Digest, u64)| format!("{digest} with {size} bytes");
            return Err(mismatch("configuration", &show((wanted.digest, wanted.size)), &show(found)));
        }
        let config = parse_config(&record.config).map_err(invalid("configuration"))?;
        let diff_ids = config.rootfs().diff_ids().iter().map(|diff_id| diff_id.parse().map(DiffId::new));
        let diff_ids: Vec<DiffId> = diff_ids.collect::<Result<_, _>>().map_err(invalid("configuration"))?;
        let (expected, found) = (diff_ids.len(), manifest.layers().len());
        if expected != found {
            return Err(mismatch("number of layers", &expected.to_string(), &found.to_string()));
        }
        let layer = |(layer, diff_id): (&crate::Descriptor, &DiffId)| Layer {
            blob: layer.blob().clone(),
            diff_id: *diff_id,
        };
        let layers = manifest.layers().iter().zip(&diff_ids).map(layer).collect();
        let variant = config.variant().as_deref().filter(|variant| !variant.is_empty());
        let (os, architecture) = (config.os().to_string(), config.architecture().to_string());
        let platform = Platform::new(&os, &architecture, variant);
        let platform = platform.map_err(invalid("configuration"))?;
        Ok(Self { record, manifest, config, platform, layers })
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

    /// Makes the `platform` of a descriptor in an index.
    pub(crate) fn platform_fields(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("os".into(), json!(self.platform.os()));
        fields.insert("architecture".into(), json!(self.platform.architecture()));
        if let Some(variant) = self.platform.variant() {
            fields.insert("variant".into(), json!(variant));
        }
        if let Some(version) = self.config.os_version().as_ref().filter(|version| !version.is_empty()) {
            fields.insert("os.version".into(), json!(version));
        }
        if let Some(features) = self.config.os_features().as_ref().filter(|features| !features.is_empty()) {
            fields.insert("os.features".into(), json!(features));
        }
        Value::Object(fields)
    }

    pub(crate) fn manifest_document(&self) -> &Manifest {
        &self.manifest
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
        self.manifest.config().blob()
    }

    /// Returns the layers, bottom first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
}

/// Reads a configuration (OCI image specification, "Image Configuration"); Docker's has the same fields.
///
/// Docker leaves out, or writes as null, the diff ids of an image without layers; others leave out the one type there is.
fn parse_config(text: &str) -> Result<ImageConfiguration, serde_json::Error> {
    let mut document: Value = serde_json::from_str(text)?;
    if let Some(fields) = document.as_object_mut() {
        let rootfs = fields.entry("rootfs").or_insert(Value::Null);
        if rootfs.is_null() {
            *rootfs = json!({});
        }
        for (field, value) in [("type", json!("layers")), ("diff_ids", json!([]))] {
            if let Some(rootfs) = rootfs.as_object_mut()
                && rootfs.get(field).is_none_or(Value::is_null)
            {
                rootfs.insert(field.into(), value);
            }
        }
    }
    serde_json::from_value(document)
}

pub(crate) fn invalid<E: std::error::Error + Send + Sync + 'static>(
    what: &'static str,
) -> impl Fn(E) -> RecordError {
    move |source| RecordError::Parse { what, source: Box::new(source) }
}

pub(crate) fn mismatch(what: &str, expected: &str, found: &str) -> RecordError {
    RecordError::Mismatch { what: what.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}
