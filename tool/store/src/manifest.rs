//! The little of OCI manifests and indexes that loaders must understand: what they refer to.

use std::collections::BTreeSet;

use ociseed_spec::Digest;
use ociseed_spec::lock::BlobRef;
use serde::Deserialize;

use crate::BlobError;

/// containerd refuses larger manifests too (4 MiB is also what registries must take at least).
pub const LARGEST_MANIFEST: u64 = 4 << 20;

/// What a manifest or an index refers to.
#[derive(Debug)]
pub enum Document {
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
pub enum ManifestError {
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

impl Document {
    /// Reads what a manifest or index refers to; the bytes were found to be those of the digest.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(digest: Digest, bytes: &[u8]) -> Result<Self, ManifestError> {
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|source| ManifestError::Json { digest, source })?;
        let all = |descriptors: Vec<Descriptor>| descriptors.into_iter().map(BlobRef::from).collect();
        // By shape, not by media type: it may be absent from the document, and Docker's are read alike.
        match (raw.config, raw.layers, raw.manifests) {
            (Some(config), Some(layers), None) => {
                Ok(Self::Manifest { config: config.into(), layers: all(layers) })
            }
            (None, None, Some(manifests)) => Ok(Self::Index(all(manifests))),
            _ => Err(ManifestError::Kind { digest }),
        }
    }

    /// Checks that a manifest refers to what a lock says: these blobs, itself among them. An index does not say what its
    /// manifests refer to.
    ///
    /// # Errors
    /// Names what is missing, and what is too much.
    pub fn check_blobs(&self, manifest: &Digest, expected: &BTreeSet<Digest>) -> Result<(), String> {
        let Self::Manifest { config, layers } = self else { return Ok(()) };
        let mut found = BTreeSet::new();
        for digest in layers.iter().map(|layer| &layer.digest).chain([&config.digest, manifest]) {
            found.insert(*digest);
        }
        if found == *expected {
            return Ok(());
        }
        Err(format!(
            "manifest {manifest} names other blobs than the lock: expected [{}], found [{}]",
            less(expected, &found),
            less(&found, expected),
        ))
    }
}

/// Lists what one set has and the other has not.
fn less(set: &BTreeSet<Digest>, other: &BTreeSet<Digest>) -> String {
    let mut text = String::new();
    for digest in set.iter().filter(|digest| !other.contains(digest)) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&digest.to_string());
    }
    text
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
            matches!(Document::parse(digest, manifest.as_bytes()), Ok(Document::Manifest { layers, .. }) if layers.len() == 1)
        );
        assert!(
            matches!(Document::parse(digest, index.as_bytes()), Ok(Document::Index(all)) if all.len() == 2)
        );
        // A document that is both could mean one thing to us and another to the engine.
        let both = format!(r#"{{"config":{blob},"layers":[],"manifests":[]}}"#);
        for bad in ["{}", "[]", "", &both] {
            assert!(Document::parse(digest, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
