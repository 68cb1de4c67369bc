//! The spec file: what a person, a Bazel rule or a Nix function writes.
//!
//! The types mirror `docs/format.md`, section "The spec", key by key; TOML and
//! JSON have the same shape. Tables of the spec (`[layer.x]`, `[image.x]`, …)
//! are also what single steps get as parameters, see [`crate::params`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lock::{Class, Namespace};
use crate::{Compression, FileMode, Key, Owner, Platform, Reference, TreePath};

/// A whole spec.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Spec {
    /// Layers by name.
    pub layer: BTreeMap<Key, LayerSpec>,
    /// Images by name.
    pub image: BTreeMap<Key, ImageSpec>,
    /// Bundles by name.
    pub bundle: BTreeMap<Key, BundleSpec>,
    /// Seeds by name.
    pub seed: BTreeMap<Key, SeedSpec>,
}

/// One layer: a list of things that are put into it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LayerSpec {
    /// How the blob is compressed; zstd level 3 unless said.
    pub compression: Compression,
    /// What is put in; no two entries may write one path, but directories are shared.
    pub add: Vec<Add>,
}

/// One entry of a layer as written: exactly one of `file`, `dir`, `text`, `symlink`, `mkdir`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Add {
    /// A file of the build host; its content and executable bit count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// A directory of the build host with all that is below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// A file with this content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A symbolic link with this target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlink: Option<String>,
    /// A directory at this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mkdir: Option<TreePath>,
    /// Where it goes; needed for `file`, `text` and `symlink`, `/` unless said for `dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<TreePath>,
    /// Permission bits of a `file`, `text` or `mkdir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<FileMode>,
    /// Owner of everything that the entry makes, but not of directories that it only implies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
}

/// An [`Add`] that was found to make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it goes.
    pub to: TreePath,
    /// What it is.
    pub source: Source,
    /// Permission bits, when the spec says them.
    pub mode: Option<FileMode>,
    /// Owner, 0:0 unless the spec says another.
    pub owner: Owner,
}

/// What an [`Entry`] puts into a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of the build host, by path or input name.
    File(String),
    /// A directory of the build host, by path or input name.
    Dir(String),
    /// A file with this content.
    Text(String),
    /// A symbolic link with this target.
    Symlink(String),
    /// A directory.
    Mkdir,
}

/// Says what is wrong with an entry of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// None or several of the five kinds.
    #[error("expected exactly one of `file`, `dir`, `text`, `symlink` and `mkdir`, found {0}")]
    Kind(String),
    /// A key that this kind of entry needs.
    #[error("`{0}` needs the key `{1}`")]
    Missing(&'static str, &'static str),
    /// A key that this kind of entry cannot have.
    #[error("`{0}` cannot have the key `{1}`{2}")]
    Extra(&'static str, &'static str, &'static str),
    /// The image's root cannot be made by this kind of entry.
    #[error("`{0}` cannot make `/`")]
    Root(&'static str),
    /// A link target that no file system takes.
    #[error("symlink target {0}")]
    Target(String),
}

impl Add {
    /// Finds out which kind of entry this is and checks that its keys fit.
    ///
    /// # Errors
    /// Keys that are missing, too many or contradict each other.
    pub fn entry(&self) -> Result<Entry, AddError> {
        let (kind, source, to) = self.kind()?;
        let has_mode = match source {
            Source::Dir(_) if self.mode.is_some() => {
                return Err(AddError::Extra(kind, "mode", ": its files keep their executable bit"));
            }
            Source::Symlink(_) if self.mode.is_some() => {
                return Err(AddError::Extra(kind, "mode", ": a link has none"));
            }
            _ => self.mode,
        };
        if let Source::Symlink(target) = &source {
            // PATH_MAX counts the NUL byte at the end.
            if target.is_empty() || target.len() >= 4096 || target.contains('\0') {
                return Err(AddError::Target("must have 1 to 4095 bytes without NUL".to_owned()));
            }
        }
        Ok(Entry { to, source, mode: has_mode, owner: self.owner.unwrap_or_default() })
    }

    fn kind(&self) -> Result<(&'static str, Source, TreePath), AddError> {
        let kinds: Vec<(&'static str, Source)> = [
            ("file", self.file.clone().map(Source::File)),
            ("dir", self.dir.clone().map(Source::Dir)),
            ("text", self.text.clone().map(Source::Text)),
            ("symlink", self.symlink.clone().map(Source::Symlink)),
            ("mkdir", self.mkdir.as_ref().map(|_| Source::Mkdir)),
        ]
        .into_iter()
        .filter_map(|(kind, source)| source.map(|source| (kind, source)))
        .collect();
        let [(kind, source)] = &kinds[..] else {
            let names: Vec<_> = kinds.iter().map(|(kind, _)| format!("`{kind}`")).collect();
            return Err(AddError::Kind(if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(" and ")
            }));
        };
        let to = match (source, &self.mkdir, &self.to) {
            (Source::Mkdir, Some(_), Some(_)) => {
                return Err(AddError::Extra(kind, "to", ": the path is the value of `mkdir`"));
            }
            (Source::Mkdir, Some(path), None) | (_, _, Some(path)) => path.clone(),
            (Source::Dir(_), ..) => TreePath::root(),
            _ => return Err(AddError::Missing(kind, "to")),
        };
        if to.is_root() && !matches!(source, Source::Dir(_)) {
            return Err(AddError::Root(kind));
        }
        Ok((kind, source.clone(), to))
    }
}

