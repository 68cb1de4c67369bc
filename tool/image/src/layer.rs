//! A layer blob: the tar of a tree, compressed, with both digests taken on the way.

use std::io::{self, Write};

use ociseed_spec::document::VERSION;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Compression, DiffId, Hasher, media_type};
use ociseed_tree::{Bytes, ReadError, Tree, tar};

use crate::pipeline::{self, Hashed};

/// Says why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file cannot be read or changed meanwhile.
    #[error(transparent)]
    Content(#[from] ReadError),
    /// The compressor failed, or the blob cannot be written.
    #[error("cannot write")]
    Compress(#[source] io::Error),
}

/// Writes the layer blob of a tree to `out` and describes it; packages are the caller's to name.
///
/// `threads` is how many may compress at once; it never changes a byte. `progress` is told how many more bytes of the tar
/// are done, from any thread; where it fails, no more is done.
///
/// # Errors
/// A file of the tree cannot be read or is not what it was, `out` cannot be written, or `progress` failed.
pub fn write_layer(
    tree: &Tree,
    compression: Compression,
    threads: u32,
    progress: &(dyn Fn(u64) -> io::Result<()> + Sync),
    out: &mut dyn Write,
) -> Result<LayerMetadata, LayerError> {
    let form = tar::Form(tree);
    let Hashed { tar, blob } = match compression {
        _ if form.is_below(pipeline::SMALL as u64) => pipeline::small(tree, compression, progress, out)?,
        Compression::None => {
            // The blob is the tar: hashed once.
            let blob = pipeline::plain(&form, true, progress, out)?.expect("it was wanted");
            Hashed { tar: blob.clone(), blob }
        }
        Compression::Gzip(level) => pipeline::gzip(tree, level, threads, progress, out)?,
        Compression::Zstd(level) => pipeline::zstd(tree, level, threads, progress, out)?,
    };
    Ok(LayerMetadata {
        version: VERSION,
        media_type: layer_media_type(compression).to_owned(),
        size: blob.size(),
        digest: blob.finish(),
        uncompressed_size: tar.size(),
        diff_id: DiffId::new(tar.finish()),
        packages: Vec::new(),
    })
}

/// Writes bytes as they are to `out`, and returns their hash where it is wanted; reading, hashing and writing overlap.
///
/// `progress` is told how many more bytes are done, from any thread; where it fails, no more is done.
///
/// # Errors
/// As [`write_layer`].
pub fn write_bytes<B: Bytes>(
    source: &B,
    hashed: bool,
    progress: &(dyn Fn(u64) -> io::Result<()> + Sync),
    out: &mut dyn Write,
) -> Result<Option<Hasher>, LayerError> {
    pipeline::plain(source, hashed, progress, out)
}

fn layer_media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => media_type::LAYER_TAR,
        Compression::Gzip(_) => media_type::LAYER_TAR_GZIP,
        Compression::Zstd(_) => media_type::LAYER_TAR_ZSTD,
    }
}

/// Returns how the file name of such a layer blob ends.
pub fn file_suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::None => ".tar",
        Compression::Gzip(_) => ".tar.gz",
        Compression::Zstd(_) => ".tar.zst",
    }
}
