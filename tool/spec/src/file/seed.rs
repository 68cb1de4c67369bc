//! `[seed.KEY]`: images with names, and what is arranged from them.

use serde::{Deserialize, Serialize};

use crate::lock::{Class, Engine, LayerBlobs, Namespace, Snapshotter};
use crate::records::CRI_NAMESPACE;
use crate::{ContainerdVersion, Key, Reference, TreePath};

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
    /// Options of the store `containerd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containerd: Option<ContainerdOptions>,
}

impl SeedSpec {
    /// Returns the name of the sandbox image that CRI will look for and not find.
    ///
    /// Of a name by digest only the repository is known here.
    pub fn missing_sandbox_image(&self) -> Option<&Reference> {
        let wanted = self.containerd.as_ref()?.sandbox_image.as_ref()?;
        let same = |name: &Reference| match wanted.digest() {
            Some(_) => name.repository() == wanted.repository(),
            None => name == wanted,
        };
        let is_it = |image: &SeedImage| {
            let for_cri = image.namespaces.iter().any(|namespace| namespace.as_str() == CRI_NAMESPACE);
            for_cri && same(&image.name)
        };
        let looked_for = self.stores.contains(&Engine::Containerd);
        (looked_for && !self.image.iter().any(is_it)).then_some(wanted)
    }

    /// Says what is wrong with the keys, if something is.
    pub fn problem(&self) -> Option<String> {
        let containerd = self.containerd.as_ref()?;
        if containerd.root.is_root() {
            return Some("`containerd.root` is `/`, which is no place for an engine's root".to_owned());
        }
        let control = containerd.seed_dir.as_bytes().iter().any(u8::is_ascii_control);
        control.then(|| "`containerd.seed-dir` has a control character in it".to_owned())
    }
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

/// Options of the store `containerd`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ContainerdOptions {
    /// containerd's root on the target.
    pub root: TreePath,
    /// The snapshotter that has the layers.
    pub snapshotter: Snapshotter,
    /// The containerd of the target; any of 1.6 to 2.x unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<ContainerdVersion>,
    /// The name of CRI's sandbox image, which must be among the images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox_image: Option<Reference>,
    /// Where the medium form lies on the target, for the rule of systemd-tmpfiles in the store as a tar.
    pub seed_dir: TreePath,
}

impl Default for ContainerdOptions {
    fn default() -> Self {
        let path = |text: &str| TreePath::parse(text.as_bytes()).expect("a good path");
        Self {
            root: path("var/lib/containerd"),
            snapshotter: Snapshotter::default(),
            version: None,
            sandbox_image: None,
            seed_dir: path("usr/lib/ociseed/seed"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_image_must_be_there_for_cri() {
        let seed = |name: &str, namespace: &str, wanted: &str| {
            let text = format!(
                r#"{{"stores":["containerd"],"image":[{{"image":"a","name":"{name}","namespaces":["{namespace}"]}}],"containerd":{{{wanted}}}}}"#
            );
            let mut seed: SeedSpec = serde_json::from_str(&text).expect(&text);
            let missing = seed.missing_sandbox_image().map(ToString::to_string);
            seed.stores.clear();
            assert_eq!(seed.missing_sandbox_image(), None, "nobody looks without the store");
            missing
        };
        let pause = "registry.k8s.io/pause:3.10";
        let wanted = format!(r#""sandbox-image":"{pause}""#);
        assert_eq!(seed(pause, "k8s.io", &wanted), None);
        assert_eq!(seed(pause, "moby", &wanted), Some(pause.to_owned()));
        assert_eq!(seed("registry.k8s.io/pause:3.9", "k8s.io", &wanted), Some(pause.to_owned()));
        assert_eq!(seed("registry.k8s.io/pause:3.9", "k8s.io", ""), None);
        let by_digest = format!(r#""sandbox-image":"registry.k8s.io/pause@{}""#, crate::Digest::of(b""));
        assert_eq!(seed(pause, "k8s.io", &by_digest), None);
        assert!(seed("registry.k8s.io/other:1", "k8s.io", &by_digest).is_some());
    }

    #[test]
    fn places_that_cannot_be_are_named() {
        for (options, word) in [
            (r#"{"root":"/"}"#, "`containerd.root`"),
            (r#"{"seed-dir":"/a\nL+ /etc/passwd"}"#, "`containerd.seed-dir`"),
        ] {
            let text = format!(r#"{{"containerd":{options}}}"#);
            let seed: SeedSpec = serde_json::from_str(&text).expect(options);
            assert!(seed.problem().expect(options).contains(word), "{options}");
        }
        assert_eq!(SeedSpec::default().problem(), None);
    }
}
