//! Taking a part of a source and putting it in its place.

use std::collections::{BTreeMap, BTreeSet};

use ociseed_spec::TreePath;
use ociseed_spec::file::Filter;

use crate::{Entry, Node, Tree};

/// Chooses paths of one source, and remembers which patterns were of use.
#[derive(Debug)]
pub struct Selection<'a> {
    filter: &'a Filter,
    include_used: Vec<bool>,
    exclude_used: Vec<bool>,
}

impl<'a> Selection<'a> {
    /// Starts to choose.
    pub fn new(filter: &'a Filter) -> Self {
        let (include_used, exclude_used) =
            (vec![false; filter.include.len()], vec![false; filter.exclude.len()]);
        Self { filter, include_used, exclude_used }
    }

    /// Tells whether a path of the source, and what is below it, is left out by `exclude`.
    pub fn excludes(&mut self, path: &TreePath) -> bool {
        note(&mut self.exclude_used, |index| self.filter.exclude[index].matches(path))
    }

    fn includes(&mut self, path: &TreePath) -> bool {
        self.filter.include.is_empty()
            || note(&mut self.include_used, |index| self.filter.include[index].covers(path))
    }

    /// Returns patterns that matched nothing.
    pub fn unused(&self) -> Vec<String> {
        let include = self.filter.include.iter().zip(&self.include_used);
        let exclude = self.filter.exclude.iter().zip(&self.exclude_used);
        include.chain(exclude).filter(|(_, used)| !**used).map(|(pattern, _)| pattern.to_string()).collect()
    }

    /// Takes what is chosen of a tree, without its leading parts, below `to`, in order.
    ///
    /// A hard link whose target is left out becomes the file. Directories on the way to what `include`
    /// takes come along.
    pub fn take(&mut self, tree: Tree, to: &TreePath) -> Vec<(TreePath, Entry)> {
        let chosen = self.choose(&tree);
        let mut taken = Vec::with_capacity(chosen.as_ref().map_or(tree.len(), BTreeSet::len));
        // Files that are left out, for links to them; then the new name of the first such link.
        let mut left_out: BTreeMap<TreePath, (Entry, Option<TreePath>)> = BTreeMap::new();
        for (path, mut entry) in tree {
            let wanted = chosen.as_ref().is_none_or(|chosen| chosen.contains(&path));
            let Some(place) = self.strip(&path).filter(|_| wanted).map(|rest| rest.below(to)) else {
                if !matches!(entry.node, Node::Directory { .. } | Node::Link(_) | Node::Whiteout) {
                    left_out.insert(path, (entry, None));
                }
                continue;
            };
            if let Node::Link(target) = &entry.node {
                entry = match left_out.get_mut(target) {
                    None => {
                        let target = self.strip(target).expect("it was taken").below(to);
                        Entry { node: Node::Link(target), ..entry }
                    }
                    Some((_, Some(first))) => Entry { node: Node::Link(first.clone()), ..entry },
                    Some((whole, first)) => {
                        *first = Some(place.clone());
                        whole.clone()
                    }
                };
            }
            taken.push((place, entry));
        }
        taken
    }

    /// Returns the chosen paths; nothing where all are.
    fn choose(&mut self, tree: &Tree) -> Option<BTreeSet<TreePath>> {
        if self.filter.include.is_empty() && self.filter.exclude.is_empty() {
            return None;
        }
        let mut chosen = BTreeSet::new();
        let mut excluded: Option<TreePath> = None;
        for (path, _) in tree {
            if excluded.as_ref().is_some_and(|above| path.is_below(above)) {
                continue;
            }
            if self.excludes(path) {
                excluded = Some(path.clone());
                continue;
            }
            // A directory that only lies on the way is chosen by what is in it.
            if !self.includes(path) {
                continue;
            }
            let mut at = Some(path.clone());
            while let Some(path) = at.filter(|path| !path.is_root()) {
                at = path.parent();
                if !chosen.insert(path) {
                    break;
                }
            }
        }
        Some(chosen)
    }

