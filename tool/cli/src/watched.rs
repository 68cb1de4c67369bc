//! A layout or archive whose bytes are counted as they are read.

use std::io::{self, Read};
use std::sync::Arc;

use ociseed_spec::Digest;
use ociseed_store::{BlobError, IndexEntry, Place, Source, VerifiedReader};

use crate::progress::StepProgress;

/// Tells a bar of every byte of a blob.
pub(crate) struct Watched<'a> {
    source: &'a dyn Source,
    step: Arc<StepProgress>,
}

impl<'a> Watched<'a> {
    /// Adds all blobs of `source` to what a step works on.
    pub(crate) fn new(source: &'a dyn Source, step: &Arc<StepProgress>) -> Self {
        // What cannot be listed is reported by whoever reads it.
        let blobs = source.blobs().unwrap_or_default();
        step.expect_bytes(blobs.iter().map(|(_, size)| size).sum());
        Self { source, step: Arc::clone(step) }
    }
}

struct Counted<R> {
    inner: R,
    step: Arc<StepProgress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.step.advance(count as u64);
        Ok(count)
    }
}

impl Source for Watched<'_> {
    fn place(&self) -> &str {
        self.source.place()
    }

    fn index_text(&self) -> &[u8] {
        self.source.index_text()
    }

    fn find(&self, digest: &Digest) -> Option<Place> {
        self.source.find(digest)
    }

    fn has(&self, digest: &Digest) -> bool {
        self.source.has(digest)
    }

    fn index(&self) -> &[IndexEntry] {
        self.source.index()
    }

    fn blobs(&self) -> io::Result<Vec<(Digest, u64)>> {
        self.source.blobs()
    }

    fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<Box<dyn Read + '_>>, BlobError> {
        let step = Arc::clone(&self.step);
        let reader = self.source.open_blob(digest, size)?;
        Ok(reader.map(|inner| Box::new(Counted { inner, step }) as Box<dyn Read>))
    }

    fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.source.read_blob(digest, size, limit)
    }
}
