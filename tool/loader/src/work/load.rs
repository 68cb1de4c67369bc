//! One image: what its namespace lacks of it is written, labelled and named by records.

use ociseed_containerd::{Code, ContentInfo, Resource};
use ociseed_spec::Digest;
use ociseed_spec::records::ContentRecord;

use super::{Work, list_content};
use crate::collect::set;
use crate::content::{Put, Reading, check_source};
use crate::desired::{Change, change, missing_labels, record_names};
use crate::failure::Failure;
use crate::manifest::{self, Document};
use crate::report::{ImageReport, Outcome};
use crate::source::Wanted;
use crate::talk::chain;

impl Work<'_> {
    /// Brings one image to what it should be.
    pub(super) fn load(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<(), Failure> {
        let changes = self.changes(image, report);
        if changes.iter().all(|(_, change)| matches!(change, Change::Conflict(_))) {
            return Ok(());
        }
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
        let new = changes.iter().any(|(_, change)| change.is_new());
        let missing: Vec<&ContentRecord> =
            image.blobs.iter().filter(|blob| !self.has(&image.namespace, blob)).collect();
        if !report.errors.is_empty() {
            return Ok(());
        }
        if !missing.is_empty() || new {
            check_layers(image, &missing)?;
            check_manifest(image)?;
        }
        if !missing.is_empty() && !new {
            report.raise(Outcome::Repaired);
        }
        self.write_blobs(image, &missing, report)?;
        if !report.errors.is_empty() {
            return Ok(());
        }
        self.label_blobs(image, new, report)?;
        report.present = image.blobs.iter().map(|blob| blob.size).sum::<u64>().saturating_sub(report.copied);
        if !missing.is_empty() || new {
            self.check_present(image)?;
        }
        for (name, change) in changes {
            self.apply(image, &name, change, report)?;
        }
        Ok(())
    }

    /// Decides about each record, and warns of conflicts.
    fn changes(&self, image: &Wanted, report: &mut ImageReport) -> Vec<(String, Change)> {
        let records = &self.actual[&image.namespace].records;
        let names = record_names(image).into_iter();
        let decide = |name: String| {
            let change = change(&name, image, &self.source.owner, records.get(&name), self.take_over);
            if let Change::Conflict(digest) = &change {
                self.conflict(&name, image, digest);
                report.raise(Outcome::Conflict);
            }
            (name, change)
        };
        names.map(decide).collect()
    }

    fn conflict(&self, name: &str, image: &Wanted, found: &str) {
        let (namespace, expected) = (&image.namespace, image.target.digest);
        let text =
            format!("`{name}` in `{namespace}` is not ours and stays: expected {expected}, found {found}");
        self.talk.warning(&text);
    }

    /// Writes what is missing. After the first failure the rest is only checked: the image gets no record, so
    /// the engine would throw away what was written.
    fn write_blobs(
        &mut self,
        image: &Wanted,
        missing: &[&ContentRecord],
        report: &mut ImageReport,
    ) -> Result<(), Failure> {
        for blob in missing {
            let result = if report.errors.is_empty() {
                self.write_blob(image, blob, report)
            } else {
                check_source(&image.store, &blob.digest, blob.size)
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
        self.talk.warning(&format!(
            "blob {digest} in the engine's store was wrong before it had a record: {reason}"
        ));
        self.heal(&[self.right_copy(blob)?], Vec::new())?;
        report.replaced.push(digest);
        // Other images that have the blob did not need it replaced.
        report.copied += self.replaced.remove(&digest).unwrap_or(0);
        match self.lost.get(&digest) {
            Some(reason) => Err(Failure::Image(reason.clone())),
            None => Ok(()),
        }
    }

    /// Adds labels that blobs lack, and lets the lease hold blobs that no record of ours refers to yet.
    fn label_blobs(&mut self, image: &Wanted, new: bool, report: &mut ImageReport) -> Result<(), Failure> {
        for blob in &image.blobs {
            let digest = blob.digest.to_string();
            let missing =
                missing_labels(&blob.labels, &self.actual[&image.namespace].content[&blob.digest].labels);
            if missing.is_empty() && !new {
                continue;
            }
            let scope = self.leases.scope(&image.namespace)?;
            if new {
                scope.add_resource(
                    self.leases.run(),
                    &Resource { kind: "content".to_owned(), id: digest.clone() },
                )?;
            }
            if !missing.is_empty() {
                scope.label_content(&digest, &missing)?;
                report.raise(Outcome::Updated);
                let content = &mut self.actual.get_mut(&image.namespace).expect("looked at").content;
                content.get_mut(&blob.digest).expect("present").labels.extend(missing);
            }
        }
        Ok(())
    }

    /// Makes sure that no collection took a blob before the lease held it.
    fn check_present(&self, image: &Wanted) -> Result<(), Failure> {
        let scope = self.client.scope(&image.namespace);
        let present = list_content(&scope, image.blobs.iter().map(|blob| blob.digest))?;
        match image.blobs.iter().find(|blob| !present.contains_key(&blob.digest)) {
            None => Ok(()),
            Some(blob) => {
                Err(Failure::Image(format!("blob {} was deleted by others during the run", blob.digest)))
            }
        }
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
                scope.update_image(&record, true)?;
                report.raise(Outcome::Updated);
            }
            Change::Create(record) => match scope.create_image(&record) {
                Ok(()) => report.raise(Outcome::Added),
                // Made by others meanwhile: decided again, with what is there now.
                Err(error) if error.code() == Some(Code::AlreadyExists) => {
                    let found = scope.list_images(vec![format!("name==\"{name}\"")])?;
                    let again = crate::desired::change(
                        name,
                        image,
                        &self.source.owner,
                        found.first(),
                        self.take_over,
                    );
                    match again {
                        Change::Create(_) => return Err(error.into()),
                        Change::Conflict(digest) => {
                            self.conflict(name, image, &digest);
                            report.raise(Outcome::Conflict);
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

/// Checks that the source can bring an image: without layers' blobs the engine could not unpack what is added.
fn check_layers(image: &Wanted, missing: &[&ContentRecord]) -> Result<(), Failure> {
    if image.layers.is_all() {
        return Ok(());
    }
    let added = match missing.first() {
        Some(blob) => format!("blob {}", blob.digest),
        None => "a record of the image".to_owned(),
    };
    Err(Failure::Image(format!("the seed has no layers' blobs, and {added} would have to be added")))
}

/// Checks that the source's manifest names the blobs that are about to be labelled as its own.
fn check_manifest(image: &Wanted) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::Image(chain(error));
    let Document::Manifest { config, layers } =
        manifest::read(&image.store, &image.target).map_err(|e| failed(&e))?
    else {
        // An archive's index: its blobs were taken from it a moment ago.
        return Ok(());
    };
    let found = set(layers.iter().chain([&config, &image.target]).map(|blob| blob.digest));
    let expected = set(image.blobs.iter().map(|blob| blob.digest));
    if found == expected {
        return Ok(());
    }
    let list = |set: Vec<&Digest>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(Failure::Image(format!(
        "manifest {} names other blobs than the lock: expected [{}], found [{}]",
        image.target.digest,
        list(expected.difference(&found).collect()),
        list(found.difference(&expected).collect()),
    )))
}
