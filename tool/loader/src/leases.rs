//! The lease of a run in each namespace: taken when something is about to be written, released at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ociseed_containerd::{Client, Lease, Scope};

use crate::desired::OWNER_LABEL;
use crate::failure::Failure;
use crate::time;

/// Ends a lease that nobody released, should this loader never run again.
const EXPIRE_LABEL: &str = "containerd.io/gc.expire";
const LIFE: Duration = Duration::from_secs(24 * 3600);
/// A lease with less than this left is made anew: the run under it could take as long.
const LEAST_LEFT: Duration = Duration::from_secs(3600);

/// Starts the names of our leases of repairs, followed by the blob's 64 digits.
pub(crate) const REPAIR_PREFIX: &str = "ociseed-repair-";
const SWEEP: &str = "ociseed-sweep";

/// The leases of one run.
#[derive(Debug)]
pub(crate) struct Leases<'c> {
    client: &'c Client,
    owner: String,
    id: String,
    /// Namespaces that the engine has.
    namespaces: BTreeSet<String>,
    /// Leases of ours that were there or were made, but for those of repairs.
    held: BTreeMap<String, BTreeSet<String>>,
    /// Namespaces in which this run's lease is good.
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
        let id = match owner.strip_prefix("sha256:") {
            Some(hex) => format!("ociseed-{}", &hex[..16]),
            None => format!("ociseed-{owner}"),
        };
        let namespaces: BTreeSet<_> = client.namespaces()?.into_iter().collect();
        let mut leases = Self {
            client,
            owner: owner.to_owned(),
            id,
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
        let fresh = lease.labels.get(EXPIRE_LABEL).is_some_and(|end| *end > time::from_now(LEAST_LEFT));
        if lease.id == self.id && fresh {
            self.taken.insert(namespace.to_owned());
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
            // One of this name that is about to end, or has.
            if self.held.get(namespace).is_some_and(|held| held.contains(&self.id)) {
                scope.delete_lease(&self.id, false)?;
            }
            scope.create_lease(&self.lease(&self.id, [(EXPIRE_LABEL.to_owned(), time::from_now(LIFE))]))?;
            self.held.entry(namespace.to_owned()).or_default().insert(self.id.clone());
            self.taken.insert(namespace.to_owned());
        }
        Ok(scope.under_lease(&self.id))
    }

    /// Returns a lease of ours to be made.
    pub(crate) fn lease(&self, id: &str, labels: impl IntoIterator<Item = (String, String)>) -> Lease {
        let mut labels: BTreeMap<_, _> = labels.into_iter().collect();
        labels.insert(OWNER_LABEL.to_owned(), self.owner.clone());
        Lease { id: id.to_owned(), labels }
    }

    /// Returns this run's lease.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Lets the engine collect garbage and waits until it has.
    ///
    /// # Errors
    /// The engine says no.
    pub(crate) fn sweep(&mut self, namespace: &str) -> Result<(), Failure> {
        let scope = self.client.scope(namespace);
        // Left from a run that was killed right here.
        scope.delete_lease(SWEEP, false)?;
        scope.create_lease(&self.lease(SWEEP, [(EXPIRE_LABEL.to_owned(), time::from_now(LIFE))]))?;
        scope.delete_lease(SWEEP, true)?;
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
