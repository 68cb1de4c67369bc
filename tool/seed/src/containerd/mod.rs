//! The arrangement `containerd`: a root of containerd in which all images are, without their bytes.
//!
//! `docs/format.md`, section "The store `containerd`", is the contract. The
//! metadata is what containerd would have written after importing and
//! unpacking each image; blobs and layers are links to the seed.

mod metadata;
mod place;
mod snapshots;
mod value;

pub use place::{medium_store, target_store};

use ociseed_spec::file::ContainerdOptions;
use ociseed_spec::lock::LayerBlobs;

/// What decides the store beside the content of a seed.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions<'a> {
    /// The options of the spec.
    pub containerd: &'a ContainerdOptions,
    /// Whether the medium has the layers' blobs.
    pub blobs: LayerBlobs,
}
