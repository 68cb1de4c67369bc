//! Reading images out of layouts and archives.

use ociseed_image::{Image, RecordError};
use ociseed_spec::Digest;
use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::ImageRecord;
use ociseed_store::{BlobError, Source};

/// Manifests and configurations are read into memory up to this size; registries take 4 MiB.
pub(crate) const MAX_DOCUMENT: u64 = 16 << 20;

/// Says why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadImageError {
    /// Manifest or configuration is not to be had.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A document is not UTF-8.
    #[error("{what} {digest} is not UTF-8")]
    Text {
        /// `manifest` or `configuration`.
        what: &'static str,
        /// The blob.
        digest: Digest,
    },
    /// The manifest names no configuration.
    #[error("manifest {digest} is not an image manifest")]
    Manifest {
        /// The blob.
        digest: Digest,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// An index is not one.
    #[error("index {digest}")]
    Index {
        /// The blob.
        digest: Digest,
        /// The reason.
        source: ociseed_store::IndexError,
    },
    /// Indexes lie in indexes without end.
    #[error("index {digest} lies in too many others")]
    Depth {
        /// The innermost that was met.
        digest: Digest,
    },
    /// The blobs cannot be listed.
    #[error("cannot list blobs")]
    List(#[source] std::io::Error),
    /// The documents do not make an image.
    #[error("image {digest}")]
    Record {
        /// The manifest.
        digest: Digest,
        /// The reason.
        source: RecordError,
    },
}

/// Reads the image whose manifest is `manifest`, without its layers.
///
/// # Errors
/// A blob is missing or damaged, or the documents do not belong together.
pub fn read_image(source: &dyn Source, manifest: &BlobRef) -> Result<Image, ReadImageError> {
    let digest = manifest.digest;
    let text = |bytes: Vec<u8>, what, digest| {
        String::from_utf8(bytes).map_err(|_| ReadImageError::Text { what, digest })
    };
    let bytes = source.read_blob(&digest, manifest.size, MAX_DOCUMENT)?;
    let document = text(bytes, "manifest", digest)?;
    let (config, size) =
        config_of(&document).map_err(|source| ReadImageError::Manifest { digest, source })?;
    let config = text(source.read_blob(&config, size, MAX_DOCUMENT)?, "configuration", config)?;
    let record = ImageRecord::new(&manifest.media_type, document, config);
    Image::from_record(record).map_err(|source| ReadImageError::Record { digest, source })
}

/// Returns which configuration a manifest names.
fn config_of(manifest: &str) -> Result<(Digest, u64), serde_json::Error> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        config: Config,
    }
    #[derive(serde::Deserialize)]
    struct Config {
        digest: Digest,
        size: u64,
    }
    let parsed: Manifest = serde_json::from_str(manifest)?;
    Ok((parsed.config.digest, parsed.config.size))
}
