//! The step `image`: from a base and layer metadata to an image record.

use ociseed_image::{AssembleError, Image, assemble};
use ociseed_seed::{ChooseError, choose_image};
use ociseed_spec::file::{Base, BaseSpec, ImageSpec};
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::params::ImageParams;
use ociseed_spec::{Key, json};

use crate::args::OutOnlyArgs;
use crate::blobs::Blobs;
use crate::failure::{Failure, chain};
use crate::inputs::Inputs;
use crate::step::{read_image, read_metadata, read_params};

/// Runs `ociseed image`.
pub(crate) fn run(args: &OutOnlyArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, ImageParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs, &params)?;
    let spec = &params.image;
    if let Some(problem) = spec.problem() {
        return Err(Failure::usage(format!("`image`: {problem}")));
    }
    let base = match &spec.base {
        None => None,
        Some(base) => Some(match place(base, "image.base")? {
            Base::Image(key) => read_image(&inputs, key.as_str(), "`image.base`")?,
            place => {
                let mut blobs = Blobs::default();
                let source = blobs.add(place, &inputs, "image.base")?.expect("not another image");
                choose(&blobs, source, base, spec, "image")?
            }
        }),
    };
    let metadata = |key: &Key| read_metadata(&inputs, key.as_str(), "`image.layers`");
    let layers = spec.layers.iter().map(metadata).collect::<Result<Vec<_>, _>>()?;
    let image = make(base.as_ref(), spec, &layers, "image")?;
    crate::output::write_document(&args.out, &json::encode(image.record()))
}

/// Finds out where a base is; `place` is its name in messages, as `image.web.base`.
pub(crate) fn place<'a>(base: &'a BaseSpec, place: &str) -> Result<Base<'a>, Failure> {
    base.place().map_err(|error| Failure::usage(format!("{place}: {error}")))
}

/// Chooses a base image in an opened layout or archive; `place` is the image's name in messages, as `image.web`.
pub(crate) fn choose(
    blobs: &Blobs,
    source: usize,
    base: &BaseSpec,
    spec: &ImageSpec,
    place: &str,
) -> Result<Image, Failure> {
    choose_image(blobs.source(source)?, base.reference.as_deref(), spec.platform.as_ref())
        .map_err(|error| choose_failure(&format!("{place}.base"), &error))
}

/// Says why a base could not be chosen, and what there is.
pub(crate) fn choose_failure(place: &str, error: &ChooseError) -> Failure {
    let failure = Failure::new(format!("{place}: {}", chain(error)));
    match error {
        ChooseError::Read(_) => failure,
        ChooseError::NotOne { there, .. } if there.is_empty() => {
            failure.hint("there is nothing in it".to_owned())
        }
        ChooseError::NotOne { there, .. } => failure.hint(format!("it has {}", there.join(", "))),
    }
}

/// Assembles an image; `place` is its name in messages, as `image.web`.
pub(crate) fn make(
    base: Option<&Image>,
    spec: &ImageSpec,
    layers: &[LayerMetadata],
    place: &str,
) -> Result<Image, Failure> {
    assemble(base, spec, layers).map_err(|error| match error {
        AssembleError::Record(_) => Failure::because(place, &error),
        AssembleError::DockerZstd { .. } => {
            let hint = "say `media-types = \"oci\"` for the image, or `compression = \"gzip\"` for the layer";
            Failure::because(place, &error).into_usage().hint(hint.to_owned())
        }
        _ => Failure::because(place, &error).into_usage(),
    })
}
