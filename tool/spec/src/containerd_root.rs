//! What the parts of containerd's root are called that leads to a seed, and where its links lead.
//!
//! Two make such links: the arrangement of a whole root before the engine runs, and the loader in a root that it finds. They
//! make the same, so that either knows the other's. `docs/format.md`, section "The store `containerd`", is the contract.

use std::collections::BTreeMap;

use crate::lock::{Content, LockedImage};
use crate::{ChainId, Digest};

/// The part of the store, below its place in a seed, that becomes containerd's root.
pub const SKELETON: &str = "root";

/// The directory of containerd's database; only with that it knows of anything.
pub const METADATA: &str = "io.containerd.metadata.v1.bolt";

/// The name of the database in that directory.
pub const METADATA_FILE: &str = "meta.db";

/// The directory of all blobs, by the hexadecimal digits of their digests.
pub const BLOBS: &str = "io.containerd.content.v1.content/blobs/sha256";

/// Begins the names of links to seeds in a root; the first digits of the seed id follow.
pub const ALIAS: &str = "io.ociseed.seed.";

/// Where the loader keeps what belongs to one boot. The links of roots lead through here, wherever a loader is told to work.
pub const RUN_DIRECTORY: &str = "/run/ociseed";

/// The directory in there that has the links to seeds.
pub const SEEDS: &str = "seeds";

/// How many digits of a seed id a link has: so few that targets stay short enough for an inode of ext4, which has room for 59
/// bytes.
const DIGITS: usize = 16;

/// Returns the directory of a snapshotter, in which `metadata.db` and `snapshots` are.
pub fn snapshotter(name: &str) -> String {
    format!("io.containerd.snapshotter.v1.{name}")
}

/// Returns a seed id as names in roots have it.
pub fn short(seed_id: &Digest) -> String {
    seed_id.hex().chars().take(DIGITS).collect()
}

/// Returns the name of the link in a root through which all others lead to the seed's store.
pub fn alias(seed_id: &Digest) -> String {
    format!("{ALIAS}{}", short(seed_id))
}

/// Returns the link on a target through which everything leads to a seed; its name is the seed id in hexadecimal digits.
pub fn seed_link(seed_id: &Digest) -> String {
    format!("{RUN_DIRECTORY}/{SEEDS}/{}", seed_id.hex())
}

/// Returns what a store calls the link to a blob.
pub fn blob(number: usize) -> String {
    format!("blobs/{number}")
}

/// Returns what a store calls the directory of a layer; its `fs` is the link to it.
pub fn layer(number: usize) -> String {
    format!("layers/{number}")
}

/// Returns where the link in place of a blob leads, from [`BLOBS`].
pub fn blob_target(alias: &str, number: usize) -> String {
    format!("../../../{alias}/{}", blob(number))
}

/// Returns where the link in place of a snapshot leads, from the snapshotter's `snapshots`.
pub fn snapshot_target(alias: &str, number: usize) -> String {
    format!("../../{alias}/{}", layer(number))
}

/// Returns where the link in place of the `fs` of a snapshot leads whose directory containerd made itself.
pub fn snapshot_fs_target(alias: &str, number: usize) -> String {
    format!("../{}/fs", snapshot_target(alias, number))
}

/// The numbers by which links lead to all blobs and layers of a seed: a function of its content alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// By the digest of each blob, whether the medium has it or not.
    pub blobs: BTreeMap<Digest, usize>,
    /// By the chain id of each layer.
    pub layers: BTreeMap<ChainId, usize>,
}

impl Numbers {
    /// Numbers a seed's blobs and layers.
    pub fn of(content: &Content) -> Self {
        let images = || content.images.iter();
        Self {
            blobs: numbered(images().flat_map(LockedImage::blobs).map(|blob| blob.digest)),
            layers: numbered(images().flat_map(|image| &image.layers).map(|layer| layer.chain_id)),
        }
    }
}

/// Counts different keys in their order.
fn numbered<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut numbers = BTreeMap::new();
    // Not collected, which would take a sort of its own along into the loader.
    for key in keys {
        numbers.insert(key, 0);
    }
    numbers.values_mut().enumerate().for_each(|(index, number)| *number = index);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Lock;

    #[test]
    fn different_keys_are_counted_in_their_order() {
        let numbers = numbered("banana".chars());
        assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [('a', 0), ('b', 1), ('n', 2)]);
    }

    #[test]
    fn every_blob_and_layer_of_a_seed_has_a_number() {
        let golden = include_bytes!("../../../tests/golden/format/medium-seed.json");
        let content = Lock::parse(golden).expect("the example").content;
        let numbers = Numbers::of(&content);
        for image in &content.images {
            assert!(image.blobs().all(|blob| numbers.blobs.contains_key(&blob.digest)));
            assert!(image.layers.iter().all(|layer| numbers.layers.contains_key(&layer.chain_id)));
        }
        assert_eq!(numbers.blobs.values().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(numbers.layers.values().copied().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn names_are_those_of_the_format() {
        let id = Digest::of(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let alias = alias(&id);
        let cases = [
            (short(&id), "e3b0c44298fc1c14".to_owned()),
            (alias.clone(), "io.ociseed.seed.e3b0c44298fc1c14".to_owned()),
            (seed_link(&id), format!("/run/ociseed/seeds/{hex}")),
            (snapshotter("overlayfs"), "io.containerd.snapshotter.v1.overlayfs".to_owned()),
            (blob_target(&alias, 7), "../../../io.ociseed.seed.e3b0c44298fc1c14/blobs/7".to_owned()),
            (snapshot_target(&alias, 8), "../../io.ociseed.seed.e3b0c44298fc1c14/layers/8".to_owned()),
            (
                snapshot_fs_target(&alias, 9),
                "../../../io.ociseed.seed.e3b0c44298fc1c14/layers/9/fs".to_owned(),
            ),
        ];
        for (found, expected) in cases {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn targets_lead_from_where_their_links_are_and_fit_into_an_inode() {
        let alias = alias(&Digest::of(b""));
        let snapshots = format!("{}/snapshots", snapshotter("overlayfs"));
        let many = 999_999;
        let cases = [
            (BLOBS.to_owned(), blob_target(&alias, many)),
            (snapshots.clone(), snapshot_target(&alias, many)),
            (format!("{snapshots}/1"), snapshot_fs_target(&alias, many)),
        ];
        for (directory, target) in cases {
            let up = target.split('/').take_while(|part| *part == "..").count();
            assert_eq!(up, directory.split('/').count(), "{directory} {target}");
            assert!(target.len() <= 59, "{target}");
        }
    }
}
