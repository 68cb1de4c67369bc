//! Reference graphs: which store paths there are, and which refer to which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use ociseed_spec::{Pattern, StorePathName, StorePathNameError, TreePath};
use serde::Deserialize;

use crate::hash;

/// One store path of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePath {
    /// Its hash, `sha256:` and hexadecimal digits, of its form as a Nix archive.
    pub nar_hash: String,
    /// The size of that in bytes.
    pub nar_size: u64,
    /// What it refers to, itself too where it does.
    pub references: BTreeSet<StorePathName>,
    /// Whether it is in a layer below.
    pub below: bool,
}

/// A closure: store paths with all that they refer to, and nothing in a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graph {
    directory: String,
    paths: BTreeMap<StorePathName, StorePath>,
    /// Each path behind those that it refers to, else by name.
    order: Vec<StorePathName>,
}

/// Says why bytes are no reference graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// They are not JSON of that shape.
    #[error("not a valid reference graph")]
    Json(#[source] serde_json::Error),
    /// A path that no store can have.
    #[error("`{0}` is no store path")]
    Path(String),
    /// A name that no store path can have.
    #[error(transparent)]
    Name(#[from] StorePathNameError),
    /// Paths of two stores.
    #[error("`{0}` and `{1}` are two stores")]
    Stores(String, String),
    /// A hash that is none.
    #[error("`{path}` has the hash `{found}`, expected `sha256:` with 64 hexadecimal or 52 base-32 digits")]
    Hash {
        /// The path.
        path: StorePathName,
        /// What it has.
        found: String,
    },
    /// One path with two meanings.
    #[error("`{0}` is there twice, with different hashes, sizes or references")]
    Twice(StorePathName),
    /// Something that is referred to is not there.
    #[error("`{path}` refers to `{missing}`, which is not in the graph")]
    Missing {
        /// What refers.
        path: StorePathName,
        /// To what.
        missing: StorePathName,
    },
    /// References that come back to where they began.
    #[error("`{0}` refers to itself by way of others")]
    Circle(StorePathName),
    /// More paths than anybody has: whole systems have some thousands.
    #[error("the reference graph has {0} paths, at most {MOST_PATHS} are read")]
    TooMany(usize),
    /// There is nothing in it.
    #[error("the reference graph has no paths")]
    Empty,
}

/// How many paths a graph may have, with those below: what is counted for each takes a bit for each other one.
const MOST_PATHS: usize = 50_000;

/// A graph as Nix writes it; other keys are those of the derivation.
#[derive(Deserialize)]
struct Written {
    closure: Vec<WrittenPath>,
    #[serde(default)]
    below: Vec<WrittenPath>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenPath {
    path: String,
    nar_hash: String,
    nar_size: u64,
    references: Vec<String>,
}

impl Graph {
    /// Parses what Nix writes for `exportReferencesGraph` with structured attributes, under the keys `closure` and `below`.
    ///
    /// # Errors
    /// Bytes that are no such document, or paths that are not a whole closure.
    pub fn parse(bytes: &[u8]) -> Result<Self, GraphError> {
        let Written { closure, below } = serde_json::from_slice(bytes).map_err(GraphError::Json)?;
        let count = closure.len() + below.len();
        if count > MOST_PATHS {
            return Err(GraphError::TooMany(count));
        }
        let mut reading = Reading::default();
        let lower: BTreeSet<String> = below.iter().map(|written| written.path.clone()).collect();
        for written in closure.into_iter().chain(below) {
            let is_below = lower.contains(&written.path);
            reading.add(written, is_below)?;
        }
        let Reading { directory, paths } = reading;
        let directory = directory.ok_or(GraphError::Empty)?;
        for (path, known) in &paths {
            if let Some(missing) = known.references.iter().find(|name| !paths.contains_key(*name)) {
                return Err(GraphError::Missing { path: path.clone(), missing: missing.clone() });
            }
        }
        let order = order(&paths)?;
        Ok(Self { directory, paths, order })
    }

    /// Returns the directory of the store, as `/nix/store`.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Returns a path.
    pub fn get(&self, name: &StorePathName) -> Option<&StorePath> {
        self.paths.get(name)
    }

    /// Walks all paths, by name.
    pub fn paths(&self) -> impl ExactSizeIterator<Item = (&StorePathName, &StorePath)> {
        self.paths.iter()
    }

    /// Walks the paths that are in no layer below, each behind those that it refers to.
    pub fn own(&self) -> impl Iterator<Item = &StorePathName> {
        self.order.iter().filter(|name| !self.paths[*name].below)
    }

    /// Walks the paths that no other one refers to, by name.
    pub fn roots(&self) -> impl Iterator<Item = &StorePathName> {
        let others = |(name, path): (&'_ StorePathName, &'_ StorePath)| {
            path.references.iter().filter(|other| *other != name).cloned().collect::<Vec<_>>()
        };
        let referred: BTreeSet<StorePathName> = self.paths.iter().flat_map(others).collect();
        self.paths.keys().filter(move |name| !referred.contains(*name))
    }

    /// Counts for each path the others that lead to it, however many there are in between.
    pub(crate) fn popularity(&self) -> BTreeMap<&StorePathName, usize> {
        // What leads to a path by two ways counts once, so each needs a set, of bits; walked from above, all are there in time.
        let numbers: BTreeMap<&StorePathName, usize> = self.order.iter().zip(0..).collect();
        let mut leading: Vec<Option<Box<[u64]>>> = vec![None; self.order.len()];
        let mut counts = BTreeMap::new();
        for (at, name) in self.order.iter().enumerate().rev() {
            let above = leading[at].take();
            let count = above.iter().flatten().map(|word| word.count_ones() as usize).sum();
            counts.insert(name, count);
            for reference in self.paths[name].references.iter().filter(|reference| *reference != name) {
                let words = self.order.len().div_ceil(64);
                let below = leading[numbers[reference]].get_or_insert_with(|| vec![0; words].into());
                for (word, more) in below.iter_mut().zip(above.iter().flatten()) {
                    *word |= more;
                }
                below[at / 64] |= 1 << (at % 64);
            }
        }
        counts
    }

    /// Checks that the graph keeps limits.
    ///
    /// # Errors
    /// The first path, by name, that may not be there, and what leads to it; or that all are too large.
    pub fn check(&self, limits: Limits<'_>) -> Result<(), Refused> {
        let meant = |pattern: &Pattern, name: &StorePathName| {
            let says = |text: &str| TreePath::parse(text.as_bytes()).is_ok_and(|path| pattern.matches(&path));
            says(name.as_str()) || says(name.name())
        };
        for name in self.paths.keys() {
            if let Some(pattern) = limits.disallow.iter().find(|pattern| meant(pattern, name)) {
                return Err(Refused::Path { pattern: pattern.clone(), chain: self.chain(name) });
            }
        }
        let size = self.paths.values().map(|path| path.nar_size).fold(0, u64::saturating_add);
        match limits.max_size {
            Some(most) if size > most => {
                let mut sizes: Vec<_> = self.paths.iter().map(|(name, path)| (path.nar_size, name)).collect();
                sizes.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
                let largest = sizes.into_iter().take(3).map(|(size, name)| (name.clone(), size)).collect();
                Err(Refused::Size { size, most, largest })
            }
            _ => Ok(()),
        }
    }

    /// Returns a shortest way from a root to a path, both named.
    fn chain(&self, name: &StorePathName) -> Vec<StorePathName> {
        let mut from: BTreeMap<&StorePathName, Option<&StorePathName>> =
            self.roots().map(|root| (root, None)).collect();
        let mut pending: VecDeque<&StorePathName> = from.keys().copied().collect();
        while let Some(at) = pending.pop_front() {
            if at == name {
                break;
            }
            for reference in &self.paths[at].references {
                if !from.contains_key(reference) {
                    from.insert(reference, Some(at));
                    pending.push_back(reference);
                }
            }
        }
        let mut chain = vec![name.clone()];
        let mut at = name;
        while let Some(Some(above)) = from.get(at) {
            chain.push((*above).clone());
            at = above;
        }
        chain.reverse();
        chain
    }
}

/// What a graph may not have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Names that none of its paths may have, with the hash or without it.
    pub disallow: &'a [Pattern],
    /// The most bytes that all may have together.
    pub max_size: Option<u64>,
}

/// Says which limit a graph does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A path is there that may not be.
    Path {
        /// The pattern that it matches.
        pattern: Pattern,
        /// From a root to it, each refers to the next.
        chain: Vec<StorePathName>,
    },
    /// All are too large.
    Size {
        /// How large they are.
        size: u64,
        /// How large they may be.
        most: u64,
        /// The largest of them, with their sizes.
        largest: Vec<(StorePathName, u64)>,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { pattern, chain } => {
                let name = chain.last().expect("the path itself");
                write!(f, "the closure has `{name}`, which `{pattern}` disallows")?;
                if chain.len() > 1 {
                    let names: Vec<_> = chain.iter().map(|name| format!("`{name}`")).collect();
                    write!(f, ": {}", names.join(" refers to "))?;
                }
                Ok(())
            }
            Self::Size { size, most, largest } => {
                let largest: Vec<_> =
                    largest.iter().map(|(name, size)| format!("`{name}` with {size}")).collect();
                write!(
                    f,
                    "the closure has {size} bytes, at most {most} are allowed; the largest are {}",
                    largest.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Paths as they come.
#[derive(Default)]
struct Reading {
    directory: Option<String>,
    paths: BTreeMap<StorePathName, StorePath>,
}

impl Reading {
    fn add(&mut self, written: WrittenPath, below: bool) -> Result<(), GraphError> {
        let name = self.name(&written.path)?;
        let references = written.references.iter().map(|path| self.name(path)).collect::<Result<_, _>>()?;
        let Some(nar_hash) = hash::normalized(&written.nar_hash) else {
            return Err(GraphError::Hash { path: name, found: written.nar_hash });
        };
        let path = StorePath { nar_hash, nar_size: written.nar_size, references, below };
        match self.paths.get(&name) {
            Some(known) if *known != path => return Err(GraphError::Twice(name)),
            _ => self.paths.insert(name, path),
        };
        Ok(())
    }

    /// Returns the name of a path, all of which must be in one directory.
    fn name(&mut self, path: &str) -> Result<StorePathName, GraphError> {
        let (directory, name) = path.rsplit_once('/').ok_or_else(|| GraphError::Path(path.to_owned()))?;
        if !directory.starts_with('/') {
            return Err(GraphError::Path(path.to_owned()));
        }
        match &self.directory {
            Some(known) if known != directory => {
                return Err(GraphError::Stores(known.clone(), directory.to_owned()));
            }
            _ => self.directory = Some(directory.to_owned()),
        }
        Ok(name.parse()?)
    }
}

/// Puts each path behind those that it refers to; of those that could be next, the first by name is.
fn order(paths: &BTreeMap<StorePathName, StorePath>) -> Result<Vec<StorePathName>, GraphError> {
    let mut waiting: BTreeMap<&StorePathName, usize> = BTreeMap::new();
    let mut users: BTreeMap<&StorePathName, Vec<&StorePathName>> = BTreeMap::new();
    for (name, path) in paths {
        let others = path.references.iter().filter(|reference| *reference != name);
        waiting.insert(name, others.clone().count());
        others.for_each(|reference| users.entry(reference).or_default().push(name));
    }
    let rank = |name: &StorePathName| (name.name().to_owned(), name.clone());
    let mut ready: BTreeSet<(String, StorePathName)> =
        waiting.iter().filter(|(_, count)| **count == 0).map(|(name, _)| rank(name)).collect();
    let mut order = Vec::with_capacity(paths.len());
    while let Some((_, name)) = ready.pop_first() {
        for user in users.get(&name).into_iter().flatten() {
            let left = waiting.get_mut(*user).expect("all wait");
            *left -= 1;
            if *left == 0 {
                ready.insert(rank(user));
            }
        }
        order.push(name);
    }
    if order.len() == paths.len() {
        return Ok(order);
    }
    let done: BTreeSet<_> = order.iter().collect();
    let stuck = paths.keys().find(|name| !done.contains(name)).expect("fewer than all");
    Err(GraphError::Circle(stuck.clone()))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Names a path as tests do: the number makes the hash.
    pub(crate) fn named(number: usize, name: &str) -> StorePathName {
        format!("{number:032}-{name}").parse().expect("a name")
    }

    /// Makes a graph of numbers with sizes, each with those that it refers to.
    pub(crate) fn graph(paths: &[(usize, u64, &[usize])]) -> Graph {
        let written = |(number, size, references): &(usize, u64, &[usize])| {
            let path = |number: usize| format!("/nix/store/{}", named(number, &format!("n{number:03}")));
            let references: Vec<_> = references.iter().map(|number| path(*number)).collect();
            serde_json::json!({
                "path": path(*number), "narHash": format!("sha256:{}", "0".repeat(64)), "narSize": size,
                "references": references,
            })
        };
        let closure: Vec<_> = paths.iter().map(written).collect();
        let text = serde_json::json!({ "closure": closure }).to_string();
        Graph::parse(text.as_bytes()).expect("a graph")
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{graph, named};
    use super::*;

    fn numbers<'a>(names: impl Iterator<Item = &'a StorePathName>) -> Vec<usize> {
        names.map(|name| name.as_str()[..32].parse().expect("a number")).collect()
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let graph = graph(&[(1, 1, &[1, 3, 2]), (2, 1, &[4]), (3, 1, &[4]), (4, 1, &[]), (5, 1, &[])]);
        assert_eq!(numbers(graph.own()), [4, 2, 3, 1, 5]);
        assert_eq!(numbers(graph.roots()), [1, 5]);
        let popularity: Vec<_> = graph.popularity().into_values().collect();
        assert_eq!(popularity, [0, 1, 1, 3, 0], "what leads there by two ways counts once");
    }

    #[test]
    fn what_a_closure_may_not_have_is_named_with_its_way() {
        let graph = graph(&[(1, 5, &[2]), (2, 7, &[3]), (3, 9, &[])]);
        let patterns = |text: &str| vec![text.parse::<Pattern>().expect("a pattern")];
        let check = |disallow: &[Pattern], max_size| graph.check(Limits { disallow, max_size });
        assert_eq!(check(&patterns("other*"), Some(21)), Ok(()));
        for pattern in ["n003", &format!("{:032}-*", 3)] {
            let error = check(&patterns(pattern), None).expect_err("there").to_string();
            let chain = [1, 2, 3].map(|number| format!("`{}`", named(number, &format!("n{number:03}"))));
            assert!(error.ends_with(&chain.join(" refers to ")), "{error}");
        }
        let error = check(&[], Some(20)).expect_err("too large").to_string();
        assert!(
            error.starts_with("the closure has 21 bytes, at most 20 are allowed; the largest are"),
            "{error}"
        );
    }

    #[test]
    fn bytes_that_are_no_graph() {
        let path = |number: usize| format!("/nix/store/{}", named(number, "a"));
        let item = |number: usize, references: &[String]| {
            serde_json::json!({ "path": path(number), "narHash": format!("sha256:{}", "0".repeat(64)),
                "narSize": 1, "references": references })
        };
        let parse = |closure: serde_json::Value| {
            Graph::parse(serde_json::json!({ "closure": closure, "name": "x" }).to_string().as_bytes())
        };
        assert!(parse(serde_json::json!([item(1, &[])])).is_ok());
        assert!(matches!(parse(serde_json::json!([])), Err(GraphError::Empty)));
        assert!(matches!(parse(serde_json::json!([item(1, &[path(2)])])), Err(GraphError::Missing { .. })));
        let circle = [item(1, &[path(2)]), item(2, &[path(1)])];
        assert!(matches!(parse(serde_json::json!(circle)), Err(GraphError::Circle(_))));
        let two = [item(1, &[]), item(2, &["/gnu/store/00000000000000000000000000000001-a".to_owned()])];
        assert!(matches!(parse(serde_json::json!(two)), Err(GraphError::Stores(..))));
        let mut other = item(1, &[]);
        other["narSize"] = 2.into();
        assert!(matches!(parse(serde_json::json!([item(1, &[]), other])), Err(GraphError::Twice(_))));
        let mut hash = item(1, &[]);
        hash["narHash"] = "sha256-abc=".into();
        assert!(matches!(parse(serde_json::json!([hash])), Err(GraphError::Hash { .. })));
        let mut relative = item(1, &[]);
        relative["path"] = "store/a".into();
        assert!(matches!(parse(serde_json::json!([relative])), Err(GraphError::Path(_))));
        assert!(matches!(Graph::parse(b"{}"), Err(GraphError::Json(_))));
    }
}
