//! `[disk.KEY]`: a tree in a form that an OS image takes in or a kernel mounts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lock::Engine;
use crate::text::string_form;
use crate::{ErofsCompression, Key, Label, Uuid};

/// A disk: what one medium holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSpec {
    /// The form.
    pub medium: MediumKind,
    /// The seed whose medium form it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Key>,
    /// The layer that it holds, in overlay form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Key>,
    /// The image whose file system it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Key>,
    /// The store that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreName>,
    /// How files are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<ErofsCompression>,
    /// The volume's label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Label>,
    /// The volume's UUID; without one it follows from what is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Uuid>,
}

/// The forms of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MediumKind {
    /// A file system that Linux mounts as it is.
    Erofs,
    /// A tar.
    Tar,
    /// A cpio archive, as Linux unpacks it at boot.
    Cpio,
}

impl MediumKind {
    /// Returns the word that specs use, which also ends the names of files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::Tar => "tar",
            Self::Cpio => "cpio",
        }
    }
}

/// A store of a seed, written `SEED.ENGINE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreName {
    /// The seed.
    pub seed: Key,
    /// What the store is arranged for.
    pub engine: Engine,
}

/// Says that a text names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store `{0}` is not a seed and an engine as `appliance.archives`")]
pub struct StoreNameError(String);

impl FromStr for StoreName {
    type Err = StoreNameError;

    fn from_str(text: &str) -> Result<Self, StoreNameError> {
        // A seed's name may have dots in it.
        let parts = text.rsplit_once('.');
        let name = parts
            .and_then(|(seed, engine)| Some(Self { seed: seed.parse().ok()?, engine: engine.parse().ok()? }));
        name.ok_or_else(|| StoreNameError(text.to_owned()))
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seed, self.engine.as_str())
    }
}

string_form!(
    StoreName,
    "StoreName",
    "^[a-z0-9][a-z0-9._-]*\\.(archives|containerd)$",
    "A store of a seed, as `appliance.archives`."
);

/// What a disk is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSource<'a> {
    /// The medium form of a seed.
    Seed(&'a Key),
    /// A layer in overlay form.
    Layer(&'a Key),
    /// The file system of an image.
    Image(&'a Key),
    /// A store of a seed.
    Store(&'a StoreName),
}

/// Says what is wrong with a disk's keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// It is made of nothing, or of several.
    #[error("expected one of `seed`, `layer`, `image`, `store`, found {0}")]
    Source(String),
    /// The medium has no such thing.
    #[error("`{key}` is of the medium `erofs`, not of `{medium}`")]
    Key {
        /// The key.
        key: &'static str,
        /// The medium.
        medium: &'static str,
    },
}

impl DiskSpec {
    /// Checks the keys and returns what the disk is made of.
    ///
    /// # Errors
    /// Not one of the four; a key that the medium does not have.
    pub fn source(&self) -> Result<DiskSource<'_>, DiskError> {
        let keys = [
            ("compression", self.compression.is_some()),
            ("label", self.label.is_some()),
            ("uuid", self.uuid.is_some()),
        ];
        if let Some((key, _)) = keys.iter().find(|(_, there)| *there && self.medium != MediumKind::Erofs) {
            return Err(DiskError::Key { key, medium: self.medium.as_str() });
        }
        let all = [
            self.seed.as_ref().map(|key| ("seed", DiskSource::Seed(key))),
            self.layer.as_ref().map(|key| ("layer", DiskSource::Layer(key))),
            self.image.as_ref().map(|key| ("image", DiskSource::Image(key))),
            self.store.as_ref().map(|name| ("store", DiskSource::Store(name))),
        ];
        let there: Vec<_> = all.into_iter().flatten().collect();
        match there.as_slice() {
            [(_, source)] => Ok(*source),
            [] => Err(DiskError::Source("none".to_owned())),
            several => {
                let names: Vec<_> = several.iter().map(|(name, _)| format!("`{name}`")).collect();
                Err(DiskError::Source(names.join(" and ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DiskSpec, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn a_disk_is_made_of_one_thing_and_has_what_its_medium_has() {
        let good =
            parse("medium = \"erofs\"\nstore = \"a.b.archives\"\ncompression = \"lz4\"").expect("good");
        let Ok(DiskSource::Store(store)) = good.source() else { panic!("{good:?}") };
        assert_eq!((store.seed.as_str(), store.engine), ("a.b", Engine::Archives));
        for (text, expected) in [
            ("medium = \"tar\"", "expected one of `seed`, `layer`, `image`, `store`, found none"),
            (
                "medium = \"tar\"\nseed = \"a\"\nlayer = \"b\"",
                "expected one of `seed`, `layer`, `image`, `store`, found `seed` and `layer`",
            ),
            (
                "medium = \"cpio\"\nseed = \"a\"\nlabel = \"b\"",
                "`label` is of the medium `erofs`, not of `cpio`",
            ),
        ] {
            let error = parse(text).expect("good types").source().expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        for bad in ["archives", ".archives", "a.docker", "a"] {
            assert!(parse(&format!("medium = \"tar\"\nstore = \"{bad}\"")).is_err(), "{bad}");
        }
    }
}
