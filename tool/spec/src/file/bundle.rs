//! `[bundle.KEY]`: images in a form that other tools read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Key, Reference};

/// Images in one file or directory that other tools read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BundleSpec {
    /// The form.
    pub format: BundleFormat,
    /// Images by full name.
    #[serde(default)]
    pub images: BTreeMap<Reference, Key>,
    /// Indexes by full name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub indexes: BTreeMap<Reference, Key>,
    /// Whether manifests whose subject is in the bundle are carried along from where bases are.
    #[serde(default = "default_referrers", skip_serializing_if = "Clone::clone")]
    pub referrers: bool,
}

fn default_referrers() -> bool {
    true
}

impl BundleSpec {
    /// Says what is wrong with the keys, if something is.
    pub fn problem(&self) -> Option<String> {
        if self.images.is_empty() && self.indexes.is_empty() {
            return Some("it has no `images`".to_owned());
        }
        if let Some(name) = self.images.keys().find(|name| self.indexes.contains_key(name)) {
            return Some(format!("`{name}` is both in `images` and in `indexes`"));
        }
        (self.format == BundleFormat::DockerArchive && !self.indexes.is_empty())
            .then(|| "a docker-archive holds no `indexes`".to_owned())
    }
}

/// The forms of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum BundleFormat {
    /// An OCI image layout: a directory.
    Layout,
    /// An OCI image layout in a tar.
    OciArchive,
    /// The same with `manifest.json`, which every Docker reads.
    DockerArchive,
}
