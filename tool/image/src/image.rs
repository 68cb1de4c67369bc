//! Assembling an image from layer metadata, over a base or from scratch.

use ociseed_spec::file::{EmptyLayers, ImageSpec, MediaTypes};
use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::{ImageRecord, LayerMetadata};
use ociseed_spec::{DiffId, Digest, Platform, json, media_type};
use serde_json::{Map, Value, json};

use crate::config::{self, ConfigError};
use crate::convert;
use crate::descriptor::Descriptor;
use crate::record::{Image, RecordError};

/// Says why an image could not be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The base's configuration, or a value of the spec that goes into it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The documents that came out do not hang together, or those of the base did not.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The spec names another platform than the base has.
    #[error("platform {wanted} was asked for, but the base is for {base}")]
    Platform {
        /// What the spec says.
        wanted: Box<Platform>,
        /// What the base's configuration says.
        base: Box<Platform>,
    },
    /// Nothing is left of an image from scratch.
    #[error("all of its layers are empty, and it has no base")]
    Empty,
    /// A layer is compressed as no layer of a Docker manifest can be.
    #[error("layer {digest} is compressed with zstd, for which a Docker manifest has no media type")]
    DockerZstd {
        /// The layer.
        digest: Box<Digest>,
    },
}

/// Assembles an image of a spec, its base and its layers, bottom first.
///
/// An image with nothing but a base is the base, byte for byte.
///
/// # Errors
/// A base for another platform, values that no configuration can have, layers that the base's manifest cannot name, no layers.
pub fn assemble(
    base: Option<&Image>,
    spec: &ImageSpec,
    layers: &[LayerMetadata],
) -> Result<Image, AssembleError> {
    if spec.empty_layers == EmptyLayers::Drop {
        let (spec, layers) = without_empty_layers(spec, layers);
        if layers.is_empty() && base.is_none() {
            return Err(AssembleError::Empty);
        }
        return assemble(base, &spec, &layers);
    }
    let platform = platform(base, spec)?;
    let converts = spec.media_types == MediaTypes::Oci && base.is_some_and(convert::has_docker_types);
    let config = match base.filter(|_| layers.is_empty() && says_nothing(spec)) {
        Some(base) if !converts => return Ok(base.clone()),
        // Other media types change no blob.
        Some(base) => base.record().config.clone(),
        None => {
            let base = base.map(|base| base.record().config.as_str());
            text(config::merge(base, &platform, spec, layers)?)
        }
    };
    let media_type = match base {
        Some(base) if !converts => base.record().media_type.as_str(),
        _ => media_type::MANIFEST,
    };
    let manifest = manifest(media_type, base, spec, &config, layers)?;
    Ok(Image::from_record(ImageRecord::new(media_type, text(json::encode(&manifest)), config))?)
}

/// Leaves out layers with nothing in them, and what the spec says of them.
fn without_empty_layers(spec: &ImageSpec, layers: &[LayerMetadata]) -> (ImageSpec, Vec<LayerMetadata>) {
    // A tar without entries: two blocks of zeros.
    let empty = DiffId::new(Digest::of(&[0; 1024]));
    let full = |index: &usize| layers[*index].diff_id != empty;
    let kept: Vec<usize> = (0..layers.len()).filter(full).collect();
    let spec = ImageSpec {
        layers: kept.iter().filter_map(|index| spec.layers.get(*index).cloned()).collect(),
        history: kept.iter().filter_map(|index| spec.history.get(*index).cloned()).collect(),
        empty_layers: EmptyLayers::Keep,
        ..spec.clone()
    };
    (spec, kept.into_iter().map(|index| layers[index].clone()).collect())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// Returns the platform of what comes out: what the spec says puts a variant over a base that names none.
fn platform(base: Option<&Image>, spec: &ImageSpec) -> Result<Platform, AssembleError> {
    let Some(base) = base.map(Image::platform) else {
        return Ok(spec.platform.clone().unwrap_or_default());
    };
    let Some(wanted) = &spec.platform else { return Ok(base.clone()) };
    let same = (wanted.os(), wanted.architecture()) == (base.os(), base.architecture());
    match (wanted.variant(), base.variant()) {
        (None, _) if same => Ok(base.clone()),
        (Some(_), None) if same => Ok(wanted.clone()),
        (Some(wanted), Some(found)) if same && wanted == found => Ok(base.clone()),
        _ => Err(AssembleError::Platform { wanted: wanted.clone().into(), base: base.clone().into() }),
    }
}

/// Tells whether a spec has nothing to put over its base; how its media types are called aside.
fn says_nothing(spec: &ImageSpec) -> bool {
    let only_base = ImageSpec {
        base: spec.base.clone(),
        platform: spec.platform.clone(),
        media_types: spec.media_types,
        ..ImageSpec::default()
    };
    *spec == only_base
}

/// Makes the manifest: the base's with what is new.
fn manifest(
    media_type: &str,
    base: Option<&Image>,
    spec: &ImageSpec,
    config: &str,
    layers: &[LayerMetadata],
) -> Result<Map<String, Value>, AssembleError> {
    let docker = media_type == media_type::DOCKER_MANIFEST;
    let (mut fields, mut descriptors) = match base.map(Image::manifest_document) {
        None => (Map::new(), Vec::new()),
        Some(manifest) => (manifest.fields.clone(), manifest.layers().to_vec()),
    };
    // What the base says about another manifest, this one does not say.
    fields.remove("subject");
    if spec.media_types == MediaTypes::Oci {
        descriptors.iter_mut().for_each(convert::to_oci);
    }
    for layer in layers {
        let blob = BlobRef {
            media_type: layer_type(layer, docker)?.to_owned(),
            digest: layer.digest,
            size: layer.size,
        };
        descriptors.push(Descriptor::new(blob));
    }
    let config_type = if docker { media_type::DOCKER_CONFIG } else { media_type::CONFIG };
    let config = Descriptor::new(BlobRef {
        media_type: config_type.to_owned(),
        digest: Digest::of(config.as_bytes()),
        size: config.len() as u64,
    });
    fields.insert("schemaVersion".into(), json!(2));
    fields.insert("mediaType".into(), json!(media_type));
    fields.insert("config".into(), json!(config));
    fields.insert("layers".into(), json!(descriptors));
    annotate(&mut fields, spec);
    Ok(fields)
}

fn annotate(fields: &mut Map<String, Value>, spec: &ImageSpec) {
    let mut annotations = match fields.remove("annotations") {
        Some(Value::Object(annotations)) => annotations,
        _ => Map::new(),
    };
    annotations.extend(spec.annotations.iter().map(|(key, value)| (key.clone(), json!(value))));
    if !annotations.is_empty() {
        fields.insert("annotations".into(), Value::Object(annotations));
    }
}

/// Returns a layer's media type in a manifest of OCI's or of Docker's kind.
fn layer_type(layer: &LayerMetadata, docker: bool) -> Result<&str, AssembleError> {
    match layer.media_type.as_str() {
        own if !docker => Ok(own),
        media_type::LAYER_TAR => Ok(media_type::DOCKER_LAYER_TAR),
        media_type::LAYER_TAR_GZIP => Ok(media_type::DOCKER_LAYER_TAR_GZIP),
        _ => Err(AssembleError::DockerZstd { digest: layer.digest.into() }),
    }
}
