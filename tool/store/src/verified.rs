//! The reader that every blob goes through.

use std::io::{self, Read};

use ociseed_spec::{Digest, Hasher};

/// Says why a blob is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("blob {digest} is not in {place}")]
    Missing {
        /// The blob.
        digest: Digest,
        /// The layout or archive.
        place: String,
    },
    /// It cannot be opened or read.
    #[error("cannot read blob {digest} in {place}")]
    Read {
        /// The blob.
        digest: Digest,
        /// The layout or archive.
        place: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// It has another size than it should.
    #[error("blob {digest} in {place}: expected {expected} bytes, found {found}")]
    Size {
        /// The blob.
        digest: Digest,
        /// The layout or archive.
        place: String,
        /// What its descriptor says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// It has other content than its digest says.
    #[error("blob {digest} in {place}: expected this digest, found {found} with {size} bytes")]
    Digest {
        /// The blob.
        digest: Digest,
        /// The layout or archive.
        place: String,
        /// The digest of what is there.
        found: Digest,
        /// How many bytes are there.
        size: u64,
    },
    /// It is larger than the caller takes into memory.
    #[error("blob {digest} has {size} bytes, at most {limit} are read into memory")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// Reads a blob; the read that meets its end fails unless size and digest are right.
///
/// A caller that stops before the end has verified nothing. The error is an
/// [`io::Error`] of kind `InvalidData` that holds a [`BlobError`].
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
    place: String,
}

impl<R: Read> VerifiedReader<R> {
    /// Reads `inner`, which should have `size` bytes with `digest`; `place` names it in messages.
    pub fn new(inner: R, digest: Digest, size: u64, place: String) -> Self {
        Self { inner, hasher: Some(Hasher::new()), digest, size, place }
    }

    /// Puts something between the bytes and the check, as a counter of them.
    #[cfg(feature = "builder")]
    pub fn map<S: Read>(self, wrap: impl FnOnce(R) -> S) -> VerifiedReader<S> {
        let Self { inner, hasher, digest, size, place } = self;
        VerifiedReader { inner: wrap(inner), hasher, digest, size, place }
    }

    /// Forgets what kind of reader is inside.
    #[cfg(feature = "builder")]
    pub fn boxed<'a>(self) -> VerifiedReader<Box<dyn Read + 'a>>
    where
        R: 'a,
    {
        self.map(|inner| Box::new(inner) as Box<dyn Read + 'a>)
    }

    /// Checks what was read when the end is met or passed.
    fn check(&self, hasher: Hasher, at_end: bool) -> Result<(), BlobError> {
        let (digest, place, found) = (self.digest, self.place.clone(), hasher.size());
        if found != self.size {
            // Past the end the rest is not read: it could be endless.
            let found = if at_end { found } else { found.max(self.size + 1) };
            return Err(BlobError::Size { digest, place, expected: self.size, found });
        }
        match hasher.finish() {
            same if same == digest => Ok(()),
            other => Err(BlobError::Digest { digest, place, found: other, size: found }),
        }
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(0);
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        hasher.update(&buffer[..count]);
        if count == 0 || hasher.size() > self.size {
            let hasher = self.hasher.take().expect("present until the end");
            let checked = self.check(hasher, count == 0);
            checked.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
        Ok(count)
    }
}

/// Reads a whole blob into memory.
///
/// # Errors
/// It cannot be read, has other content than its digest says, or more than `limit` bytes.
pub fn read_all<R: Read>(mut reader: VerifiedReader<R>, limit: u64) -> Result<Vec<u8>, BlobError> {
    let (digest, size, place) = (reader.digest, reader.size, reader.place.clone());
    if size > limit {
        return Err(BlobError::TooLarge { digest, size, limit });
    }
    let mut bytes = Vec::new();
    match reader.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.get_ref().is_some_and(|inner| inner.is::<BlobError>()) => {
            let inner = error.into_inner().expect("just seen");
            Err(*inner.downcast().expect("just seen"))
        }
        Err(source) => Err(BlobError::Read { digest, place, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], digest_of: &[u8], size: u64) -> Result<Vec<u8>, BlobError> {
        read_all(VerifiedReader::new(bytes, Digest::of(digest_of), size, "a test".to_owned()), 100)
    }

    #[test]
    fn only_the_promised_bytes_come_through() {
        assert_eq!(read(b"abc", b"abc", 3).ok(), Some(b"abc".to_vec()));
        assert_eq!(read(b"", b"", 0).ok(), Some(Vec::new()));
        assert!(matches!(read(b"abd", b"abc", 3), Err(BlobError::Digest { .. })));
        assert!(matches!(read(b"ab", b"abc", 3), Err(BlobError::Size { found: 2, .. })));
        assert!(matches!(read(b"abcd", b"abc", 3), Err(BlobError::Size { found: 4, .. })));
        assert!(matches!(read(b"abc", b"abc", 101), Err(BlobError::TooLarge { .. })));
    }

    #[test]
    fn an_endless_blob_ends_in_an_error() {
        let endless = VerifiedReader::new(io::repeat(0), Digest::of(b""), 10, "a test".to_owned());
        assert!(matches!(read_all(endless, 100), Err(BlobError::Size { expected: 10, .. })));
    }
}
