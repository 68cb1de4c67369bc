//! Building a tree from several sources without one hiding the other.
//!
//! Unless a source says that it replaces, the result does not depend on the
//! order of insertions: whatever would is an error that names both sources.

mod merge;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::mem;

use ociseed_spec::TreePath;

pub use self::merge::{Claim, Precedence};
use self::merge::{Inserted, Merged, merge};
use crate::links::{self, Links};
use crate::{Entry, Node, Tree};

/// Collects entries and finds contradictions.
#[derive(Debug, Default)]
pub struct Builder {
    entries: BTreeMap<TreePath, Inserted>,
    links: Links,
    /// What was replaced and has further names, which keep it.
    kept: Vec<Node>,
    /// These names, with the number of what they keep. Their entries are links that nobody follows.
    heirs: BTreeMap<TreePath, usize>,
    /// Sources that write one path, until one comes that decides between them.
    conflicts: BTreeMap<TreePath, Vec<[u32; 2]>>,
}

/// Names sources that cannot be right, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildError {
    /// Two write one path.
    SamePath {
        /// The path.
        path: TreePath,
        /// The sources.
        sources: [u32; 2],
    },
    /// One puts something below what the other made no directory.
    BelowFile {
        /// What is below.
        path: TreePath,
        /// What is no directory.
        file: TreePath,
        /// The source of `path`, then that of `file`.
        sources: [u32; 2],
    },
    /// A hard link names what is not there, a directory or a whiteout.
    LinkTarget {
        /// The link.
        path: TreePath,
        /// What it names.
        target: TreePath,
        /// The link's source.
        source: u32,
    },
}

impl Builder {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `entry` at `path`; the root itself is never an entry. Sources come in the order of their numbers.
    ///
    /// A hard link names what is at its target when the tree is finished, or if that is replaced, what was there.
    pub fn insert(&mut self, path: TreePath, entry: Entry, claim: Claim) {
        if path.is_root() {
            return;
        }
        let new = Inserted { entry, claim };
        match self.entries.entry(path) {
            Slot::Vacant(slot) => {
                self.links.note(slot.key(), &new.entry);
                slot.insert(new);
            }
            Slot::Occupied(mut slot) => match merge(slot.get(), &new) {
                Merged::Same(merged) => slot.get_mut().entry = merged,
                Merged::New(merged) => {
                    self.conflicts.remove(slot.key());
                    *slot.get_mut() = Inserted { entry: merged, ..new };
                }
                Merged::Replaced => {
                    self.conflicts.remove(slot.key());
                    let path = slot.key().clone();
                    let old = slot.insert(new);
                    self.keep(&path, old.entry.node);
                }
                Merged::Conflict => {
                    let mut sources = [slot.get().claim.source, new.claim.source];
                    sources.sort_unstable();
                    self.conflicts.entry(slot.key().clone()).or_default().push(sources);
                }
            },
        }
    }

    /// Keeps what was replaced at `path` for its further names, if it has any.
    fn keep(&mut self, path: &TreePath, old: Node) {
        let kept = self.heirs.remove(path);
        let names = self.links.take(path);
        if let Some(new) = self.entries.get(path) {
            self.links.note(path, &new.entry);
        }
        let names = names.into_iter().filter(|name| {
            let entry = self.entries.get(name).map(|found| &found.entry.node);
            matches!(entry, Some(Node::Link(target)) if target == path) && !self.heirs.contains_key(name)
        });
        let mut names = names.collect::<Vec<_>>().into_iter().peekable();
        if names.peek().is_none() {
            return;
        }
        match (kept, old) {
            (Some(kept), _) => self.heirs.extend(names.map(|name| (name, kept))),
            // Whatever they name in the end, it is not this.
            (None, Node::Directory { .. } | Node::Whiteout) => self.links.put_back(path, names),
            (None, old @ Node::Link(_)) => names.for_each(|name| {
                if let Some(inserted) = self.entries.get_mut(&name) {
                    inserted.entry.node = old.clone();
                    self.links.note(&name, &inserted.entry);
                }
            }),
            (None, old) => {
                self.heirs.extend(names.map(|name| (name, self.kept.len())));
                self.kept.push(old);
            }
        }
    }

    /// Gives what was replaced to the first of the names that keep it, and makes the others links to that.
    fn inherit(&mut self) {
        let mut first: Vec<Option<TreePath>> = vec![None; self.kept.len()];
        for (name, kept) in mem::take(&mut self.heirs) {
            let Some(inserted) = self.entries.get_mut(&name) else { continue };
            inserted.entry.node = match &first[kept] {
                Some(first) => Node::Link(first.clone()),
                None => mem::replace(&mut self.kept[kept], Node::Whiteout),
            };
            first[kept].get_or_insert(name);
        }
    }

