//! How memories are written: protobuf messages, which are read thirty thousand at a time.

use std::collections::BTreeMap;

use ociseed_spec::{Digest, Timestamp};
use prost::Message;

use super::memory::{FileMemory, Memory, OutputFile, OutputMemory};

#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct Stamp {
    #[prost(uint64, tag = "1")]
    device: u64,
    #[prost(uint64, tag = "2")]
    inode: u64,
    #[prost(uint64, tag = "3")]
    size: u64,
    #[prost(sint64, tag = "4")]
    modified: i64,
    #[prost(uint32, tag = "5")]
    modified_nanoseconds: u32,
    #[prost(sint64, tag = "6")]
    changed: i64,
    #[prost(uint32, tag = "7")]
    changed_nanoseconds: u32,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct File {
    #[prost(uint32, tag = "1")]
    source: u32,
    #[prost(bytes = "vec", tag = "2")]
    path: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    stamp: Option<Stamp>,
    /// Of what a step read: of the content, but of directories; of an output: of the blob that it is.
    #[prost(bytes = "vec", tag = "4")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Step {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(string, tag = "2")]
    parameters: String,
    #[prost(message, repeated, tag = "3")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Output {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    report: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Outputs {
    #[prost(btree_map = "string, message", tag = "1")]
    targets: BTreeMap<String, Output>,
    #[prost(string, tag = "2")]
    boot: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct Blob {
    #[prost(message, optional, tag = "1")]
    stamp: Option<Stamp>,
    #[prost(string, tag = "2")]
    boot: String,
}

impl From<&ociseed_spec::Stamp> for Stamp {
    fn from(stamp: &ociseed_spec::Stamp) -> Self {
        Self {
            device: stamp.device,
            inode: stamp.inode,
            size: stamp.size,
            modified: stamp.modified.seconds(),
            modified_nanoseconds: stamp.modified.nanoseconds(),
            changed: stamp.changed.seconds(),
            changed_nanoseconds: stamp.changed.nanoseconds(),
        }
    }
}

impl From<Stamp> for ociseed_spec::Stamp {
    fn from(stamp: Stamp) -> Self {
        Self {
            device: stamp.device,
            inode: stamp.inode,
            size: stamp.size,
            modified: Timestamp::new(stamp.modified, stamp.modified_nanoseconds),
            changed: Timestamp::new(stamp.changed, stamp.changed_nanoseconds),
        }
    }
}

fn digest(bytes: &[u8]) -> Option<Digest> {
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

/// Writes a digest that may not be there; then there are no bytes.
fn encode_digest(digest: Option<Digest>) -> Vec<u8> {
    digest.map(|digest| digest.as_bytes().to_vec()).unwrap_or_default()
}

/// Reads what [`encode_digest`] wrote; nothing of what it never writes.
fn decode_digest(bytes: &[u8]) -> Option<Option<Digest>> {
    if bytes.is_empty() { Some(None) } else { digest(bytes).map(Some) }
}

pub(super) fn encode_stamp(stamp: &ociseed_spec::Stamp, boot: &str) -> Vec<u8> {
    Blob { stamp: Some(stamp.into()), boot: boot.to_owned() }.encode_to_vec()
}

/// Tells whether something is of this boot; where nothing tells boots apart, nobody knows.
fn is_of(written: &str, boot: &str) -> bool {
    !boot.is_empty() && written == boot
}

/// Reads a stamp, if it is of this boot.
pub(super) fn decode_stamp(bytes: &[u8], boot: &str) -> Option<ociseed_spec::Stamp> {
    let blob = Blob::decode(bytes).ok().filter(|blob| is_of(&blob.boot, boot))?;
    blob.stamp.map(Into::into)
}

pub(super) fn encode_memory(memory: &Memory) -> Vec<u8> {
    let files = memory.files.iter().map(|file| File {
        source: file.source,
        path: file.path.clone(),
        stamp: file.stamp.as_ref().map(Into::into),
        digest: encode_digest(file.digest),
    });
    let key = memory.key.as_bytes().to_vec();
    Step { key, parameters: memory.parameters.clone(), files: files.collect() }.encode_to_vec()
}

pub(super) fn decode_memory(bytes: &[u8]) -> Option<Memory> {
    let step = Step::decode(bytes).ok()?;
    let files = step.files.into_iter().map(|file| {
        let (stamp, digest) = (file.stamp.map(Into::into), decode_digest(&file.digest)?);
        Some(FileMemory { source: file.source, path: file.path, stamp, digest })
    });
    let files = files.collect::<Option<_>>()?;
    Some(Memory { key: digest(&step.key)?, parameters: step.parameters, files })
}

pub(super) fn encode_outputs(outputs: &BTreeMap<String, OutputMemory>, boot: &str) -> Vec<u8> {
    let file = |file: &OutputFile| File {
        path: file.path.clone(),
        stamp: Some((&file.stamp).into()),
        digest: encode_digest(file.blob),
        ..File::default()
    };
    let output = |output: &OutputMemory| Output {
        key: output.key.as_bytes().to_vec(),
        report: output.report.clone(),
        files: output.files.iter().map(file).collect(),
    };
    let targets = outputs.iter().map(|(name, memory)| (name.clone(), output(memory)));
    Outputs { targets: targets.collect(), boot: boot.to_owned() }.encode_to_vec()
}

/// Reads what is remembered of outputs, if it is of this boot.
pub(super) fn decode_outputs(bytes: &[u8], boot: &str) -> Option<BTreeMap<String, OutputMemory>> {
    let file = |file: File| {
        Some(OutputFile { path: file.path, stamp: file.stamp?.into(), blob: decode_digest(&file.digest)? })
    };
    let output = |output: Output| {
        let files = output.files.into_iter().map(file).collect::<Option<_>>()?;
        Some(OutputMemory { key: digest(&output.key)?, report: output.report, files })
    };
    let outputs = Outputs::decode(bytes).ok().filter(|outputs| is_of(&outputs.boot, boot))?;
    let targets = outputs.targets.into_iter();
    targets.map(|(name, memory)| Some((name, output(memory)?))).collect()
}
