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
use ociseed_spec::{Key, json, shown_path};
use ociseed_tree::Stamps;

use crate::args::LayerArgs;
use crate::context::cancellation;
use crate::failure::Failure;
use crate::inputs::{Inputs, read_argument};
use crate::output::{OutDir, write_document, write_failure, write_output};
use crate::scratch::Scratch;
use crate::step::read_params;
use crate::step::write::read_failure;

pub(crate) use closure::{check, read_graph, read_plan};
pub(crate) use find::{Found, Sources, entry_of, find, look};
pub(crate) use tree::{LayerTree, tree};

/// Runs `ociseed layer`.
pub(crate) fn run(args: &LayerArgs) -> Result<(), Failure> {
    let LayerArgs { step: args, expect } = args;
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
    let expected = match expect {
        Some(path) => Some((path, parse_metadata(path)?)),
        None => None,
    };
    let metadata = write_output(path, |writer| {
        let metadata = write_blob(&layer, &params.layer, path, &progress, writer)?;
        match &expected {
            Some((path, expected)) if *expected != metadata => Err(differs(path, expected, &metadata)),
            _ => Ok(metadata),
        }
    })?;
    args.metadata.as_deref().map_or(Ok(()), |path| write_document(path, &json::encode(&metadata)))
}

fn parse_metadata(path: &Path) -> Result<LayerMetadata, Failure> {
    LayerMetadata::parse(&read_argument(path)?)
        .map_err(|error| Failure::because(format_args!("`{}`", shown_path(path)), &error))
}

/// Says in what a layer is another one than was expected.
fn differs(path: &Path, expected: &LayerMetadata, found: &LayerMetadata) -> Failure {
    let pairs = [
        ("digest", expected.digest.to_string(), found.digest.to_string()),
        ("diff id", expected.diff_id.to_string(), found.diff_id.to_string()),
        ("media type", expected.media_type.clone(), found.media_type.clone()),
        ("size", expected.size.to_string(), found.size.to_string()),
        ("uncompressed size", expected.uncompressed_size.to_string(), found.uncompressed_size.to_string()),
    ];
    let other: Vec<_> = (pairs.into_iter().filter(|(_, expected, found)| expected != found))
        .map(|(what, expected, found)| format!("{what} {found}, expected {expected}"))
        .collect();
    let other = if other.is_empty() { "other packages".to_owned() } else { other.join("; ") };
    let failure = Failure::new(format!("the layer is not what `{}` says: {other}", shown_path(path)));
    failure.hint("`--metadata` writes what it is now".to_owned())
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
