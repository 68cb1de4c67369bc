//! Blobs in the engine's store: reading them back, writing them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use ociseed_containerd::{Client, Code, CopyError, Error, NewBlob, Scope, next_piece};
use ociseed_spec::{Digest, Hasher};

use crate::failure::Failure;
use crate::leases::Leases;
use crate::notify::Notify;
use crate::source::Store;
use crate::talk::chain;

/// What reading a blob back showed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Its bytes are those of its digest.
    Right,
    /// They are not, for this reason.
    Wrong(String),
}

/// A blob to be written to a namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put<'a> {
    /// The namespace.
    pub(crate) namespace: &'a str,
    /// The blob.
    pub(crate) digest: Digest,
    /// Its size.
    pub(crate) size: u64,
    /// The labels of its record.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// Where its bytes are.
    pub(crate) store: &'a Store,
}

/// The blobs of the engine as far as this run has looked at them.
#[derive(Debug)]
pub(crate) struct Content<'c> {
    client: &'c Client,
    /// Blobs that were read back and are right, whichever namespace asks.
    right: BTreeSet<Digest>,
    /// The ingest that is being written.
    open: Option<(String, String)>,
}

impl<'c> Content<'c> {
    /// Begins with nothing looked at.
    pub(crate) fn new(client: &'c Client) -> Self {
        Self { client, right: BTreeSet::new(), open: None }
    }

    /// Forgets that a blob is right: its file is about to go.
    pub(crate) fn forget(&mut self, digest: &Digest) {
        self.right.remove(digest);
    }

    /// Tells whether anything was found right by reading it back.
    pub(crate) fn has_read(&self) -> bool {
        !self.right.is_empty()
    }

    /// Reads a blob back and hashes it, unless that was done before.
    ///
    /// # Errors
    /// The engine cannot say.
    pub(crate) fn read_back(
        &mut self,
        namespace: &str,
        digest: &Digest,
        size: u64,
    ) -> Result<Reading, Failure> {
        if self.right.contains(digest) {
            return Ok(Reading::Right);
        }
        let mut hasher = Hasher::new();
        let read = self.client.scope(namespace).read_content(&digest.to_string(), |bytes| {
            hasher.update(bytes);
            hasher.size() <= size
        });
        let wrong = |text: String| Ok(Reading::Wrong(text));
        match read {
            Ok(false) => return wrong("its file is not there".to_owned()),
            Ok(true) => {}
            Err(error) if is_damage(&error) => return wrong(format!("it cannot be read: {}", chain(&error))),
            Err(error) => return Err(error.into()),
        }
        let found_size = hasher.size();
        let found = hasher.finish();
        if found_size != size {
            return wrong(format!("expected {size} bytes, found {found_size}"));
        }
        if found != *digest {
            return wrong(format!("expected this digest, found {found}"));
        }
        self.right.insert(*digest);
        Ok(Reading::Right)
    }

    /// Writes a blob that the namespace has no record of; returns how many bytes that took. Reading back is the caller's.
    ///
    /// # Errors
    /// The source's copy is damaged, or the engine says no. The ingest is gone then, if the engine still answers.
    pub(crate) fn write(&mut self, leases: &mut Leases<'c>, put: Put<'_>) -> Result<u64, Failure> {
        let scope = leases.scope(put.namespace)?;
        let name = format!("{}-{}", leases.run(), put.digest);
        self.open = Some((put.namespace.to_owned(), name.clone()));
        let written = Self::write_ingest(&scope, &name, put);
        if let Err(Failure::Image(_) | Failure::Gone(_)) = &written {
            self.abort()?;
        }
        if written.is_ok() {
            self.open = None;
        }
        written
    }

    fn write_ingest(scope: &Scope<'_>, name: &str, put: Put<'_>) -> Result<u64, Failure> {
        let digest = put.digest.to_string();
        let blob = NewBlob { ingest: name, digest: &digest, size: put.size, labels: put.labels };
        let mut open = || put.store.open(&put.digest, put.size).map_err(io::Error::other);
        match scope.copy_content(blob, &mut open) {
            Ok(copied) => Ok(copied),
            Err(CopyError::Source(error)) => Err(source_failure(error)),
            Err(CopyError::Engine(error)) => Err(error.into()),
        }
    }

    /// Gives up the ingest that was being written, if any.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn abort(&mut self) -> Result<(), Failure> {
        match self.open.take() {
            Some((namespace, name)) => abort_ingest(&self.client.scope(&namespace), &name),
            None => Ok(()),
        }
    }
}

/// Gives an ingest up, also while the engine is still closing the file of a writer that is gone.
///
/// # Errors
/// The engine goes on saying no.
pub(crate) fn abort_ingest(scope: &Scope<'_>, name: &str) -> Result<(), Failure> {
    Ok(scope.give_up_ingest(name)?)
}

/// Tells a blob that cannot be read from an engine that does not want to.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Status { code: Code::OutOfRange | Code::DataLoss, .. } => true,
        Error::Status { message, .. } => {
            message.contains("input/output error") || message.contains("unexpected EOF")
        }
        _ => false,
    }
}

/// Reads a blob of the source to its end, to learn whether it is right.
///
/// # Errors
/// It is not, or cannot be read.
pub(crate) fn check_source(
    store: &Store,
    digest: &Digest,
    size: u64,
    notify: &Notify,
) -> Result<(), Failure> {
    let mut blob = store.open(digest, size).map_err(|error| Failure::Image(chain(&error)))?;
    while !next_piece(&mut blob).map_err(source_failure)?.is_empty() {
        notify.alive();
    }
    Ok(())
}

fn source_failure(error: io::Error) -> Failure {
    Failure::Image(chain(&error))
}
