//! Why a step ran, for `--explain`.

use std::collections::BTreeMap;
use std::fmt;

use ociseed_store::cache::{FileMemory, Memory};
use serde_json::Value;

use super::remember::StepKey;

/// More files than this are counted, not named.
const MAX_FILES: usize = 5;

/// Why a step ran, or why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// What it makes is there.
    Current,
    /// What it makes was in the cache.
    Cached,
    /// Nothing is remembered of it.
    First,
    /// There is no cache, or what it reads changed too recently to tell.
    Unknown,
    /// These things changed.
    Changed(Vec<String>),
    /// Its result was damaged or removed.
    Gone,
}

impl Reason {
    /// Compares what a step is made of with what it was made of.
    pub(super) fn of(key: Option<&StepKey>, old: Option<&Memory>) -> Self {
        let (Some(key), Some(old)) = (key, old) else {
            return if key.is_some() { Self::First } else { Self::Unknown };
        };
        if key.digest == old.key {
            return Self::Gone;
        }
        let mut changes = parameter_changes(&old.parameters, &key.parameters);
        changes.extend(file_changes(&old.files, &key.files));
        Self::Changed(changes)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("nothing changed"),
            Self::Cached => f.write_str("its result was in the cache"),
            Self::First => f.write_str("ran: nothing is remembered of it in this cache"),
            Self::Unknown => f.write_str("ran: there is no cache, or what it reads was changed just now"),
            Self::Gone => f.write_str("ran: nothing changed, but its result is gone"),
            Self::Changed(changes) => write!(f, "ran: {}", changes.join("; ")),
        }
    }
}

fn parameter_changes(old: &str, new: &str) -> Vec<String> {
    let (Ok(old), Ok(new)) = (serde_json::from_str::<Value>(old), serde_json::from_str::<Value>(new)) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if old["program"] != new["program"] || old["version"] != new["version"] {
        changes.push("`ociseed` is another one".to_owned());
    }
    for name in changed_keys(&old["parameters"], &new["parameters"]) {
        changes.push(format!("`{name}` of the spec changed"));
    }
    // Files of the host are named one by one.
    for name in changed_keys(&old["inputs"], &new["inputs"]).iter().filter(|name| !name.starts_with("add[")) {
        changes.push(format!("`{name}` changed"));
    }
    changes
}

fn changed_keys(old: &Value, new: &Value) -> Vec<String> {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return Vec::new() };
    let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

fn file_changes(old: &[FileMemory], new: &[FileMemory]) -> Vec<String> {
    let index = |files: &[FileMemory]| -> BTreeMap<(u32, Vec<u8>), FileMemory> {
        let files = files.iter().filter(|file| file.digest.is_some());
        files.map(|file| ((file.source, file.path.clone()), file.clone())).collect()
    };
    let (old, new) = (index(old), index(new));
    let show = |(source, path): &(u32, Vec<u8>)| format!("add[{source}] `{}`", String::from_utf8_lossy(path));
    let mut changes = Vec::new();
    for (name, file) in &new {
        match old.get(name) {
            None => changes.push(format!("{} is new", show(name))),
            Some(before) if before.digest != file.digest => changes.push(format!("{} changed", show(name))),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(name));
    changes.extend(gone.map(|name| format!("{} is gone", show(name))));
    let more = changes.len().saturating_sub(MAX_FILES);
    changes.truncate(MAX_FILES);
    if more > 0 {
        changes.push(format!("and {more} files more"));
    }
    changes
}
