//! The lock, `seed.json`: everything that is in a seed, by digest.
//!
//! Its `content` alone decides the seed id, so a seed has one id whoever
//! builds it and in whatever form it lies on a medium. The lock's own sha256
//! pins all of it (`--expect-seed`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError, VERSION};
use crate::{ChainId, DiffId, Digest, Platform, Reference, TreePath, json};

/// The file name of the lock in a seed.
pub const FILE_NAME: &str = "seed.json";

/// The directory of the stores in the medium form of a seed.
pub const STORES: &str = "stores";

/// A parsed `seed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Always 1.
    pub version: u32,
    /// What the seed holds; its digest is the seed id.
    pub content: Content,
    /// The unpacked layer of each chain id, in medium form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<ChainId, UnpackedLayer>,
    /// The stores, in medium form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stores: BTreeMap<Engine, LockedStore>,
    /// What the medium has; nothing in host form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<Medium>,
}

/// A layer in overlay form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UnpackedLayer {
    /// Its tree digest, which names its directory.
    pub tree: Digest,
    /// The bytes of its files.
    pub size: u64,
}

/// What one engine's store has on the medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedStore {
    /// The tree digest of the store's directory.
    pub tree: Digest,
    /// Its files by their paths below the store's directory.
    pub files: BTreeMap<String, LockedFile>,
    /// What the loader must know of it.
    #[serde(default, skip_serializing_if = "LockedOptions::is_empty")]
    pub options: LockedOptions,
}

impl LockedStore {
    /// Returns the bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}

/// Options of a store that matter on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedOptions {
    /// The engine's root on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<TreePath>,
    /// The snapshotter that has the layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshotter: Option<Snapshotter>,
}

impl LockedOptions {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A snapshotter of containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Snapshotter {
    /// The one that containerd uses unless told otherwise.
    #[default]
    Overlayfs,
}

impl Snapshotter {
    /// Returns its name in containerd.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlayfs => "overlayfs",
        }
    }
}

/// A file of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedFile {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What is said of a medium as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Medium {
    /// Whether it has the layers' blobs.
    pub blobs: LayerBlobs,
    /// The bytes of files that the loader copies.
    pub copied: u64,
    /// The bytes of all its files beside the lock; equal files count once.
    pub size: u64,
}

/// Whether a medium has the layers' blobs beside the unpacked layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LayerBlobs {
    /// Every blob.
    #[default]
    All,
    /// Manifests and configurations alone.
    Metadata,
}

impl LayerBlobs {
    /// Tells whether layers are there.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// What a store is arranged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The preseed directory: one oci-archive an image below a directory for each namespace.
    Archives,
    /// containerd's root: all images imported and unpacked, by links to the seed.
    Containerd,
}

impl Engine {
    /// Returns the word that specs and targets use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Archives => "archives",
            Self::Containerd => "containerd",
        }
    }

    /// Returns where a medium has the store.
    pub fn place(self) -> String {
        format!("{STORES}/{}", self.as_str())
    }
}

impl FromStr for Engine {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match text {
            "archives" => Ok(Self::Archives),
            "containerd" => Ok(Self::Containerd),
            other => Err(EngineError(other.to_owned())),
        }
    }
}

/// Says that a text names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store `{0}` is neither `archives` nor `containerd`")]
pub struct EngineError(String);

/// What a seed holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Content {
    /// The images, in the order of their first names.
    pub images: Vec<LockedImage>,
}

/// One image of a seed with all that an engine must be told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedImage {
    /// Its full names, sorted; at least one.
    pub names: Vec<Reference>,
    /// The containerd namespaces that get it, sorted; at least one.
    pub namespaces: Vec<Namespace>,
    /// Whether the boot waits for it.
    pub class: Class,
    /// Whether the engine's garbage collection must spare it.
    pub pin: bool,
    /// The platform that its configuration names.
    pub platform: Platform,
    /// The manifest blob.
    pub manifest: BlobRef,
    /// The configuration blob.
    pub config: BlobRef,
    /// The layers, bottom first.
    pub layers: Vec<LockedLayer>,
}

/// Names a blob: what a descriptor says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BlobRef {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A layer blob and its place in the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedLayer {
    /// Its media type.
    pub media_type: String,
    /// The blob's digest.
    pub digest: Digest,
    /// The blob's size in bytes.
    pub size: u64,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The identity of this layer on all those below it.
    pub chain_id: ChainId,
}

