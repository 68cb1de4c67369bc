//! The step `disk`: a seed in medium form, a layer, an image's file system or a store, as one medium.

mod tree;
mod write;

use ociseed_spec::file::DiskSource;
use ociseed_spec::json;
use ociseed_spec::params::DiskParams;

use crate::args::StepArgs;
use crate::blobs::Blobs;
use crate::context::cancellation;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::output::{OutDir, write_document};
use crate::scratch::Scratch;
use crate::step::{read_image, read_params, seed};

pub(crate) use tree::{DiskTree, Making};
pub(crate) use write::DiskWriter;

/// Runs `ociseed disk`.
pub(crate) fn run(args: &StepArgs) -> Result<(), Failure> {
    let params = read_params(&args.step.params, DiskParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.step.inputs, &params)?;
    let spec = &params.disk;
    let source = spec.source().map_err(|error| Failure::usage(format!("`disk`: {error}")))?;
    let of_seed = matches!(source, DiskSource::Seed(_) | DiskSource::Store(_));
    let table = params.seed.clone().unwrap_or_default();
    if of_seed && params.seed.is_none() {
        return Err(Failure::usage("a disk of a seed or store needs the parameter `seed`"));
    }
    let (out, name) = OutDir::of_output(&args.step.out)?;
    let stage = out.stage()?;
    let (blobs, scratch) = (Blobs::of_params(&params.blobs, &inputs)?, Scratch::new(stage.out()));
    let making = Making { spec, blobs: &blobs, scratch: &scratch };
    let made = match source {
        DiskSource::Layer(key) => making.unknown_layer(&inputs.find(key.as_str(), "`disk.layer`")?)?,
        DiskSource::Image(key) => making.image(&read_image(&inputs, key.as_str(), "`disk.image`")?)?,
        DiskSource::Seed(_) => making.seed(&seed::of_params(&table, &inputs)?, &table)?,
        DiskSource::Store(store) => making.store(&seed::of_params(&table, &inputs)?, &table, store.engine)?,
    };
    let cancellation = cancellation();
    let progress = |_| cancellation.check();
    let writer = DiskWriter { disk: &made, spec, out: &stage.out(), name: &name, progress: &progress };
    let metadata = match &args.metadata {
        None => writer.write().map(|()| None),
        Some(path) => writer.write_described().map(|metadata| Some((path, metadata))),
    }?;
    stage.commit(&name, &out, &name, true)?;
    metadata.map_or(Ok(()), |(path, metadata)| write_document(path, &json::encode(&metadata)))
}
