//! Replaces blobs that are wrong in the engine's store.
//!
//! The engine trusts a file that has a blob's name, so the file must go first,
//! and it goes only when no namespace has a record of it. Each record is
//! remembered by a lease of its namespace (with its labels, and holding what
//! it refers to) until it is back: a run that is killed in between loses
//! nothing, whosever the record is.

use std::collections::BTreeMap;
use std::rc::Rc;

use ociseed_containerd::{Client, Code, Lease, Resource};
use ociseed_spec::Digest;

use crate::collect::map;
use crate::content::{Content, Put, Reading};
use crate::failure::Failure;
use crate::leases::{Leases, REPAIR_PREFIX};
use crate::source::Store;

/// Starts the keys under which a repair's lease remembers the labels of a record.
const SAVED: &str = "io.ociseed.saved/";

/// A blob to be replaced, and where its right bytes are.
#[derive(Debug, Clone)]
pub(crate) struct Patient {
    /// The blob.
    pub(crate) digest: Digest,
    /// Its size.
    pub(crate) size: u64,
    /// Where its right bytes are; known to be right.
    pub(crate) store: Rc<Store>,
}

/// A record that was deleted and must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debt {
    /// Whose record it is.
    pub(crate) namespace: String,
    /// The blob.
    pub(crate) digest: Digest,
    /// The record's labels.
    pub(crate) labels: BTreeMap<String, String>,
}

/// Replaces blobs in all namespaces; returns how many bytes each took.
///
/// `debts` are records that an earlier run deleted.
///
/// # Errors
/// The engine says no, or a blob is wrong again: what is owed is still remembered by leases.
pub(crate) fn replace<'c>(
    client: &'c Client,
    leases: &mut Leases<'c>,
    content: &mut Content<'c>,
    patients: &[Patient],
    mut debts: Vec<Debt>,
) -> Result<BTreeMap<Digest, u64>, Failure> {
    let mut deleted = None;
    for patient in patients {
        content.forget(&patient.digest);
        for namespace in leases.namespaces() {
            if let Some(debt) = remember(client, leases, &namespace, &patient.digest)? {
                client.scope(&namespace).delete_content(&patient.digest.to_string())?;
                debts.retain(|other| (&other.namespace, &other.digest) != (&debt.namespace, &debt.digest));
                debts.push(debt);
                deleted = Some(namespace);
            }
        }
    }
    if let Some(namespace) = deleted {
        leases.sweep(&namespace)?;
    }
    let mut copied = BTreeMap::new();
    for debt in &debts {
        let patient = patients.iter().find(|patient| patient.digest == debt.digest);
        let patient = patient.expect("debts are of patients");
        *copied.entry(debt.digest).or_default() += pay(client, leases, content, patient, debt)?;
    }
    Ok(copied)
}

/// Makes the lease that remembers a record; `None` when the namespace has no such record.
fn remember(
    client: &Client,
    leases: &Leases<'_>,
    namespace: &str,
    digest: &Digest,
) -> Result<Option<Debt>, Failure> {
    let scope = client.scope(namespace);
    let Some(info) = scope.content_info(&digest.to_string())? else { return Ok(None) };
    let id = lease_id(digest);
    let saved = info.labels.iter().map(|(key, value)| (format!("{SAVED}{key}"), value.clone()));
    match scope.create_lease(&leases.lease(&id, saved)) {
        Err(error) if error.code() != Some(Code::AlreadyExists) => return Err(error.into()),
        _ => {}
    }
    for resource in references(&info.labels) {
        scope.add_resource(&id, &resource)?;
    }
    Ok(Some(Debt { namespace: namespace.to_owned(), digest: *digest, labels: info.labels }))
}

