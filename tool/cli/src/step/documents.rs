//! Reading the documents that steps hand to each other.

use ociseed_image::{Image, Index};
use ociseed_spec::document::DocumentError;
use ociseed_spec::metadata::LayerMetadata;

use crate::args::ParamsArgs;
use crate::failure::{Failure, chain};
use crate::inputs::{Inputs, read_argument};
use ociseed_spec::shown_path;

/// Reads the parameters of a step.
pub(crate) fn read_params<T>(
    params: &ParamsArgs,
    parse: impl FnOnce(&[u8]) -> Result<T, DocumentError>,
) -> Result<T, Failure> {
    let path = match (&params.file, &params.text) {
        (Some(path), _) => path,
        (None, text) => {
            let text = text.as_deref().unwrap_or_default();
            return parse(text.as_bytes())
                .map_err(|error| Failure::usage(format!("`--params-json`: {}", chain(&error))));
        }
    };
    let bytes = read_argument(path)?;
    let spec = path.extension().is_some_and(|extension| extension == "toml");
    let hint =
        spec.then(|| "a step takes JSON for itself alone; `ociseed build` takes a whole spec".to_owned());
    parse(&bytes)
        .map_err(|error| Failure::usage(format!("`{}`: {}", shown_path(path), chain(&error))).hint(hint))
}

/// Reads the layer metadata of an input.
pub(crate) fn read_metadata(inputs: &Inputs, word: &str, wanted_by: &str) -> Result<LayerMetadata, Failure> {
    let place = inputs.find(word, wanted_by)?;
    LayerMetadata::parse(&place.read()?).map_err(|error| place.failure(&error))
}

/// Reads the image record of an input.
pub(crate) fn read_image(inputs: &Inputs, word: &str, wanted_by: &str) -> Result<Image, Failure> {
    let place = inputs.find(word, wanted_by)?;
    Image::parse(&place.read()?).map_err(|error| place.failure(&error))
}

/// Reads the index record of an input.
pub(crate) fn read_index(inputs: &Inputs, word: &str, wanted_by: &str) -> Result<Index, Failure> {
    let place = inputs.find(word, wanted_by)?;
    Index::parse(&place.read()?).map_err(|error| place.failure(&error))
}
