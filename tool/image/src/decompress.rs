//! From a layer blob back to its tar.
//!
//! The blob's own first bytes decide, not its media type: images in the field
//! claim the wrong one, and engines look at the bytes too.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// Reads the tar of a layer blob: gzip with any number of members, zstd with any number of frames, or plain.
///
/// # Errors
/// The blob cannot be read, or its compression is broken; also later, while it is read.
pub fn decompress<'a>(blob: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut blob = BufReader::with_capacity(128 * 1024, blob);
    Ok(match blob.fill_buf()? {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(blob)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(blob)?),
        _ => Box::new(blob),
    })
}
