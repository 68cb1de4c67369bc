//! From a compressed file back to what was compressed.
//!
//! The file's own first bytes decide, not its name or media type.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use lzma_rust2::{LzmaReader, XzReader};
use ociseed_spec::Packing;

use crate::part::fill;

/// The most memory for xz and lzma in KiB: `xz -9` needs 65 MiB, more than `--lzma2=dict=192MiB` nobody uses.
const MAX_LZMA_KIB: u32 = 256 * 1024;

/// Reads what is in a file: gzip with any number of members, zstd with any number of frames, xz, lzma, bzip2 or plain.
///
/// # Errors
/// The file cannot be read, or its compression is broken; also later, while it is read.
pub fn decompress<'a>(mut file: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = [0; Packing::HEAD];
    let count = fill(&mut file, &mut head)?;
    let packing = Packing::of(&head[..count]);
    let file = Cursor::new(head).take(count as u64).chain(file);
    if packing == Packing::Plain {
        return Ok(Box::new(file));
    }
    let file = BufReader::with_capacity(128 * 1024, file);
    Ok(match packing {
        Packing::Plain | Packing::Gzip => Box::new(Gzip(Some(GzDecoder::new(file)))),
        Packing::Zstd => Box::new(zstd::Decoder::with_buffer(file)?),
        Packing::Xz => Box::new(XzReader::new_mem_limit(file, true, MAX_LZMA_KIB)),
        Packing::Lzma => Box::new(Lzma(Some(LzmaReader::new_mem_limit(file, MAX_LZMA_KIB, None)?))),
        Packing::Bzip2 => Box::new(MultiBzDecoder::new(file)),
    })
}

fn garbage(packing: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("trailing garbage behind the {packing} data"))
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
