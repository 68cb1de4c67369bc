//! Hard links: which names one file has.
//!
//! A tree keeps a file at the first of its names, in the order of paths; the
//! others are links to that. However the names came in, the tree is the same.

use std::collections::BTreeMap;

use ociseed_spec::TreePath;

use crate::{Entry, Node};

/// Remembers which links name a path.
#[derive(Debug, Default)]
pub(crate) struct Links(BTreeMap<TreePath, Vec<TreePath>>);

impl Links {
    /// Remembers `entry` at `path`, if it is a link.
    pub(crate) fn note(&mut self, path: &TreePath, entry: &Entry) {
        if let Node::Link(target) = &entry.node {
            self.0.entry(target.clone()).or_default().push(path.clone());
        }
    }

    /// Remembers again what was taken.
    pub(crate) fn put_back(&mut self, target: &TreePath, names: impl Iterator<Item = TreePath>) {
        self.0.entry(target.clone()).or_default().extend(names);
    }

    /// Forgets and returns the links that name a path, sorted.
    pub(crate) fn take(&mut self, target: &TreePath) -> Vec<TreePath> {
        let mut names = self.0.remove(target).unwrap_or_default();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Tells whether a link leads, over other links if need be, to what can have several names.
pub(crate) fn leads_somewhere<'a>(path: &TreePath, get: impl Fn(&TreePath) -> Option<&'a Entry>) -> bool {
    resolve(path, get).is_some()
}

/// Follows links from `path` to what has content of its own.
fn resolve<'a>(path: &TreePath, get: impl Fn(&TreePath) -> Option<&'a Entry>) -> Option<TreePath> {
    // Two pointers: the slow one is met again where links go in a circle.
    let next = |path: &TreePath| match get(path).map(|entry| &entry.node) {
        Some(Node::Link(target)) => Some(target.clone()),
        _ => None,
    };
    let (mut slow, mut fast) = (path.clone(), path.clone());
    loop {
        for _ in 0..2 {
            match next(&fast) {
                Some(target) => fast = target,
                None => {
                    let found = &get(&fast)?.node;
                    return (!matches!(found, Node::Directory { .. } | Node::Whiteout)).then_some(fast);
                }
            }
        }
        slow = next(&slow)?;
        if slow == fast {
            return None;
        }
    }
}

/// Puts every file at the first of its names and makes all others links to it, with the same metadata.
///
/// Links that lead nowhere stay; callers have refused them.
pub(crate) fn normalize(entries: &mut BTreeMap<TreePath, Entry>) {
    let mut names: BTreeMap<TreePath, Vec<TreePath>> = BTreeMap::new();
    for (path, entry) in entries.iter() {
        if matches!(entry.node, Node::Link(_))
            && let Some(file) = resolve(path, |path| entries.get(path))
        {
            names.entry(file).or_default().push(path.clone());
        }
    }
    for (file, mut names) in names {
        let Some(whole) = entries.remove(&file) else { continue };
        names.push(file);
        names.sort_unstable();
        let mut names = names.into_iter();
        let first = names.next().expect("the file itself is one");
        for name in names {
            entries.insert(name, Entry { stat: whole.stat.clone(), node: Node::Link(first.clone()) });
        }
        entries.insert(first, whole);
    }
}
