//! The step `index`: from image records, or an index that there is, to an index record.

use ociseed_image::{AssembleIndexError, Image, Index, assemble_index};
use ociseed_seed::choose_index;
use ociseed_spec::file::{BaseSpec, IndexSpec};
use ociseed_spec::json;
use ociseed_spec::params::IndexParams;

use crate::args::OutOnlyArgs;
use crate::blobs::Blobs;
use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::step::image::choose_failure;
use crate::step::{image, read_image, read_params};

/// Runs `ociseed index`.
pub(crate) fn run(args: &OutOnlyArgs) -> Result<(), Failure> {
    let params = read_params(&args.params, IndexParams::parse)?;
    let inputs = Inputs::of_step(&params.inputs, &args.inputs, &params)?;
    let spec = &params.index;
    if let Some(problem) = spec.problem() {
        return Err(Failure::usage(format!("`index`: {problem}")));
    }
    let index = match &spec.base {
        Some(base) => {
            let mut blobs = Blobs::default();
            let place = image::place(base, "index.base")?;
            let source = blobs.add(place, &inputs, "index.base")?.expect("the base is no image");
            choose(&blobs, source, base, "index")?
        }
        None => {
            let images = spec.images.iter().map(|key| read_image(&inputs, key.as_str(), "`index.images`"));
            make(spec, images.collect::<Result<_, _>>()?, "index")?
        }
    };
    crate::output::write_document(&args.out, &json::encode(&index.record()))
}

/// Chooses an index in an opened layout or archive; `place` is its name in messages, as `index.web`.
pub(crate) fn choose(blobs: &Blobs, source: usize, base: &BaseSpec, place: &str) -> Result<Index, Failure> {
    choose_index(blobs.source(source)?, base.reference.as_deref())
        .map_err(|error| choose_failure(&format!("{place}.base"), &error))
}

/// Makes an index of its images; `place` is its name in messages, as `index.web`.
pub(crate) fn make(spec: &IndexSpec, images: Vec<Image>, place: &str) -> Result<Index, Failure> {
    assemble_index(images, &spec.annotations).map_err(|error| match error {
        AssembleIndexError::SamePlatform { first, second, platform } => {
            let (first, second) = (&spec.images[first], &spec.images[second]);
            Failure::usage(format!("{place}: images `{first}` and `{second}` both are for {platform}"))
        }
        AssembleIndexError::Record(_) => Failure::because(place, &error),
    })
}
