//! An OCI image layout in a tar (oci-archive), read in place; for the builder also what `docker save` wrote before 25.
//!
//! The headers are scanned once; after that blobs are read where they lie,
//! so an archive is never unpacked.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_spec::{Digest, Packing};

use crate::index::{IndexEntry, IndexError, check_layout_file, parse_index};
use crate::members::{At, Members, Range};
use crate::verified::{BlobError, VerifiedReader, read_all};

/// As for layouts in directories: `index.json` and `oci-layout` are read into memory.
const MAX_INDEX: u64 = 64 << 20;

/// An archive that was scanned and whose index was read.
#[derive(Debug)]
pub struct Archive {
    pub(crate) file: Arc<File>,
    pub(crate) place: String,
    pub(crate) blobs: BTreeMap<Digest, Range>,
    pub(crate) index: Vec<IndexEntry>,
    /// The exact text of `index.json`, or what would be it.
    #[cfg(feature = "builder")]
    pub(crate) index_text: Vec<u8>,
    /// Manifests that were made, since the archive has none.
    #[cfg(feature = "builder")]
    pub(crate) made: BTreeMap<Digest, Arc<[u8]>>,
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
    /// It is a directory, as layouts are.
    #[error("`{place}` is a directory: an OCI archive is a tar, a directory is a layout")]
    Directory {
        /// The archive, as it was named.
        place: String,
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
    /// It is not what `docker save` writes, although it has a `manifest.json`.
    #[cfg(feature = "builder")]
    #[error("`{place}` is no archive of `docker save`")]
    Docker {
        /// The archive, as it was named.
        place: String,
        /// What is wrong.
        source: crate::docker::DockerError,
    },
}

impl Archive {
    /// Scans an archive; `place` names it in messages.
    ///
    /// # Errors
    /// It is no whole tar, is compressed, or holds no image layout.
    pub fn open(file: File, place: impl Into<String>) -> Result<Self, ArchiveError> {
        let (file, place) = (Arc::new(file), place.into());
        match file.metadata() {
            Ok(metadata) if metadata.is_dir() => Err(ArchiveError::Directory { place }),
            Ok(metadata) => Self::scan(file, Range { offset: 0, size: metadata.len() }, place),
            Err(source) => Err(ArchiveError::Tar { place, source }),
        }
    }

    /// Scans archives that are files of a tar, as a preseed directory is when it is one.
    ///
    /// # Errors
    /// The tar is not whole, or one of its files that end with `.tar` is no archive.
    pub fn open_nested(file: File, place: &str) -> Result<Vec<(String, Self)>, ArchiveError> {
        let file = Arc::new(file);
        let bad = |source| ArchiveError::Tar { place: place.to_owned(), source };
        let whole = Range { offset: 0, size: file.metadata().map_err(bad)?.len() };
        let members = Members::scan(&file, whole).map_err(bad)?;
        let files = members.files().filter(|(path, _)| path.ends_with(b".tar"));
        let files: Vec<_> =
            files.map(|(path, range)| (String::from_utf8_lossy(path).into_owned(), range)).collect();
        let open = |(name, range): (String, Range)| {
            let archive = Self::scan(Arc::clone(&file), range, format!("{place}: {name}"))?;
            Ok((name, archive))
        };
        files.into_iter().map(open).collect()
    }

    fn scan(file: Arc<File>, whole: Range, place: String) -> Result<Self, ArchiveError> {
        let bad = |source| ArchiveError::Tar { place: place.clone(), source };
        match packing(&file, whole).map_err(bad)? {
            Packing::Plain => {}
            packing => return Err(ArchiveError::Compressed { place, with: packing.name() }),
        }
        let members = Members::scan(&file, whole).map_err(bad)?;
        #[cfg(feature = "builder")]
        if members.find(b"oci-layout").is_none() && members.find(b"manifest.json").is_some() {
            let docker = |source| ArchiveError::Docker { place: place.clone(), source };
            return crate::docker::open(&file, &members, &place).map_err(docker);
        }
        let read = |name: &'static str| match members.find(name.as_bytes()) {
            None => Err(ArchiveError::Missing { place: place.clone(), file: name }),
            Some(range) => range.read(&file, MAX_INDEX).map_err(bad),
        };
        let index_error = |source| ArchiveError::Index { place: place.clone(), source };
        check_layout_file(&read("oci-layout")?).map_err(index_error)?;
        let index_text = read("index.json")?;
        let index = parse_index(&index_text).map_err(index_error)?;
        Ok(Self {
            blobs: blobs(&members),
            index,
            #[cfg(feature = "builder")]
            index_text,
            #[cfg(feature = "builder")]
            made: BTreeMap::new(),
            file,
            place,
        })
    }

    /// Returns what the index lists.
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    /// Lists the blobs that the archive has, with their sizes.
    pub fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        let blobs = self.blobs.iter().map(|(digest, range)| (digest, range.size));
        #[cfg(feature = "builder")]
        let blobs = blobs.chain(self.made.iter().map(|(digest, bytes)| (digest, bytes.len() as u64)));
        blobs
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
        let Some((blob, found)) = self.blob(&digest) else {
            return Err(BlobError::Missing { digest, place });
        };
        if found != size {
            return Err(BlobError::Size { digest, place, expected: size, found });
        }
        Ok(VerifiedReader::new(blob, digest, size, place))
    }

    #[cfg(not(feature = "builder"))]
    fn blob(&self, digest: &Digest) -> Option<(impl Read + use<'_>, u64)> {
        self.blobs.get(digest).map(|range| (At::new(&self.file, *range), range.size))
    }

    #[cfg(feature = "builder")]
    fn blob(&self, digest: &Digest) -> Option<(impl Read + use<'_>, u64)> {
        let range = self.blobs.get(digest).copied().unwrap_or(Range { offset: 0, size: 0 });
        let made: &[u8] = match self.made.get(digest) {
            Some(bytes) => bytes,
            None if self.blobs.contains_key(digest) => &[],
            None => return None,
        };
        Some((made.chain(At::new(&self.file, range)), range.size + made.len() as u64))
    }

    /// Reads a blob of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// As [`Archive::open_blob`]; other content than the digest says; larger than `limit`.
    pub fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        read_all(self.open_blob(digest, size)?, limit)
    }
}

/// Finds the blobs among the files of an image layout.
fn blobs(members: &Members) -> BTreeMap<Digest, Range> {
    let digest = |path: &[u8]| {
        let hex = path.strip_prefix(b"blobs/sha256/").and_then(|hex| std::str::from_utf8(hex).ok())?;
        Digest::from_hex(hex).ok()
    };
    members.files().filter_map(|(path, range)| Some((digest(path)?, range))).collect()
}

/// Tells by its first bytes how a file is compressed.
pub(crate) fn packing(file: &File, whole: Range) -> io::Result<Packing> {
    let mut head = Vec::with_capacity(Packing::HEAD);
    At::new(file, whole).take(Packing::HEAD as u64).read_to_end(&mut head)?;
    Ok(Packing::of(&head))
}
