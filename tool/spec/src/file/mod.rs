//! The spec file: what a person, a Bazel rule or a Nix function writes.
//!
//! The types mirror `docs/format.md`, section "The spec", key by key; TOML and
//! JSON have the same shape. Tables of the spec (`[layer.x]`, `[image.x]`, …)
//! are also what single steps get as parameters, see [`crate::params`].

mod attributes;
mod bundle;
mod closure;
mod disk;
mod hint;
mod image;
mod layer;
mod packages;
mod seed;
mod spec;

pub use attributes::{Attributes, AttributesError, Rule, RuleKind};
pub use bundle::{BundleFormat, BundleSpec};
pub use closure::{Closure, ClosureSpec, PlanPolicy, PlanSpec, Taken};
pub use disk::{DiskError, DiskSource, DiskSpec, MediumKind, StoreName};
pub use hint::closest;
pub use image::{Base, BaseError, BaseSpec, EmptyLayers, HistorySpec, ImageSpec, IndexSpec, MediaTypes};
pub use layer::{Add, AddError, Entry, Filter, LayerSpec, Source};
pub use packages::Packages;
pub use seed::{ArchivesOptions, ContainerdOptions, SeedImage, SeedSpec, StoreForm};
pub use spec::{Spec, SpecError, in_order};
