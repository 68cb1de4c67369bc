//! The step `store`: a seed arranged for one engine.

use ociseed_seed::Seed;
use ociseed_seed::archives::{self, Archives, ArchivesError, SameFileError};
use ociseed_seed::containerd::{StoreOptions, target_store};
use ociseed_spec::file::{ArchivesOptions, SeedSpec, StoreForm};
use ociseed_spec::lock::Engine;
use ociseed_spec::params::StoreParams;
use ociseed_tree::Tree;

use crate::args::OutOnlyArgs;
use crate::blobs::Blobs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::step::{Form, read_params, seed, write_tree};

/// Runs `ociseed store`.
pub(crate) fn run(args: &OutOnlyArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, StoreParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs, &params)?;
    let made = seed::of_params(&params.seed, &inputs)?;
    let blobs = Blobs::of_params(&params.blobs, &inputs)?;
    match params.engine {
        Engine::Archives => {
            let (archives, form) = archives(&made, &params.seed, &blobs)?;
            write_tree(&archives.tree, form, &args.out)
        }
        Engine::Containerd => write_tree(&containerd(&made, &params.seed), Form::Tar, &args.out),
    }
}

/// Arranges a seed as a preseed directory.
pub(crate) fn archives(seed: &Seed, spec: &SeedSpec, blobs: &Blobs) -> Result<(Archives, Form), Failure> {
    let options: ArchivesOptions = spec.archives.clone().unwrap_or_default();
    let form = match options.form {
        StoreForm::Tar => Form::Tar,
        StoreForm::Directory => Form::Directory,
    };
    let arranged = archives::arrange(seed, &options, |digest, size| blobs.content(digest, size));
    let arranged = arranged.map_err(|error| match error {
        ArchivesError::Blob(failure) => failure,
        ArchivesError::SameFile(error) => same_file(&error),
    })?;
    Ok((arranged, form))
}

/// Arranges a seed as containerd's root, as a target has it.
pub(crate) fn containerd(seed: &Seed, spec: &SeedSpec) -> Tree {
    let options = spec.containerd.clone().unwrap_or_default();
    target_store(seed.lock(), StoreOptions { containerd: &options, blobs: spec.blobs })
}

/// Says that two images would be one file.
pub(crate) fn same_file(error: &SameFileError) -> Failure {
    Failure::usage(error.to_string()).hint("give one of them another `file`".to_owned())
}
