//! The numbers by which links lead to blobs and layers: a function of the seed's content alone.

use std::collections::BTreeMap;

use ociseed_spec::lock::{Content, LockedImage};
use ociseed_spec::{ChainId, Digest};

/// The numbers of all blobs and layers of a seed.
#[derive(Debug)]
pub(super) struct Numbers {
    /// By the digest of each blob, whether the medium has it or not.
    pub(super) blobs: BTreeMap<Digest, usize>,
    /// By the chain id of each layer.
    pub(super) layers: BTreeMap<ChainId, usize>,
}

impl Numbers {
    pub(super) fn of(content: &Content) -> Self {
        let images = || content.images.iter();
        Self {
            blobs: numbered(images().flat_map(LockedImage::blobs).map(|blob| blob.digest)),
            layers: numbered(images().flat_map(|image| &image.layers).map(|layer| layer.chain_id)),
        }
    }
}

/// Counts different keys in their order.
fn numbered<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut numbers: BTreeMap<K, usize> = keys.map(|key| (key, 0)).collect();
    numbers.values_mut().enumerate().for_each(|(index, number)| *number = index);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_keys_are_counted_in_their_order() {
        let numbers = numbered("banana".chars());
        assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [('a', 0), ('b', 1), ('n', 2)]);
    }
}
