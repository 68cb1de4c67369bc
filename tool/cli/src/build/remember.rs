//! What a build knows of the last one: keys of steps, what they made, and why one has to run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::{Digest, json, shown_path};
use ociseed_store::cache::{Cache, FileMemory, Kind, Memory};
use serde_json::{Map, Value};

use super::plan::TargetName;
use super::reason::Reason;
use crate::cache::Opened;
use crate::failure::Failure;
use crate::inputs::Place;

/// Keys say how they are made; another way gets another number.
const VERSION: u32 = 1;

/// What a step's result follows from.
#[derive(Debug, Clone)]
pub(super) struct StepKey {
    pub(super) digest: Digest,
    /// What the digest is of.
    pub(super) parameters: String,
    /// The host's files that were read for it.
    pub(super) files: Arc<[FileMemory]>,
}

/// The cache as a build uses it; without one nothing is remembered.
pub(super) struct Remember<'a> {
    opened: Option<&'a Opened>,
    /// Tells the steps of one spec from those of others.
    spec: Digest,
    program: Option<Digest>,
    reasons: Mutex<BTreeMap<TargetName, Reason>>,
}

impl<'a> Remember<'a> {
    pub(super) fn new(opened: Option<&'a Opened>, spec: &Path) -> Result<Self, Failure> {
        let absolute = std::path::absolute(spec)
            .map_err(|error| Failure::because(format_args!("`{}`", shown_path(spec)), &error))?;
        let spec = Digest::of(absolute.as_os_str().as_encoded_bytes());
        let program = opened.and_then(Opened::program);
        Ok(Self { opened: opened.filter(|_| program.is_some()), spec, program, reasons: Mutex::default() })
    }

    /// Returns the cache, if there is one.
    pub(super) fn cache(&self) -> Option<&'a Cache> {
        self.opened.map(|opened| &opened.cache)
    }

    /// Makes the key of a step of what its table says and of what it reads; nothing without a cache.
    pub(super) fn key(
        &self,
        step: &TargetName,
        table: &impl serde::Serialize,
        inputs: Map<String, Value>,
        files: impl Into<Arc<[FileMemory]>>,
    ) -> Option<StepKey> {
        let value = serde_json::json!({
            "inputs": inputs,
            "parameters": table,
            "program": self.program?.to_string(),
            "step": step.place().0,
            "version": VERSION,
        });
        let parameters = json::encode(&value);
        let digest = Digest::of(&parameters);
        let parameters = String::from_utf8(parameters).expect("JSON is UTF-8");
        Some(StepKey { digest, parameters, files: files.into() })
    }

    /// Returns the key of the last run of a step if its table is the same and its inputs are.
    ///
    /// `inputs` replace those of then; that the host's files are the same is for the caller to see.
    pub(super) fn same_key(
        &self,
        step: &TargetName,
        table: &impl serde::Serialize,
        inputs: Map<String, Value>,
        old: &Memory,
    ) -> Option<StepKey> {
        let then: Value = serde_json::from_str(&old.parameters).ok()?;
        let mut all = then["inputs"].as_object()?.clone();
        all.extend(inputs);
        self.key(step, table, all, Arc::clone(&old.files)).filter(|key| key.digest == old.key)
    }

    /// Returns what the host's files of a step had for content when it last ran.
    pub(super) fn memory(&self, step: &TargetName) -> Option<Memory> {
        self.cache()?.memory(&self.name(step))
    }

    fn name(&self, step: &TargetName) -> Digest {
        Digest::of(format!("{} {step}", self.spec).as_bytes())
    }

    /// Returns what a step with this key made.
    pub(super) fn result(&self, key: Option<&StepKey>) -> Option<Vec<u8>> {
        self.cache()?.read(Kind::Action, &key?.digest)
    }

    /// Keeps what a step made.
    pub(super) fn keep(&self, key: Option<&StepKey>, result: &[u8]) {
        if let (Some(opened), Some(key)) = (self.opened, key) {
            opened.note(opened.cache.write(Kind::Action, &key.digest, result));
        }
    }

    /// Keeps the blob that a layer step made, and its metadata.
    pub(super) fn keep_layer(&self, key: Option<&StepKey>, metadata: &LayerMetadata, blob: &Place) {
        if let (Some(opened), Some(_)) = (self.opened, key) {
            let inserted = opened.cache.insert(&metadata.digest, &blob.dir, &blob.path);
            let kept = inserted.is_ok();
            opened.note(inserted);
            if kept {
                self.keep(key, &json::encode(metadata));
            }
        }
    }

    /// Notes how a step came about, and remembers what it was made of for the next time.
    pub(super) fn ran(&self, step: &TargetName, key: Option<&StepKey>, how: How, old: Option<&Memory>) {
        let reason = match how {
            How::Current => Reason::Current,
            How::Cached => Reason::Cached,
            How::Made => Reason::of(key, old),
        };
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).insert(step.clone(), reason);
        if let (Some(opened), Some(key)) = (self.opened, key) {
            let memory =
                Memory { key: key.digest, parameters: key.parameters.clone(), files: Arc::clone(&key.files) };
            if old != Some(&memory) {
                opened.note(opened.cache.remember(&self.name(step), &memory));
            }
        }
    }

    /// Returns how each step came about.
    pub(super) fn into_reasons(self) -> BTreeMap<TargetName, Reason> {
        self.reasons.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a step came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// What it makes is there, untouched.
    Current,
    /// What it makes was in the cache.
    Cached,
    /// It ran.
    Made,
}

/// Says what a document that a step reads is, for its key.
pub(super) fn digest_of(document: &impl serde::Serialize) -> Value {
    Digest::of(&json::encode(document)).to_string().into()
}
