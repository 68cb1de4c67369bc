//! The cache of a builder: what its steps made, and which files it need not read again.
//!
//! docs/format.md, "The cache", says where everything lies. Nothing in here is
//! needed: whatever is missing, damaged or of another version counts as
//! absent, and many processes may use one directory, because every change is
//! one rename, link or removal.

mod blobs;
mod dir;
mod gc;
mod memory;
mod temporary;
mod wire;

pub use dir::{Cache, Kind};
pub use gc::{Removed, Usage};
pub use memory::{FileMemory, Memory, OutputFile, OutputMemory};
