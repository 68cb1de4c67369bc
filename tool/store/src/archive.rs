//! An OCI image layout in a tar (oci-archive), read in place.
//!
//! The headers are scanned once; after that blobs are read where they lie,
//! so an archive is never unpacked.

use std::collections::BTreeMap;
use std::fs::File as StdFile;
use std::io::{self, Read, Take};
use std::os::unix::fs::FileExt;

use cap_std::fs::File;
use ociseed_spec::Digest;

use crate::index::{IndexEntry, IndexError, check_layout_file, parse_index};
use crate::verified::{BlobError, VerifiedReader, read_all};

/// As for layouts in directories: `index.json` and `oci-layout` are read into memory.
const MAX_INDEX: u64 = 64 << 20;

/// An archive that was scanned and whose index was read.
#[derive(Debug)]
pub struct Archive {
    file: StdFile,
    place: String,
    blobs: BTreeMap<Digest, Range>,
    index: Vec<IndexEntry>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    offset: u64,
    size: u64,
}

/// Says why a file is no OCI archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read, ends early, or is no tar.
    #[error("`{place}` is no whole tar")]
    Tar {
        /// The archive, as it was named.
        place: String,
        /// What is wrong.
        source: io::Error,
    },
    /// It is compressed as a whole; archives are plain tars.
    #[error("`{place}` is compressed with {with}: an OCI archive is a plain tar")]
    Compressed {
        /// The archive, as it was named.
        place: String,
        /// The compression.
        with: &'static str,
    },
    /// It is a tar without `oci-layout` or `index.json`.
    #[error("`{place}` is no OCI archive: it has no `{file}`")]
    Missing {
        /// The archive, as it was named.
        place: String,
        /// The file that is not there.
        file: &'static str,
    },
    /// One of its two files is wrong.
    #[error("`{place}` is no OCI archive")]
    Index {
        /// The archive, as it was named.
        place: String,
        /// What is wrong.
        source: IndexError,
    },
}

impl Archive {
    /// Scans an archive; `place` names it in messages.
    ///
    /// # Errors
    /// It is no whole tar, is compressed, or holds no image layout.
    pub fn open(file: File, place: impl Into<String>) -> Result<Self, ArchiveError> {
        let (file, place) = (file.into_std(), place.into());
        let bad = |source| ArchiveError::Tar { place: place.clone(), source };
        if let Some(with) = compression(&file).map_err(bad)? {
            return Err(ArchiveError::Compressed { place, with });
        }
        let scanned = scan(&file).map_err(bad)?;
        let read = |range: Option<Range>, name: &'static str| match range {
            None => Err(ArchiveError::Missing { place: place.clone(), file: name }),
            Some(range) => read_range(&file, range).map_err(bad),
        };
        let index_error = |source| ArchiveError::Index { place: place.clone(), source };
        check_layout_file(&read(scanned.layout, "oci-layout")?).map_err(index_error)?;
        let index = parse_index(&read(scanned.index, "index.json")?).map_err(index_error)?;
        Ok(Self { file, place, blobs: scanned.blobs, index })
    }

    /// Returns what the index lists.
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// Lists the blobs that the archive has, with the sizes of their entries.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.blobs.iter().map(|(digest, range)| (digest, range.size))
    }

    /// Opens a blob of `size` bytes.
    ///
    /// # Errors
    /// There is no such blob, or it has another size.
    pub fn open_blob(
        &self,
        digest: &Digest,
        size: u64,
    ) -> Result<VerifiedReader<impl Read + use<'_>>, BlobError> {
        let (digest, place) = (*digest, self.place.clone());
        let Some(range) = self.blobs.get(&digest) else {
            return Err(BlobError::Missing { digest, place });
        };
        if range.size != size {
            return Err(BlobError::Size { digest, place, expected: size, found: range.size });
        }
        Ok(VerifiedReader::new(reader(&self.file, *range), digest, size, place))
    }

    /// Reads a blob of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// As [`Archive::open_blob`]; other content than the digest says; larger than `limit`.
    pub fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        read_all(self.open_blob(digest, size)?, limit)
    }
}

#[derive(Default)]
struct Scanned {
    blobs: BTreeMap<Digest, Range>,
    layout: Option<Range>,
    index: Option<Range>,
}

fn scan(file: &StdFile) -> io::Result<Scanned> {
    let length = file.metadata()?.len();
    let mut scanned = Scanned::default();
    let mut archive = tar::Archive::new(file);
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let range = Range { offset: entry.raw_file_position(), size: entry.size() };
        // Seeking past the end of a file succeeds, so a cut entry must be seen here.
        if range.offset.checked_add(range.size).is_none_or(|end| end > length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path_bytes();
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        match path {
            b"oci-layout" => scanned.layout = Some(range),
            b"index.json" => scanned.index = Some(range),
            _ => {
                let hex = path.strip_prefix(b"blobs/sha256/").and_then(|hex| std::str::from_utf8(hex).ok());
                if let Some(digest) = hex.and_then(|hex| Digest::from_hex(hex).ok()) {
                    scanned.blobs.insert(digest, range);
                }
            }
        }
    }
    Ok(scanned)
}

/// Tells by its first bytes whether a file is compressed.
fn compression(file: &StdFile) -> io::Result<Option<&'static str>> {
    let mut magic = [0; 4];
    let count = file.read_at(&mut magic, 0)?;
    Ok(match &magic[..count] {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    })
}

fn read_range(file: &StdFile, range: Range) -> io::Result<Vec<u8>> {
    if range.size > MAX_INDEX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("index larger than {MAX_INDEX} bytes"),
        ));
    }
    let mut bytes = Vec::new();
    reader(file, range).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn reader(file: &StdFile, range: Range) -> Take<At<'_>> {
    At { file, offset: range.offset }.take(range.size)
}

/// Reads a file from an offset without moving a shared position.
#[derive(Debug)]
struct At<'a> {
    file: &'a StdFile,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