    /// Returns the tree with all parents that nothing made as 0755, 0:0.
    ///
    /// # Errors
    /// All contradictions: paths that two write, in their order, then those below what is no directory, then links.
    pub fn finish(mut self) -> Result<Tree, Vec<BuildError>> {
        self.inherit();
        let same = mem::take(&mut self.conflicts).into_iter().flat_map(|(path, conflicts)| {
            conflicts.into_iter().map(move |sources| BuildError::SamePath { path: path.clone(), sources })
        });
        let mut conflicts: Vec<BuildError> = same.collect();
        let implied = self.implied_parents(&mut conflicts);
        self.check_links(&mut conflicts);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        drop(self.links);
        let entries = self.entries.into_iter().map(|(path, inserted)| (path, inserted.entry));
        let mut entries: BTreeMap<TreePath, Entry> = entries.collect();
        let names = implied.keys().cloned().collect();
        entries.extend(implied);
        links::normalize(&mut entries);
        Ok(Tree { entries, implied: names, ..Tree::default() })
    }

    fn implied_parents(&self, conflicts: &mut Vec<BuildError>) -> BTreeMap<TreePath, Entry> {
        let mut implied: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for (path, inserted) in &self.entries {
            let mut below = path.parent();
            while let Some(parent) = below.filter(|parent| !parent.is_root() && !implied.contains_key(parent))
            {
                match self.entries.get(&parent) {
                    None => {
                        implied.insert(parent.clone(), Entry::directory());
                    }
                    // Its own parents were seen to when it was walked: it sorts before.
                    Some(found) if found.entry.is_directory() => break,
                    Some(found) => {
                        conflicts.push(BuildError::BelowFile {
                            path: path.clone(),
                            file: parent.clone(),
                            sources: [inserted.claim.source, found.claim.source],
                        });
                        break;
                    }
                }
                below = parent.parent();
            }
        }
        implied
    }

