//! From trees to images: layer blobs, configurations, manifests and indexes.
//!
//! Every function here is pure: what it makes follows from its arguments
//! alone. Documents that were not made here (a base image's manifest and
//! configuration) keep their bytes.

mod config;
mod convert;
mod descriptor;
mod docker_archive;
mod document;
mod gzip;
mod image;
mod index;
mod layer;
mod layout;
mod pipeline;
mod record;
mod zstandard;

pub use config::ConfigError;
pub use descriptor::{Descriptor, DescriptorError};
pub use docker_archive::{DockerArchiveError, MANIFEST_FILE, docker_manifest};
pub use document::{Document, IndexDocument, Manifest, is_index, is_manifest};
pub use image::{AssembleError, assemble};
pub use index::{AssembleIndexError, Index, assemble_index};
pub use layer::{LayerError, file_suffix, write_bytes, write_layer};
pub use layout::{Carried, Item, LAYOUT_FILE, Named, index_file, layout_tree};
pub use record::{Image, Layer, RecordError};
