//! From trees to images: layer blobs, configurations and manifests.
//!
//! Every function here is pure: what it makes follows from its arguments
//! alone. Documents that were not made here (a base image's manifest and
//! configuration) keep their bytes.

mod config;
mod decompress;
mod gzip;
mod image;
mod layer;
mod layout;
mod pipeline;
mod record;

pub use config::ConfigError;
pub use decompress::decompress;
pub use image::{AssembleError, assemble};
pub use layer::{LayerError, file_suffix, write_layer};
pub use layout::{Named, layout_tree};
pub use record::{Image, Layer, RecordError};
