//! The step `seed`: from images and blobs to the host form of a seed, or to its lock alone.

use ociseed_image::Image;
use ociseed_seed::{Seed, SeedError};
use ociseed_spec::Key;
use ociseed_spec::file::SeedSpec;
use ociseed_spec::params::SeedParams;

use crate::args::SeedArgs;
use crate::blobs::Blobs;
use crate::failure::Failure;
use crate::given::Given;
use crate::inputs::Inputs;
use crate::step::{Form, read_image, read_params, write_linked, write_tree};

/// Runs `ociseed seed`.
pub(crate) fn run(args: &SeedArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, SeedParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs, &params)?;
    let seed = of_params(&params.seed, &inputs)?;
    if let Some(path) = &args.metadata {
        crate::output::write_document(path, &seed.lock().encode())?;
    }
    let Some(path) = &args.out else { return Ok(()) };
    let blobs = Blobs::of_params(&params.blobs, &inputs)?;
    let tree = seed.host_form(|digest, size| blobs.content(digest, size))?;
    if args.links.link_blobs {
        let given = Given::of_params(&params.blobs, &inputs)?;
        return write_linked(&tree, path, &|content, dir, path| given.link(content, dir, path));
    }
    write_tree(&tree, Form::Directory, path)
}

/// Makes the seed of a parameter file.
pub(crate) fn of_params(spec: &SeedSpec, inputs: &Inputs) -> Result<Seed, Failure> {
    if spec.image.is_empty() {
        return Err(Failure::usage("`seed.image` is empty"));
    }
    if let Some(problem) = spec.problem() {
        return Err(Failure::usage(format!("`seed`: {problem}")));
    }
    check_sandbox_image(spec, "seed");
    make(spec, "seed", |key| read_image(inputs, key.as_str(), "`seed.image`"))
}

/// Warns where CRI will look for a sandbox image that is not there; it may be on the target for other reasons.
pub(crate) fn check_sandbox_image(spec: &SeedSpec, place: &str) {
    if let Some(name) = spec.missing_sandbox_image() {
        let text = format!("{place}: no image of namespace `k8s.io` is the sandbox image `{name}`");
        Failure::new(text)
            .hint("add it to `image`, else CRI pulls it before the first pod runs".to_owned())
            .warn();
    }
}

/// Makes a seed; `place` is its name in messages, as `seed.appliance`.
pub(crate) fn make(
    spec: &SeedSpec,
    place: &str,
    image: impl FnMut(&Key) -> Result<Image, Failure>,
) -> Result<Seed, Failure> {
    Seed::new(spec, image).map_err(|error| match error {
        SeedError::Lock(error) => Failure::because(place, &error).into_usage(),
        SeedError::Image(failure) => failure,
    })
}
