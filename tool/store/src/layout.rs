//! An OCI image layout in a directory (image specification, "Image Layout").

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{Dir, File};
use ociseed_spec::Digest;

use crate::index::{IndexEntry, IndexError, check_layout_file, parse_index};
use crate::verified::{BlobError, VerifiedReader, read_all};

/// An index of a hundred thousand images has this size; more is a mistake or an attack.
const MAX_INDEX: u64 = 64 << 20;

/// A layout that was opened and whose index was read.
#[derive(Debug)]
pub struct Layout {
    dir: Arc<Dir>,
    place: String,
    index: Vec<IndexEntry>,
    /// The exact text of `index.json`.
    #[cfg(feature = "builder")]
    index_text: Vec<u8>,
}

/// A blob's file, found but not read.
#[derive(Debug, Clone)]
pub struct BlobFile {
    /// The layout's directory.
    pub dir: Arc<Dir>,
    /// The file below it.
    pub path: PathBuf,
    /// Its size as the file system says.
    pub size: u64,
}

/// Says why a directory is no image layout.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file cannot be read.
    #[error("`{place}` is no OCI image layout: cannot read `{file}`")]
    Read {
        /// The layout, as it was named.
        place: String,
        /// `oci-layout`, `index.json` or, of a layout of which each file is given, a blob.
        file: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// One of its two files is wrong.
    #[error("`{place}` is no OCI image layout")]
    Index {
        /// The layout, as it was named.
        place: String,
        /// What is wrong.
        source: IndexError,
    },
}

impl Layout {
    /// Opens a layout; `place` names it in messages.
    ///
    /// # Errors
    /// `oci-layout` or `index.json` is missing or not valid.
    pub fn open(dir: Arc<Dir>, place: impl Into<String>) -> Result<Self, LayoutError> {
        let place = place.into();
        let read = |file: &'static str| {
            read_limited(&dir, file).map_err(|source| LayoutError::Read {
                place: place.clone(),
                file: file.to_owned(),
                source,
            })
        };
        let bad = |source| LayoutError::Index { place: place.clone(), source };
        check_layout_file(&read("oci-layout")?).map_err(bad)?;
        let index_text = read("index.json")?;
        let index = parse_index(&index_text).map_err(bad)?;
        Ok(Self {
            dir,
            place,
            index,
            #[cfg(feature = "builder")]
            index_text,
        })
    }

    /// Returns what the index lists.
    pub fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    #[cfg(feature = "builder")]
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    #[cfg(feature = "builder")]
    pub(crate) fn index_text(&self) -> &[u8] {
        &self.index_text
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Arc<Dir> {
        &self.dir
    }

    /// Lists the blobs that the layout has, sorted; files with other names are passed over.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn blobs(&self) -> io::Result<Vec<(Digest, u64)>> {
        let mut blobs = Vec::new();
        let entries = match self.dir.read_dir("blobs/sha256") {
            // A layout without images need not have the directory.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(blobs),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            if let Some(digest) = name.to_str().and_then(|hex| Digest::from_hex(hex).ok()) {
                blobs.push((digest, self.dir.metadata(blob_path(&digest))?.len()));
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    /// Finds a blob's file without reading it; whoever copies it must check the digest.
    ///
    /// # Errors
    /// There is no such blob.
    pub fn find_blob(&self, digest: &Digest) -> Result<BlobFile, BlobError> {
        let path = blob_path(digest);
        let metadata = self.dir.metadata(&path).map_err(|source| read_error(digest, &self.place, source))?;
        Ok(BlobFile { dir: Arc::clone(&self.dir), path, size: metadata.len() })
    }

    /// Opens a blob of `size` bytes.
    ///
    /// # Errors
    /// There is no such blob, or it has another size.
    pub fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<File>, BlobError> {
        open_blob(&self.dir, &blob_path(digest), digest, size, &self.place)
    }

    /// Reads a blob of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// As [`Layout::open_blob`]; other content than the digest says; larger than `limit`.
    pub fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        read_all(self.open_blob(digest, size)?, limit)
    }
}

/// Opens the file of a blob of `size` bytes; `place` names the layout in messages.
pub(crate) fn open_blob(
    dir: &Dir,
    path: &Path,
    digest: &Digest,
    size: u64,
    place: &str,
) -> Result<VerifiedReader<File>, BlobError> {
    let failed = |source| read_error(digest, place, source);
    let file = dir.open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?.len();
    if found != size {
        let (digest, place) = (*digest, place.to_owned());
        return Err(BlobError::Size { digest, place, expected: size, found });
    }
    Ok(VerifiedReader::new(file, *digest, size, place.to_owned()))
}

fn read_error(digest: &Digest, place: &str, source: io::Error) -> BlobError {
    let (digest, place) = (*digest, place.to_owned());
    match source.kind() {
        io::ErrorKind::NotFound => BlobError::Missing { digest, place },
        _ => BlobError::Read { digest, place, source },
    }
}

/// Returns where a blob lies in a layout.
fn blob_path(digest: &Digest) -> PathBuf {
    PathBuf::from(format!("blobs/sha256/{}", digest.hex()))
}

/// Reads one of the two files that make a directory a layout.
pub(crate) fn read_limited(dir: &Dir, name: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.open(name)?.take(MAX_INDEX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_INDEX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {MAX_INDEX} bytes")));
    }
    Ok(bytes)
}