    /// Returns a path without its leading parts, or nothing where it has no more than those.
    fn strip(&self, path: &TreePath) -> Option<TreePath> {
        if self.filter.strip == 0 {
            return Some(path.clone());
        }
        let mut parts = path.parts().skip(self.filter.strip).peekable();
        parts.peek()?;
        let rest = parts.collect::<Vec<_>>().join(&b'/');
        Some(TreePath::parse(&rest).expect("parts of a good path"))
    }
}

/// Tries all patterns, so that each that matches counts as used.
fn note(used: &mut [bool], matches: impl Fn(usize) -> bool) -> bool {
    let mut any = false;
    for (index, used) in used.iter_mut().enumerate() {
        let matched = matches(index);
        *used |= matched;
        any |= matched;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Claim, Content, Precedence};

    fn path(text: &str) -> TreePath {
        text.parse().expect(text)
    }

    fn tree() -> Tree {
        let mut builder = Builder::new();
        let claim = Claim::new(0, Precedence::Explicit);
        let file = || Entry::file(Content::bytes(*b"x"));
        let link = || Entry { node: Node::Link(path("/top/a/file")), ..file() };
        for (at, entry) in [
            ("/top/a/file", file()),
            ("/top/a/other.map", file()),
            ("/top/b/deep/link", link()),
            ("/top/b/link", link()),
            ("/readme", file()),
        ] {
            builder.insert(path(at), entry, claim);
        }
        builder.finish().expect("no conflict")
    }

    fn take(filter: &str, to: &str) -> (Vec<String>, Vec<String>) {
        let lists: BTreeMap<String, Vec<ociseed_spec::Pattern>> = serde_json::from_str(filter).expect(filter);
        let list = |name: &str| lists.get(name).cloned().unwrap_or_default();
        let strip = list("strip").len();
        let filter = Filter { include: list("include"), exclude: list("exclude"), strip, devices: false };
        let mut selection = Selection::new(&filter);
        let taken = selection.take(tree(), &path(to));
        let shown = taken.iter().map(|(path, entry)| match &entry.node {
            Node::Link(target) => format!("{path} = {target}"),
            Node::Directory { .. } => format!("{path}/"),
            _ => path.to_string(),
        });
        (shown.collect(), selection.unused())
    }

    #[test]
    fn everything_goes_below_its_place() {
        let (taken, _) = take("{}", "/opt");
        assert_eq!(taken[..3], ["/opt/readme", "/opt/top/", "/opt/top/a/"]);
        assert!(taken.contains(&"/opt/top/b/link = /opt/top/a/file".to_owned()), "{taken:?}");
    }

    #[test]
    fn a_link_to_what_is_left_out_becomes_the_file() {
        let (taken, unused) = take(r#"{"exclude":["top/a","*.none"]}"#, "/");
        assert_eq!(
            taken,
            [
                "/readme",
                "/top/",
                "/top/b/",
                "/top/b/deep/",
                "/top/b/deep/link",
                "/top/b/link = /top/b/deep/link"
            ]
        );
        assert_eq!(unused, ["*.none"]);
    }

    #[test]
    fn include_takes_directories_on_the_way() {
        let (taken, unused) = take(r#"{"include":["*.map"]}"#, "/");
        assert_eq!(taken, ["/top/", "/top/a/", "/top/a/other.map"]);
        assert!(unused.is_empty());
        let (taken, _) = take(r#"{"include":["top/b"],"exclude":["deep"]}"#, "/");
        assert_eq!(taken, ["/top/", "/top/b/", "/top/b/link"]);
    }

    #[test]
    fn leading_parts_go() {
        let (taken, _) = take(r#"{"strip":["one"]}"#, "/x");
        assert_eq!(taken[0], "/x/a/");
        assert_eq!(taken.len(), 7, "{taken:?}");
    }
}
