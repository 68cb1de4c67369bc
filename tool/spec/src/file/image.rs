//! `[image.KEY]` and `[index.KEY]`: what is put over what, and how it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{DateTime, Key, Platform, TreePath};

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
    /// Annotations of the manifest; each replaces the base's of the same name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who made the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When the image says that it was made; the epoch unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<DateTime>,
    /// What the configuration's history says of each of `layers`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistorySpec>,
    /// Whether Docker's media types of the base stay.
    #[serde(skip_serializing_if = "MediaTypes::is_keep")]
    pub media_types: MediaTypes,
    /// Whether layers with nothing in them stay.
    #[serde(skip_serializing_if = "EmptyLayers::is_keep")]
    pub empty_layers: EmptyLayers,
}

impl ImageSpec {
    /// Says what is wrong with the keys, if something is.
    pub fn problem(&self) -> Option<String> {
        if self.base.is_none() && self.layers.is_empty() {
            return Some("it has neither `base` nor `layers`".to_owned());
        }
        if let Some(problem) = self.value_problem() {
            return Some(problem);
        }
        let (history, layers) = (self.history.len(), self.layers.len());
        (history > 0 && history != layers)
            .then(|| format!("`history` has {history} entries for {layers} `layers`"))
    }

    /// Says which value no configuration of an image can have, if there is one.
    pub fn value_problem(&self) -> Option<String> {
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Some(format!("environment variable `{name}`: a name is not empty and has no `=`"));
        }
        if let Some(port) = self.exposed_ports.iter().find(|port| !is_port(port)) {
            return Some(format!("exposed port `{port}` is not a number with a protocol, as in `8080/tcp`"));
        }
        let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        let arguments = words(&self.entrypoint).into_iter().chain(words(&self.cmd));
        let variables = self.env.iter().map(|(name, value)| format!("{name}={value}"));
        let texts = (arguments.map(|text| ("argument", text)))
            .chain(variables.map(|text| ("environment variable", text)))
            .chain(self.user.iter().map(|text| ("user", text.clone())));
        // Each becomes an argument of a system call, none of which takes NUL.
        let (what, text) = texts.into_iter().find(|(_, text)| text.contains('\0'))?;
        Some(format!("{what} `{}` has a NUL byte", text.replace('\0', "\\0")))
    }
}

/// Tells whether a text is a port as the OCI image specification spells it, with a protocol.
fn is_port(text: &str) -> bool {
    let Some((number, protocol)) = text.split_once('/') else { return false };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    digits && number.parse::<u16>().is_ok() && ["tcp", "udp", "sctp"].contains(&protocol)
}

/// What the history says of a layer beside its time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HistorySpec {
    /// What made the layer; `ociseed` unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Who made the layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
}

/// What becomes of Docker's media types of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MediaTypes {
    /// They stay.
    #[default]
    Keep,
    /// They become OCI's; blobs stay what they are.
    Oci,
}

impl MediaTypes {
    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// What becomes of layers with nothing in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EmptyLayers {
    /// They stay.
    #[default]
    Keep,
    /// They are left out, with their history.
    Drop,
}

impl EmptyLayers {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// Where a base is as written: exactly one of `layout`, `archive`, `image`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BaseSpec {
    /// An OCI image layout, a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// An image layout in a tar, or what `docker save` writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// Another image of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Key>,
    /// The name of the image in a layout's or archive's index, or its digest; not needed where there is one image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// Where a base is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base<'a> {
    /// An OCI image layout, by path or input name.
    Layout(&'a str),
    /// An archive, by path or input name.
    Archive(&'a str),
    /// Another image of the spec, or an input that is an image record.
    Image(&'a Key),
}

/// Says what is wrong with a base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaseError {
    /// None or several of the three places.
    #[error("expected exactly one of `layout`, `archive` and `image`")]
    Place,
    /// A reference chooses nothing among one.
    #[error("`image` cannot have the key `reference`")]
    Reference,
}

impl BaseSpec {
    /// Finds out where the base is.
    ///
    /// # Errors
    /// Keys that are missing, too many or contradict each other.
    pub fn place(&self) -> Result<Base<'_>, BaseError> {
        match (&self.layout, &self.archive, &self.image) {
            (Some(layout), None, None) => Ok(Base::Layout(layout)),
            (None, Some(archive), None) => Ok(Base::Archive(archive)),
            (None, None, Some(_)) if self.reference.is_some() => Err(BaseError::Reference),
            (None, None, Some(image)) => Ok(Base::Image(image)),
            _ => Err(BaseError::Place),
        }
    }
}

/// An index: one image for several platforms.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct IndexSpec {
    /// Its images, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Key>,
    /// An index that is passed through byte for byte, instead of `images`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseSpec>,
    /// Annotations of the index.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl IndexSpec {
    /// Says what is wrong with the keys, if something is.
    pub fn problem(&self) -> Option<&'static str> {
        match &self.base {
            None if self.images.is_empty() => Some("it has neither `images` nor `base`"),
            Some(_) if !self.images.is_empty() => Some("it has both `images` and `base`"),
            Some(_) if !self.annotations.is_empty() => {
                Some("`annotations` cannot be added to a `base`, which keeps its bytes")
            }
            Some(base) if base.image.is_some() => Some("`base` is an index of a `layout` or `archive`"),
            _ => None,
        }
    }
}
