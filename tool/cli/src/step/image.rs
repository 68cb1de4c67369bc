//! The step `image`: from layer metadata and a base to an image record.

use ociseed_image::{AssembleError, Image, assemble};
use ociseed_seed::read_image;
use ociseed_spec::file::{BaseSpec, ImageSpec};
use ociseed_spec::json;
use ociseed_spec::params::ImageParams;
use ociseed_spec::{Key, Platform};
use ociseed_store::{IndexEntry, Layout};

use crate::args::OutOnlyArgs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::step::{open_layout, read_metadata, read_params};

/// Runs `ociseed image`.
pub(crate) fn run(args: &OutOnlyArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, ImageParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs);
    let spec = &params.image;
    if spec.base.is_none() && spec.layers.is_empty() {
        return Err(Failure::usage("`image`: it has neither `base` nor `layers`"));
    }
    let base = match &spec.base {
        None => None,
        Some(base) => Some(read_base(base, spec, &inputs, "image")?.0),
    };
    let metadata = |key: &Key| read_metadata(&inputs, key.as_str(), "`image.layers`");
    let layers = spec.layers.iter().map(metadata).collect::<Result<Vec<_>, _>>()?;
    let image = make(base.as_ref(), spec, &layers, "image")?;
    crate::output::write_document(&args.out, &json::encode(image.record()))
}

/// Assembles an image; `place` is its name in messages, as `image.web`.
pub(crate) fn make(
    base: Option<&Image>,
    spec: &ImageSpec,
    layers: &[ociseed_spec::metadata::LayerMetadata],
    place: &str,
) -> Result<Image, Failure> {
    assemble(base, spec, layers).map_err(|error| match error {
        AssembleError::Record(_) => Failure::because(place, &error),
        _ => Failure::because(place, &error).into_usage(),
    })
}

/// Reads a base image, and returns its layout for its blobs.
pub(crate) fn read_base(
    base: &BaseSpec,
    spec: &ImageSpec,
    inputs: &Inputs,
    place: &str,
) -> Result<(Image, Layout), Failure> {
    let place = format!("{place}.base");
    let layout = open_layout(&inputs.find(&base.layout, &place)?)?;
    let image = choose(&layout, base, spec.platform.as_ref(), &place)?;
    Ok((image, layout))
}

fn choose(
    layout: &Layout,
    base: &BaseSpec,
    platform: Option<&Platform>,
    place: &str,
) -> Result<Image, Failure> {
    let named = |entry: &&IndexEntry| match &base.reference {
        None => true,
        Some(wanted) => {
            entry.annotations.values().any(|value| value == wanted)
                || entry.blob.digest.to_string() == *wanted
        }
    };
    let mut entries: Vec<&IndexEntry> = layout.index().iter().filter(named).collect();
    entries.sort_by_key(|entry| entry.blob.digest);
    entries.dedup_by_key(|entry| entry.blob.digest);
    let mut images = Vec::new();
    for entry in &entries {
        let image = read_image(layout, &entry.blob).map_err(|error| Failure::because(place, &error))?;
        if platform.is_none_or(|platform| platform == image.platform()) {
            images.push(image);
        }
    }
    if images.len() == 1 {
        return Ok(images.remove(0));
    }
    Err(not_one(layout, base, platform, place, images.len()))
}

/// Says that a base does not name exactly one image.
fn not_one(
    layout: &Layout,
    base: &BaseSpec,
    platform: Option<&Platform>,
    place: &str,
    count: usize,
) -> Failure {
    let wanted = base.reference.as_ref().map(|name| format!(" named `{name}`")).unwrap_or_default();
    let platform = platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
    let message =
        format!("{place}: expected one image{wanted}{platform} in `{}`, found {count}", base.layout);
    let names: Vec<_> = layout
        .index()
        .iter()
        .map(|entry| {
            format!("`{}`", entry.name().map_or_else(|| entry.blob.digest.to_string(), str::to_owned))
        })
        .collect();
    let hint = if names.is_empty() {
        "the layout is empty".to_owned()
    } else {
        format!("it has {}", names.join(", "))
    };
    Failure::new(message).hint(hint)
}