/// Whether the boot waits for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Present before the engine's users start; a failure fails the loader (exit 8).
    #[default]
    Critical,
    /// Loaded later; a failure is reported (exit 7).
    Background,
}

/// A containerd namespace: letters and digits with single `.`, `_` or `-` between them, at most 76.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace(String);

/// Says that a text is not a containerd namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceError {
    /// It is not spelt as one.
    #[error("namespace `{0}` is not letters and digits with single `.`, `_` or `-` between them, at most 76")]
    Form(String),
    /// containerd keeps something else by that name, beside the namespaces.
    #[error("namespace `version` is none that containerd can have: it is the key of its database's version")]
    Version,
}

impl Namespace {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let good = text.len() <= 76 && text.split(['.', '_', '-']).all(word);
        match good {
            true if text == "version" => Err(NamespaceError::Version),
            true => Ok(Self(text.to_owned())),
            false => Err(NamespaceError::Form(text.to_owned())),
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::text::string_form!(
    Namespace,
    "Namespace",
    "^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$",
    "A containerd namespace, as `k8s.io`."
);

/// Says why a lock cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Not a lock of a version that this program knows.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An image of the lock contradicts itself or another.
    #[error("lock: image {index}: {problem}")]
    Image {
        /// The image's place in `content.images`, from 0.
        index: usize,
        /// What is wrong.
        problem: String,
    },
    /// A layer is unpacked that no image has, or in host form.
    #[error("lock: `layers`: chain id {0} is of no image that the medium has unpacked")]
    Layer(ChainId),
    /// Stores are of the medium form alone.
    #[error("lock: `stores` without `medium`")]
    Stores,
}

impl Lock {
    /// Makes a lock of images in any order.
    ///
    /// Images that differ only in their names become one, and names, namespaces
    /// and images are sorted, so that the order of a spec never changes the id.
    ///
    /// # Errors
    /// A name that two different images claim in one namespace, or an image without name or namespace.
    pub fn new(images: Vec<LockedImage>) -> Result<Self, LockError> {
        // By all that they have but names: one image may have tens of thousands of these.
        let mut merged: BTreeMap<Vec<u8>, LockedImage> = BTreeMap::new();
        for mut image in images {
            image.namespaces.sort();
            image.namespaces.dedup();
            let names = std::mem::take(&mut image.names);
            merged.entry(json::encode(&image)).or_insert(image).names.extend(names);
        }
        let mut merged: Vec<LockedImage> = merged.into_values().collect();
        for image in &mut merged {
            image.names.sort();
            image.names.dedup();
        }
        // Equal first names occur (one image a namespace): the rest breaks the tie.
        merged.sort_by(|a, b| (&a.names, &a.namespaces).cmp(&(&b.names, &b.namespaces)));
        let lock = Self {
            version: VERSION,
            content: Content { images: merged },
            layers: BTreeMap::new(),
            stores: BTreeMap::new(),
            medium: None,
        };
        lock.check()?;
        Ok(lock)
    }

    /// Parses `seed.json` and checks that it does not contradict itself.
    ///
    /// # Errors
    /// Anything but a sound lock of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, LockError> {
        let lock: Self = document::parse("seed lock", bytes)?;
        lock.check()?;
        Ok(lock)
    }

    /// Encodes the lock as the bytes of `seed.json`.
    pub fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Computes the seed id: the digest of the canonical JSON of `content`.
    pub fn seed_id(&self) -> Digest {
        Digest::of(&json::encode(&self.content))
    }

    fn check(&self) -> Result<(), LockError> {
        let mut claimed = BTreeMap::new();
        for (index, image) in self.content.images.iter().enumerate() {
            let error = |problem: String| LockError::Image { index, problem };
            image.check().map_err(error)?;
            for claim in image.names.iter().flat_map(|name| image.namespaces.iter().map(move |ns| (ns, name)))
            {
                if let Some(other) = claimed.insert(claim, index) {
                    let (namespace, name) = claim;
                    let problem =
                        format!("name `{name}` in namespace `{namespace}` is image {other}'s already");
                    return Err(error(problem));
                }
            }
        }
        self.check_medium()
    }

