//! The snapshots of all namespaces: one of each chain id, committed.

use std::collections::{BTreeMap, BTreeSet};

use ociseed_spec::ChainId;
use ociseed_spec::lock::{Content, Namespace};
use ociseed_spec::records::DIRECTORY_LABEL;

use super::value;
use crate::bolt::Bucket;

/// A committed snapshot.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) chain: ChainId,
    /// Its number among those of its namespace, from 1.
    pub(super) number: u64,
    /// The place of the one below it in the list of all.
    pub(super) parent: Option<usize>,
}

impl Snapshot<'_> {
    /// Returns its name in the snapshotter, which knows no namespaces.
    pub(super) fn key(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.number, self.chain)
    }
}

/// All snapshots; the id of each is its place in the list and one.
#[derive(Debug)]
pub(super) struct Snapshots<'a>(pub(super) Vec<Snapshot<'a>>);

impl<'a> Snapshots<'a> {
    pub(super) fn of(content: &'a Content) -> Self {
        let mut all: Vec<Snapshot<'a>> = Vec::new();
        let namespaces: BTreeSet<_> = content.images.iter().flat_map(|image| &image.namespaces).collect();
        for namespace in namespaces {
            let mut known: BTreeMap<ChainId, usize> = BTreeMap::new();
            for image in content.images.iter().filter(|image| image.namespaces.contains(namespace)) {
                let mut parent = None;
                for layer in &image.layers {
                    let (chain, number) = (layer.chain_id, known.len() as u64 + 1);
                    let place = *known.entry(chain).or_insert_with(|| {
                        all.push(Snapshot { namespace, chain, number, parent });
                        all.len() - 1
                    });
                    parent = Some(place);
                }
            }
        }
        Self(all)
    }

    /// Walks all snapshots with their ids.
    pub(super) fn with_ids(&self) -> impl Iterator<Item = (u64, &Snapshot<'a>)> {
        (1..).zip(&self.0)
    }

    fn parent(&self, snapshot: &Snapshot<'a>) -> Option<(u64, &Snapshot<'a>)> {
        snapshot.parent.map(|place| (place as u64 + 1, &self.0[place]))
    }

    /// Makes the snapshotter's `metadata.db`.
    pub(super) fn database(&self) -> Bucket {
        let mut root = Bucket::new();
        let version = root.bucket("v1");
        version.bucket("parents");
        version.bucket("snapshots").set_sequence(self.0.len() as u64);
        for (id, snapshot) in self.with_ids() {
            let key = snapshot.key();
            let record = version.bucket("snapshots").bucket(key.as_str());
            record.put("createdat", value::epoch());
            record.put("id", value::unsigned(id));
            record.put("inodes", value::signed(1));
            record.put("kind", COMMITTED);
            record.put("size", value::signed(0));
            record.put("updatedat", value::epoch());
            if let Some((parent_id, parent)) = self.parent(snapshot) {
                record.put("parent", parent.key());
                let pair = [value::unsigned(parent_id), vec![0], value::unsigned(id)].concat();
                version.bucket("parents").put(pair, key);
            }
        }
        root
    }

    /// Adds the records of the snapshotter `name` to the namespaces of `meta.db`.
    pub(super) fn add_records(&self, version: &mut Bucket, name: &str) {
        for (id, snapshot) in self.with_ids() {
            let chain = snapshot.chain.to_string();
            let parent = self.parent(snapshot).map(|(_, parent)| parent.chain.to_string());
            let all = version.bucket(snapshot.namespace.as_str()).bucket("snapshots").bucket(name);
            all.set_sequence(snapshot.number);
            let record = all.bucket(chain.as_str());
            record.put("createdat", value::epoch());
            record.bucket("labels").put(DIRECTORY_LABEL, id.to_string());
            record.put("name", snapshot.key());
            record.put("updatedat", value::epoch());
            if let Some(parent) = parent {
                record.put("parent", parent.as_str());
                all.bucket(parent).bucket("children").put(chain, "");
            }
        }
    }
}

/// The kind of a snapshot that can be a parent (`snapshots.KindCommitted`).
const COMMITTED: [u8; 1] = [3];
