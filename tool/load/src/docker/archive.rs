//! The archive that Docker loads: a docker-archive that is an image layout as well, made while it is sent.
//!
//! The manifest and the index come last, so that an archive which is cut off because a blob is damaged names no image.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use ociseed_containerd::next_piece;
use ociseed_spec::annotation::{CONTAINERD_NAME, REF_NAME};
use ociseed_spec::lock::{LockedImage, LockedLayer};
use ociseed_spec::{Digest, chain, json};
use ociseed_store::Layout;
use serde_json::{Value, json};

use crate::seed::Documents;

/// The size of a tar's blocks.
const BLOCK: u64 = 512;

/// A file of the archive.
enum Member {
    Bytes(String, Vec<u8>),
    Blob(Digest, u64),
}

/// A request's body: an archive, or nothing.
pub(super) struct Upload {
    members: VecDeque<Member>,
    layout: Option<Arc<Layout>>,
    /// What comes before the next member: the rest of this one, and zeros to the end of its block.
    current: Option<Box<dyn Read + Send>>,
    /// Whether the end was sent, or nothing has one.
    ended: bool,
    progress: Arc<Progress>,
}

/// How far an upload is, for whoever gave it away.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    failure: OnceLock<String>,
}

impl Progress {
    /// Returns how many bytes were handed on.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Returns why the archive ends before its end, if so.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }
}

impl Upload {
    /// Makes a body of nothing.
    pub(super) fn empty() -> Self {
        Self { members: VecDeque::new(), layout: None, current: None, ended: true, progress: Arc::default() }
    }

    /// Makes an archive of an image with these of its layers.
    pub(super) fn new(
        layout: &Arc<Layout>,
        image: &LockedImage,
        documents: &Documents,
        layers: &[&LockedLayer],
    ) -> Self {
        let mut members = VecDeque::new();
        let mut blobs = BTreeSet::new();
        let mut known = |digest: &Digest, bytes: &[u8]| {
            if blobs.insert(*digest) {
                members.push_back(Member::Bytes(place(digest), bytes.to_vec()));
            }
        };
        known(&image.config.digest, &documents.config);
        known(&image.manifest.digest, &documents.manifest);
        for layer in layers {
            if blobs.insert(layer.digest) {
                members.push_back(Member::Blob(layer.digest, layer.size));
            }
        }
        let file = |name: &str, value: &Value| Member::Bytes(name.to_owned(), json::encode(value));
        members.push_back(file("index.json", &index(image)));
        members.push_back(file("manifest.json", &manifest(image)));
        members.push_back(file("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" })));
        let progress = Arc::default();
        Self { members, layout: Some(Arc::clone(layout)), current: None, ended: false, progress }
    }

    /// Returns where its progress is seen.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Returns the next piece of the archive.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(current) = &mut self.current {
                let piece = next_piece(current)?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                self.current = None;
            }
            match self.members.pop_front() {
                Some(member) => self.current = Some(self.open(member)?),
                None if self.ended => return Ok(None),
                None => {
                    self.ended = true;
                    self.current = Some(Box::new(io::repeat(0).take(2 * BLOCK)));
                }
            }
        }
    }

    /// Opens a member with its header and its padding.
    fn open(&self, member: Member) -> io::Result<Box<dyn Read + Send>> {
        let (name, size, content): (_, _, Box<dyn Read + Send>) = match member {
            Member::Bytes(name, bytes) => (name, bytes.len() as u64, Box::new(io::Cursor::new(bytes))),
            Member::Blob(digest, size) => {
                let layout = self.layout.as_ref().expect("an archive with blobs has one");
                let blob = layout.open_blob(&digest, size).map_err(io::Error::other)?;
                (place(&digest), size, Box::new(blob))
            }
        };
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        let header = io::Cursor::new(*header.as_bytes());
        let padding = io::repeat(0).take(size.next_multiple_of(BLOCK) - size);
        Ok(Box::new(header.chain(content).chain(padding)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = self.next();
        Poll::Ready(match next {
            Ok(None) => None,
            Ok(Some(piece)) => {
                self.progress.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Some(Ok(Frame::data(piece)))
            }
            Err(error) => {
                // The connection ends with it, and what the daemon makes of that is of no use to anybody.
                let _ = self.progress.failure.set(chain(&error));
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.current.is_none() && self.members.is_empty()
    }
}

/// Where a blob lies in an image layout.
fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// What the containerd image store reads.
fn index(image: &LockedImage) -> Value {
    let manifest = &image.manifest;
    let entry = |name: &ociseed_spec::Reference| {
        json!({
            "annotations": { CONTAINERD_NAME: name, REF_NAME: name },
            "digest": manifest.digest,
            "mediaType": manifest.media_type,
            "size": manifest.size,
        })
    };
    let manifests: Vec<_> = image.names.iter().map(entry).collect();
    json!({ "manifests": manifests, "mediaType": "application/vnd.oci.image.index.v1+json", "schemaVersion": 2 })
}

/// What Docker reads with graph drivers.
fn manifest(image: &LockedImage) -> Value {
    let layers: Vec<_> = image.layers.iter().map(|layer| place(&layer.digest)).collect();
    json!([{ "Config": place(&image.config.digest), "Layers": layers, "RepoTags": image.names }])
}