    fn check_links(&self, conflicts: &mut Vec<BuildError>) {
        for (path, inserted) in &self.entries {
            if let Node::Link(target) = &inserted.entry.node
                && !links::leads_somewhere(path, |path| self.entries.get(path).map(|found| &found.entry))
            {
                conflicts.push(BuildError::LinkTarget {
                    path: path.clone(),
                    target: target.clone(),
                    source: inserted.claim.source,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::path;
    use crate::{Content, Stat};
    use ociseed_spec::FileMode;

    fn file() -> Entry {
        Entry::file(Content::bytes(*b"x"))
    }

    #[test]
    fn parents_are_implied_and_never_cover_what_is_there() {
        let mut builder = Builder::new();
        builder.insert(path("/a/b/c"), file(), Claim::new(0, Precedence::Incidental));
        let private =
            Entry { stat: Stat { mode: FileMode::new(0o700), ..Stat::DIRECTORY }, ..Entry::directory() };
        builder.insert(path("/a"), private, Claim::new(1, Precedence::Explicit));
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
                    builder.insert(path(at), entry, Claim::new(source, Precedence::Incidental));
                }
                assert_eq!(builder.finish().is_err(), conflicts, "{first} {second} {swap}");
            }
        }
    }

    #[test]
    fn two_that_were_asked_for_by_name_contradict_each_other() {
        let mut builder = Builder::new();
        for source in [0, 1] {
            builder.insert(path("/a"), Entry::directory(), Claim::new(source, Precedence::Explicit));
        }
        let expected = BuildError::SamePath { path: path("/a"), sources: [0, 1] };
        assert_eq!(builder.finish().expect_err("conflict"), [expected]);
    }

    fn replacing(source: u32) -> Claim {
        Claim { replace: true, ..Claim::new(source, Precedence::Explicit) }
    }

    fn text(tree: &Tree, at: &str) -> Vec<u8> {
        match &tree.get(&path(at)).expect(at).node {
            Node::File(content) => {
                let mut bytes = Vec::new();
                content.copy_to(&mut bytes).expect("in memory");
                bytes
            }
            other => panic!("{at}: {other:?}"),
        }
    }

    #[test]
    fn who_replaces_wins_over_what_is_above() {
        let mut builder = Builder::new();
        builder.insert(path("/a"), file(), Claim::new(0, Precedence::Explicit));
        builder.insert(path("/a"), Entry::file(Content::bytes(*b"new")), replacing(1));
        assert_eq!(text(&builder.finish().expect("no conflict"), "/a"), b"new");
        let mut builder = Builder::new();
        builder.insert(path("/a"), file(), replacing(0));
        builder.insert(path("/a"), file(), Claim::new(1, Precedence::Explicit));
        assert!(builder.finish().is_err(), "what comes below a replacing entry is not replaced");
    }

    #[test]
    fn a_link_keeps_what_it_named_when_that_is_replaced() {
        let mut builder = Builder::new();
        let link = || Entry { node: Node::Link(path("/a")), ..file() };
        builder.insert(path("/a"), file(), Claim::new(0, Precedence::Incidental));
        builder.insert(path("/c"), link(), Claim::new(0, Precedence::Incidental));
        builder.insert(path("/b"), link(), Claim::new(0, Precedence::Incidental));
        builder.insert(path("/a"), Entry::file(Content::bytes(*b"new")), replacing(1));
        let tree = builder.finish().expect("no conflict");
        assert_eq!((text(&tree, "/a"), text(&tree, "/b")), (b"new".to_vec(), b"x".to_vec()));
        assert!(matches!(&tree.get(&path("/c")).expect("there").node, Node::Link(to) if *to == path("/b")));
    }

    #[test]
    fn names_of_what_is_replaced_keep_it_whoever_of_them_is_replaced_too() {
        let mut builder = Builder::new();
        let link = |target: &str| Entry { node: Node::Link(path(target)), ..file() };
        let claim = Claim::new(0, Precedence::Incidental);
        builder.insert(path("/a"), file(), claim);
        for name in ["/b", "/c", "/d"] {
            builder.insert(path(name), link("/a"), claim);
        }
        let new = Entry::file(Content::bytes(*b"new"));
        builder.insert(path("/a"), new, replacing(1));
        builder.insert(path("/b"), link("/a"), replacing(1));
        builder.insert(path("/e"), link("/c"), replacing(2));
        builder.insert(path("/c"), Entry::file(Content::bytes(*b"newer")), replacing(3));
        let tree = builder.finish().expect("no conflict");
        let texts = ["/a", "/c", "/d"].map(|at| text(&tree, at));
        assert_eq!(texts, [b"new".to_vec(), b"newer".to_vec(), b"x".to_vec()]);
        for (name, first) in [("/b", "/a"), ("/e", "/d")] {
            let node = &tree.get(&path(name)).expect("there").node;
            assert!(matches!(node, Node::Link(to) if *to == path(first)), "{name}: {node:?}");
        }
    }

    #[test]
    fn names_of_a_replaced_directory_or_whiteout_are_not_one_too() {
        for old in [Entry::directory(), Entry::whiteout()] {
            let mut builder = Builder::new();
            builder.insert(path("/a"), old, Claim::new(0, Precedence::Explicit));
            let link = Entry { node: Node::Link(path("/a")), ..file() };
            builder.insert(path("/b"), link, Claim::new(1, Precedence::Explicit));
            builder.insert(path("/a"), file(), replacing(2));
            let tree = builder.finish().expect("no conflict");
            assert!(
                matches!(&tree.get(&path("/b")).expect("there").node, Node::Link(to) if *to == path("/a"))
            );
        }
    }

    /// Two seconds; an hour, which no run of the tests waits for, where each replaced name looks at all others.
    #[test]
    fn replacing_many_names_of_one_file_takes_no_longer_than_making_them() {
        let mut builder = Builder::new();
        for source in [0, 1] {
            let name = |number: u32| path(&format!("/l/{number:06}"));
            builder.insert(name(0), file(), replacing(source));
            for number in 1..20_000 {
                let link = Entry { node: Node::Link(name(0)), ..file() };
                builder.insert(name(number), link, replacing(source));
            }
        }
        assert_eq!(builder.finish().expect("no conflict").len(), 20_001);
    }

    #[test]
    fn the_first_name_is_the_file() {
        let mut builder = Builder::new();
        let link = |target: &str| Entry { node: Node::Link(path(target)), ..file() };
        builder.insert(path("/b"), file(), Claim::new(0, Precedence::Explicit));
        builder.insert(path("/a"), link("/c"), Claim::new(1, Precedence::Explicit));
        builder.insert(path("/c"), link("/b"), Claim::new(2, Precedence::Explicit));
        let tree = builder.finish().expect("no conflict");
        assert_eq!(text(&tree, "/a"), b"x");
        for name in ["/b", "/c"] {
            assert!(
                matches!(&tree.get(&path(name)).expect("there").node, Node::Link(to) if *to == path("/a"))
            );
        }
    }

    #[test]
    fn links_to_nothing_directories_and_themselves_are_refused() {
        for target in ["/none", "/d", "/l", "/w"] {
            let mut builder = Builder::new();
            builder.insert(path("/d"), Entry::directory(), Claim::new(0, Precedence::Explicit));
            builder.insert(path("/w"), Entry::whiteout(), Claim::new(0, Precedence::Explicit));
            let link = Entry { node: Node::Link(path(target)), ..file() };
            builder.insert(path("/l"), link, Claim::new(1, Precedence::Explicit));
            let expected = BuildError::LinkTarget { path: path("/l"), target: path(target), source: 1 };
            assert_eq!(builder.finish().expect_err(target), [expected]);
        }
    }
}
