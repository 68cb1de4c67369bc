//! An OCI image layout in a tar (oci-archive), read in place.
//!
//! The headers are scanned once; after that blobs are read where they lie,
//! so an archive is never unpacked.

use std::collections::BTreeMap;
use std::fs::File as StdFile;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_spec::Digest;

use crate::index::{IndexEntry, IndexError, check_layout_file, parse_index};
use crate::verified::{BlobError, VerifiedReader, read_all};

/// As for layouts in directories: `index.json` and `oci-layout` are read into memory.
const MAX_INDEX: u64 = 64 << 20;

/// An archive that was scanned and whose index was read.
#[derive(Debug)]
pub struct Archive {
    file: Arc<StdFile>,
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
        let (file, place) = (Arc::new(file.into_std()), place.into());
        let whole = file.metadata().map(|metadata| Range { offset: 0, size: metadata.len() });
        match whole {
            Ok(whole) => Self::scan(file, whole, place),
            Err(source) => Err(ArchiveError::Tar { place, source }),
        }
    }

    /// Scans archives that are files of a tar, as a preseed directory is when it is one.
    ///
    /// # Errors
    /// The tar is not whole, or one of its files that end with `.tar` is no archive.
    pub fn open_nested(file: File, place: &str) -> Result<Vec<(String, Self)>, ArchiveError> {
        let file = Arc::new(file.into_std());
        let bad = |source| ArchiveError::Tar { place: place.to_owned(), source };
        let whole = Range { offset: 0, size: file.metadata().map_err(bad)?.len() };
        let mut files = Vec::new();
        for_each_file(&file, whole, |path, range| {
            if path.ends_with(b".tar") {
                files.push((String::from_utf8_lossy(path).into_owned(), range));
            }
        })
        .map_err(bad)?;
        let open = |(name, range): (String, Range)| {
            let archive = Self::scan(Arc::clone(&file), range, format!("{place}: {name}"))?;
            Ok((name, archive))
        };
        files.into_iter().map(open).collect()
    }

    fn scan(file: Arc<StdFile>, whole: Range, place: String) -> Result<Self, ArchiveError> {
        let bad = |source| ArchiveError::Tar { place: place.clone(), source };
        if let Some(with) = compression(&file, whole).map_err(bad)? {
            return Err(ArchiveError::Compressed { place, with });
        }
        let scanned = scan(&file, whole).map_err(bad)?;
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
        Ok(VerifiedReader::new(At { file: &self.file, range: *range, position: 0 }, digest, size, place))
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

fn scan(file: &StdFile, whole: Range) -> io::Result<Scanned> {
    let mut scanned = Scanned::default();
    for_each_file(file, whole, |path, range| match path {
        b"oci-layout" => scanned.layout = Some(range),
        b"index.json" => scanned.index = Some(range),
        _ => {
            let hex = path.strip_prefix(b"blobs/sha256/").and_then(|hex| std::str::from_utf8(hex).ok());
            if let Some(digest) = hex.and_then(|hex| Digest::from_hex(hex).ok()) {
                scanned.blobs.insert(digest, range);
            }
        }
    })?;
    Ok(scanned)
}

/// Walks the regular files of a tar that lies in a range of a file.
fn for_each_file(file: &StdFile, whole: Range, mut each: impl FnMut(&[u8], Range)) -> io::Result<()> {
    let mut archive = tar::Archive::new(At { file, range: whole, position: 0 });
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let range = Range { offset: entry.raw_file_position(), size: entry.size() };
        // Seeking past the end of a file succeeds, so a cut entry must be seen here.
        if range.offset.checked_add(range.size).is_none_or(|end| end > whole.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if entry.header().entry_type().is_file() {
            let path = entry.path_bytes();
            let path = path.strip_prefix(b"./").unwrap_or(&path);
            each(path, Range { offset: whole.offset + range.offset, size: range.size });
        }
    }
    Ok(())
}

/// Tells by its first bytes whether a file is compressed.
fn compression(file: &StdFile, whole: Range) -> io::Result<Option<&'static str>> {
    let mut magic = Vec::new();
    At { file, range: whole, position: 0 }.take(4).read_to_end(&mut magic)?;
    Ok(match magic[..] {
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
    At { file, range, position: 0 }.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a range of a file without moving a position that others share.
#[derive(Debug)]
struct At<'a> {
    file: &'a StdFile,
    range: Range,
    /// Within the range.
    position: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.size.saturating_sub(self.position);
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..want], self.range.offset + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.range.size.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
