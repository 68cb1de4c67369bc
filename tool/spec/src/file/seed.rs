//! `[seed.KEY]`: images with names, and what is arranged from them.

use serde::{Deserialize, Serialize};

use crate::lock::{Class, Engine, LayerBlobs, Namespace};
use crate::{Key, Reference, TreePath};

/// A seed: images with names, and the stores that are arranged from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SeedSpec {
    /// The stores that `build` arranges.
    pub stores: Vec<Engine>,
    /// The images.
    pub image: Vec<SeedImage>,
    /// Whether the medium form has the layers' blobs, too.
    #[serde(skip_serializing_if = "LayerBlobs::is_all")]
    pub blobs: LayerBlobs,
    /// Options of the store `archives`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archives: Option<ArchivesOptions>,
}

/// One image of a seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SeedImage {
    /// The image.
    pub image: Key,
    /// Its full name on the target.
    pub name: Reference,
    /// The containerd namespaces that get it.
    #[serde(default = "default_namespaces")]
    pub namespaces: Vec<Namespace>,
    /// Whether the boot waits for it.
    #[serde(default)]
    pub class: Class,
    /// Whether garbage collection must spare it.
    #[serde(default = "default_pin")]
    pub pin: bool,
    /// Its file name in the store `archives`, without `.tar`; the image's name in the spec unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Key>,
}

/// Kubernetes' namespace: the one that most targets use.
fn default_namespaces() -> Vec<Namespace> {
    vec!["k8s.io".parse().expect("`k8s.io` is a namespace")]
}

fn default_pin() -> bool {
    true
}

/// Options of the store `archives`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ArchivesOptions {
    /// The directory on the target; files are `<root>/<namespace>/<file>.tar`.
    pub root: TreePath,
    /// Whether the store leaves as a tar or as a directory.
    pub form: StoreForm,
}

impl Default for ArchivesOptions {
    fn default() -> Self {
        Self { root: TreePath::parse(b"containerd/preseed").expect("a good path"), form: StoreForm::Tar }
    }
}

/// How a store leaves the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StoreForm {
    /// A tar of the target's root with the store in its place.
    #[default]
    Tar,
    /// A directory that holds what the store's root holds; only for stores of plain files.
    Directory,
}
