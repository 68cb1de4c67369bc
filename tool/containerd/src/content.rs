//! The content service: blobs by digest, and the ingests by which they come.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::call::Call;
use crate::client::Scope;
use crate::wire::{
    AbortRequest, ByDigest, Empty, FieldMask, Filters, Info, InfoResponse, ListContentResponse,
    ListStatusesResponse, ReadContentRequest, ReadContentResponse, UpdateContentRequest, WriteAction,
    WriteContentRequest, WriteContentResponse,
};
use crate::{Code, Error};

const INFO: &str = "containerd.services.content.v1.Content/Info";
const LIST: &str = "containerd.services.content.v1.Content/List";
const READ: &str = "containerd.services.content.v1.Content/Read";
const WRITE: &str = "containerd.services.content.v1.Content/Write";
const UPDATE: &str = "containerd.services.content.v1.Content/Update";
const DELETE: &str = "containerd.services.content.v1.Content/Delete";
const ABORT: &str = "containerd.services.content.v1.Content/Abort";
const LIST_STATUSES: &str = "containerd.services.content.v1.Content/ListStatuses";

/// What a namespace records of a blob; the file behind it may be another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInfo {
    /// The blob's digest.
    pub digest: String,
    /// Its size when it was committed.
    pub size: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What came of asking the engine to take a file of its store for a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// The namespace has a record of the blob now.
    Adopted,
    /// It had one before, whose labels are as they were.
    AlreadyThere,
    /// The engine wants the bytes, in its words: no such file is there, one of another size, or nothing is shared.
    Refused(String),
}

impl From<Info> for ContentInfo {
    fn from(info: Info) -> Self {
        Self { digest: info.digest, size: u64::try_from(info.size).unwrap_or(0), labels: info.labels }
    }
}

impl<'c> Scope<'c> {
    /// Looks a blob's record up.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn content_info(&self, digest: &str) -> Result<Option<ContentInfo>, Error> {
        let request = ByDigest { digest: digest.to_owned() };
        let answer: Option<InfoResponse> = found(self.unary(INFO, self.client.limit(), &request))?;
        Ok(answer.and_then(|answer| answer.info).map(ContentInfo::from))
    }

    /// Hands each record that one of `filters` picks to `each`; none picks all.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_content(&self, filters: Vec<String>, mut each: impl FnMut(ContentInfo)) -> Result<(), Error> {
        let limit = self.client.limit();
        let mut call = self.call(LIST, None)?;
        call.send(&Filters { filters }, true, limit)?;
        while let Some(ListContentResponse { info }) = call.receive(limit)? {
            info.into_iter().for_each(|info| each(info.into()));
        }
        Ok(())
    }

    /// Hands a blob's bytes to `each`, unverified, until it returns false; returns whether there is such a blob.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_content(&self, digest: &str, mut each: impl FnMut(&[u8]) -> bool) -> Result<bool, Error> {
        let limit = self.client.limit();
        let mut call = self.call(READ, None)?;
        call.send(&ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 }, true, limit)?;
        while let Some(ReadContentResponse { data, .. }) = match found(call.receive(limit))? {
            Some(message) => message,
            None => return Ok(false),
        } {
            self.client.count(|tally| tally.read += data.len() as u64);
            if !each(&data) {
                break;
            }
        }
        Ok(true)
    }

    /// Opens the ingest `name` for a blob of that digest and size.
    ///
    /// # Errors
    /// `AlreadyExists` when the namespace has a record of the blob (or the store a file of another size);
    /// `Unavailable` while another writer holds the ingest. Else see [`Error`].
    pub fn write_content(&self, name: &str, digest: &str, size: u64) -> Result<ContentWriter<'c>, Error> {
        let mut writer = self.writer(name, digest, size)?;
        writer.offset = writer.exchange(WriteAction::Stat, Bytes::new(), BTreeMap::new())?;
        Ok(writer)
    }

    /// Records a blob whose file somebody put into the engine's store, without sending a byte; `name` is the ingest's.
    ///
    /// **The engine reads nothing of the file.** It compares the size, of what a symlink leads to, and believes the
    /// rest: whoever put it there vouches for its bytes. Until this returns, any garbage collection that removes
    /// something may remove the file too, as one that nobody knows.
    ///
    /// An empty blob is never refused: where no file is, or a symlink to nowhere, the engine makes one. A file with
    /// bytes in it stays as it is, and reads as an empty blob.
    ///
    /// An ingest of that name is given up when the engine refuses.
    ///
    /// # Errors
    /// `Unavailable` instead of a refusal while a writer holds the ingest; else see [`Error`].
    pub fn adopt_content(
        &self,
        name: &str,
        digest: &str,
        size: u64,
        labels: &BTreeMap<String, String>,
    ) -> Result<Adopted, Error> {
        let mut writer = self.writer(name, digest, size)?;
        // For the engine an ingest of a blob that it can share is complete from the start.
        writer.offset = size;
        match writer.commit(labels.clone()) {
            Ok(()) => Ok(Adopted::Adopted),
            Err(Error::Status { code: Code::AlreadyExists, .. }) => Ok(Adopted::AlreadyThere),
            Err(Error::Status { code: Code::OutOfRange | Code::FailedPrecondition, message, .. }) => {
                // It was opened before the engine looked at what it is to hold.
                self.abort_ingest(name)?;
                Ok(Adopted::Refused(message))
            }
            Err(error) => Err(error),
        }
    }

    fn writer(&self, name: &str, digest: &str, size: u64) -> Result<ContentWriter<'c>, Error> {
        let call = self.call(WRITE, None)?;
        Ok(ContentWriter { call, name: name.to_owned(), digest: digest.to_owned(), size, offset: 0 })
    }

    /// Sets these labels of a blob's record and leaves the others; an empty value removes one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn label_content(&self, digest: &str, labels: &BTreeMap<String, String>) -> Result<(), Error> {
        // A mask that names nothing is none, and without one the engine removes all labels.
        if labels.is_empty() {
            return Ok(());
        }
        let info = Info { digest: digest.to_owned(), size: 0, labels: labels.clone() };
        let update_mask = Some(FieldMask { paths: label_paths(labels) });
        let request = UpdateContentRequest { info: Some(info), update_mask };
        self.unary::<_, InfoResponse>(UPDATE, self.client.limit(), &request).map(drop)
    }

    /// Deletes a blob's record in this namespace; returns whether there was one. The file goes at a later collection.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn delete_content(&self, digest: &str) -> Result<bool, Error> {
        let request = ByDigest { digest: digest.to_owned() };
        Ok(found(self.unary::<_, Empty>(DELETE, self.client.limit(), &request))?.is_some())
    }

    /// Gives an ingest up; returns whether there was one.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn abort_ingest(&self, name: &str) -> Result<bool, Error> {
        let request = AbortRequest { name: name.to_owned() };
        Ok(found(self.unary::<_, Empty>(ABORT, self.client.limit(), &request))?.is_some())
    }

    /// Lists the namespace's ingests by name.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_ingests(&self) -> Result<Vec<String>, Error> {
        let request = Filters { filters: Vec::new() };
        let answer: ListStatusesResponse = self.unary(LIST_STATUSES, self.client.limit(), &request)?;
        Ok(answer.statuses.into_iter().map(|ingest| ingest.name).collect())
    }
}

