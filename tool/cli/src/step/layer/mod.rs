//! The step `layer`: from a layer's entries to its blob and metadata.

mod closure;
mod find;
mod tree;

use std::io::{self, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::thread::available_parallelism;

use ociseed_image::{LayerError, write_layer};
use ociseed_spec::file::LayerSpec;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::params::LayerParams;
use ociseed_spec::{Key, json};
use ociseed_tree::Stamps;

use crate::args::StepArgs;
use crate::context::cancellation;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::output::{OutDir, write_document, write_failure, write_output};
use crate::scratch::Scratch;
use crate::step::read_params;
use crate::step::write::read_failure;

pub(crate) use closure::{read_graph, read_plan};
pub(crate) use find::{Found, Sources, entry_of, find, look};
pub(crate) use tree::{LayerTree, tree};

/// Runs `ociseed layer`.
pub(crate) fn run(args: &StepArgs) -> Result<(), Failure> {
    let params = read_params(&args.step.params, LayerParams::parse)?;
    if let Err((index, error)) = params.layer.check_rules() {
        return Err(Failure::usage(format!("layer.set[{index}]: {error}")));
    }
    let inputs = Inputs::of_step(&params.inputs, &args.step.inputs, &params)?;
    let (out, _) = OutDir::of_output(&args.step.out)?;
    let find_layer = |key: &Key, place: &str| inputs.find(key.as_str(), place);
    let sources = Sources { inputs: &inputs, layer: &find_layer, stamps: Stamps::Drop };
    let found = find(&params.layer, &sources, "layer")?;
    let layer = tree(&params.layer, found, &Scratch::new(out), "layer")?;
    let (path, cancellation) = (&args.step.out, cancellation());
    let progress = |_| cancellation.check();
    let metadata = write_output(path, |writer| write_blob(&layer, &params.layer, path, &progress, writer))?;
    args.metadata.as_deref().map_or(Ok(()), |path| write_document(path, &json::encode(&metadata)))
}

/// How many threads may compress: as many as the pool has that this runs in. Outside of one rayon would start its own to say so.
fn threads() -> u32 {
    // It is read from files, and a worker has many steps.
    static PROCESSORS: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));
    let threads = match rayon::current_thread_index() {
        Some(_) => rayon::current_num_threads(),
        None => *PROCESSORS,
    };
    u32::try_from(threads).unwrap_or(u32::MAX)
}

/// Writes the blob of a layer, which messages call `path`; `progress` is told how many more bytes of its tar are done, and fails where
/// nobody wants them any more.
pub(crate) fn write_blob(
    layer: &LayerTree,
    spec: &LayerSpec,
    path: &Path,
    progress: &(dyn Fn(u64) -> io::Result<()> + Sync),
    out: &mut dyn Write,
) -> Result<LayerMetadata, Failure> {
    let metadata = write_layer(&layer.tree, spec.compression, threads(), progress, out);
    let metadata = metadata.map_err(|error| match error {
        LayerError::Content(error) => read_failure(path, error),
        LayerError::Compress(error) => write_failure(path, &error),
    })?;
    Ok(LayerMetadata { packages: layer.packages.clone(), ..metadata })
}
