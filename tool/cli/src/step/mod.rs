//! The steps of a build, one a module: what `build` runs and what Bazel and Nix call.

pub(crate) mod bundle;
pub(crate) mod disk;
mod documents;
pub(crate) mod image;
pub(crate) mod index;
pub(crate) mod layer;
pub(crate) mod plan;
pub(crate) mod seed;
pub(crate) mod store;
mod write;

pub(crate) use documents::{read_image, read_index, read_metadata, read_params};
pub(crate) use write::{Form, stage_directory, write_bytes, write_linked, write_tree};
