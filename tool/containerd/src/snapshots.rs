//! The snapshots service: unpacked layers by chain id, and the writable snapshots that they are made from.

use std::collections::BTreeMap;

use crate::Error;
use crate::client::Scope;
use crate::content::{found, label_paths};
use crate::wire::{
    self, BySnapshot, CommitSnapshotRequest, Empty, FieldMask, ListSnapshotsRequest, ListSnapshotsResponse,
    MountsResponse, PrepareSnapshotRequest, Snapshot, StatSnapshotResponse, UpdateSnapshotRequest,
};

const STAT: &str = "containerd.services.snapshots.v1.Snapshots/Stat";
const LIST: &str = "containerd.services.snapshots.v1.Snapshots/List";
const PREPARE: &str = "containerd.services.snapshots.v1.Snapshots/Prepare";
const MOUNTS: &str = "containerd.services.snapshots.v1.Snapshots/Mounts";
const COMMIT: &str = "containerd.services.snapshots.v1.Snapshots/Commit";
const REMOVE: &str = "containerd.services.snapshots.v1.Snapshots/Remove";
const UPDATE: &str = "containerd.services.snapshots.v1.Snapshots/Update";

/// What can be done with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SnapshotKind {
    /// A kind that is newer than this client.
    Unknown = 0,
    /// It can be mounted to read.
    View = 1,
    /// It can be mounted to write, and committed.
    Active = 2,
    /// It can be a parent.
    Committed = 3,
}

/// What a namespace records of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its name: the chain id of an unpacked layer, the key of anything else.
    pub name: String,
    /// The name of the committed snapshot below it; empty for none.
    pub parent: String,
    /// What can be done with it.
    pub kind: SnapshotKind,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A mount that shows a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its type, as mount(2) takes it; `bind` is a bind mount.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Where, below the root of what is being put together; empty for the root itself.
    pub target: String,
    /// Its options, as fstab has them.
    pub options: Vec<String>,
}

impl Scope<'_> {
    /// Looks a snapshot up.
    ///
    /// # Errors
    /// `InvalidArgument` when the engine has no such snapshotter; else see [`Error`].
    pub fn stat_snapshot(&self, snapshotter: &str, name: &str) -> Result<Option<SnapshotInfo>, Error> {
        let request = BySnapshot::new(snapshotter, name);
        let answer: Option<StatSnapshotResponse> = found(self.unary(STAT, self.client.limit(), &request))?;
        Ok(answer.and_then(|answer| answer.info).map(SnapshotInfo::from))
    }

    /// Hands each snapshot that one of `filters` picks to `each`; none picks all.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_snapshots(
        &self,
        snapshotter: &str,
        filters: Vec<String>,
        mut each: impl FnMut(SnapshotInfo),
    ) -> Result<(), Error> {
        let limit = self.client.limit();
        let mut call = self.call(LIST, None)?;
        call.send(&ListSnapshotsRequest { snapshotter: snapshotter.to_owned(), filters }, true, limit)?;
        while let Some(ListSnapshotsResponse { info }) = call.receive(limit)? {
            info.into_iter().for_each(|info| each(info.into()));
        }
        Ok(())
    }

    /// Makes the active snapshot `key` over a committed one, or over nothing when `parent` is empty.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one of that key, or of the name in the label `containerd.io/snapshot.ref`;
    /// `NotFound` without the parent. Else see [`Error`].
    pub fn prepare_snapshot(
        &self,
        snapshotter: &str,
        key: &str,
        parent: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<Mount>, Error> {
        let request = PrepareSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels: labels.clone(),
        };
        Ok(mounts(self.unary(PREPARE, self.client.limit(), &request)?))
    }

    /// Returns the mounts of a snapshot that is not committed.
    ///
    /// # Errors
    /// `NotFound` without it, `FailedPrecondition` when it is committed; else see [`Error`].
    pub fn snapshot_mounts(&self, snapshotter: &str, key: &str) -> Result<Vec<Mount>, Error> {
        Ok(mounts(self.unary(MOUNTS, self.client.limit(), &BySnapshot::new(snapshotter, key))?))
    }

    /// Makes the active snapshot `key` the committed one `name`, with these labels and no others.
    ///
    /// The engine walks its directory to tell how much it holds, and keeps everybody else waiting meanwhile. A symlink
    /// in the directory's place is not followed; not even whether it leads anywhere is looked at.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken, `NotFound` without the key. Else see [`Error`].
    pub fn commit_snapshot(
        &self,
        snapshotter: &str,
        name: &str,
        key: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let request = CommitSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
            labels: labels.clone(),
        };
        self.unary::<_, Empty>(COMMIT, self.client.slow_limit(), &request).map(drop)
    }

    /// Removes a snapshot's record; returns whether there was one. Its directory goes at a later collection.
    ///
    /// # Errors
    /// `FailedPrecondition` when another is based on it; else see [`Error`].
    pub fn remove_snapshot(&self, snapshotter: &str, key: &str) -> Result<bool, Error> {
        let request = BySnapshot::new(snapshotter, key);
        Ok(found(self.unary::<_, Empty>(REMOVE, self.client.limit(), &request))?.is_some())
    }

    /// Sets these labels of a snapshot and leaves the others; an empty value removes one.
    ///
    /// # Errors
    /// `NotFound` without it; else see [`Error`].
    pub fn label_snapshot(
        &self,
        snapshotter: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let info = Snapshot { name: name.to_owned(), labels: labels.clone(), ..Snapshot::default() };
        let request = UpdateSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            info: Some(info),
            update_mask: Some(FieldMask { paths: label_paths(labels) }),
        };
        // The answer holds the snapshot again; nothing in it is news.
        self.unary::<_, Empty>(UPDATE, self.client.limit(), &request).map(drop)
    }
}

