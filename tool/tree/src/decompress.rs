//! From a compressed file back to what was compressed.
//!
//! The file's own first bytes decide, not its name or media type: images in
//! the field claim the wrong one, and engines look at the bytes too.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::{LzmaReader, XzReader};

use crate::part::fill;

/// As many first bytes as tell the forms apart.
pub(crate) const HEAD: usize = 13;

/// The most memory for xz and lzma in KiB: `xz -9` needs 65 MiB, more than `--lzma2=dict=192MiB` nobody uses.
const MAX_LZMA_KIB: u32 = 256 * 1024;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Lzma,
    Bzip2,
}

impl Form {
    /// Tells the form from the first [`HEAD`] bytes, or all where there are fewer.
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A frame, or one that decoders skip.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', b'&', b'S', b'Y', ..] => Self::Bzip2,
            // No block, only the end: nothing was compressed.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x17, b'r', b'E', b'8', b'P', 0x90, ..] => Self::Bzip2,
            head if is_lzma(head) => Self::Lzma,
            _ => Self::Plain,
        }
    }
}

/// Tells whether these can be the first bytes of lzma, which has no mark of its own, as `file` and xz do it.
fn is_lzma(head: &[u8]) -> bool {
    let Some((props, rest)) = head.split_first() else { return false };
    let (Some(dictionary), Some(size)) = (rest.first_chunk(), rest.get(4..).and_then(<[u8]>::first_chunk))
    else {
        return false;
    };
    let (dictionary, size) = (u32::from_le_bytes(*dictionary), u64::from_le_bytes(*size));
    // Every encoder takes 2^n or 2^n + 2^(n-1).
    let usual =
        dictionary.count_ones() == 1 || dictionary.count_ones() == 2 && dictionary & dictionary >> 1 != 0;
    *props < 9 * 5 * 5 && dictionary >= 4096 && usual && (size == u64::MAX || size < 1 << 38)
}

/// Reads what is in a file: gzip with any number of members, zstd with any number of frames, xz, lzma, bzip2 or plain.
///
/// # Errors
/// The file cannot be read, or its compression is broken; also later, while it is read.
pub fn decompress<'a>(mut file: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = [0; HEAD];
    let count = fill(&mut file, &mut head)?;
    let form = Form::of(&head[..count]);
    let file = Cursor::new(head).take(count as u64).chain(file);
    if form == Form::Plain {
        return Ok(Box::new(file));
    }
    let file = BufReader::with_capacity(128 * 1024, file);
    Ok(match form {
        Form::Plain | Form::Gzip => Box::new(Gzip(Some(GzDecoder::new(file)))),
        Form::Zstd => Box::new(zstd::Decoder::with_buffer(file)?),
        Form::Xz => Box::new(XzReader::new_mem_limit(file, true, MAX_LZMA_KIB)),
        Form::Lzma => Box::new(Lzma(Some(LzmaReader::new_mem_limit(file, MAX_LZMA_KIB, None)?))),
        Form::Bzip2 => Box::new(MultiBzDecoder::new(file)),
    })
}

fn garbage(form: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("trailing garbage behind the {form} data"))
}

/// Members one after the other.
///
/// As for gzip(1), zeros behind the last one are padding, and anything else is an error.
struct Gzip<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(member) = self.0.take() else { break };
            self.0 = next_member(member.into_inner())?;
        }
        Ok(0)
    }
}

fn next_member<R: BufRead>(mut rest: R) -> io::Result<Option<GzDecoder<R>>> {
    let mut padding = false;
    loop {
        let bytes = rest.fill_buf()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        padding |= zeros > 0;
        match bytes.get(zeros) {
            None if bytes.is_empty() => return Ok(None),
            None => rest.consume(zeros),
            Some(0x1f) if !padding => return Ok(Some(GzDecoder::new(rest))),
            Some(_) => return Err(garbage("gzip")),
        }
    }
}

/// One stream: the form knows no more.
struct Lzma<R: Read>(Option<LzmaReader<R>>);

impl<R: Read> Read for Lzma<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.0 else { return Ok(0) };
        let count = stream.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        let Some(stream) = self.0.take() else { return Ok(0) };
        let (mut rest, unused) = stream.into_parts();
        match unused.is_empty() && fill(&mut rest, &mut [0])? == 0 {
            true => Ok(0),
            false => Err(garbage("lzma")),
        }
    }
}