/// One image: layers over a base or over nothing, and how it runs.
///
/// A key that is not there leaves what the base's configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ImageSpec {
    /// The image below; without it the image is made from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseSpec>,
    /// The platform; the base's, or `linux/amd64` from scratch, unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Names of layers, bottom first.
    pub layers: Vec<Key>,
    /// The program with its fixed arguments; setting it drops the base's `cmd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments that a user may replace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Environment variables; each replaces the base's of the same name.
    pub env: BTreeMap<String, String>,
    /// Labels; each replaces the base's of the same name.
    pub labels: BTreeMap<String, String>,
    /// User and optional group, as `33`, `33:33` or a name of the image's own passwd file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The directory that the program starts in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<TreePath>,
    /// Ports as `8080/tcp`, added to the base's.
    pub exposed_ports: Vec<String>,
    /// Paths that engines put volumes on, added to the base's.
    pub volumes: Vec<TreePath>,
    /// The signal that asks the program to stop, as `SIGQUIT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

/// Where a base image is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BaseSpec {
    /// An OCI image layout, a directory.
    pub layout: String,
    /// The name of the image in the layout's index, or its digest; not needed where there is one image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// Images in one file or directory that other tools read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BundleSpec {
    /// The form.
    pub format: BundleFormat,
    /// Images by full name.
    pub images: BTreeMap<Reference, Key>,
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
}

/// A seed: images with names, and the stores that are arranged from them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SeedSpec {
    /// The stores that `build` arranges.
    pub stores: Vec<Engine>,
    /// The images.
    pub image: Vec<SeedImage>,
    /// Options of the store `archives`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archives: Option<ArchivesOptions>,
}

/// What a store is arranged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The preseed directory: one oci-archive an image below a directory for each namespace.
    Archives,
}

impl Engine {
    /// Returns the word that specs and targets use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archives => "archives",
        }
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

/// Says why a spec cannot be read; names the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}{message}")]
pub struct SpecError {
    /// `LINE:COLUMN: `, or the path of keys with `: ` behind it.
    place: String,
    message: String,
    hint: Option<String>,
}

impl SpecError {
    fn at(place: String, message: impl Into<String>) -> Self {
        Self { place: format!("{place}: "), message: message.into(), hint: None }
    }

    /// Returns advice for the person who wrote the spec.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Spec {
    /// Parses a spec in TOML and checks it.
    ///
    /// # Errors
    /// Bad syntax, unknown keys, wrong types, with line and column; names that the spec does not define.
    pub fn parse_toml(text: &str) -> Result<Self, SpecError> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map_or((1, 1), |span| line_and_column(text, span.start));
            syntax_error(place, error.message())
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// Parses a spec in JSON and checks it.
    ///
    /// # Errors
    /// As [`Spec::parse_toml`].
    pub fn parse_json(text: &str) -> Result<Self, SpecError> {
        let spec: Self = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
            syntax_error((error.line(), error.column()), message)
        })?;
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), SpecError> {
        for (name, layer) in &self.layer {
            for (index, add) in layer.add.iter().enumerate() {
                let place = || format!("layer.{name}.add[{index}]");
                add.entry().map_err(|error| SpecError::at(place(), error.to_string()))?;
            }
        }
        for (name, image) in &self.image {
            for layer in &image.layers {
                defined(&self.layer, layer, "layer", || format!("image.{name}.layers"))?;
            }
            if image.base.is_none() && image.layers.is_empty() {
                return Err(SpecError::at(format!("image.{name}"), "it has neither `base` nor `layers`"));
            }
        }
        for (name, bundle) in &self.bundle {
            if bundle.images.is_empty() {
                return Err(SpecError::at(format!("bundle.{name}"), "it has no `images`"));
            }
            for image in bundle.images.values() {
                defined(&self.image, image, "image", || format!("bundle.{name}.images"))?;
            }
        }
        self.seed.iter().try_for_each(|(name, seed)| self.check_seed(name, seed))
    }

    fn check_seed(&self, name: &Key, seed: &SeedSpec) -> Result<(), SpecError> {
        if seed.image.is_empty() {
            return Err(SpecError::at(format!("seed.{name}"), "it has no `image`"));
        }
        for (index, entry) in seed.image.iter().enumerate() {
            let place = || format!("seed.{name}.image[{index}]");
            defined(&self.image, &entry.image, "image", place)?;
            if entry.namespaces.is_empty() {
                return Err(SpecError::at(place(), "`namespaces` is empty"));
            }
        }
        Ok(())
    }
}

