//! What layouts and archives have in common, for code that takes either.

use std::io::{self, Read};
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_spec::Digest;

use crate::index::IndexEntry;
use crate::verified::{BlobError, VerifiedReader};
use crate::{Archive, BlobFile, Layout};

/// Where a blob's bytes are; whoever copies them must check the digest.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file of their own.
    File(BlobFile),
    /// A run of bytes of an open file.
    Range {
        /// The file.
        file: Arc<File>,
        /// How the file is called in messages.
        shown: String,
        /// Where the bytes start.
        offset: u64,
        /// How many there are.
        size: u64,
    },
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// An image layout, wherever it lies.
pub trait Source {
    /// Returns how it is called in messages.
    fn place(&self) -> &str;

    /// Returns the exact text of `index.json`, or what would be it.
    fn index_text(&self) -> &[u8];

    /// Finds a blob without reading it.
    fn find(&self, digest: &Digest) -> Option<Place>;

    /// Tells whether a blob is there.
    fn has(&self, digest: &Digest) -> bool {
        self.find(digest).is_some()
    }

    /// Returns what the index lists.
    fn index(&self) -> &[IndexEntry];

    /// Lists the blobs that are there, with their sizes.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn blobs(&self) -> io::Result<Vec<(Digest, u64)>>;

    /// Opens a blob of `size` bytes.
    ///
    /// # Errors
    /// There is no such blob, or it has another size.
    fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<Box<dyn Read + '_>>, BlobError>;

    /// Reads a blob of at most `limit` bytes into memory.
    ///
    /// # Errors
    /// As [`Source::open_blob`]; other content than the digest says; larger than `limit`.
    fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError>;
}

impl Source for Layout {
    fn place(&self) -> &str {
        self.place()
    }

    fn index_text(&self) -> &[u8] {
        self.index_text()
    }

    fn find(&self, digest: &Digest) -> Option<Place> {
        self.find_blob(digest).ok().map(Place::File)
    }

    fn index(&self) -> &[IndexEntry] {
        self.index()
    }

    fn blobs(&self) -> io::Result<Vec<(Digest, u64)>> {
        self.blobs()
    }

    fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<Box<dyn Read + '_>>, BlobError> {
        Ok(self.open_blob(digest, size)?.boxed())
    }

    fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.read_blob(digest, size, limit)
    }
}

impl Source for Archive {
    fn place(&self) -> &str {
        &self.place
    }

    fn index_text(&self) -> &[u8] {
        &self.index_text
    }

    fn find(&self, digest: &Digest) -> Option<Place> {
        if let Some(bytes) = self.made.get(digest) {
            return Some(Place::Bytes(Arc::clone(bytes)));
        }
        let range = self.blobs.get(digest)?;
        let (file, shown) = (Arc::clone(&self.file), self.place.clone());
        Some(Place::Range { file, shown, offset: range.offset, size: range.size })
    }

    fn index(&self) -> &[IndexEntry] {
        self.index()
    }

    fn blobs(&self) -> io::Result<Vec<(Digest, u64)>> {
        Ok(self.blobs().map(|(digest, size)| (*digest, size)).collect())
    }

    fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<Box<dyn Read + '_>>, BlobError> {
        Ok(self.open_blob(digest, size)?.boxed())
    }

    fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.read_blob(digest, size, limit)
    }
}
