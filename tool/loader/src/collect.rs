//! Sorted collections made by inserting.
//!
//! The standard library's `collect` into them sorts first, with a copy of its
//! sort for each type: together 60 KB of a loader that may have 2.5 MB.

use std::collections::{BTreeMap, BTreeSet};

/// Makes a map.
pub(crate) fn map<K: Ord, V>(pairs: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        map.insert(key, value);
    }
    map
}

/// Makes a set.
pub(crate) fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    for item in items {
        set.insert(item);
    }
    set
}
