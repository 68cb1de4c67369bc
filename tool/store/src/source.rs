//! What layouts and archives have in common, for code that takes either.

use std::io::{self, Read};

use ociseed_spec::Digest;

use crate::index::IndexEntry;
use crate::verified::{BlobError, VerifiedReader};
use crate::{Archive, Layout};

/// An image layout, wherever it lies.
pub trait Source {
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