/// Makes "not found" an answer.
pub(crate) fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some(Code::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Field mask paths that name single labels.
pub(crate) fn label_paths(labels: &BTreeMap<String, String>) -> Vec<String> {
    labels.keys().map(|key| format!("labels.{key}")).collect()
}

/// A blob on its way into the store; dropped before its commit it leaves its ingest behind.
pub struct ContentWriter<'c> {
    call: Call<'c>,
    name: String,
    digest: String,
    size: u64,
    offset: u64,
}

impl std::fmt::Debug for ContentWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, digest, size, offset, .. } = self;
        write!(f, "ContentWriter {{ {name}, {digest}, {offset} of {size} }}")
    }
}

impl ContentWriter<'_> {
    /// Returns how many bytes the engine has: all of them when its store already holds the blob for another namespace.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Sends the next bytes and waits until the engine has them.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&mut self, data: Bytes) -> Result<(), Error> {
        let length = data.len() as u64;
        let expected = self.offset + length;
        let found = self.exchange(WriteAction::Write, data, BTreeMap::new())?;
        self.call.client().count(|tally| tally.sent += length);
        if found != expected {
            let reason = format!("the engine has {found} bytes of `{}`, expected {expected}", self.name);
            return Err(Error::Protocol { method: WRITE, reason });
        }
        self.offset = found;
        Ok(())
    }

    /// Makes the ingest a blob with these labels.
    ///
    /// # Errors
    /// `AlreadyExists` when somebody else was quicker; else see [`Error`].
    pub fn commit(mut self, labels: BTreeMap<String, String>) -> Result<(), Error> {
        self.exchange(WriteAction::Commit, Bytes::new(), labels).map(drop)
    }

    /// Sends one message and returns the offset of the answer.
    fn exchange(
        &mut self,
        action: WriteAction,
        data: Bytes,
        labels: BTreeMap<String, String>,
    ) -> Result<u64, Error> {
        let client = self.call.client();
        let (limit, slow) = (client.limit(), client.slow_limit());
        let commit = action == WriteAction::Commit;
        let request = WriteContentRequest {
            action: action.into(),
            name: self.name.clone(),
            total: signed(self.size),
            expected: self.digest.clone(),
            // Offset 0 in a commit would truncate what is there.
            offset: signed(self.offset),
            data,
            labels,
        };
        self.call.send(&request, commit, limit)?;
        let ended = || Error::Protocol { method: WRITE, reason: "it ended without an answer".to_owned() };
        let answer: WriteContentResponse =
            self.call.receive(if commit { slow } else { limit })?.ok_or_else(ended)?;
        // Only the status behind the answer says that a commit is done.
        while commit && self.call.receive::<WriteContentResponse>(limit)?.is_some() {}
        Ok(u64::try_from(answer.offset).unwrap_or(0))
    }
}

pub(crate) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
