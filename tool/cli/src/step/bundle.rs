//! The step `bundle`: from images and blobs to a layout or an archive.

use std::collections::BTreeMap;

use ociseed_image::{Image, Named, layout_tree};
use ociseed_spec::Key;
use ociseed_spec::file::{BundleFormat, BundleSpec};
use ociseed_spec::params::BundleParams;
use ociseed_tree::Tree;

use crate::args::OutOnlyArgs;
use crate::blobs::Blobs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::step::{Form, read_image, read_params, write_tree};

/// Runs `ociseed bundle`.
pub(crate) fn run(args: &OutOnlyArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, BundleParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs);
    if params.bundle.images.is_empty() {
        return Err(Failure::usage("`bundle.images` is empty"));
    }
    let blobs = Blobs::of_params(&params.blobs, &inputs)?;
    let mut images = BTreeMap::new();
    for key in params.bundle.images.values() {
        images.insert(key.clone(), read_image(&inputs, key.as_str(), "`bundle.images`")?);
    }
    write_tree(&tree(&params.bundle, &images, &blobs)?, form(params.bundle.format), &args.out)
}

/// Makes the layout of a bundle.
pub(crate) fn tree(spec: &BundleSpec, images: &BTreeMap<Key, Image>, blobs: &Blobs) -> Result<Tree, Failure> {
    let named: Vec<Named<'_>> =
        spec.images.iter().map(|(name, key)| Named { name, image: &images[key] }).collect();
    layout_tree(&named, &[], |digest, size| blobs.content(digest, size))
}

/// Returns how a bundle leaves.
pub(crate) fn form(format: BundleFormat) -> Form {
    match format {
        BundleFormat::Layout => Form::Directory,
        BundleFormat::OciArchive => Form::Tar,
    }
}
