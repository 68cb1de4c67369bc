//! A small blocking client of containerd's gRPC services.
//!
//! It speaks gRPC over HTTP/2 on a Unix socket with messages written down by
//! hand, so that building needs no protobuf compiler and the loader stays
//! small. Every wait has a limit and ends when the caller is told to stop; no
//! runtime shows in a signature.

mod call;
mod client;
mod content;
mod copy;
mod diff;
mod error;
mod frame;
mod images;
mod introspection;
mod leases;
mod namespaces;
mod signals;
mod snapshots;
pub mod time;
mod wire;

pub use client::{Client, Hook, Options, Scope, Tally};
pub use content::{Adopted, ContentInfo, ContentWriter};
pub use copy::{CopyError, NewBlob, next_piece};
pub use error::{Code, Error};
pub use images::{ImageRecord, Target};
pub use introspection::Plugin;
pub use leases::{EXPIRE_LABEL, Lease, Resource};
pub use namespaces::EngineVersion;
pub use signals::Signals;
pub use snapshots::{Mount, SnapshotInfo, SnapshotKind, layer_directory};
