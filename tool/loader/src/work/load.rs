//! One image: what its namespace lacks of it is written, labelled and named by records.

use ociseed_containerd::{Code, ContentInfo, ImageRecord};
use ociseed_spec::Reference;
use ociseed_spec::records::{CRI_NAMESPACE, ContentRecord, missing_labels};

use super::Work;
use crate::collect::set;
use crate::content::{Put, Reading, check_source};
use crate::desired::{self, Change, touch};
use crate::failure::Failure;
use crate::report::{ImageReport, Outcome};
use crate::source::{Previous, Wanted};
use crate::talk::chain;

/// How often an image is looked at again of which something went meanwhile.
const ATTEMPTS: usize = 3;

impl Work<'_> {
    /// Brings one image to what it should be, or counts what that takes.
    pub(super) fn load(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<(), Failure> {
        // An engine that was slow may release the lease of a run that was ended, and collect, after we saw what it held.
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match self.load_once(image, report) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(Failure::Gone(error)) => reason = format!(": {error}"),
                Err(failure) => return Err(failure),
            }
            let actual = self.look_at(&image.namespace)?;
            self.actual.insert(image.namespace.clone(), actual);
        }
        Err(Failure::Image(format!("blobs or snapshots were deleted by others during the run{reason}")))
    }

    /// Returns whether all of it was there when its records were to be changed.
    fn load_once(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<bool, Failure> {
        let changes = self.changes(image, report);
        if changes.iter().all(|(_, change)| matches!(change, Change::Conflict(_))) {
            return Ok(true);
        }
        report.errors.extend(image.wrong.iter().cloned());
        for blob in &image.blobs {
            if let Some(reason) = self.lost.get(&blob.digest) {
                report.errors.push(reason.clone());
            }
            if let Some(copied) = self.replaced.get_mut(&blob.digest) {
                report.replaced.push(blob.digest);
                report.copied += std::mem::take(copied);
                report.raise(Outcome::Repaired);
            }
        }
        if !report.errors.is_empty() {
            return Ok(true);
        }
        let new = changes.iter().any(|(_, change)| change.is_new());
        let is_missing = |blob: &&ContentRecord| {
            let name = blob.digest.to_string();
            !self.has(&image.namespace, blob) && !self.need.brings("blob", &image.namespace, &name)
        };
        let missing: Vec<&ContentRecord> = image.blobs.iter().filter(is_missing).collect();
        if !missing.is_empty() || new {
            self.check_layers(image, &missing)?;
            check_manifest(image)?;
        }
        if new && !self.dry {
            self.hold(image)?;
        }
        let mended = self.mend(image, report)?;
        if !missing.is_empty() && !new {
            report.raise(Outcome::Repaired);
        }
        self.add_blobs(image, &missing, report)?;
        if !report.errors.is_empty() {
            return Ok(true);
        }
        self.label_blobs(image, report)?;
        self.add_snapshots(image, new, report)?;
        report.present = image.blobs.iter().map(|blob| blob.size).sum::<u64>().saturating_sub(report.copied);
        if (!missing.is_empty() || new) && !self.dry && !self.is_present(image)? {
            return Ok(false);
        }
        self.apply_all(image, changes, mended, report).map(|()| true)
    }

    /// Changes the image's records. Where none changes, but what they stand for did, CRI is told all the same: it looks at an image
    /// when its record changes, and had not found what was wrong.
    pub(super) fn apply_all(
        &mut self,
        image: &Wanted,
        changes: Vec<(String, Change)>,
        mended: bool,
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        if !self.dry && (mended || changes.iter().any(|(_, change)| *change != Change::Keep)) {
            self.step("records", image);
        }
        for (name, change) in changes {
            let change = match change {
                Change::Keep if mended && image.namespace == CRI_NAMESPACE => {
                    let record = self.actual[&image.namespace].records.get(&name);
                    record.map_or(Change::Keep, |record| touch(record, &image.owner))
                }
                other => other,
            };
            let (action, outcome) = match &change {
                Change::Keep | Change::Conflict(_) => continue,
                Change::Create(_) => ("create", Outcome::Added),
                Change::Label(_) | Change::Retarget(_) => ("update", Outcome::Updated),
            };
            match self.act(report, action, "record", &name) {
                true => self.apply(image, &name, change, report)?,
                false => report.raise(outcome),
            }
        }
        Ok(())
    }

    /// Decides about each record, and warns of conflicts.
    pub(super) fn changes(&self, image: &Wanted, report: &mut ImageReport) -> Vec<(String, Change)> {
        let records = &self.actual[&image.namespace].records;
        let decide = |name: &String| {
            let change = desired::change(name, image, records.get(name), self.options.take_over);
            if let Change::Conflict(digest) = &change {
                conflict(name, image, digest, report);
            }
            (name.clone(), change)
        };
        image.records.iter().map(decide).collect()
    }

    /// Writes what is missing. After the first failure the rest is only checked: the image gets no record, so
    /// the engine would throw away what was written.
    pub(super) fn write_blobs(
        &mut self,
        image: &Wanted,
        missing: &[&ContentRecord],
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        for blob in missing {
            // Of another image's that shares it, or by a link, it may be there by now.
            let name = blob.digest.to_string();
            if self.has(&image.namespace, blob) || self.need.brings("blob", &image.namespace, &name) {
                continue;
            }
            let is_counted = self.dry && !self.need.blobs.insert(blob.digest);
            if !self.act(report, "copy", "blob", &name) {
                report.copied += if is_counted { 0 } else { blob.size };
                self.count(if is_counted { 0 } else { blob.size }, 1);
                self.need.bring("blob", &image.namespace, &name);
                continue;
            }
            let result = if report.errors.is_empty() {
                self.write_blob(image, blob, report)
            } else {
                check_source(&image.store, &blob.digest, blob.size, &self.talk.notify)
            };
            match result {
                Err(Failure::Image(error)) => report.errors.push(error),
                other => other?,
            }
        }
        Ok(())
    }

    /// Writes one blob and reads it back.
    fn write_blob(
        &mut self,
        image: &Wanted,
        blob: &ContentRecord,
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        let namespace = &image.namespace;
        let (digest, size, labels) = (blob.digest, blob.size, &blob.labels);
        report.copied += self
            .content
            .write(&mut self.leases, Put { namespace, digest, size, labels, store: &image.store })?;
        let reading = self.content.read_back(namespace, &digest, size)?;
        let info = ContentInfo { digest: digest.to_string(), size, labels: labels.clone() };
        self.actual.get_mut(namespace).expect("looked at").content.insert(digest, info);
        let Reading::Wrong(reason) = reading else { return Ok(()) };
        // A file without a record lay in the store, and the engine took it for the blob.
        let text = format!("blob {digest} in the engine's store was wrong before it had a record: {reason}");
        report.warnings.push(text);
        self.heal(&[self.right_copy(blob)?], Vec::new())?;
        report.replaced.push(digest);
        // Other images that have the blob did not need it replaced.
        report.copied += self.replaced.remove(&digest).unwrap_or(0);
        match self.lost.get(&digest) {
            Some(reason) => Err(Failure::Image(reason.clone())),
            None => Ok(()),
        }
    }

    /// Adds labels that blobs lack.
    fn label_blobs(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<(), Failure> {
        for blob in &image.blobs {
            let digest = blob.digest.to_string();
            let Some(info) = self.actual[&image.namespace].content.get(&blob.digest) else { continue };
            let missing = missing_labels(&blob.labels, &info.labels);
            if missing.is_empty() {
                continue;
            }
            report.raise(Outcome::Updated);
            if self.act(report, "update", "blob", &digest) {
                self.leases.scope(&image.namespace)?.label_content(&digest, &missing)?;
                let content = &mut self.actual.get_mut(&image.namespace).expect("looked at").content;
                content.get_mut(&blob.digest).expect("present").labels.extend(missing);
            }
        }
        Ok(())
    }

    /// Checks that the source can bring an image: without layers' blobs the engine could not unpack what is added.
    pub(super) fn check_layers(&self, image: &Wanted, missing: &[&ContentRecord]) -> Result<(), Failure> {
        if image.layers.is_all() || self.can_link(image) {
            return Ok(());
        }
        let added = match missing.first() {
            Some(blob) => format!("blob {}", blob.digest),
            None => "a record of the image".to_owned(),
        };
        let reason = self.copies.as_deref().unwrap_or("nothing can be linked");
        let text = format!("the seed has no layers' blobs, and {added} would have to be added: {reason}");
        Err(Failure::Image(text))
    }

    /// Keeps what a name of ours stood for, where nobody can say whether a rollback needs it.
    fn keep_by_digest(&self, image: &Wanted, name: &str) -> Result<(), Failure> {
        let record = self.actual[&image.namespace].records.get(name);
        let Some(record) = record.filter(|_| matches!(self.source.previous, Previous::Unknown)) else {
            return Ok(());
        };
        let (Ok(own), Ok(digest)) = (name.parse::<Reference>(), record.target.digest.parse()) else {
            return Ok(());
        };
        let kept = ImageRecord { name: own.with_digest(&digest).to_string(), ..record.clone() };
        match self.client.scope(&image.namespace).create_image(&kept) {
            Err(error) if error.code() != Some(Code::AlreadyExists) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Makes sure that no collection took a blob or a snapshot before the lease held it.
    fn is_present(&self, image: &Wanted) -> Result<bool, Failure> {
        let scope = self.client.scope(&image.namespace);
        for blob in &image.blobs {
            if scope.content_info(&blob.digest.to_string())?.is_none() {
                return Ok(false);
            }
        }
        for chain in image.chains.iter().filter(|_| self.can_link(image)) {
            if scope.stat_snapshot(self.snapshotter(), &chain.to_string())?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Changes one record.
    fn apply(
        &mut self,
        image: &Wanted,
        name: &str,
        change: Change,
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        // Only labels and targets: what the record will refer to is under the lease, the record needs none.
        let scope = self.client.scope(&image.namespace);
        match change {
            Change::Keep | Change::Conflict(_) => {}
            Change::Label(record) => {
                scope.update_image(&record, false)?;
                report.raise(Outcome::Updated);
            }
            Change::Retarget(record) => {
                self.keep_by_digest(image, name)?;
                scope.update_image(&record, true)?;
                report.raise(Outcome::Updated);
                self.garbage = Some(image.namespace.clone());
            }
            Change::Create(record) => match scope.create_image(&record) {
                Ok(()) => report.raise(Outcome::Added),
                // Made by others meanwhile: decided again, with what is there now.
                Err(error) if error.code() == Some(Code::AlreadyExists) => {
                    let found = scope.list_images(vec![format!("name==\"{name}\"")])?;
                    let again = desired::change(name, image, found.first(), self.options.take_over);
                    match again {
                        Change::Create(_) => return Err(error.into()),
                        Change::Conflict(digest) => {
                            conflict(name, image, &digest, report);
                        }
                        other => return self.apply(image, name, other, report),
                    }
                }
                Err(error) => return Err(error.into()),
            },
        }
        Ok(())
    }
}

/// Says that a record is somebody else's.
fn conflict(name: &str, image: &Wanted, found: &str, report: &mut ImageReport) {
    let expected = image.target.digest;
    report.warnings.push(format!("`{name}` is not ours and stays: expected {expected}, found {found}"));
    report.raise(Outcome::Conflict);
}

/// Checks that the source's manifest names the blobs that are about to be labelled as its own. (An archive's index is not asked: its
/// blobs were taken from it a moment ago.)
fn check_manifest(image: &Wanted) -> Result<(), Failure> {
    let expected = set(image.blobs.iter().map(|blob| blob.digest).chain(image.absent.iter().copied()));
    let document = image.store.document(&image.target).map_err(|error| Failure::Image(chain(&error)))?;
    document.check_blobs(&image.target.digest, &expected).map_err(Failure::Image)
}