    /// Checks that the layers of the medium form are those of the images.
    fn check_medium(&self) -> Result<(), LockError> {
        let images = self.content.images.iter().zip(0..);
        let mut wanted: BTreeMap<ChainId, usize> = BTreeMap::new();
        for (image, index) in images.filter(|_| self.medium.is_some()) {
            for layer in &image.layers {
                wanted.insert(layer.chain_id, index);
                if !self.layers.contains_key(&layer.chain_id) {
                    let problem = format!("its layer with chain id {} is not in `layers`", layer.chain_id);
                    return Err(LockError::Image { index, problem });
                }
            }
        }
        match self.layers.keys().find(|chain| !wanted.contains_key(chain)) {
            Some(chain) => Err(LockError::Layer(*chain)),
            None if self.medium.is_none() && !self.stores.is_empty() => Err(LockError::Stores),
            None => Ok(()),
        }
    }
}

impl LockedImage {
    fn check(&self) -> Result<(), String> {
        let (Some(name), false) = (self.names.first(), self.namespaces.is_empty()) else {
            return Err("it has no name or no namespace".to_owned());
        };
        let diff_ids: Vec<DiffId> = self.layers.iter().map(|layer| layer.diff_id).collect();
        for (layer, expected) in self.layers.iter().zip(ChainId::chain(&diff_ids)) {
            if layer.chain_id != expected {
                return Err(format!("`{name}`: chain id: expected {expected}, found {}", layer.chain_id));
            }
        }
        for name in &self.names {
            if name.digest().is_some_and(|digest| *digest != self.manifest.digest) {
                return Err(format!(
                    "name `{name}` has another digest than its manifest {}",
                    self.manifest.digest
                ));
            }
        }
        Ok(())
    }

    /// Lists every blob of the image: manifest, configuration, layers from the bottom.
    pub fn blobs(&self) -> impl Iterator<Item = BlobRef> {
        let layers = self.layers.iter().map(|layer| BlobRef {
            media_type: layer.media_type.clone(),
            digest: layer.digest,
            size: layer.size,
        });
        [self.manifest.clone(), self.config.clone()].into_iter().chain(layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(media_type: &str, bytes: &str) -> BlobRef {
        BlobRef { media_type: media_type.to_owned(), digest: Digest::of(bytes.as_bytes()), size: 1 }
    }

    fn image(name: &str, namespace: &str, manifest: &str) -> LockedImage {
        let diff_id = DiffId::new(Digest::of(b"tar"));
        LockedImage {
            names: vec![name.parse().expect("name")],
            namespaces: vec![namespace.parse().expect("namespace")],
            class: Class::Critical,
            pin: true,
            platform: Platform::default(),
            manifest: blob(crate::media_type::MANIFEST, manifest),
            config: blob(crate::media_type::CONFIG, "config"),
            layers: vec![LockedLayer {
                media_type: crate::media_type::LAYER_TAR.to_owned(),
                digest: Digest::of(b"layer"),
                size: 5,
                diff_id,
                chain_id: ChainId::over(None, &diff_id),
            }],
        }
    }

    #[test]
    fn order_and_repeated_names_do_not_change_the_id() {
        let (a, b, c) =
            (image("r.io/a:1", "x", "m"), image("r.io/b:1", "x", "m"), image("r.io/b:1", "y", "n"));
        let one = Lock::new(vec![a.clone(), b.clone(), c.clone()]).expect("good");
        let two = Lock::new(vec![c, b.clone(), a, b]).expect("good");
        assert_eq!(one, two);
        assert_eq!(one.content.images.len(), 2);
        assert_eq!(Lock::parse(&one.encode()).expect("own bytes"), one);
    }

    #[test]
    fn contradictions_are_refused() {
        let twice = Lock::new(vec![image("r.io/a:1", "x", "m"), image("r.io/a:1", "x", "n")]);
        let message = twice.expect_err("two images, one name").to_string();
        assert!(message.contains("`r.io/a:1` in namespace `x`"), "{message}");

        let mut chain = image("r.io/a:1", "x", "m");
        chain.layers[0].chain_id = ChainId::over(None, &DiffId::new(Digest::of(b"other")));
        assert!(Lock::new(vec![chain]).is_err());

        let mut nameless = image("r.io/a:1", "x", "m");
        nameless.names.clear();
        assert!(Lock::new(vec![nameless]).is_err());

        let pinned = format!("r.io/a@{}", Digest::of(b"other"));
        assert!(Lock::new(vec![image(&pinned, "x", "m")]).is_err());
    }

    #[test]
    fn newer_and_unknown_are_refused() {
        let newer = Lock::parse(b"{\"version\":2}").expect_err("newer").to_string();
        assert_eq!(newer, "seed lock has format version 2, this program reads version 1");
        assert!(Lock::parse(b"{\"version\":1,\"content\":{\"images\":[]},\"more\":1}").is_err());
        assert!(Lock::parse(b"").is_err());
    }
}
