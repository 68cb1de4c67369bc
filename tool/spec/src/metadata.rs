//! What a step says of its output: layer metadata and the image record.
//!
//! Both are small JSON files beside or instead of blobs, so that manifests and
//! locks can be made where the blobs are not (a remote cache, another store
//! path).

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError, VERSION};
use crate::{DiffId, Digest};

/// Describes one layer blob: the file that `ociseed layer --metadata` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerMetadata {
    /// Always 1.
    pub version: u32,
    /// The blob's media type.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The size of the uncompressed tar in bytes.
    pub uncompressed_size: u64,
    /// Debian packages in the layer, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
}

/// A Debian package that a layer holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, as Debian calls it.
    pub architecture: String,
    /// The maintainer scripts that it has and that were not run, sorted.
    pub scripts: Vec<String>,
}

impl LayerMetadata {
    /// Parses a metadata file.
    ///
    /// # Errors
    /// Anything but such a file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse("layer metadata file", bytes)
    }
}

/// Describes one disk: the file that `ociseed disk --metadata` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskMetadata {
    /// Always 1.
    pub version: u32,
    /// The digest of the disk.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of the `seed.json` in it, of a disk with a seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<Digest>,
    /// The seed id, of a disk with a seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_id: Option<Digest>,
}

impl DiskMetadata {
    /// Parses a metadata file.
    ///
    /// # Errors
    /// Anything but such a file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse("disk metadata file", bytes)
    }
}

/// One image without its layer blobs: the file that `ociseed image` writes.
///
/// Manifest and configuration are kept as the exact text whose digest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageRecord {
    /// Always 1.
    pub version: u32,
    /// The media type of `manifest`.
    pub media_type: String,
    /// The image manifest, byte for byte.
    pub manifest: String,
    /// The image configuration, byte for byte.
    pub config: String,
}

impl ImageRecord {
    /// Makes a record of exact bytes.
    pub fn new(media_type: &str, manifest: String, config: String) -> Self {
        Self { version: VERSION, media_type: media_type.to_owned(), manifest, config }
    }

    /// Parses an image record; what the manifest says is checked by the crate `image`.
    ///
    /// # Errors
    /// Anything but such a file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse("image record", bytes)
    }
}

/// An index with the images that it lists: the file that `ociseed index` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IndexRecord {
    /// Always 1.
    pub version: u32,
    /// The media type of `index`.
    pub media_type: String,
    /// The index, byte for byte.
    pub index: String,
    /// The images that it lists, in its order.
    pub images: Vec<ImageRecord>,
}

impl IndexRecord {
    /// Makes a record of exact bytes.
    pub fn new(media_type: &str, index: String, images: Vec<ImageRecord>) -> Self {
        Self { version: VERSION, media_type: media_type.to_owned(), index, images }
    }

    /// Parses an index record; what the index says is checked by the crate `image`.
    ///
    /// # Errors
    /// Anything but such a file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse("index record", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_named_before_unknown_keys() {
        let error = LayerMetadata::parse(b"{\"version\":2,\"new\":1}").expect_err("newer").to_string();
        assert_eq!(error, "layer metadata file has format version 2, this program reads version 1");
        assert!(LayerMetadata::parse(b"{}").is_err());
        assert!(ImageRecord::parse(b"{\"version\":1}").is_err());
    }
}
