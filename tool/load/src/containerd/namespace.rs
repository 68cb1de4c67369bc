//! One image in one namespace: looked at without a change, and if something is missing, brought under a lease.

use std::collections::BTreeMap;
use std::io;

use ociseed_containerd::{
    Client, Code, CopyError, EXPIRE_LABEL, ImageRecord, Lease, NewBlob, Resource, Scope, Target, time,
};
use ociseed_spec::chain;
use ociseed_spec::lock::{BlobRef, LayerBlobs, LockedImage};
use ociseed_spec::records::{ContentRecord, content_records, missing_labels, snapshot_label};

use super::{HURRY, SNAPSHOTTER};
use crate::failure::Failure;
use crate::report::{ImageReport, Outcome};
use crate::seed::Seed;

/// Ends a lease that nobody released.
const LIFE: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// A namespace to which images are brought.
pub(super) struct InNamespace<'a> {
    pub(super) client: &'a Client,
    pub(super) seed: &'a Seed,
    /// Calls in it, under the lease once there is one.
    pub(super) scope: Scope<'a>,
    /// The lease, and what is being written.
    pub(super) run: String,
    /// Whether layers are unpacked.
    unpacks: bool,
}

/// What a namespace has of an image.
struct Found {
    /// Blobs that it lacks.
    blobs: Vec<ContentRecord>,
    /// Labels that blobs lack which are there.
    labels: Vec<(String, BTreeMap<String, String>)>,
    /// Whether the layers are unpacked, as far as they are to be.
    unpacked: bool,
    /// The names that do not stand for it, with whether they stand for something else.
    names: Vec<(String, bool)>,
}

impl Found {
    fn is_all(&self) -> bool {
        self.has_image() && self.names.is_empty()
    }

    fn has_image(&self) -> bool {
        self.blobs.is_empty() && self.labels.is_empty() && self.unpacked
    }
}

impl<'a> InNamespace<'a> {
    /// Begins with nothing looked at.
    pub(super) fn new(client: &'a Client, seed: &'a Seed, namespace: &str, unpacks: bool) -> Self {
        let run = format!("ociseed-load-{:x}", time::nanoseconds());
        Self { client, seed, scope: client.scope(namespace), run, unpacks }
    }

    /// Brings an image, by all its names.
    pub(super) fn bring(mut self, image: &LockedImage, report: &mut ImageReport) -> Result<(), Failure> {
        let blobs = self.records(image);
        if self.look(image, &blobs)?.is_all() {
            return Ok(());
        }
        self.client.create_namespace(self.scope.namespace())?;
        let labels = BTreeMap::from([(EXPIRE_LABEL.to_owned(), time::from_now(LIFE))]);
        self.scope.create_lease(&Lease { id: self.run.clone(), labels })?;
        let plain = self.scope.clone();
        self.scope = plain.under_lease(&self.run);
        let result = self.bring_under_lease(image, &blobs, report);
        if let Err(failure) = &result {
            self.client.ignore_stop();
            if matches!(failure, Failure::Stop(_)) {
                self.client.set_limits(HURRY, HURRY);
            }
        }
        // With the lease goes, at the next collection, all that nothing else holds.
        let released = plain.delete_lease(&self.run, result.is_err());
        result.and_then(|()| released.map(drop).map_err(Failure::from))
    }

    fn bring_under_lease(
        &self,
        image: &LockedImage,
        blobs: &[ContentRecord],
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        // First what is there is held, then looked at again: from now on it stays.
        for blob in blobs {
            self.hold("content", &blob.digest.to_string())?;
        }
        for layer in image.layers.iter().filter(|_| self.unpacks) {
            self.hold(&format!("snapshots/{SNAPSHOTTER}"), &layer.chain_id.to_string())?;
        }
        let found = self.look(image, blobs)?;
        report.outcome = if found.has_image() { Outcome::Tagged } else { Outcome::Loaded };
        if !found.has_image() {
            self.seed.documents(image)?;
        }
        for blob in &found.blobs {
            let sent = self.write(blob)?;
            report.bytes_sent += sent;
            let is_layer = image.layers.iter().any(|layer| layer.digest == blob.digest);
            report.layers_sent += usize::from(is_layer && sent > 0);
        }
        for (digest, labels) in &found.labels {
            self.scope.label_content(digest, labels)?;
        }
        if self.unpacks {
            self.unpack(image)?;
        }
        for (name, is_other) in &found.names {
            self.name(name, *is_other, image)?;
        }
        let missing = self.look(image, blobs)?;
        match missing.names.first() {
            None if missing.is_all() => Ok(()),
            None => Err(Failure::image("others removed parts of it meanwhile")),
            Some((name, _)) => Err(Failure::image(format!("`{name}` does not stand for it afterwards"))),
        }
    }

