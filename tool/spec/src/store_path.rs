//! Names of store paths of Nix, and which of them share a layer.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError, VERSION};
use crate::text::string_form;

/// The last part of a store path, `HASH-NAME`, after the Nix manual, "Store Path": 32 digits of Nix's base 32, and a name of at
/// most 211 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StorePathName(String);

/// Says that a text cannot be a [`StorePathName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a store path, 32 digits and letters, `-` and a name")]
pub struct StorePathNameError(String);

/// How many characters the hash has.
const HASH: usize = 32;
/// The digits of Nix's base 32, which leaves out `e`, `o`, `t` and `u`.
const DIGITS: &[u8] = b"0123456789abcdfghijklmnpqrsvwxyz";

impl StorePathName {
    /// Returns the whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what is behind the hash.
    pub fn name(&self) -> &str {
        &self.0[HASH + 1..]
    }
}

impl FromStr for StorePathName {
    type Err = StorePathNameError;

    fn from_str(text: &str) -> Result<Self, StorePathNameError> {
        let bytes = text.as_bytes();
        let good = bytes.len() > HASH + 1
            && bytes.len() <= HASH + 1 + 211
            && bytes[..HASH].iter().all(|byte| DIGITS.contains(byte))
            && bytes[HASH] == b'-'
            && bytes[HASH + 1..].iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(byte));
        if good { Ok(Self(text.to_owned())) } else { Err(StorePathNameError(text.to_owned())) }
    }
}

impl fmt::Display for StorePathName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(
    StorePathName,
    "StorePathName",
    "^[0-9a-df-np-sv-z]{32}-[0-9a-zA-Z+._?=-]{1,211}$",
    "The last part of a store path of Nix, as `7c8ga5wqmyzzkk9gk3dmgmxmnq7nq0nx-web-1.0`."
);

/// Which store paths of a closure share a layer: the file that `ociseed plan` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LayerPlan {
    /// Always 1.
    pub version: u32,
    /// The layers, bottom first; names in each are sorted.
    pub layers: Vec<BTreeSet<StorePathName>>,
}

/// Says why a document is no layer plan.
#[derive(Debug, thiserror::Error)]
pub enum LayerPlanError {
    /// It is no document of this kind.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A layer of it has nothing in it.
    #[error("layer {0} of the layer plan is empty")]
    Empty(usize),
    /// Two of its layers have one path.
    #[error("two layers of the layer plan have `{0}`")]
    Twice(StorePathName),
}

impl LayerPlan {
    /// Makes a plan.
    pub fn new(layers: Vec<BTreeSet<StorePathName>>) -> Self {
        Self { version: VERSION, layers }
    }

    /// Parses a plan.
    ///
    /// # Errors
    /// Anything but such a file of version 1 that contradicts itself nowhere.
    pub fn parse(bytes: &[u8]) -> Result<Self, LayerPlanError> {
        let plan: Self = document::parse("layer plan", bytes)?;
        if let Some(index) = plan.layers.iter().position(BTreeSet::is_empty) {
            return Err(LayerPlanError::Empty(index));
        }
        let mut known = BTreeSet::new();
        match plan.layers.iter().flatten().find(|name| !known.insert(*name)) {
            Some(name) => Err(LayerPlanError::Twice(name.clone())),
            None => Ok(plan),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHED: &str = "7c8ga5wqmyzzkk9gk3dmgmxmnq7nq0nx";

    #[test]
    fn names_of_store_paths() {
        let good: StorePathName = format!("{HASHED}-web-1.0+a_b?c=d").parse().expect("a name");
        assert_eq!(good.name(), "web-1.0+a_b?c=d");
        let bad = [
            String::new(),
            HASHED.to_owned(),
            format!("{HASHED}-"),
            format!("{HASHED}.web"),
            format!("{HASHED}-a/b"),
            format!("{HASHED}-a b"),
            format!("{}e-web", &HASHED[1..]),
            format!("{}-web", HASHED.to_uppercase()),
            format!("{HASHED}-{}", "a".repeat(212)),
        ];
        for text in bad {
            assert!(text.parse::<StorePathName>().is_err(), "{text}");
        }
    }

    #[test]
    fn plans_that_contradict_themselves() {
        let plan =
            |layers: &str| LayerPlan::parse(format!("{{\"version\":1,\"layers\":{layers}}}").as_bytes());
        assert!(plan(&format!("[[\"{HASHED}-a\"],[\"{HASHED}-b\"]]")).is_ok());
        assert!(matches!(plan("[[]]"), Err(LayerPlanError::Empty(0))));
        let twice = plan(&format!("[[\"{HASHED}-a\"],[\"{HASHED}-a\"]]"));
        assert!(matches!(twice, Err(LayerPlanError::Twice(_))));
        assert!(matches!(plan("[[\"a\"]]"), Err(LayerPlanError::Document(_))));
    }
}
