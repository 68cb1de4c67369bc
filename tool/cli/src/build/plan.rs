//! Which parts of a spec a build needs, and what they are called.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ociseed_spec::Key;
use ociseed_spec::file::{DiskSource, Spec, closest};
use ociseed_spec::lock::Engine;

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
    Disk(Key),
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.place();
        write!(f, "{kind}.{name}")
    }
}

impl TargetName {
    /// Returns the directory of its kind below the output directory, and its name in there without an ending.
    pub(crate) fn place(&self) -> (&'static str, String) {
        match self {
            Self::Layer(key) => ("layer", key.to_string()),
            Self::Image(key) => ("image", key.to_string()),
            Self::Index(key) => ("index", key.to_string()),
            Self::Bundle(key) => ("bundle", key.to_string()),
            Self::Seed(key) => ("seed", key.to_string()),
            Self::Disk(key) => ("disk", key.to_string()),
            Self::Store(key, engine) => ("store", format!("{key}.{}", engine.as_str())),
        }
    }
}

/// What was asked for, and what must be made for it.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What was asked for.
    pub(crate) targets: BTreeSet<TargetName>,
    /// All that must be made, and what each needs for it.
    pub(crate) steps: BTreeMap<TargetName, BTreeSet<TargetName>>,
}

impl Plan {
    /// Plans the named targets, or all of a spec.
    pub(crate) fn of(spec: &Spec, names: &[String]) -> Result<Self, Failure> {
        let all = all_targets(spec);
        let mut plan = Self::default();
        for name in names {
            plan.targets.insert(find(name, &all)?);
        }
        if names.is_empty() {
            if all.is_empty() {
                return Err(Failure::usage("the spec names nothing to build").hint(
                    "write a `[layer.NAME]` with `add`, and an `[image.NAME]` with `layers`".to_owned(),
                ));
            }
            plan.targets = all;
        }
        let mut pending: Vec<TargetName> = plan.targets.iter().cloned().collect();
        while let Some(step) = pending.pop() {
            if let Entry::Vacant(new) = plan.steps.entry(step) {
                let needs = needs(spec, new.key());
                pending.extend(needs.iter().cloned());
                new.insert(needs);
            }
        }
        Ok(plan)
    }

    /// Returns the keys of the layers that are needed.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Key> {
        self.steps.keys().filter_map(|step| match step {
            TargetName::Layer(key) => Some(key),
            _ => None,
        })
    }

    /// Returns the keys of the seeds that something is made of.
    pub(crate) fn seeds<'a>(&'a self, spec: &'a Spec) -> BTreeSet<&'a Key> {
        let seed = |step: &'a TargetName| match step {
            TargetName::Seed(key) | TargetName::Store(key, _) => Some(key),
            TargetName::Disk(key) => match disk_source(spec, key) {
                DiskSource::Seed(seed) => Some(seed),
                DiskSource::Store(store) => Some(&store.seed),
                DiskSource::Layer(_) | DiskSource::Image(_) => None,
            },
            _ => None,
        };
        self.steps.keys().filter_map(seed).collect()
    }

    /// Finds a target among those that are made for what was asked for.
    pub(crate) fn step(&self, name: &str) -> Result<TargetName, Failure> {
        find(name, &self.steps.keys().cloned().collect())
    }

    /// Returns a step and all that it needs, near and far.
    pub(crate) fn below(&self, step: &TargetName) -> BTreeSet<TargetName> {
        let mut all = BTreeSet::new();
        let mut pending = vec![step.clone()];
        while let Some(step) = pending.pop() {
            pending.extend(self.steps[&step].iter().cloned());
            all.insert(step);
        }
        all
    }
}

/// Returns what a step is made of.
fn needs(spec: &Spec, step: &TargetName) -> BTreeSet<TargetName> {
    let image = |key: &Key| TargetName::Image(key.clone());
    match step {
        TargetName::Layer(key) => spec.layer[key].layers().cloned().map(TargetName::Layer).collect(),
        TargetName::Image(key) => {
            let spec = &spec.image[key];
            let base = spec.base.iter().filter_map(|base| base.image.as_ref()).map(image);
            base.chain(spec.layers.iter().cloned().map(TargetName::Layer)).collect()
        }
        TargetName::Index(key) => spec.index[key].images.iter().map(image).collect(),
        TargetName::Bundle(key) => {
            let spec = &spec.bundle[key];
            let indexes = spec.indexes.values().cloned().map(TargetName::Index);
            spec.images.values().map(image).chain(indexes).collect()
        }
        TargetName::Seed(key) | TargetName::Store(key, _) => images_of(spec, key),
        TargetName::Disk(key) => match disk_source(spec, key) {
            DiskSource::Seed(seed) => images_of(spec, seed),
            DiskSource::Store(store) => images_of(spec, &store.seed),
            DiskSource::Layer(layer) => [TargetName::Layer(layer.clone())].into(),
            DiskSource::Image(key) => [image(key)].into(),
        },
    }
}

/// Returns the images of a seed.
fn images_of(spec: &Spec, seed: &Key) -> BTreeSet<TargetName> {
    spec.seed[seed].image.iter().map(|entry| TargetName::Image(entry.image.clone())).collect()
}

/// Returns what a disk is made of.
pub(crate) fn disk_source<'a>(spec: &'a Spec, disk: &Key) -> DiskSource<'a> {
    spec.disk[disk].source().expect("checked when the spec was read")
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
    let disks = spec.disk.keys().cloned().map(TargetName::Disk);
    layers.chain(images).chain(indexes).chain(bundles).chain(seeds).chain(stores).chain(disks).collect()
}

fn find(name: &str, all: &BTreeSet<TargetName>) -> Result<TargetName, Failure> {
    let found = all.iter().find(|target| target.to_string() == *name);
    found.cloned().ok_or_else(|| unknown(name, all))
}

fn unknown(name: &str, all: &BTreeSet<TargetName>) -> Failure {
    let names: Vec<String> = all.iter().map(ToString::to_string).collect();
    let hint = closest(name, names.iter().map(String::as_str));
    // Of those who leave the kind out.
    let same_name = |target: &&String| target.split_once('.').is_some_and(|(_, other)| other == name);
    let named: Vec<_> = names.iter().filter(same_name).map(|name| format!("`{name}`")).collect();
    let hint = match named.is_empty() {
        true => hint.unwrap_or_else(|| format!("the spec has {}", names.join(", "))),
        false => format!("did you mean {}?", named.join(" or ")),
    };
    Failure::usage(format!("no target `{name}` in the spec")).hint(hint)
}
