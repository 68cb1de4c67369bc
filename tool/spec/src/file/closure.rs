//! Store paths of Nix: what an entry takes of a closure, and how a closure is spread over layers.

use serde::{Deserialize, Serialize};

use crate::{Pattern, StorePathName};

/// Which store paths an entry takes, and where they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ClosureSpec {
    /// A directory of the build host in which the store paths are, by their names.
    pub store: String,
    /// A reference graph of the build host, whose paths are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<String>,
    /// The paths that are taken, instead of those of a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<StorePathName>>,
    /// A layer plan of the build host; only what one of its layers has is taken of the graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// Which layer of the plan, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// Names that no path of the graph may have, with the hash or without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disallow: Vec<Pattern>,
    /// The most bytes that the paths of the graph may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
}

/// A [`ClosureSpec`] that was found to make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// The directory of the store paths, by path or input name.
    pub store: String,
    /// Which of them are taken.
    pub taken: Taken,
}

/// Which store paths are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// These.
    Paths(Vec<StorePathName>),
    /// Those of a reference graph.
    Graph {
        /// The graph, by path or input name.
        graph: String,
        /// The layer plan, by path or input name, and the number of its layer, where not all are taken.
        part: Option<(String, u32)>,
        /// What may not be in the graph.
        disallow: Vec<Pattern>,
        /// How large all may be together.
        max_size: Option<u64>,
    },
}

impl ClosureSpec {
    /// Returns the words by which it names what the host has.
    pub fn words(&self) -> impl Iterator<Item = &String> {
        [Some(&self.store), self.graph.as_ref(), self.plan.as_ref()].into_iter().flatten()
    }

    /// Returns these words, to change them.
    pub fn words_mut(&mut self) -> impl Iterator<Item = &mut String> {
        [Some(&mut self.store), self.graph.as_mut(), self.plan.as_mut()].into_iter().flatten()
    }

    /// Checks that the keys fit each other.
    ///
    /// # Errors
    /// What is missing, or too much.
    pub(super) fn closure(&self) -> Result<Closure, &'static str> {
        let of_graph = self.plan.is_some() || !self.disallow.is_empty() || self.max_size.is_some();
        let taken = match (&self.graph, &self.paths) {
            _ if self.store.is_empty() => return Err("it needs `store`, the directory of the store paths"),
            (Some(_), Some(_)) | (None, None) => return Err("expected one of `graph` and `paths`"),
            (None, Some(_)) if of_graph => {
                return Err("`plan`, `disallow` and `max-size` are about a `graph`");
            }
            _ if self.plan.is_some() != self.part.is_some() => {
                return Err("`plan` and `part` are given together");
            }
            (None, Some(paths)) => Taken::Paths(paths.clone()),
            (Some(graph), None) => Taken::Graph {
                graph: graph.clone(),
                part: self.plan.clone().zip(self.part),
                disallow: self.disallow.clone(),
                max_size: self.max_size,
            },
        };
        Ok(Closure { store: self.store.clone(), taken })
    }
}

/// How a closure is spread over layers: the parameters of `ociseed plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PlanSpec {
    /// An input that is a reference graph.
    pub graph: String,
    /// How paths are put together; `popularity` unless said.
    #[serde(default)]
    pub policy: PlanPolicy,
    /// How many layers there may be; 20 unless said.
    #[serde(default = "PlanSpec::usual_layers")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 120)))]
    pub max_layers: u32,
    /// An input that is the plan of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Names that no path of the graph may have, with the hash or without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disallow: Vec<Pattern>,
    /// The most bytes that the paths of the graph may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
}

impl PlanSpec {
    /// As many layers as leave room for others: overlayfs and engines end at some 125.
    pub const MOST_LAYERS: u32 = 120;

    fn usual_layers() -> u32 {
        20
    }

    /// Says what is wrong with the keys, if something is.
    pub fn problem(&self) -> Option<String> {
        let (most, found) = (Self::MOST_LAYERS, self.max_layers);
        let good = (1..=most).contains(&found);
        (!good).then(|| format!("`max-layers` is {found}, expected 1 to {most}"))
    }
}

/// How the paths of a closure are put together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlanPolicy {
    /// What most others need gets a layer of its own.
    #[default]
    Popularity,
    /// Layers of about one size.
    Balanced,
}
