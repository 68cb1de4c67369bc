//! Two entries with one path: which of them stays, or what of both.

use ociseed_spec::FileMode;

use crate::{Entry, Node};

/// How much a source means what it says of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precedence {
    /// The directory is of the host, which contributes none of its metadata.
    Host,
    /// The directory came with others, as one of many.
    Incidental,
    /// The directory was asked for by name; its metadata count.
    Explicit,
}

/// On whose behalf something is inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The source's number; conflicts name it.
    pub source: u32,
    /// How much it means what it says of directories.
    pub precedence: Precedence,
    /// Whether it wins over sources with lower numbers.
    pub replace: bool,
}

impl Claim {
    /// Claims for a source that replaces nothing.
    pub fn new(source: u32, precedence: Precedence) -> Self {
        Self { source, precedence, replace: false }
    }
}

/// An entry and on whose behalf it is there.
#[derive(Debug)]
pub(super) struct Inserted {
    pub(super) entry: Entry,
    pub(super) claim: Claim,
}

/// What becomes of two entries with one path.
pub(super) enum Merged {
    /// Both are one; the source stays.
    Same(Entry),
    /// Both are one; the new source counts.
    New(Entry),
    /// The old one is gone.
    Replaced,
    Conflict,
}

/// Decides between two entries with one path.
pub(super) fn merge(old: &Inserted, new: &Inserted) -> Merged {
    let replaces = new.claim.replace && new.claim.source > old.claim.source;
    match (&old.entry.node, &new.entry.node) {
        (Node::Directory { opaque: one }, Node::Directory { opaque: two }) => {
            let node = Node::Directory { opaque: *one || *two };
            merge_directories(old, new, node, replaces)
        }
        _ if replaces => Merged::Replaced,
        // Packages ship the same links of a merged /usr.
        (Node::Symlink(one), Node::Symlink(two)) if one == two && same_link(old, new) => {
            Merged::Same(later(old, new, old.entry.node.clone()))
        }
        _ => Merged::Conflict,
    }
}

fn merge_directories(old: &Inserted, new: &Inserted, node: Node, replaces: bool) -> Merged {
    if replaces {
        return Merged::New(Entry { stat: new.entry.stat.clone(), node });
    }
    match new.claim.precedence.cmp(&old.claim.precedence) {
        std::cmp::Ordering::Greater => Merged::New(Entry { stat: new.entry.stat.clone(), node }),
        std::cmp::Ordering::Less => Merged::Same(Entry { stat: old.entry.stat.clone(), node }),
        std::cmp::Ordering::Equal if new.claim.precedence == Precedence::Explicit => Merged::Conflict,
        std::cmp::Ordering::Equal if same_but_for_time(old, new) => Merged::Same(later(old, new, node)),
        std::cmp::Ordering::Equal => Merged::Conflict,
    }
}

/// Compares what engines go by; names of owners are not.
fn same_but_for_time(old: &Inserted, new: &Inserted) -> bool {
    let (old, new) = (&old.entry.stat, &new.entry.stat);
    (old.mode, old.owner, old.xattrs()) == (new.mode, new.owner, new.xattrs())
}

/// Compares what engines go by in a symbolic link: Linux gives it no mode.
fn same_link(old: &Inserted, new: &Inserted) -> bool {
    let (old, new) = (&old.entry.stat, &new.entry.stat);
    (old.owner, old.xattrs()) == (new.owner, new.xattrs())
}

