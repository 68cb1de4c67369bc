//! Layers put one over the other: the file system that a container sees.
//!
//! The rules are those of the OCI image specification ("Applying Changesets")
//! as containerd follows them: a directory keeps what is in it and takes the
//! upper layer's metadata, xattrs too; a parent that the upper layer only implies stays
//! as it was; whiteouts and opaque directories hide only what is below.

use std::collections::{BTreeMap, BTreeSet};

use ociseed_spec::TreePath;

use crate::links;
use crate::{Entry, Node, Tree};

/// Puts layers one over the other, bottom first.
pub fn flatten(layers: impl IntoIterator<Item = Tree>) -> Tree {
    layers.into_iter().fold(Tree::default(), over)
}

/// Puts one layer over a file system that has no whiteouts any more.
fn over(lower: Tree, upper: Tree) -> Tree {
    let mut entries = lower.entries;
    let hidden = hidden(&entries, &upper);
    remove(&mut entries, &hidden);
    for (path, entry) in upper.entries {
        match &entry.node {
            Node::Whiteout => {}
            Node::Directory { .. } if upper.implied.contains(&path) && entries.contains_key(&path) => {}
            Node::Directory { .. } => {
                let entry = Entry { node: Node::Directory { opaque: false }, ..entry };
                entries.insert(path, entry);
            }
            _ => {
                entries.insert(path, entry);
            }
        }
    }
    Tree { entries, ..Tree::default() }
}

/// What a layer takes away: a path and all below it, or only what is below it.
struct Hidden {
    whole: BTreeSet<TreePath>,
    inside: BTreeSet<TreePath>,
}

fn hidden(lower: &BTreeMap<TreePath, Entry>, upper: &Tree) -> Hidden {
    let (mut whole, mut inside) = (BTreeSet::new(), BTreeSet::new());
    for (path, entry) in upper {
        match &entry.node {
            Node::Directory { opaque: true } => drop(inside.insert(path.clone())),
            Node::Directory { .. } if lower.get(path).is_none_or(Entry::is_directory) => {}
            _ => drop(whole.insert(path.clone())),
        }
    }
    Hidden { whole, inside }
}

/// Removes what an upper layer hides; a file that loses its first name keeps the others.
fn remove(entries: &mut BTreeMap<TreePath, Entry>, hidden: &Hidden) {
    let mut gone: BTreeMap<TreePath, Entry> = BTreeMap::new();
    let is_gone = |path: &TreePath| {
        let mut at = path.parent();
        let mut found = hidden.whole.contains(path);
        while let Some(above) = at.filter(|_| !found) {
            found = hidden.whole.contains(&above) || hidden.inside.contains(&above);
            at = above.parent();
        }
        found
    };
    if hidden.whole.is_empty() && hidden.inside.is_empty() {
        return;
    }
    let paths: Vec<TreePath> = entries.keys().filter(|path| is_gone(path)).cloned().collect();
    for path in paths {
        if let Some(entry) = entries.remove(&path) {
            gone.insert(path, entry);
        }
    }
    let mut heirs: BTreeMap<TreePath, TreePath> = BTreeMap::new();
    for (path, entry) in entries.iter_mut() {
        let Node::Link(first) = &entry.node else { continue };
        if let Some(heir) = heirs.get(first) {
            entry.node = Node::Link(heir.clone());
        } else if let Some(file) = gone.remove(first) {
            heirs.insert(first.clone(), path.clone());
            entry.node = file.node;
        }
    }
    links::normalize(entries);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing;
    use crate::testing::{file, link, tree as layer};
    use ociseed_spec::FileMode;

    fn directory(mode: u16, opaque: bool) -> Entry {
        let mut entry = Entry { node: Node::Directory { opaque }, ..Entry::directory() };
        entry.stat.mode = FileMode::new(mode);
        entry
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let line = |(path, entry): (&TreePath, &Entry)| {
            let detail = match &entry.node {
                Node::File(content) => format!(" {}", content.size()),
                Node::Link(first) => format!(" = {first}"),
                _ => String::new(),
            };
            format!("{path} {} {}{detail}", listing::kind(&entry.node), entry.stat.mode)
        };
        tree.iter().map(line).collect()
    }

    #[test]
    fn whiteouts_hide_what_is_below_and_nothing_of_their_own_layer() {
        let lower =
            layer([("/a/x", file("1")), ("/a/y/z", file("1")), ("/b", file("1")), ("/o/old", file("1"))]);
        let upper = layer([
            ("/a/y", Entry::whiteout()),
            ("/b", Entry::whiteout()),
            ("/o", directory(0o700, true)),
            ("/o/new", file("22")),
            ("/none", Entry::whiteout()),
        ]);
        let expected = ["/a directory 0755", "/a/x file 0644 1", "/o directory 0700", "/o/new file 0644 2"];
        assert_eq!(shown(&flatten([lower, upper])), expected);
    }

    #[test]
    fn implied_parents_stay_and_listed_ones_count() {
        let lower = layer([("/private", directory(0o700, false)), ("/shared", directory(0o700, false))]);
        let upper = layer([
            ("/private/a", file("1")),
            ("/shared", directory(0o755, false)),
            ("/shared/a", file("1")),
        ]);
        let expected = [
            "/private directory 0700",
            "/private/a file 0644 1",
            "/shared directory 0755",
            "/shared/a file 0644 1",
        ];
        assert_eq!(shown(&flatten([lower, upper])), expected);
    }

    #[test]
    fn a_file_over_a_directory_takes_all_of_it_away_and_the_other_way_round() {
        let lower = layer([("/d/x", file("1")), ("/f", file("1"))]);
        let upper = layer([("/d", file("22")), ("/f/y", file("1"))]);
        assert_eq!(
            shown(&flatten([lower, upper])),
            ["/d file 0644 2", "/f directory 0755", "/f/y file 0644 1"]
        );
    }

    #[test]
    fn further_names_keep_a_file_whose_first_name_is_replaced() {
        let lower = layer([("/a", file("1")), ("/b", link("/a")), ("/c", link("/a"))]);
        let upper = layer([("/a", file("22"))]);
        assert_eq!(
            shown(&flatten([lower, upper])),
            ["/a file 0644 2", "/b file 0644 1", "/c link 0644 = /b"]
        );
    }
}
