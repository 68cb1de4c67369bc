//! The index of an image layout: which manifests it has, by which names.

use std::collections::BTreeMap;

use ociseed_spec::annotation;
use ociseed_spec::lock::BlobRef;
use serde::Deserialize;

/// A manifest that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest, or a nested index.
    pub blob: BlobRef,
    /// The descriptor's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl IndexEntry {
    /// Returns the full name that containerd and Docker use, else the layout's reference name.
    pub fn name(&self) -> Option<&str> {
        let keys = [annotation::CONTAINERD_NAME, annotation::REF_NAME];
        keys.into_iter().find_map(|key| self.annotations.get(key)).map(String::as_str)
    }
}

/// Says why a layout's own files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// Not JSON of the right shape.
    #[error("`{file}` is not valid")]
    Json {
        /// `oci-layout` or `index.json`.
        file: &'static str,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A layout of a version that nobody knows yet.
    #[error("`oci-layout` has version `{0}`, this program reads `1.0.0`")]
    Version(String),
    /// A digest that is no sha256.
    #[error("`index.json`: {0}")]
    Digest(#[from] ociseed_spec::DigestError),
}

/// `oci-layout` (image specification, "oci-layout file"). Types of our own and not oci-spec's, whose
/// builders and enumerations cost the loader 100 KB for these few fields.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutFile {
    image_layout_version: String,
}

/// `index.json` (image specification, "OCI Image Index Specification").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexFile {
    manifests: Vec<Descriptor>,
}

/// What we use of a descriptor.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    annotations: Option<BTreeMap<String, String>>,
}

/// Parses `oci-layout`.
pub(crate) fn check_layout_file(bytes: &[u8]) -> Result<(), IndexError> {
    let json = |source| IndexError::Json { file: "oci-layout", source };
    let layout: LayoutFile = serde_json::from_slice(bytes).map_err(json)?;
    match layout.image_layout_version.as_str() {
        "1.0.0" => Ok(()),
        other => Err(IndexError::Version(other.to_owned())),
    }
}

/// Parses `index.json`.
///
/// # Errors
/// Not an image index, or a digest that is no sha256.
pub fn parse_index(bytes: &[u8]) -> Result<Vec<IndexEntry>, IndexError> {
    let json = |source| IndexError::Json { file: "index.json", source };
    let index: IndexFile = serde_json::from_slice(bytes).map_err(json)?;
    let entry = |descriptor: Descriptor| {
        let Descriptor { media_type, digest, size, annotations } = descriptor;
        let blob = BlobRef { media_type, digest: digest.parse()?, size };
        Ok(IndexEntry { blob, annotations: annotations.unwrap_or_default() })
    };
    index.manifests.into_iter().map(entry).collect()
}
