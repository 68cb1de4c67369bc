//! What a build made: `report.json` and the text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ociseed_spec::document::VERSION;
use ociseed_spec::metadata::Package;
use ociseed_spec::{Digest, json};
use serde::{Deserialize, Serialize};

/// The targets of one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Report {
    pub(crate) version: u32,
    pub(crate) targets: BTreeMap<String, Target>,
}

/// One target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Target {
    /// Below the output directory.
    pub(crate) path: String,
    /// The metadata of a layer or disk, below the output directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
    /// The digest of what names it: the layer blob, the manifest, the lock, or the file itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digest: Option<Digest>,
    /// Bytes on disk.
    pub(crate) size: u64,
    /// Debian packages of a layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) packages: Vec<Package>,
    /// The seed id, of a seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed_id: Option<Digest>,
    /// The digest of the lock in it, of a disk with a seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lock: Option<Digest>,
    /// Bytes that a store has more than once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeated_bytes: Option<u64>,
}

impl Report {
    pub(crate) fn new(targets: BTreeMap<String, Target>) -> Self {
        Self { version: VERSION, targets }
    }

    /// Encodes the report as the bytes of `report.json`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        json::encode(self)
    }

    /// Writes the report for people: a line a target.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, target) in &self.targets {
            // Of a seed its id is what people go by; a disk is a file that has a digest of its own.
            let of_disk = target.lock.is_some();
            let digest = target.seed_id.filter(|_| !of_disk).or(target.digest);
            let digest = digest.map(|digest| format!("  {digest}")).unwrap_or_default();
            let _ = writeln!(text, "{name}: {} ({} bytes){digest}", target.path, target.size);
            if let (Some(seed_id), Some(lock)) = (target.seed_id, target.lock) {
                let _ = writeln!(text, "  seed id {seed_id}, lock {lock}");
            }
            for package in target.packages.iter().filter(|package| !package.scripts.is_empty()) {
                let Package { name, version, scripts, .. } = package;
                let _ = writeln!(text, "  {name} {version}: not run: {}", scripts.join(", "));
            }
            if let Some(repeated) = target.repeated_bytes.filter(|bytes| *bytes > 0) {
                let _ = writeln!(text, "  {repeated} of these bytes are there more than once");
            }
        }
        text
    }
}
