//! The load file: what `ociseed-load` brings to which engine, when a build system starts it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError};
use crate::lock::Namespace;

/// A parsed `<program>.load.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LoadFile {
    /// Always 1.
    pub version: u32,
    /// The seed's path in the runfiles: relative, without `..`.
    pub seed: String,
    /// The engine, unless `--engine` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<LocalEngine>,
    /// Namespaces of containerd in the place of those in the lock, unless `--namespace` says them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
}

impl LoadFile {
    /// Parses a load file.
    ///
    /// # Errors
    /// Anything but such a file of version 1.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        document::parse("load file", bytes)
    }
}

/// An engine of a developer's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LocalEngine {
    /// containerd, over its socket.
    Containerd,
    /// Docker, over its socket.
    Docker,
    /// podman, by its program.
    Podman,
}

impl LocalEngine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Containerd, Self::Docker, Self::Podman];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for LocalEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says that a text names no engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engine `{0}` is none of `containerd`, `docker` and `podman`")]
pub struct LocalEngineError(String);

impl FromStr for LocalEngine {
    type Err = LocalEngineError;

    fn from_str(text: &str) -> Result<Self, LocalEngineError> {
        let found = Self::ALL.into_iter().find(|engine| engine.as_str() == text);
        found.ok_or_else(|| LocalEngineError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_read_and_written_as_it_is() {
        let example = include_bytes!("../../../tests/golden/load/load.json");
        let file = LoadFile::parse(example).expect("valid");
        assert_eq!((file.engine, file.namespaces.len()), (Some(LocalEngine::Docker), 1));
        assert_eq!(crate::json::encode(&file), example);
    }

    #[test]
    fn load_files_are_read_strictly() {
        let good = br#"{"version":1,"seed":"_main/a.seed"}"#;
        let LoadFile { engine, namespaces, .. } = LoadFile::parse(good).expect("valid");
        assert_eq!((engine, namespaces), (None, Vec::new()));
        let bad: [&[u8]; 6] = [
            br#"{"version":2,"seed":"a"}"#,
            br#"{"version":1}"#,
            br#"{"version":1,"seed":"a","engine":"Docker"}"#,
            br#"{"version":1,"seed":"a","namespaces":["a/b"]}"#,
            br#"{"version":1,"seed":"a","address":"b"}"#,
            b"",
        ];
        for bytes in bad {
            assert!(LoadFile::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
