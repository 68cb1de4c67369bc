//! A small blocking client of containerd's gRPC services.
//!
//! It speaks gRPC over HTTP/2 on a Unix socket with messages written down by
//! hand, so that building needs no protobuf compiler and the loader stays
//! small. Every wait has a limit and ends when the caller is told to stop; no
//! runtime shows in a signature.

mod call;
mod client;
mod content;
mod error;
mod frame;
mod images;
mod leases;
mod namespaces;
mod wire;

pub use client::{Client, Options, Scope, Tally};
pub use content::{ContentInfo, ContentWriter};
pub use error::{Code, Error};
pub use images::{ImageRecord, Target};
pub use leases::{Lease, Resource};
pub use namespaces::EngineVersion;
