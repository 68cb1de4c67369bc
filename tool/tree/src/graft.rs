//! Trees put into each other, and taken out again.

use ociseed_spec::{Timestamp, TreePath};

use crate::{Entry, Node, Tree};

/// Looking for the place of so few costs less than going through all.
const MANY: usize = 16;

impl Tree {
    /// Moves everything below a directory, which is there afterwards, as are those above it, 0755 and 0:0.
    #[must_use]
    pub fn below(self, directory: &TreePath) -> Self {
        let mut entries: std::collections::BTreeMap<_, _> = self
            .entries
            .into_iter()
            .map(|(path, mut entry)| {
                if let Node::Link(first) = &mut entry.node {
                    *first = first.below(directory);
                }
                (path.below(directory), entry)
            })
            .collect();
        let mut at = directory.clone();
        while !at.is_root() {
            let above = at.parent();
            entries.insert(at, Entry::directory());
            at = above.unwrap_or_else(TreePath::root);
        }
        let implied = self.implied.iter().map(|path| path.below(directory)).collect();
        let unpacking = self.unpacking.iter().map(|(path, note)| (path.below(directory), *note)).collect();
        Self { entries, implied, unpacking }
    }

    /// Adds what another tree has; of what both have, this one's stays.
    pub fn add(&mut self, mut other: Self) {
        if other.entries.len() < self.entries.len() / MANY {
            for (path, entry) in other.entries {
                self.entries.entry(path).or_insert(entry);
            }
        } else {
            // Both are in order: they are gone through once, and the later one counts.
            other.entries.append(&mut self.entries);
            self.entries = other.entries;
        }
    }

    /// Returns what is below a directory, as a tree of its own.
    ///
    /// Nothing where the directory is not there, or where something in it is a further name of what lies outside.
    pub fn within(&self, directory: &TreePath) -> Option<Self> {
        if !directory.is_root() && !self.get(directory)?.is_directory() {
            return None;
        }
        let depth = directory.parts().count();
        let relative = |path: &TreePath| {
            let parts: Vec<&[u8]> = path.parts().skip(depth).collect();
            TreePath::parse(&parts.join(&b"/"[..])).ok()
        };
        let mut tree = Self::default();
        let from = self.entries.range(directory.clone()..).skip_while(|(path, _)| *path == directory);
        for (path, entry) in from.take_while(|(path, _)| directory.is_root() || path.is_below(directory)) {
            let mut entry = entry.clone();
            if let Node::Link(first) = &mut entry.node {
                if !directory.is_root() && !first.is_below(directory) {
                    return None;
                }
                *first = relative(first)?;
            }
            tree.entries.insert(relative(path)?, entry);
        }
        Some(tree)
    }

    /// Cuts the fractions of seconds off all times, for forms that have no place for them.
    pub fn cut_fractions(&mut self) {
        for entry in self.entries.values_mut() {
            entry.stat.mtime = Timestamp::new(entry.stat.mtime.seconds(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{file, link, listed, path, tree};

    #[test]
    fn what_is_put_in_comes_out() {
        let file = file("1");
        let inner = tree([("/a/f", file.clone()), ("/a/g", link("/a/f")), ("/z", Entry::symlink(*b"a/f"))]);
        let mut outer = inner.clone().below(&path("/x/y"));
        outer.add(tree([("/x/b", file.clone()), ("/x/y-more", file), ("/x/y/z", Entry::fifo())]));
        let paths: Vec<_> = outer.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(paths, ["/x", "/x/b", "/x/y", "/x/y/a", "/x/y/a/f", "/x/y/a/g", "/x/y/z", "/x/y-more"]);
        assert_eq!(listed(&outer.within(&path("/x/y")).expect("there")), listed(&inner));
        assert_eq!(listed(&outer.within(&TreePath::root()).expect("there")), listed(&outer));
        assert!(outer.within(&path("/x/b")).is_none() && outer.within(&path("/q")).is_none());
    }

    #[test]
    fn a_part_whose_files_have_names_outside_is_none() {
        let both = tree([("/a", file("1")), ("/b/c", link("/a"))]);
        assert!(both.within(&path("/b")).is_none());
    }

    #[test]
    fn fractions_of_seconds_are_cut_off() {
        let mut file = file("1");
        file.stat.mtime = Timestamp::new(5, 7);
        let mut cut = tree([("/a", file)]);
        cut.cut_fractions();
        assert_eq!(cut.get(&path("/a")).expect("there").stat.mtime, Timestamp::new(5, 0));
    }
}
