//! Copying a blob into the content store, in pieces, so that no blob is in memory as a whole.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;

use crate::client::Scope;
use crate::content::ContentWriter;
use crate::{Code, Error};

/// How much of a blob is in memory at a time; the engine takes messages of up to 16 MiB.
const PIECE: usize = 256 << 10;

/// How often, and after which pause, giving an ingest up is tried again: for less than a second together, which
/// leaves time for the rest within the 2 s that a service has to end.
const ABORTS: u32 = 40;
const ABORT_PAUSE: Duration = Duration::from_millis(20);

/// A blob that a namespace is to have.
#[derive(Debug, Clone, Copy)]
pub struct NewBlob<'a> {
    /// The name of the ingest by which it comes.
    pub ingest: &'a str,
    /// Its digest.
    pub digest: &'a str,
    /// Its size.
    pub size: u64,
    /// The labels of its record.
    pub labels: &'a BTreeMap<String, String>,
}

/// Says why a blob was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Its bytes cannot be had.
    #[error("cannot read it")]
    Source(#[source] io::Error),
    /// The engine says no.
    #[error(transparent)]
    Engine(#[from] Error),
}

impl Scope<'_> {
    /// Brings a blob into this namespace; returns how many bytes were sent, none where the store had it for another
    /// namespace or somebody else was quicker.
    ///
    /// What `open` returns must fail before its end where its bytes are not those of the digest. An ingest that is not
    /// committed stays, for [`Scope::give_up_ingest`].
    ///
    /// # Errors
    /// The bytes cannot be read, or the engine says no.
    pub fn copy_content<'r>(
        &self,
        blob: NewBlob<'_>,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + 'r>>,
    ) -> Result<u64, CopyError> {
        let mut writer = match self.write_content(blob.ingest, blob.digest, blob.size) {
            Err(error) if error.code() == Some(Code::AlreadyExists) => {
                self.label_content(blob.digest, blob.labels)?;
                return Ok(0);
            }
            other => other?,
        };
        // All there before the first byte: the store has a file for another namespace.
        let shared = blob.size > 0 && writer.offset() == blob.size;
        let copied = if shared { 0 } else { stream(&mut writer, &mut *open().map_err(CopyError::Source)?)? };
        match writer.commit(blob.labels.clone()) {
            Err(error) if error.code() != Some(Code::AlreadyExists) => Err(error.into()),
            _ => Ok(copied),
        }
    }

    /// Gives an ingest up, also while the engine is still closing the file of a writer that is gone: it fails until then.
    ///
    /// # Errors
    /// The engine goes on saying no.
    pub fn give_up_ingest(&self, name: &str) -> Result<(), Error> {
        let mut attempts = 0;
        loop {
            match self.abort_ingest(name) {
                Ok(_) => return Ok(()),
                Err(error) if error.is_fatal() || attempts == ABORTS => return Err(error),
                Err(_) => attempts += 1,
            }
            std::thread::sleep(ABORT_PAUSE);
        }
    }
}

/// Sends a blob's bytes.
fn stream(writer: &mut ContentWriter<'_>, blob: &mut dyn Read) -> Result<u64, CopyError> {
    let mut copied = 0;
    loop {
        let piece = next_piece(blob).map_err(CopyError::Source)?;
        if piece.is_empty() {
            return Ok(copied);
        }
        copied += piece.len() as u64;
        writer.write(piece)?;
    }
}

/// Reads the next 256 KiB, fewer only at the end.
///
/// # Errors
/// Those of the reader.
pub fn next_piece(blob: &mut dyn Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    blob.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}
