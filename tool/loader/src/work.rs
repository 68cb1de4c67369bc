//! The work itself: compares what the engine has with what the source wants, and changes what differs.

use std::collections::{BTreeMap, BTreeSet};

use ociseed_containerd::{Client, Code, ContentInfo, ImageRecord, Resource, Scope};
use ociseed_spec::Digest;
use ociseed_spec::records::ContentRecord;

use crate::collect::set;
use crate::content::{Content, INGEST_PREFIX, Put, Reading, abort_ingest, check_source};
use crate::desired::{Change, change, missing_labels, record_names};
use crate::failure::Failure;
use crate::leases::Leases;
use crate::manifest::{self, Document};
use crate::repair::{self, Debt, Patient};
use crate::report::{ImageReport, Outcome};
use crate::source::{Source, Wanted};
use crate::talk::{Talk, chain};

/// What a namespace has of what is wanted in it.
#[derive(Debug, Default)]
struct Actual {
    records: BTreeMap<String, ImageRecord>,
    content: BTreeMap<Digest, ContentInfo>,
}

/// One run over a source.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    client: &'a Client,
    source: &'a Source,
    talk: &'a Talk,
    take_over: bool,
    leases: Leases<'a>,
    content: Content<'a>,
    actual: BTreeMap<String, Actual>,
    /// Blobs that were wrong and are replaced, with the bytes that took until an image accounts for them.
    replaced: BTreeMap<Digest, u64>,
    /// Blobs that are wrong and cannot be replaced, with the reason.
    lost: BTreeMap<Digest, String>,
    /// What was done so far.
    pub(crate) reports: Vec<ImageReport>,
}

