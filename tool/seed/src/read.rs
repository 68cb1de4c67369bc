//! Reading images out of layouts and archives.

use ociseed_image::{Descriptor, Document, Image, Index, IndexDocument, RecordError, is_index, is_manifest};
use ociseed_spec::Digest;
use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::ImageRecord;
use ociseed_store::{BlobError, Source};

/// Manifests and configurations are read into memory up to this size; registries take 4 MiB.
pub(crate) const MAX_DOCUMENT: u64 = 16 << 20;
/// How deep indexes may lie in each other; two are met in the field.
pub(crate) const MAX_DEPTH: usize = 8;

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
    /// `index.json` is not what it should be.
    #[error("`{place}`: `index.json`")]
    Layout {
        /// The layout or archive.
        place: String,
        /// The reason.
        source: RecordError,
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

/// Reads a manifest or an index: its exact text, and what it says.
///
/// # Errors
/// It is missing or damaged, or no such document.
pub fn read_document(source: &dyn Source, blob: &BlobRef) -> Result<(String, Document), ReadImageError> {
    let digest = blob.digest;
    let what = if is_index(&blob.media_type) { "index" } else { "manifest" };
    let text = String::from_utf8(source.read_blob(&digest, blob.size, MAX_DOCUMENT)?)
        .map_err(|_| ReadImageError::Text { what, digest })?;
    let document = Document::parse(&blob.media_type, &text)
        .map_err(|source| ReadImageError::Record { digest, source })?;
    Ok((text, document))
}

/// Reads an index with its images that are there, also those of indexes in it.
///
/// # Errors
/// A document is damaged, or no index.
pub fn read_index(source: &dyn Source, blob: &BlobRef) -> Result<Index, ReadImageError> {
    let digest = blob.digest;
    let (text, document) = read_document(source, blob)?;
    let mut images = Vec::new();
    if let Document::Index(document) = &document {
        images_of(source, document, MAX_DEPTH - 1, &mut images)?;
    }
    Index::new(&blob.media_type, text, images).map_err(|source| ReadImageError::Record { digest, source })
}

fn images_of(
    source: &dyn Source,
    index: &IndexDocument,
    depth: usize,
    images: &mut Vec<Image>,
) -> Result<(), ReadImageError> {
    let here = |listed: &&Descriptor| source.has(&listed.blob().digest);
    for blob in index.manifests().iter().filter(here).map(Descriptor::blob) {
        if !is_index(&blob.media_type) && !is_manifest(&blob.media_type) {
            continue;
        }
        match read_document(source, blob)?.1 {
            Document::Index(nested) => {
                let depth = depth.checked_sub(1).ok_or(ReadImageError::Depth { digest: blob.digest })?;
                images_of(source, &nested, depth, images)?;
            }
            // A manifest alone is no image: some tools copy all of these and one platform's layers.
            Document::Manifest(manifest) if !source.has(&manifest.config().blob().digest) => {}
            Document::Manifest(manifest) if manifest.has_image_config() => {
                images.push(read_image(source, blob)?);
            }
            Document::Manifest(_) => {}
        }
    }
    Ok(())
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
