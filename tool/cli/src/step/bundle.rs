//! The step `bundle`: from images, indexes and blobs to a layout or an archive.

use std::collections::BTreeMap;

use ociseed_image::{Image, Index, MANIFEST_FILE, Named, docker_manifest, layout_tree};
use ociseed_spec::Key;
use ociseed_spec::file::{BundleFormat, BundleSpec};
use ociseed_spec::params::BundleParams;
use ociseed_tree::Tree;

use crate::args::BundleArgs;
use crate::blobs::{Blobs, SourceSet};
use crate::failure::Failure;
use crate::given::Given;
use crate::inputs::Inputs;
use crate::step::{Form, read_image, read_index, read_params, write_linked, write_tree};

/// Runs `ociseed bundle`.
pub(crate) fn run(args: &BundleArgs) -> Result<(), Failure> {
    let BundleArgs { step: args, links } = args;
    let params = read_params(&args.params, BundleParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs, &params)?;
    let spec = &params.bundle;
    if let Some(problem) = spec.problem() {
        return Err(Failure::usage(format!("`bundle`: {problem}")));
    }
    if links.link_blobs && form(spec.format) != Form::Directory {
        let failure = Failure::usage("`--link-blobs` makes links in a directory, and a tar is none");
        return Err(failure.hint("the bundle's `format` must be `layout`".to_owned()));
    }
    let blobs = Blobs::of_params(&params.blobs, &inputs)?;
    let (mut images, mut indexes) = (BTreeMap::new(), BTreeMap::new());
    for key in spec.images.values() {
        images.insert(key.clone(), read_image(&inputs, key.as_str(), "`bundle.images`")?);
    }
    for key in spec.indexes.values() {
        indexes.insert(key.clone(), read_index(&inputs, key.as_str(), "`bundle.indexes`")?);
    }
    let tree = tree(spec, &images, &indexes, &blobs, &blobs.all(), "bundle")?;
    if links.link_blobs {
        let given = Given::of_params(&params.blobs, &inputs)?;
        return write_linked(&tree, &args.out, &|content, dir, path| given.link(content, dir, path));
    }
    write_tree(&tree, form(spec.format), &args.out)
}

/// Makes the layout of a bundle, with what comes along from the layouts and archives `from`.
///
/// `place` is its name in messages, as `bundle.web`.
pub(crate) fn tree(
    spec: &BundleSpec,
    images: &BTreeMap<Key, Image>,
    indexes: &BTreeMap<Key, Index>,
    blobs: &Blobs,
    from: &SourceSet,
    place: &str,
) -> Result<Tree, Failure> {
    let named: Vec<Named<'_>> = (spec.images.iter().map(|(name, key)| Named::image(name, &images[key])))
        .chain(spec.indexes.iter().map(|(name, key)| Named::index(name, &indexes[key])))
        .collect();
    let mut extra = Vec::new();
    if spec.format == BundleFormat::DockerArchive {
        let manifest = docker_manifest(&named).map_err(|error| {
            let hint = "give the layer `compression = \"gzip\"`, or the bundle another `format`";
            Failure::because(place, &error).into_usage().hint(hint.to_owned())
        })?;
        extra.push((MANIFEST_FILE, manifest));
    }
    let carried = blobs.carry(&named, from, spec.referrers)?;
    layout_tree(&named, &carried, &extra, |digest, size| blobs.content(digest, size).map(Some))
}

/// Returns how a bundle leaves.
pub(crate) fn form(format: BundleFormat) -> Form {
    match format {
        BundleFormat::Layout => Form::Directory,
        BundleFormat::OciArchive | BundleFormat::DockerArchive => Form::Tar,
    }
}
