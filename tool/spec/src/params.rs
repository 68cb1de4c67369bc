//! Parameters of single steps (`--params FILE.json`): the ABI of Bazel and Nix.
//!
//! A step's parameters are the same table that a spec has for it, but where
//! the table would name a path or another part of the spec it names an input:
//! a key of `inputs`, whose value is a path on the build host. Everything but
//! those paths decides the output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{self, DocumentError};
use crate::file::{BundleSpec, DiskSpec, ImageSpec, IndexSpec, LayerSpec, PlanSpec, SeedSpec};
use crate::lock::Engine;

/// Input names and where they are on the build host.
pub type Inputs = BTreeMap<String, String>;

macro_rules! params {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub struct $name {
            /// Always 1.
            pub version: u32,
            /// Input names and where they are on the build host.
            #[serde(default)]
            pub inputs: Inputs,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $name {
            /// Parses a parameter file.
            ///
            /// # Errors
            /// Anything but such a file of version 1.
            pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
                document::parse($what, bytes)
            }
        }
    };
}

params! {
    /// Parameters of `ociseed layer`.
    LayerParams, "layer parameter file" {
        /// The layer; `file`, `dir`, `tar`, `deb`, `layer`, `nix-database` and the files of a `closure` name inputs.
        layer: LayerSpec,
    }
}

params! {
    /// Parameters of `ociseed image`.
    ImageParams, "image parameter file" {
        /// The image; `layers` name inputs that are layer metadata files, `base` one that is what it says.
        image: ImageSpec,
    }
}

params! {
    /// Parameters of `ociseed index`.
    IndexParams, "index parameter file" {
        /// The index; `images` name inputs that are image records.
        index: IndexSpec,
    }
}

params! {
    /// Parameters of `ociseed bundle`.
    BundleParams, "bundle parameter file" {
        /// The bundle; `images` and `indexes` name inputs that are records.
        bundle: BundleSpec,
        /// Where the layer blobs are.
        blobs: Vec<BlobSource>,
    }
}

params! {
    /// Parameters of `ociseed seed`.
    SeedParams, "seed parameter file" {
        /// The seed; `image[].image` name inputs that are image records.
        seed: SeedSpec,
        /// Where the layer blobs are; may be empty where only the lock is wanted.
        blobs: Vec<BlobSource>,
    }
}

params! {
    /// Parameters of `ociseed store`.
    StoreParams, "store parameter file" {
        /// The seed, as for `ociseed seed`.
        seed: SeedSpec,
        /// Which of its stores is made.
        engine: Engine,
        /// Where the layer blobs are.
        blobs: Vec<BlobSource>,
    }
}

params! {
    /// Parameters of `ociseed disk`.
    DiskParams, "disk parameter file" {
        /// The disk; `layer` names an input that is a layer blob, `image` one that is an image record.
        disk: DiskSpec,
        /// The seed, as for `ociseed seed`, where the disk is of one or of a store.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seed: Option<SeedSpec>,
        /// Where the layer blobs are.
        #[serde(default)]
        blobs: Vec<BlobSource>,
    }
}

params! {
    /// Parameters of `ociseed plan`.
    PlanParams, "plan parameter file" {
        /// The layer plan; `graph` and `previous` name inputs.
        plan: PlanSpec,
    }
}

/// Where blobs are: one layer with its metadata, an image layout, or an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BlobSource {
    /// An input that is a layer blob; needs `metadata`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// An input that is the metadata file of `layer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// An input that is an OCI image layout, all of whose blobs may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// An input that is an archive of either kind, all of whose blobs may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
}