/// Takes the later time, whichever came first, and of what else may differ the greater, where nothing is least.
fn later(old: &Inserted, new: &Inserted, node: Node) -> Entry {
    let mut stat = old.entry.stat.clone();
    stat.mode = FileMode::new(stat.mode.bits().max(new.entry.stat.mode.bits()));
    stat.mtime = stat.mtime.max(new.entry.stat.mtime);
    let user = stat.user().max(new.entry.stat.user()).cloned();
    let group = stat.group().max(new.entry.stat.group()).cloned();
    stat.set_names(user, group);
    Entry { stat, node }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use crate::testing::{file, path};
    use ociseed_spec::XattrValue;

    fn replacing(source: u32) -> Claim {
        Claim { replace: true, ..Claim::new(source, Precedence::Explicit) }
    }

    #[test]
    fn who_decides_between_two_may_come_before_or_after_them() {
        let with_mode = |mode| {
            let mut entry = Entry::directory();
            entry.stat.mode = FileMode::new(mode);
            entry
        };
        let all = [
            (with_mode(0o700), Claim::new(0, Precedence::Incidental)),
            (with_mode(0o750), Claim::new(1, Precedence::Incidental)),
            (with_mode(0o711), Claim::new(2, Precedence::Explicit)),
        ];
        for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
            let mut builder = Builder::new();
            for index in order {
                builder.insert(path("/a"), all[index].0.clone(), all[index].1);
            }
            let tree = builder.finish().expect("the third decides");
            assert_eq!(tree.get(&path("/a")).expect("there").stat.mode.bits(), 0o711, "{order:?}");
        }
        let mut builder = Builder::new();
        for claim in [Claim::new(0, Precedence::Explicit), Claim::new(1, Precedence::Explicit), replacing(2)]
        {
            builder.insert(path("/a"), file("x"), claim);
        }
        assert!(builder.finish().is_ok());
    }

    #[test]
    fn symbolic_links_of_two_sources_are_one_in_any_order_or_contradict_each_other() {
        let mut named = Entry::symlink(*b"usr/bin");
        named.stat.set_names("root".parse().ok(), None);
        let mut labelled = Entry::symlink(*b"usr/bin");
        labelled.stat.set_xattr("trusted.a".parse().expect("a name"), XattrValue::new(b"z").expect("short"));
        let mut narrow = Entry::symlink(*b"usr/bin");
        narrow.stat.mode = FileMode::new(0o755);
        let plain = Entry::symlink(*b"usr/bin");
        for (other, conflicts) in [(named.clone(), false), (narrow, false), (labelled, true)] {
            let trees = [[plain.clone(), other.clone()], [other, plain.clone()]].map(|both| {
                let mut builder = Builder::new();
                for (source, entry) in (0..).zip(both) {
                    builder.insert(path("/bin"), entry, Claim::new(source, Precedence::Incidental));
                }
                builder.finish()
            });
            let stats =
                trees.map(|tree| tree.map(|tree| tree.get(&path("/bin")).expect("there").stat.clone()));
            assert_eq!(stats[0], stats[1]);
            assert_eq!(stats[0].is_err(), conflicts);
        }
    }

    #[test]
    fn what_a_tar_says_of_a_directory_counts_more_than_that_the_host_has_it() {
        let mut private = Entry::directory();
        private.stat.mode = FileMode::new(0o700);
        for swap in [false, true] {
            let mut builder = Builder::new();
            let mut both =
                [(private.clone(), Precedence::Incidental), (Entry::directory(), Precedence::Host)];
            if swap {
                both.reverse();
            }
            for (source, (entry, precedence)) in (0..).zip(both) {
                builder.insert(path("/a"), entry, Claim::new(source, precedence));
            }
            let tree = builder.finish().expect("no conflict");
            assert_eq!(tree.get(&path("/a")).expect("there").stat.mode.bits(), 0o700);
        }
    }

    #[test]
    fn names_of_owners_contradict_nothing() {
        let mut named = Entry::directory();
        named.stat.set_names("root".parse().ok(), None);
        for both in [[named.clone(), Entry::directory()], [Entry::directory(), named]] {
            let mut builder = Builder::new();
            for (source, entry) in (0..).zip(both) {
                builder.insert(path("/a"), entry, Claim::new(source, Precedence::Incidental));
            }
            let tree = builder.finish().expect("no conflict");
            let name = tree.get(&path("/a")).expect("there").stat.user().map(ToString::to_string);
            assert_eq!(name.as_deref(), Some("root"));
        }
    }

    #[test]
    fn directories_of_many_sources_take_the_later_time() {
        let at = |seconds| {
            let mut entry = Entry::directory();
            entry.stat.mtime = ociseed_spec::Timestamp::new(seconds, 0);
            entry
        };
        for times in [[1, 2], [2, 1]] {
            let mut builder = Builder::new();
            for (source, time) in (0..).zip(times) {
                builder.insert(path("/a"), at(time), Claim::new(source, Precedence::Incidental));
            }
            let tree = builder.finish().expect("no conflict");
            assert_eq!(tree.get(&path("/a")).expect("there").stat.mtime.seconds(), 2);
        }
    }
}
