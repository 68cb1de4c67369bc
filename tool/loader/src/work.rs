//! The work itself: compares what the engine has with what the source wants, and changes what differs.

mod load;

use std::collections::{BTreeMap, BTreeSet};

use ociseed_containerd::{Client, ContentInfo, ImageRecord, Scope};
use ociseed_spec::Digest;
use ociseed_spec::records::ContentRecord;

use crate::collect::set;
use crate::content::{Content, INGEST_PREFIX, Reading, abort_ingest, check_source};
use crate::desired::{missing_labels, record_names};
use crate::failure::Failure;
use crate::leases::Leases;
use crate::repair::{self, Debt, Patient};
use crate::report::{ImageReport, Outcome};
use crate::source::{Source, Wanted};
use crate::talk::Talk;

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
