//! Which parts of a spec a build needs, and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ociseed_spec::Key;
use ociseed_spec::file::{Engine, Spec, closest, in_order};

use crate::failure::Failure;

/// Something that a build can be asked for; written `kind.name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TargetName {
    Layer(Key),
    Image(Key),
    Index(Key),
    Bundle(Key),
    Seed(Key),
    Store(Key, Engine),
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(key) => write!(f, "layer.{key}"),
            Self::Image(key) => write!(f, "image.{key}"),
            Self::Index(key) => write!(f, "index.{key}"),
            Self::Bundle(key) => write!(f, "bundle.{key}"),
            Self::Seed(key) => write!(f, "seed.{key}"),
            Self::Store(key, engine) => write!(f, "store.{key}.{}", engine.as_str()),
        }
    }
}

/// What was asked for, and what must be made for it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) targets: BTreeSet<TargetName>,
    pub(crate) layers: BTreeSet<Key>,
    pub(crate) images: BTreeSet<Key>,
    pub(crate) indexes: BTreeSet<Key>,
}

impl Plan {
    /// Plans the named targets, or all of a spec.
    pub(crate) fn of(spec: &Spec, names: &[String]) -> Result<Self, Failure> {
        let all = all_targets(spec);
        let mut plan = Self::default();
        for name in names {
            let found = all.iter().find(|target| target.to_string() == *name);
            plan.targets.insert(found.cloned().ok_or_else(|| unknown(name, &all))?);
        }
        if names.is_empty() {
            if all.is_empty() {
                return Err(Failure::usage("the spec names nothing to build"));
            }
            plan.targets = all;
        }
        plan.add_needs(spec);
        Ok(plan)
    }

    fn add_needs(&mut self, spec: &Spec) {
        for target in &self.targets {
            match target {
                TargetName::Layer(key) => {
                    self.layers.insert(key.clone());
                }
                TargetName::Image(key) => {
                    self.images.insert(key.clone());
                }
                TargetName::Index(key) => {
                    self.indexes.insert(key.clone());
                }
                TargetName::Bundle(key) => {
                    self.images.extend(spec.bundle[key].images.values().cloned());
                    self.indexes.extend(spec.bundle[key].indexes.values().cloned());
                }
                TargetName::Seed(key) | TargetName::Store(key, _) => {
                    self.images.extend(spec.seed[key].image.iter().map(|entry| entry.image.clone()));
                }
            }
        }
        self.images.extend(self.indexes.iter().flat_map(|index| spec.index[index].images.iter().cloned()));
        let mut pending: Vec<Key> = self.images.iter().cloned().collect();
        while let Some(key) = pending.pop() {
            let base = spec.image[&key].base.as_ref().and_then(|base| base.image.clone());
            pending.extend(base.filter(|base| self.images.insert(base.clone())));
        }
        self.layers.extend(self.images.iter().flat_map(|image| spec.image[image].layers.iter().cloned()));
        let mut pending: Vec<Key> = self.layers.iter().cloned().collect();
        while let Some(key) = pending.pop() {
            let needed = spec.layer[&key].layers().cloned();
            pending.extend(needed.filter(|key| self.layers.insert(key.clone())).collect::<Vec<_>>());
        }
    }
}

/// Sorts layers into rounds: each needs only layers of earlier rounds.
pub(crate) fn rounds<'a>(spec: &Spec, layers: &'a BTreeSet<Key>) -> Vec<Vec<&'a Key>> {
    let mut round_of: BTreeMap<&Key, usize> = BTreeMap::new();
    let mut rounds: Vec<Vec<&Key>> = Vec::new();
    let order = in_order(layers.iter(), |key| spec.layer[key].layers().cloned().collect());
    for key in order.expect("a spec with circles is refused when it is read") {
        let key = layers.get(&key).expect("layers that are needed are planned");
        let above = |needed: &Key| round_of.get(needed).map_or(0, |round| round + 1);
        let round = spec.layer[key].layers().map(above).max().unwrap_or(0);
        round_of.insert(key, round);
        if rounds.len() == round {
            rounds.push(Vec::new());
        }
        rounds[round].push(key);
    }
    rounds
}

fn all_targets(spec: &Spec) -> BTreeSet<TargetName> {
    let layers = spec.layer.keys().cloned().map(TargetName::Layer);
    let images = spec.image.keys().cloned().map(TargetName::Image);
    let indexes = spec.index.keys().cloned().map(TargetName::Index);
    let bundles = spec.bundle.keys().cloned().map(TargetName::Bundle);
    let seeds = spec.seed.keys().cloned().map(TargetName::Seed);
    let stores = spec
        .seed
        .iter()
        .flat_map(|(key, seed)| seed.stores.iter().map(|engine| TargetName::Store(key.clone(), *engine)));
    layers.chain(images).chain(indexes).chain(bundles).chain(seeds).chain(stores).collect()
}

fn unknown(name: &str, all: &BTreeSet<TargetName>) -> Failure {
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    let hint = closest(name, names.iter().map(String::as_str));
    let hint = hint.unwrap_or_else(|| format!("the spec has {}", names.join(", ")));
    Failure::usage(format!("no target `{name}` in the spec")).hint(hint)
}