fn defined<T>(
    all: &BTreeMap<Key, T>,
    name: &Key,
    kind: &str,
    place: impl FnOnce() -> String,
) -> Result<(), SpecError> {
    if all.contains_key(name) {
        return Ok(());
    }
    let mut error = SpecError::at(place(), format!("{kind} `{name}` is not defined in this spec"));
    error.hint = closest(name.as_str(), all.keys().map(Key::as_str));
    Err(error)
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn syntax_error((line, column): (usize, usize), message: &str) -> SpecError {
    let message = message.trim().replace('\n', ", ");
    let mut words = message.split('`').skip(1).step_by(2);
    let hint = match (message.starts_with("unknown field"), words.next()) {
        (true, Some(found)) => closest(found, words),
        _ => None,
    };
    SpecError { place: format!("{line}:{column}: "), message, hint }
}

/// Finds the word that was probably meant.
pub fn closest<'a>(found: &str, words: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = words.map(|word| (strsim::damerau_levenshtein(found, word), word));
    let (distance, word) = scored.min()?;
    // Two slips in a short word are another word already.
    (distance <= found.chars().count().div_ceil(3)).then(|| format!("did you mean `{word}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[layer.site]
add = [
  { file = "a", to = "/a", mode = "0600", owner = "1:2" },
  { dir = "d" }, { dir = "d", to = "/d" },
  { text = "x", to = "/x" },
  { symlink = "/x", to = "/y" },
  { mkdir = "/var", mode = "1777" },
]
[image.web]
layers = ["site"]
[bundle.web]
format = "oci-archive"
images = { "docker.io/library/web:1" = "web" }
[seed.s]
stores = ["archives"]
image = [{ image = "web", name = "docker.io/library/web:1" }]
"#;

    #[test]
    fn toml_and_json_have_one_shape() {
        let spec = Spec::parse_toml(GOOD).expect("good");
        let json = String::from_utf8(crate::json::encode(&spec)).expect("UTF-8");
        assert_eq!(Spec::parse_json(&json).expect("own JSON"), spec);
        let seed = &spec.seed.values().next().expect("one").image[0];
        assert_eq!((seed.namespaces[0].as_str(), seed.class, seed.pin), ("k8s.io", Class::Critical, true));
    }

    #[test]
    fn mistakes_have_place_and_hint() {
        let cases = [
            ("[layer.a]\nad = []", "2:1: unknown field `ad`", Some("did you mean `add`?")),
            ("[layer.a]\nadd = 3", "2:7: invalid type: integer `3`", None),
            ("[layer.a]\nadd = [{ mkdir = \"/a\", mode = \"9\" }]", "2:31: mode `9` is not", None),
            ("[layer.A]", "1:8: name `A` does not match", None),
            (
                "[image.a]\nlayers = [\"b\"]\n[layer.c]",
                "image.a.layers: layer `b` is not",
                Some("did you mean `c`?"),
            ),
            ("[layer.a]\nadd = [{ to = \"/a\" }]", "layer.a.add[0]: expected exactly one of", None),
            ("[layer.a]\nadd = [{ file = \"a\" }]", "layer.a.add[0]: `file` needs the key `to`", None),
            (
                "[layer.a]\nadd = [{ file = \"a\", to = \"/../a\" }]",
                "2:27: path `/../a` has a `..` part",
                None,
            ),
            ("[image.a]", "image.a: it has neither", None),
            ("[layer.a\n", "1:9: ", None),
        ];
        for (text, message, hint) in cases {
            let error = Spec::parse_toml(text).expect_err(text);
            assert!(error.to_string().starts_with(message), "{error} for {text}");
            assert_eq!(error.hint(), hint, "{text}");
        }
        let error = Spec::parse_json("{\"layer\": {\"a\": {\n \"ad\": []}}}").expect_err("unknown");
        assert!(error.to_string().starts_with("2:5: unknown field `ad`"), "{error}");
    }

    #[test]
    fn entries_with_wrong_keys() {
        let path: TreePath = "/a".parse().expect("path");
        let text = Some("x".to_owned());
        let bad = [
            Add { text: text.clone(), file: text.clone(), to: Some(path.clone()), ..Add::default() },
            Add { mkdir: Some(path.clone()), to: Some(path.clone()), ..Add::default() },
            Add { dir: text.clone(), mode: Some(FileMode::new(0o755)), ..Add::default() },
            Add {
                symlink: text.clone(),
                to: Some(path.clone()),
                mode: Some(FileMode::new(0o755)),
                ..Add::default()
            },
            Add { symlink: Some(String::new()), to: Some(path), ..Add::default() },
            Add { text, to: Some(TreePath::root()), ..Add::default() },
        ];
        for add in bad {
            assert!(add.entry().is_err(), "{add:?}");
        }
    }
}
