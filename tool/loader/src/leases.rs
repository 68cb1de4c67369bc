//! The lease of a run in each namespace: taken when something is about to be written, released at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ociseed_containerd::{Client, EXPIRE_LABEL, Lease, Scope, time};
use ociseed_spec::records::OWNER_LABEL;

use crate::collect::{map, set};
use crate::failure::Failure;

/// When a lease ends that nobody released, should this loader never run again.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// How much of a seed's id is in a run's name.
const OWNER_DIGITS: usize = 16;

/// Starts the names of our leases of repairs, followed by the blob's 64 digits.
pub(crate) const REPAIR_PREFIX: &str = "ociseed-repair-";

/// The leases of one run.
///
/// Every run has a name of its own: what an engine still has in its queue from
/// a loader that was killed cannot hit this one's lease. The old lease goes
/// when this run ends, so what it holds is not lost in between.
#[derive(Debug)]
pub(crate) struct Leases<'c> {
    client: &'c Client,
    owner: String,
    run: String,
    /// Namespaces that the engine has.
    namespaces: BTreeSet<String>,
    /// Leases of ours that were there or were made, but for those of repairs.
    held: BTreeMap<String, BTreeSet<String>>,
    /// Namespaces in which this run has its lease.
    taken: BTreeSet<String>,
    /// Leases of repairs that were there, by namespace.
    repairs: Vec<(String, Lease)>,
}

impl<'c> Leases<'c> {
    /// Looks what leases of ours there are.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn observe(client: &'c Client, owner: &str) -> Result<Self, Failure> {
        let short = owner.strip_prefix("sha256:").map_or(owner, |hex| &hex[..OWNER_DIGITS]);
        let run = format!("ociseed-{short}-{:x}", time::nanoseconds());
        let namespaces = set(client.namespaces()?);
        let mut leases = Self {
            client,
            owner: owner.to_owned(),
            run,
            namespaces,
            held: BTreeMap::new(),
            taken: BTreeSet::new(),
            repairs: Vec::new(),
        };
        for namespace in leases.namespaces.clone() {
            for lease in client.scope(&namespace).list_leases(vec![format!("labels.\"{OWNER_LABEL}\"")])? {
                leases.found(&namespace, lease);
            }
        }
        Ok(leases)
    }

    fn found(&mut self, namespace: &str, lease: Lease) {
        if lease.id.starts_with(REPAIR_PREFIX) {
            self.repairs.push((namespace.to_owned(), lease));
            return;
        }
        self.held.entry(namespace.to_owned()).or_default().insert(lease.id);
    }

    /// Returns the engine's namespaces.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.namespaces.iter().cloned().collect()
    }

    /// Returns whether the engine has a namespace.
    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    /// Returns the leases of repairs that an earlier run left.
    pub(crate) fn repairs(&self) -> Vec<(String, Lease)> {
        self.repairs.clone()
    }

    /// Returns how many leases there are that an earlier run left, but for those of repairs.
    pub(crate) fn left(&self) -> usize {
        self.held.values().map(BTreeSet::len).sum()
    }

    /// Returns a namespace's calls under this run's lease, which is made if need be, as is the namespace.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn scope(&mut self, namespace: &str) -> Result<Scope<'c>, Failure> {
        let scope = self.client.scope(namespace);
        if !self.taken.contains(namespace) {
            if !self.namespaces.contains(namespace) {
                self.client.create_namespace(namespace)?;
                self.namespaces.insert(namespace.to_owned());
            }
            scope.create_lease(&self.lease(&self.run, [(EXPIRE_LABEL.to_owned(), time::from_now(LIFE))]))?;
            self.held.entry(namespace.to_owned()).or_default().insert(self.run.clone());
            self.taken.insert(namespace.to_owned());
        }
        Ok(scope.under_lease(&self.run))
    }

    /// Returns a lease of ours to be made.
    pub(crate) fn lease(&self, id: &str, labels: impl IntoIterator<Item = (String, String)>) -> Lease {
        let mut labels = map(labels);
        labels.insert(OWNER_LABEL.to_owned(), self.owner.clone());
        Lease { id: id.to_owned(), labels }
    }

    /// Returns this run's name, which is its lease's and begins those of its ingests.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Lets the engine collect garbage and waits until it has.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn sweep(&mut self, namespace: &str) -> Result<(), Failure> {
        let scope = self.client.scope(namespace);
        // Releasing a lease synchronously is the one call that waits for a collection and changes nothing else.
        let id = format!("{}-sweep", self.run);
        scope.create_lease(&self.lease(&id, [(EXPIRE_LABEL.to_owned(), time::from_now(LIFE))]))?;
        self.held.entry(namespace.to_owned()).or_default().insert(id.clone());
        scope.delete_lease(&id, true)?;
        Ok(())
    }

    /// Releases all leases of ours but those of repairs; returns what did not work.
    pub(crate) fn release(&mut self) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (namespace, held) in std::mem::take(&mut self.held) {
            for id in held {
                if let Err(error) = self.client.scope(&namespace).delete_lease(&id, false) {
                    failures.push(error.into());
                }
            }
        }
        self.taken.clear();
        failures
    }
}

/// Tells whether an ingest or a snapshot bears the name of a run and `-`, whichever run's; a user's container, by which its snapshot
/// is named, may begin with the same word.
pub(crate) fn is_of_run(name: &str) -> bool {
    let mut parts = name.splitn(4, '-');
    let mut next = || parts.next().unwrap_or_default();
    let is_hex = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (word, owner, time, rest) = (next(), next(), next(), next());
    let is_owner = owner == "archives" || owner.len() == OWNER_DIGITS && is_hex(owner);
    word == "ociseed" && is_owner && is_hex(time) && !rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_left_is_told_from_what_a_user_made() {
        let cases = [
            ("ociseed-0123456789abcdef-18a3f-sha256:00", true),
            ("ociseed-archives-18a3f-sha256:00", true),
            ("ociseed-0123456789abcdef-18a3f-look", true),
            ("ociseed-0123456789abcdef-18a3f", false),
            ("ociseed-0123456789abcde-18a3f-look", false),
            ("ociseed-0123456789abcdef-now-look", false),
            ("ociseed-demo", false),
            ("ociseed-archives-of-2026", false),
            ("ociseed-", false),
            ("other-archives-1-look", false),
            ("", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_of_run(name), expected, "{name}");
        }
    }
}
