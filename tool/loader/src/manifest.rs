//! The little of OCI manifests and indexes that the loader must understand: what they refer to.

use ociseed_spec::Digest;
use ociseed_spec::lock::BlobRef;
use ociseed_store::BlobError;
use serde::Deserialize;

use crate::source::Store;

/// containerd refuses larger manifests too (4 MiB is also what registries must take at least).
const LARGEST: u64 = 4 << 20;

/// What a manifest or an index refers to.
#[derive(Debug)]
pub(crate) enum Document {
    /// One image.
    Manifest {
        /// Its configuration.
        config: BlobRef,
        /// Its layers, bottom first.
        layers: Vec<BlobRef>,
    },
    /// Manifests of several platforms.
    Index(Vec<BlobRef>),
}

/// Says why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    /// It cannot be read or is not what its digest says.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It is no JSON of the right shape.
    #[error("manifest {digest} is not valid")]
    Json {
        /// The manifest.
        digest: Digest,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It is neither a manifest nor an index.
    #[error(
        "{digest} is neither a manifest nor an index: it has neither `config` and `layers` nor `manifests`"
    )]
    Kind {
        /// What was named as a manifest.
        digest: Digest,
    },
}

#[derive(Deserialize)]
struct Raw {
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl From<Descriptor> for BlobRef {
    fn from(Descriptor { media_type, digest, size }: Descriptor) -> Self {
        Self { media_type, digest, size }
    }
}

/// Reads a manifest or index.
///
/// # Errors
/// It is not in the store, is damaged, or is something else.
pub(crate) fn read(store: &Store, blob: &BlobRef) -> Result<Document, ManifestError> {
    let bytes = store.read(&blob.digest, blob.size, LARGEST)?;
    parse(blob.digest, &bytes)
}

fn parse(digest: Digest, bytes: &[u8]) -> Result<Document, ManifestError> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|source| ManifestError::Json { digest, source })?;
    let all = |descriptors: Vec<Descriptor>| descriptors.into_iter().map(BlobRef::from).collect();
    // By shape, not by media type: it may be absent from the document, and Docker's are read alike.
    match (raw.config, raw.layers, raw.manifests) {
        (Some(config), Some(layers), None) => {
            Ok(Document::Manifest { config: config.into(), layers: all(layers) })
        }
        (None, None, Some(manifests)) => Ok(Document::Index(all(manifests))),
        _ => Err(ManifestError::Kind { digest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart_by_their_shape() {
        let digest = Digest::of(b"");
        let blob = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":3,"platform":{{}}}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#);
        let index = format!(r#"{{"manifests":[{blob},{blob}]}}"#);
        assert!(
            matches!(parse(digest, manifest.as_bytes()), Ok(Document::Manifest { layers, .. }) if layers.len() == 1)
        );
        assert!(matches!(parse(digest, index.as_bytes()), Ok(Document::Index(all)) if all.len() == 2));
        // A document that is both could mean one thing to us and another to the engine.
        let both = format!(r#"{{"config":{blob},"layers":[],"manifests":[]}}"#);
        for bad in ["{}", "[]", "", &both] {
            assert!(parse(digest, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