/// Puts one record back.
fn pay<'c>(
    client: &'c Client,
    leases: &mut Leases<'c>,
    content: &mut Content<'c>,
    patient: &Patient,
    debt: &Debt,
) -> Result<u64, Failure> {
    let Patient { digest, size, store } = patient;
    let scope = client.scope(&debt.namespace);
    let put = Put { namespace: &debt.namespace, digest: *digest, size: *size, labels: &debt.labels, store };
    let mut copied = content.write(leases, put)?;
    if let Reading::Wrong(_) = content.read_back(&debt.namespace, digest, *size)? {
        // The record was deleted by a run that was killed before the engine collected, so the file is still there;
        // and an engine that was started anew since collects only after another deletion.
        scope.delete_content(&digest.to_string())?;
        leases.sweep(&debt.namespace)?;
        copied += content.write(leases, put)?;
        if let Reading::Wrong(reason) = content.read_back(&debt.namespace, digest, *size)? {
            let text =
                format!("blob {digest} is wrong in the engine's store after it was replaced: {reason}");
            return Err(Failure::Image(text));
        }
    }
    scope.delete_lease(&lease_id(digest), false)?;
    Ok(copied)
}

/// Returns the lease's name.
pub(crate) fn lease_id(digest: &Digest) -> String {
    format!("{REPAIR_PREFIX}{}", digest.hex())
}

/// Reads what a lease of a repair remembers.
pub(crate) fn recall(namespace: &str, lease: &Lease) -> Option<Debt> {
    let digest = Digest::from_hex(lease.id.strip_prefix(REPAIR_PREFIX)?).ok()?;
    let saved = lease
        .labels
        .iter()
        .filter_map(|(key, value)| Some((key.strip_prefix(SAVED)?.to_owned(), value.clone())));
    Some(Debt { namespace: namespace.to_owned(), digest, labels: map(saved) })
}

/// What a record keeps from being collected (containerd's garbage collection labels), as a lease can hold it.
fn references(labels: &BTreeMap<String, String>) -> Vec<Resource> {
    let reference = |(key, value): (&String, &String)| {
        let what = key.strip_prefix("containerd.io/gc.ref.")?;
        let id = value.clone();
        if what == "content" || what.starts_with("content.") {
            return Some(Resource { kind: "content".to_owned(), id });
        }
        // `snapshot.<snapshotter>`, with more words after a slash.
        let snapshotter = what.strip_prefix("snapshot.")?.split('/').next()?;
        Some(Resource { kind: format!("snapshots/{snapshotter}"), id })
    };
    labels.iter().filter_map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_hold_what_records_refer_to() {
        let labels = [
            ("containerd.io/gc.ref.content.config", "c"),
            ("containerd.io/gc.ref.content.l.0", "l"),
            ("containerd.io/gc.ref.content", "all"),
            ("containerd.io/gc.ref.snapshot.overlayfs", "s"),
            ("containerd.io/gc.ref.snapshot.native/2", "t"),
            ("containerd.io/distribution.source.docker.io", "library/web"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let resource = |kind: &str, id: &str| Resource { kind: kind.to_owned(), id: id.to_owned() };
        let mut found = references(&labels);
        found.sort();
        let expected = [
            resource("content", "all"),
            resource("content", "c"),
            resource("content", "l"),
            resource("snapshots/native", "t"),
            resource("snapshots/overlayfs", "s"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_a_lease_remembers_comes_back() {
        let digest = Digest::of(b"blob");
        let labels: BTreeMap<_, _> =
            [(format!("{SAVED}a/b"), "1".to_owned()), ("other".to_owned(), "2".to_owned())].into();
        let lease = Lease { id: lease_id(&digest), labels };
        let debt = recall("x", &lease).expect("a lease of a repair");
        let labels = [("a/b".to_owned(), "1".to_owned())].into();
        assert_eq!(debt, Debt { namespace: "x".to_owned(), digest, labels });
        assert_eq!(recall("x", &Lease { id: "ociseed-repair-0".to_owned(), labels: BTreeMap::new() }), None);
    }
}
