//! Blobs that lie in the engine's store as files: whether they are what their names say, and what replaces those that are not.

use ociseed_spec::records::missing_labels;

use super::*;
use crate::content::{Reading, check_source};
use crate::repair;
use crate::root::Lies;
use crate::source::Store;

/// What an earlier run owed when it was killed.
#[derive(Debug)]
pub(super) enum Old {
    /// The record of a blob that must be written anew.
    Owed(Debt),
    /// Nothing but these labels; the lease is to go.
    There(Debt, BTreeMap<String, String>),
}

impl Work<'_> {
    /// Finds what is wrong in the engine's store and must be copied anew, and what an earlier run did not put back.
    pub(super) fn examine(&mut self) -> Result<(Vec<Patient>, Vec<Old>), Failure> {
        let mut patients = Vec::new();
        let mut seen = BTreeSet::new();
        let source = self.source;
        for image in &source.images {
            for blob in &image.blobs {
                if !seen.contains(&blob.digest) && self.has(&image.namespace, blob) {
                    seen.insert(blob.digest);
                    patients.extend(self.examine_blob(image, blob)?);
                }
            }
        }
        if self.options.mode == Mode::Verify {
            self.check_sources();
        }
        let debts = self.old_debts(&mut patients)?;
        Ok((patients, debts))
    }

    /// Hashes what blobs could be copied from; seeds were hashed as a whole.
    fn check_sources(&mut self) {
        let mut seen = BTreeSet::new();
        let source = self.source;
        for image in source.images.iter().filter(|image| matches!(*image.store, Store::Archive(_))) {
            for blob in image.blobs.iter().filter(|blob| seen.insert(blob.digest)) {
                if let Err(failure) = check_source(&image.store, &blob.digest, blob.size, &self.talk.notify) {
                    self.lost.insert(blob.digest, failure.to_string());
                }
            }
        }
    }

    /// Examines one blob; returns it when it must be replaced by a copy and can be.
    fn examine_blob(&mut self, image: &Wanted, blob: &ContentRecord) -> Result<Option<Patient>, Failure> {
        let by_link = self.can_link(image);
        let wrong = match self.lies(&blob.digest)? {
            // Looked at, and mended, with the image.
            Some(Lies::Link(_) | Lies::Nothing) if by_link => return Ok(None),
            // A link of an earlier time, which is right as long as it leads somewhere.
            Some(Lies::Link(_)) => !self.options.read_back && self.leads_nowhere(&blob.digest),
            Some(Lies::Nothing) => true,
            Some(Lies::Own(size)) => size != blob.size,
            None => false,
        };
        if !(wrong || self.options.read_back) {
            return Ok(None);
        }
        let reason = match self.content.read_back(&image.namespace, &blob.digest, blob.size) {
            Ok(Reading::Right) => return Ok(None),
            Ok(Reading::Wrong(reason)) => reason,
            Err(Failure::Image(error) | Failure::Gone(error)) => {
                self.lost.insert(blob.digest, error);
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let reason = format!("blob {} in the engine's store is wrong: {reason}", blob.digest);
        self.talk.warning(&reason);
        if by_link {
            self.spoilt.insert(blob.digest);
            return Ok(None);
        }
        // What cannot be put back is not taken away.
        match self.right_copy(blob) {
            Ok(patient) => Ok(Some(patient)),
            Err(error) => {
                self.lost.insert(blob.digest, format!("{reason}; it cannot be replaced: {error}"));
                Ok(None)
            }
        }
    }

    fn leads_nowhere(&self, digest: &Digest) -> bool {
        self.root.as_ref().is_some_and(|root| std::fs::metadata(root.blobs().join(digest.hex())).is_err())
    }

    /// Finds a source's copy of a blob that is right; with archives there may be several.
    pub(super) fn right_copy(&self, blob: &ContentRecord) -> Result<Patient, Failure> {
        let holders =
            self.source.images.iter().filter(|image| image.blobs.iter().any(|b| b.digest == blob.digest));
        let mut result = Err(Failure::Image("no copy".to_owned()));
        for image in holders {
            match check_source(&image.store, &blob.digest, blob.size, &self.talk.notify) {
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
    fn old_debts(&mut self, patients: &mut Vec<Patient>) -> Result<Vec<Old>, Failure> {
        let mut debts = Vec::new();
        for (namespace, lease) in self.leases.repairs() {
            let Some(debt) = repair::recall(&namespace, &lease) else { continue };
            if patients.iter().any(|patient| patient.digest == debt.digest) {
                debts.push(Old::Owed(debt));
                continue;
            }
            if let Some(info) = self.client.scope(&namespace).content_info(&debt.digest.to_string())? {
                // The record is there: not deleted yet, or written again by others.
                let missing = missing_labels(&debt.labels, &info.labels);
                debts.push(Old::There(debt, missing));
                continue;
            }
            let blobs = self.source.images.iter().flat_map(|image| &image.blobs);
            match blobs.clone().find(|blob| blob.digest == debt.digest).map(|blob| self.right_copy(blob)) {
                Some(Ok(patient)) => {
                    patients.push(patient);
                    debts.push(Old::Owed(debt));
                }
                // The image that needs it fails and says why; the lease goes on remembering.
                Some(Err(_)) => {}
                // No seed of ours has it any more.
                None => debts.push(Old::There(debt, BTreeMap::new())),
            }
        }
        Ok(debts)
    }

    /// Replaces what is wrong, and pays what is owed.
    pub(super) fn repair(&mut self, patients: &[Patient], debts: Vec<Old>) -> Result<(), Failure> {
        let mut owed = Vec::new();
        for debt in debts {
            match debt {
                Old::Owed(debt) => owed.push(debt),
                Old::There(debt, missing) => {
                    let scope = self.client.scope(&debt.namespace);
                    if !missing.is_empty() {
                        scope.label_content(&debt.digest.to_string(), &missing)?;
                    }
                    scope.delete_lease(&repair::lease_id(&debt.digest), false)?;
                }
            }
        }
        if patients.is_empty() { Ok(()) } else { self.heal(patients, owed) }
    }

    /// Replaces blobs by copies.
    pub(super) fn heal(&mut self, patients: &[Patient], debts: Vec<Debt>) -> Result<(), Failure> {
        let result = repair::replace(self.client, &mut self.leases, &mut self.content, patients, debts);
        let copied = match result {
            Ok(copied) => copied,
            Err(Failure::Image(error) | Failure::Gone(error)) => {
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
            let digests = patients.iter().map(|patient| patient.digest);
            actual.content.extend(observe::list_content(&scope, digests)?);
        }
        Ok(())
    }
}