impl<'a> Work<'a> {
    /// Looks at the engine; changes nothing.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn observe(
        client: &'a Client,
        source: &'a Source,
        talk: &'a Talk,
        take_over: bool,
    ) -> Result<Self, Failure> {
        let leases = Leases::observe(client, &source.owner)?;
        let mut work = Self {
            client,
            source,
            talk,
            take_over,
            leases,
            content: Content::new(client),
            actual: BTreeMap::new(),
            replaced: BTreeMap::new(),
            lost: BTreeMap::new(),
            reports: Vec::new(),
        };
        let wanted = set(source.images.iter().map(|image| image.namespace.as_str()));
        for namespace in wanted {
            let actual = work.look_at(namespace)?;
            work.actual.insert(namespace.to_owned(), actual);
        }
        Ok(work)
    }

    fn look_at(&self, namespace: &str) -> Result<Actual, Failure> {
        let mut actual = Actual::default();
        if !self.leases.has_namespace(namespace) {
            return Ok(actual);
        }
        let images = self.source.images.iter().filter(|image| image.namespace == namespace);
        let names = set(images.clone().flat_map(record_names));
        let digests = set(images.flat_map(|image| &image.blobs).map(|blob| blob.digest));
        let scope = self.client.scope(namespace);
        for record in scope.list_images(names.iter().map(|name| format!("name==\"{name}\"")).collect())? {
            actual.records.insert(record.name.clone(), record);
        }
        actual.content = list_content(&scope, digests)?;
        Ok(actual)
    }

    /// Does everything that is to be done.
    ///
    /// # Errors
    /// What ends the whole run; what concerns one image is in its report.
    pub(crate) fn run(&mut self) -> Result<(), Failure> {
        self.abort_old_ingests()?;
        self.repair()?;
        for image in &self.source.images {
            let mut report = new_report(image);
            let result = self.load(image, &mut report);
            let stop = match result {
                Ok(()) => None,
                Err(Failure::Image(error)) => {
                    report.errors.push(error);
                    None
                }
                Err(failure) => {
                    report.errors.push(failure.to_string());
                    Some(failure)
                }
            };
            self.conclude(report);
            if let Some(failure) = stop {
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Gives up what is under way and releases the leases; returns what did not work.
    pub(crate) fn tidy_up(&mut self) -> Vec<Failure> {
        let aborted = self.content.abort().err();
        aborted.into_iter().chain(self.leases.release()).collect()
    }

    /// Settles an image's report and says its line.
    fn conclude(&mut self, mut report: ImageReport) {
        let name = report.name.clone().unwrap_or_default();
        for error in &report.errors {
            self.talk.error(&format!("`{name}` in `{}`: {error}", report.namespace));
        }
        if !report.errors.is_empty() {
            report.raise(Outcome::Failed);
        }
        let (priority, line) = report.line();
        self.talk.line(priority, &line);
        self.reports.push(report);
    }

    /// Ingests of ours have no writer: this run holds the lock.
    fn abort_old_ingests(&mut self) -> Result<(), Failure> {
        for namespace in self.leases.namespaces() {
            let scope = self.client.scope(&namespace);
            for name in scope.list_ingests()? {
                if name.starts_with(INGEST_PREFIX)
                    && let Err(failure) = abort_ingest(&scope, &name)
                {
                    match failure {
                        // It only takes space; the next run tries again.
                        Failure::Image(error) => self.talk.warning(&format!("ingest `{name}`: {error}")),
                        failure => return Err(failure),
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads every blob back that the engine has, and replaces those that are wrong.
    fn repair(&mut self) -> Result<(), Failure> {
        let mut patients = Vec::new();
        let mut seen = BTreeSet::new();
        let source = self.source;
        for image in &source.images {
            for blob in &image.blobs {
                if !seen.contains(&blob.digest) && self.has(&image.namespace, blob) {
                    seen.insert(blob.digest);
                    patients.extend(self.examine(image, blob)?);
                }
            }
        }
        let debts = self.old_debts(&mut patients)?;
        if patients.is_empty() {
            return Ok(());
        }
        self.replaced.extend(patients.iter().map(|patient| (patient.digest, 0)));
        self.heal(&patients, debts)
    }

    fn has(&self, namespace: &str, blob: &ContentRecord) -> bool {
        self.actual.get(namespace).is_some_and(|actual| actual.content.contains_key(&blob.digest))
    }

    /// Reads one blob back; returns it when it must be replaced and can be.
    fn examine(&mut self, image: &Wanted, blob: &ContentRecord) -> Result<Option<Patient>, Failure> {
        let reason = match self.content.read_back(&image.namespace, &blob.digest, blob.size) {
            Ok(Reading::Right) => return Ok(None),
            Ok(Reading::Wrong(reason)) => reason,
            Err(Failure::Image(error)) => {
                self.lost.insert(blob.digest, error);
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let reason = format!("blob {} in the engine's store is wrong: {reason}", blob.digest);
        self.talk.warning(&reason);
        // What cannot be put back is not taken away.
        match self.right_copy(blob) {
            Ok(patient) => Ok(Some(patient)),
            Err(error) => {
                self.lost.insert(blob.digest, format!("{reason}; it cannot be replaced: {error}"));
                Ok(None)
            }
        }
    }

    /// Finds a source's copy of a blob that is right; with archives there may be several.
    fn right_copy(&self, blob: &ContentRecord) -> Result<Patient, Failure> {
        let holders =
            self.source.images.iter().filter(|image| image.blobs.iter().any(|b| b.digest == blob.digest));
        let mut result = Err(Failure::Image("no copy".to_owned()));
        for image in holders {
            match check_source(&image.store, &blob.digest, blob.size) {
                Ok(()) => {
                    let (digest, size, store) = (blob.digest, blob.size, image.store.clone());
                    return Ok(Patient { digest, size, store });
                }
                Err(failure) => result = Err(failure),
            }
        }
        result
    }

    /// Looks what repairs were under way when an earlier run was killed; their blobs become patients.
    fn old_debts(&mut self, patients: &mut Vec<Patient>) -> Result<Vec<Debt>, Failure> {
        let mut debts = Vec::new();
        for (namespace, lease) in self.leases.repairs() {
            let Some(debt) = repair::recall(&namespace, &lease) else { continue };
            if patients.iter().any(|patient| patient.digest == debt.digest) {
                debts.push(debt);
                continue;
            }
            let scope = self.client.scope(&namespace);
            if let Some(info) = scope.content_info(&debt.digest.to_string())? {
                // The record is there: not deleted yet, or written again by others.
                let missing = missing_labels(&debt.labels, &info.labels);
                if !missing.is_empty() {
                    scope.label_content(&info.digest, &missing)?;
                }
                scope.delete_lease(&lease.id, false)?;
                continue;
            }
            let blobs = self.source.images.iter().flat_map(|image| &image.blobs);
            match blobs.clone().find(|blob| blob.digest == debt.digest).map(|blob| self.right_copy(blob)) {
                Some(Ok(patient)) => {
                    patients.push(patient);
                    debts.push(debt);
                }
                // The image that needs it fails and says why; the lease goes on remembering.
                Some(Err(_)) => {}
                // No seed of ours has it any more.
                None => drop(scope.delete_lease(&lease.id, false)?),
            }
        }
        Ok(debts)
    }

    fn heal(&mut self, patients: &[Patient], debts: Vec<Debt>) -> Result<(), Failure> {
        let result = repair::replace(self.client, &mut self.leases, &mut self.content, patients, debts);
        let copied = match result {
            Ok(copied) => copied,
            Err(Failure::Image(error)) => {
                self.lost.extend(patients.iter().map(|patient| (patient.digest, error.clone())));
                BTreeMap::new()
            }
            Err(failure) => return Err(failure),
        };
        for (digest, bytes) in copied {
            *self.replaced.entry(digest).or_default() += bytes;
        }
        // Records went and came back, also in namespaces where others had made none before.
        for (namespace, actual) in &mut self.actual {
            for patient in patients {
                actual.content.remove(&patient.digest);
            }
            let scope = self.client.scope(namespace);
            actual.content.extend(list_content(&scope, patients.iter().map(|patient| patient.digest))?);
        }
        Ok(())
    }

    /// Brings one image to what it should be.
    fn load(&mut self, image: &Wanted, report: &mut ImageReport) -> Result<(), Failure> {
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

fn new_report(image: &Wanted) -> ImageReport {
    ImageReport {
        name: image.names.first().map(ToString::to_string),
        namespace: image.namespace.clone(),
        digest: Some(image.target.digest),
        class: image.class,
        pin: image.pin,
        outcome: Outcome::Settled,
        copied: 0,
        present: 0,
        replaced: Vec::new(),
        errors: Vec::new(),
    }
}

/// Lists the records that a namespace has of these blobs.
fn list_content(
    scope: &Scope<'_>,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<BTreeMap<Digest, ContentInfo>, Failure> {
    let mut found = BTreeMap::new();
    let filters: Vec<_> = digests.into_iter().map(|digest| format!("digest==\"{digest}\"")).collect();
    // No filter at all would list everything.
    if !filters.is_empty() {
        scope.list_content(filters, |info| {
            if let Ok(digest) = info.digest.parse() {
                found.insert(digest, info);
            }
        })?;
    }
    Ok(found)
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
