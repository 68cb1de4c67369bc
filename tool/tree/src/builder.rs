//! Building a tree from several sources without one hiding the other.
//!
//! The result does not depend on the order of insertions: whatever would is
//! an error that names both sources.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use ociseed_spec::TreePath;

use crate::{Entry, Node, Tree};

/// How much a source means what it says of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// The directory came with others, as one of many.
    Incidental,
    /// The directory was asked for by name; its mode and owner count.
    Explicit,
}

/// Collects entries and finds contradictions.
#[derive(Debug, Default)]
pub struct Builder {
    entries: BTreeMap<TreePath, Inserted>,
    conflicts: Vec<BuildError>,
}

#[derive(Debug)]
struct Inserted {
    entry: Entry,
    precedence: Precedence,
    source: usize,
}

/// Names two sources that cannot both be right, by the numbers that they were inserted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    /// Both write one path.
    SamePath {
        /// The path.
        path: TreePath,
        /// The sources.
        sources: [usize; 2],
    },
    /// One puts something below what the other made a file or link.
    BelowFile {
        /// What is below.
        path: TreePath,
        /// What is no directory.
        file: TreePath,
        /// The source of `path`, then that of `file`.
        sources: [usize; 2],
    },
}

impl Builder {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `entry` at `path`, on behalf of `source`; the root itself is never an entry.
    pub fn insert(&mut self, path: TreePath, entry: Entry, precedence: Precedence, source: usize) {
        if path.is_root() {
            return;
        }
        let new = Inserted { entry, precedence, source };
        match self.entries.entry(path) {
            Slot::Vacant(slot) => {
                slot.insert(new);
            }
            Slot::Occupied(mut slot) => match merge(slot.get(), &new) {
                Merged::Old => {}
                Merged::New => {
                    slot.insert(new);
                }
                Merged::Conflict => {
                    let mut sources = [slot.get().source, new.source];
                    sources.sort_unstable();
                    self.conflicts.push(BuildError::SamePath { path: slot.key().clone(), sources });
                }
            },
        }
    }

    /// Returns the tree with all parents that nothing made as 0755, 0:0.
    ///
    /// # Errors
    /// All contradictions, in the order of paths.
    pub fn finish(mut self) -> Result<Tree, Vec<BuildError>> {
        let mut implied: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, inserted) in &self.entries {
            let mut below = path.parent();
            while let Some(parent) = below.filter(|parent| !parent.is_root() && !implied.contains_key(parent))
            {
                match self.entries.get(&parent) {
                    None => {
                        implied.insert(parent.clone(), Entry::directory());
                    }
                    Some(found) if matches!(found.entry.node, Node::Directory) => {}
                    Some(found) => self.conflicts.push(BuildError::BelowFile {
                        path: path.clone(),
                        file: parent.clone(),
                        sources: [inserted.source, found.source],
                    }),
                }
                below = parent.parent();
            }
        }
        if !self.conflicts.is_empty() {
            return Err(self.conflicts);
        }
        let entries = self.entries.into_iter().map(|(path, inserted)| (path, inserted.entry));
        Ok(Tree { entries: entries.chain(implied).collect() })
    }
}

enum Merged {
    Old,
    New,
    Conflict,
}

fn merge(old: &Inserted, new: &Inserted) -> Merged {
    if !matches!((&old.entry.node, &new.entry.node), (Node::Directory, Node::Directory)) {
        return Merged::Conflict;
    }
    match new.precedence.cmp(&old.precedence) {
        std::cmp::Ordering::Greater => Merged::New,
        std::cmp::Ordering::Less => Merged::Old,
        std::cmp::Ordering::Equal if new.precedence == Precedence::Explicit => Merged::Conflict,
        std::cmp::Ordering::Equal if new.entry.stat == old.entry.stat => Merged::Old,
        std::cmp::Ordering::Equal => Merged::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, Stat};
    use ociseed_spec::FileMode;

    fn path(text: &str) -> TreePath {
        text.parse().expect("a good path")
    }

    fn file() -> Entry {
        Entry::file(Content::bytes(*b"x"))
    }

    #[test]
    fn parents_are_implied_and_never_cover_what_is_there() {
        let mut builder = Builder::new();
        builder.insert(path("/a/b/c"), file(), Precedence::Incidental, 0);
        let private =
            Entry { stat: Stat { mode: FileMode::new(0o700), ..Stat::DIRECTORY }, ..Entry::directory() };
        builder.insert(path("/a"), private, Precedence::Explicit, 1);
        let tree = builder.finish().expect("no conflict");
        let modes: Vec<_> =
            tree.iter().map(|(path, entry)| (path.to_string(), entry.stat.mode.bits())).collect();
        assert_eq!(modes, [("/a".into(), 0o700), ("/a/b".into(), 0o755), ("/a/b/c".into(), 0o644)]);
    }

    #[test]
    fn what_depends_on_order_is_an_error_in_any_order() {
        let cases = [
            ("/a", file(), "/a", file(), true),
            ("/a", file(), "/a", Entry::directory(), true),
            ("/a", file(), "/a/b", file(), true),
            ("/a", file(), "/a/b/c", file(), true),
            ("/a", Entry::directory(), "/a/b", file(), false),
            ("/a", Entry::directory(), "/a", Entry::directory(), false),
        ];
        for (first, one, second, two, conflicts) in cases {
            for swap in [false, true] {
                let mut builder = Builder::new();
                let mut both = [(first, one.clone(), 0), (second, two.clone(), 1)];
                if swap {
                    both.reverse();
                }
                for (at, entry, source) in both {
                    builder.insert(path(at), entry, Precedence::Incidental, source);
                }
                assert_eq!(builder.finish().is_err(), conflicts, "{first} {second} {swap}");
            }
        }
    }

    #[test]
    fn two_that_were_asked_for_by_name_contradict_each_other() {
        let mut builder = Builder::new();
        for source in [0, 1] {
            builder.insert(path("/a"), Entry::directory(), Precedence::Explicit, source);
        }
        let expected = BuildError::SamePath { path: path("/a"), sources: [0, 1] };
        assert_eq!(builder.finish().expect_err("conflict"), [expected]);
    }
}
