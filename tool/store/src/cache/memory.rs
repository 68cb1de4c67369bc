//! What a build remembers of the last one: the files that a step read, and those that it wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use ociseed_spec::{Digest, Stamp};

use super::dir::{Cache, Kind};
use super::wire;

/// A file that a step read, or a directory whose entries it read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMemory {
    /// Which of the step's inputs it belongs to.
    pub source: u32,
    /// Its path, as the step calls it.
    pub path: Vec<u8>,
    /// What the file system said of it; nothing where a later change might not be told by that.
    pub stamp: Option<Stamp>,
    /// The digest of its content; a directory has none.
    pub digest: Option<Digest>,
}

/// The last run of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Its key.
    pub key: Digest,
    /// What the key was made of, as JSON.
    pub parameters: String,
    /// What it read, sorted by source and path.
    pub files: Arc<[FileMemory]>,
}

/// A file that a build wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Below the output directory.
    pub path: Vec<u8>,
    /// What the file system said of it.
    pub stamp: Stamp,
    /// The blob that it is another name of, maybe.
    pub blob: Option<Digest>,
}

/// A target in an output directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputMemory {
    /// The key of what made it.
    pub key: Digest,
    /// What was reported of it.
    pub report: Vec<u8>,
    /// All of its files and directories.
    pub files: Vec<OutputFile>,
}

impl Cache {
    /// Returns what is remembered of a step.
    pub fn memory(&self, name: &Digest) -> Option<Memory> {
        wire::decode_memory(&self.read(Kind::Memory, name)?)
    }

    /// Remembers a step.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn remember(&self, name: &Digest, memory: &Memory) -> std::io::Result<()> {
        self.write(Kind::Memory, name, &wire::encode_memory(memory))
    }

    /// Returns what is remembered of the targets in an output directory.
    pub fn outputs(&self, name: &Digest) -> BTreeMap<String, OutputMemory> {
        self.read(Kind::Outputs, name)
            .and_then(|bytes| wire::decode_outputs(&bytes, &self.boot))
            .unwrap_or_default()
    }

    /// Remembers the targets in an output directory.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn remember_outputs(
        &self,
        name: &Digest,
        outputs: &BTreeMap<String, OutputMemory>,
    ) -> std::io::Result<()> {
        self.write(Kind::Outputs, name, &wire::encode_outputs(outputs, &self.boot))
    }
}
