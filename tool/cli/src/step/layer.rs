//! The step `layer`: from a layer's entries to its blob and metadata.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use ociseed_image::{LayerError, write_layer};
use ociseed_spec::file::{AddError, Entry as SpecEntry, LayerSpec, Source};
use ociseed_spec::json;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::params::LayerParams;
use ociseed_tree::{
    BuildError, Builder, Content, DirectoryError, Entry, Node, Precedence, Stat, Tree, read_directory,
    read_file,
};

use crate::args::StepArgs;
use crate::failure::{Failure, chain};
use crate::inputs::Inputs;
use crate::output::{OutDir, write_document, write_failure, write_output};
use crate::step::read_params;
use crate::step::write::read_failure;

/// Runs `ociseed layer`.
pub(crate) fn run(args: &StepArgs) -> Result<(), Failure> {
    let params = read_params(&args.step.params, LayerParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.step.inputs);
    let tree = tree(&params.layer, &inputs, "layer")?;
    let metadata = write(&tree, &params.layer, &args.step.out)?;
    match &args.metadata {
        None => Ok(()),
        Some(path) => write_document(path, &json::encode(&metadata)),
    }
}

/// Writes the blob of a layer to a file that the command line names.
fn write(tree: &Tree, spec: &LayerSpec, path: &Path) -> Result<LayerMetadata, Failure> {
    write_output(path, |writer| write_blob(tree, spec, path, writer))
}

/// Writes the blob of a layer into a directory of a stage.
pub(crate) fn write_in(
    tree: &Tree,
    spec: &LayerSpec,
    out: &OutDir,
    name: &OsStr,
) -> Result<LayerMetadata, Failure> {
    let path = out.shown(name);
    out.write_file(name, |writer| write_blob(tree, spec, &path, writer))
}

fn write_blob(
    tree: &Tree,
    spec: &LayerSpec,
    path: &Path,
    out: &mut dyn Write,
) -> Result<LayerMetadata, Failure> {
    let threads = u32::try_from(rayon::current_num_threads()).unwrap_or(1);
    write_layer(tree, spec.compression, threads, out).map_err(|error| match error {
        LayerError::Content(error) => read_failure(path, error),
        LayerError::Compress(error) => write_failure(path, &error),
    })
}

/// Makes the tree of a layer; `place` is the layer's name in messages, as `layer.site`.
pub(crate) fn tree(spec: &LayerSpec, inputs: &Inputs, place: &str) -> Result<Tree, Failure> {
    let mut builder = Builder::new();
    for (index, add) in spec.add.iter().enumerate() {
        let place = format!("{place}.add[{index}]");
        let usage = |error: AddError| Failure::usage(format!("{place}: {error}"));
        add_entry(add.entry().map_err(usage)?, index, inputs, &place, &mut builder)?;
    }
    builder.finish().map_err(|conflicts| {
        let say = |conflict: &BuildError| format!("{place}: {}", describe(conflict, spec));
        Failure::usages(conflicts.iter().map(say).collect())
    })
}

fn add_entry(
    entry: SpecEntry,
    index: usize,
    inputs: &Inputs,
    place: &str,
    builder: &mut Builder,
) -> Result<(), Failure> {
    let SpecEntry { to, source, mode, owner } = entry;
    let host = |error: DirectoryError| host_failure(place, &error);
    let (found, precedence) = match source {
        Source::Dir(word) => {
            let found = inputs.find(&word, place)?;
            return read_directory(&found.dir, &found.path, &to, owner, index, builder).map_err(host);
        }
        Source::File(word) => {
            let found = inputs.find(&word, place)?;
            (read_file(&found.dir, &found.path).map_err(host)?, Precedence::Explicit)
        }
        Source::Text(text) => (Entry::file(Content::bytes(text.into_bytes())), Precedence::Explicit),
        Source::Symlink(target) => {
            let node = Node::Symlink(target.into_bytes().into());
            (Entry { stat: Stat::SYMLINK, node }, Precedence::Explicit)
        }
        Source::Mkdir => (Entry::directory(), Precedence::Explicit),
    };
    let stat = Stat { mode: mode.unwrap_or(found.stat.mode), owner };
    builder.insert(to, Entry { stat, ..found }, precedence, index);
    Ok(())
}

fn host_failure(place: &str, error: &DirectoryError) -> Failure {
    let failure = Failure::new(format!("{place}: {}", chain(error)));
    let escapes = matches!(error, DirectoryError::Read { source, .. }
        if source.kind() == std::io::ErrorKind::PermissionDenied && source.to_string().contains("outside"));
    if escapes {
        failure.hint(
            "a link leads out of the directory: use `--input NAME=PATH` for what lies elsewhere".to_owned(),
        )
    } else {
        failure
    }
}

/// Says which two entries contradict each other.
fn describe(conflict: &BuildError, spec: &LayerSpec) -> String {
    let name = |index: usize| {
        let add = &spec.add[index];
        let kinds = [("file", &add.file), ("dir", &add.dir), ("symlink", &add.symlink)];
        match kinds.into_iter().find_map(|(kind, value)| Some((kind, value.as_ref()?))) {
            Some((kind, value)) => format!("`add[{index}]` ({kind} `{value}`)"),
            None => format!("`add[{index}]`"),
        }
    };
    match conflict {
        BuildError::SamePath { path, sources: [first, second] } => {
            format!("two entries write `{path}`: {} and {}", name(*first), name(*second))
        }
        BuildError::BelowFile { path, file, sources: [above, below] } => {
            format!(
                "{} puts `{path}` below `{file}`, which is no directory in {}",
                name(*above),
                name(*below)
            )
        }
    }
}