/// Returns the directory that an active snapshot of overlayfs writes to: the layer's own files, when it is committed.
///
/// `None` for what only reads, and for mounts that overlayfs does not make.
pub fn layer_directory(mounts: &[Mount]) -> Option<&str> {
    let [Mount { kind, source, options, .. }] = mounts else { return None };
    match kind.as_str() {
        // Without a parent. A view of one layer is a bind mount too, of what that layer holds.
        "bind" if !options.iter().any(|option| option == "ro") => Some(source),
        "overlay" => options.iter().find_map(|option| option.strip_prefix("upperdir=")),
        _ => None,
    }
}

fn mounts(answer: MountsResponse) -> Vec<Mount> {
    answer.mounts.into_iter().map(Mount::from).collect()
}

impl BySnapshot {
    fn new(snapshotter: &str, key: &str) -> Self {
        Self { snapshotter: snapshotter.to_owned(), key: key.to_owned() }
    }
}

impl From<wire::Mount> for Mount {
    fn from(mount: wire::Mount) -> Self {
        let wire::Mount { kind, source, target, options } = mount;
        Self { kind, source, target, options }
    }
}

impl From<Snapshot> for SnapshotInfo {
    fn from(info: Snapshot) -> Self {
        let kind = info.kind();
        Self { name: info.name, parent: info.parent, kind, labels: info.labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, source: &str, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount { kind: kind.to_owned(), source: source.to_owned(), target: String::new(), options }
    }

    #[test]
    fn only_active_snapshots_have_a_layer_directory() {
        let bind = mount("bind", "/s/1/fs", &["rw", "rbind"]);
        let overlay = ["index=off", "workdir=/s/2/work", "upperdir=/s/2/fs", "lowerdir=/s/1/fs"];
        let cases = [
            (vec![bind.clone()], Some("/s/1/fs")),
            (vec![mount("overlay", "overlay", &overlay)], Some("/s/2/fs")),
            // Views, of one layer and of two.
            (vec![mount("bind", "/s/1/fs", &["ro", "rbind"])], None),
            (vec![mount("overlay", "overlay", &["lowerdir=/s/2/fs:/s/1/fs"])], None),
            // Other snapshotters.
            (vec![mount("ext4", "/dev/mapper/1", &[])], None),
            (vec![bind.clone(), bind], None),
            (vec![], None),
        ];
        for (mounts, expected) in cases {
            assert_eq!(layer_directory(&mounts), expected, "{mounts:?}");
        }
    }
}
