//! A layer blob: the tar of a tree, compressed, with both digests taken on the way.

use std::io::{self, Write};

use ociseed_spec::document::VERSION;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Compression, DiffId, Hasher, media_type};
use ociseed_tree::{ReadError, Tree, tar};

/// Says why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A file cannot be read or changed meanwhile, or the blob cannot be written.
    #[error(transparent)]
    Content(#[from] ReadError),
    /// The compressor failed, or what is behind it.
    #[error("cannot write")]
    Compress(#[source] io::Error),
}

/// Writes the layer blob of a tree to `out` and describes it.
///
/// `threads` is how many may compress at once; it never changes a byte.
///
/// # Errors
/// A file of the tree cannot be read or is not what it was, or `out` cannot be written.
pub fn write_layer(
    tree: &Tree,
    compression: Compression,
    threads: u32,
    out: &mut dyn Write,
) -> Result<LayerMetadata, LayerError> {
    let mut blob = Hashing::new(out);
    let diff = match compression {
        Compression::None => {
            let mut tar = Hashing::new(&mut blob);
            tar::write(tree, &mut tar)?;
            tar.hasher
        }
        Compression::Zstd(level) => {
            let mut encoder = zstd::Encoder::new(&mut blob, level).map_err(LayerError::Compress)?;
            encoder.include_checksum(true).map_err(LayerError::Compress)?;
            // Zero workers would be another code path of libzstd with other bytes; one and more agree.
            encoder.multithread(threads.max(1)).map_err(LayerError::Compress)?;
            let mut tar = Hashing::new(encoder);
            tar::write(tree, &mut tar)?;
            tar.out.finish().map_err(LayerError::Compress)?;
            tar.hasher
        }
    };
    let (media_type, uncompressed_size) = (layer_media_type(compression).to_owned(), diff.size());
    let (size, digest) = (blob.hasher.size(), blob.hasher.finish());
    let diff_id = DiffId::new(diff.finish());
    Ok(LayerMetadata { version: VERSION, media_type, digest, size, diff_id, uncompressed_size })
}

fn layer_media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::None => media_type::LAYER_TAR,
        Compression::Zstd(_) => media_type::LAYER_TAR_ZSTD,
    }
}

/// Returns how the file name of such a layer blob ends.
pub fn file_suffix(compression: Compression) -> &'static str {
    match compression {
        Compression::None => ".tar",
        Compression::Zstd(_) => ".tar.zst",
    }
}

/// Hashes everything that is written through it.
struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W> Hashing<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new() }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