    /// The records of the image's blobs, each after those that it refers to.
    fn records(&self, image: &LockedImage) -> Vec<ContentRecord> {
        let mut blobs = content_records(image, LayerBlobs::All);
        let config = blobs.iter_mut().find(|blob| blob.digest == image.config.digest);
        if let (true, Some(top), Some(config)) = (self.unpacks, image.layers.last(), config) {
            config.labels.insert(snapshot_label(SNAPSHOTTER), top.chain_id.to_string());
        }
        blobs
    }

    /// Looks at what the namespace has, and changes nothing.
    fn look(&self, image: &LockedImage, blobs: &[ContentRecord]) -> Result<Found, Failure> {
        let filters = image.names.iter().map(|name| format!("name==\"{name}\"")).collect();
        let records = self.scope.list_images(filters)?;
        let mut found = Found { blobs: Vec::new(), labels: Vec::new(), unpacked: true, names: Vec::new() };
        for name in image.names.iter().map(ToString::to_string) {
            let record = records.iter().find(|record| record.name == name);
            let is_right = |record: &&ImageRecord| record.target.digest == image.manifest.digest.to_string();
            if record.filter(is_right).is_none() {
                found.names.push((name, record.is_some()));
            }
        }
        for blob in blobs {
            let digest = blob.digest.to_string();
            match self.scope.content_info(&digest)? {
                None => found.blobs.push(blob.clone()),
                Some(info) => {
                    let labels = missing_labels(&blob.labels, &info.labels);
                    if !labels.is_empty() {
                        found.labels.push((digest, labels));
                    }
                }
            }
        }
        if let (true, Some(top)) = (self.unpacks, image.layers.last()) {
            found.unpacked = self.is_unpacked(&top.chain_id)?;
        }
        Ok(found)
    }

    fn hold(&self, kind: &str, id: &str) -> Result<(), Failure> {
        let resource = Resource { kind: kind.to_owned(), id: id.to_owned() };
        Ok(self.scope.add_resource(&self.run, &resource)?)
    }

    /// Writes one blob; an ingest that does not become one goes.
    fn write(&self, blob: &ContentRecord) -> Result<u64, Failure> {
        let (digest, ingest) = (blob.digest.to_string(), format!("{}-{}", self.run, blob.digest));
        let new = NewBlob { ingest: &ingest, digest: &digest, size: blob.size, labels: &blob.labels };
        let layout = &self.seed.layout;
        let mut open = || -> io::Result<Box<dyn io::Read>> {
            Ok(Box::new(layout.open_blob(&blob.digest, blob.size).map_err(io::Error::other)?))
        };
        let failure = match self.scope.copy_content(new, &mut open) {
            Ok(sent) => return Ok(sent),
            Err(CopyError::Source(error)) => Failure::image(chain(&error)),
            Err(CopyError::Engine(error)) => error.into(),
        };
        self.client.ignore_stop();
        // What went wrong first is what counts.
        drop(self.scope.give_up_ingest(&ingest));
        Err(failure)
    }

    /// Makes a name stand for the image.
    fn name(&self, name: &str, is_other: bool, image: &LockedImage) -> Result<(), Failure> {
        let record =
            ImageRecord { name: name.to_owned(), target: target(&image.manifest), labels: BTreeMap::new() };
        if !is_other {
            match self.scope.create_image(&record) {
                Err(error) if error.code() == Some(Code::AlreadyExists) => {}
                made => return Ok(made?),
            }
        }
        Ok(self.scope.update_image(&record, true)?)
    }
}

/// Says what a record stands for, or what is unpacked.
pub(super) fn target(blob: &BlobRef) -> Target {
    Target { media_type: blob.media_type.clone(), digest: blob.digest.to_string(), size: blob.size }
}
