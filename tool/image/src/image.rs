//! Assembling an image from layer metadata, over a base or from scratch.

use oci_spec::image::{Descriptor, DescriptorBuilder, ImageManifest, ImageManifestBuilder, MediaType};
use ociseed_spec::file::ImageSpec;
use ociseed_spec::metadata::{ImageRecord, LayerMetadata};
use ociseed_spec::{Digest, Platform, json, media_type};

use crate::config::{self, ConfigError};
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
}

/// Assembles an image of a spec, its base and its layers, bottom first.
///
/// An image with nothing but a base is the base, byte for byte.
///
/// # Errors
/// A base for another platform, or values that no configuration can have.
pub fn assemble(
    base: Option<&Image>,
    spec: &ImageSpec,
    layers: &[LayerMetadata],
) -> Result<Image, AssembleError> {
    if let (Some(wanted), Some(base)) = (&spec.platform, base.map(Image::platform))
        && wanted != base
    {
        return Err(AssembleError::Platform { wanted: wanted.clone().into(), base: base.clone().into() });
    }
    if let Some(base) = base.filter(|_| changes_nothing(spec)) {
        return Ok(base.clone());
    }
    let platform =
        base.map(|base| base.platform().clone()).or_else(|| spec.platform.clone()).unwrap_or_default();
    let base_config = base.map(|base| base.record().config.as_str());
    let config = config::merge(base_config, &platform, spec, layers)?;
    let manifest = manifest(base, &config, layers)?;
    let text = |bytes| String::from_utf8(bytes).expect("JSON is UTF-8");
    let record = ImageRecord::new(media_type::MANIFEST, text(json::encode(&manifest)), text(config));
    Ok(Image::from_record(record)?)
}

fn changes_nothing(spec: &ImageSpec) -> bool {
    let only_base =
        ImageSpec { base: spec.base.clone(), platform: spec.platform.clone(), ..ImageSpec::default() };
    *spec == only_base
}

fn manifest(
    base: Option<&Image>,
    config: &[u8],
    layers: &[LayerMetadata],
) -> Result<ImageManifest, RecordError> {
    let mut descriptors = match base {
        None => Vec::new(),
        Some(base) => base.manifest_document()?.layers().clone(),
    };
    let layers = layers.iter().map(|layer| descriptor(&layer.media_type, &layer.digest, layer.size));
    descriptors.extend(layers);
    let config = descriptor(media_type::CONFIG, &Digest::of(config), config.len() as u64);
    let builder = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(config)
        .layers(descriptors);
    Ok(builder.build().expect("all that a manifest needs is set"))
}

pub(crate) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    let digest: oci_spec::image::Digest =
        digest.to_string().parse().expect("both sides mean the same digests");
    let builder =
        DescriptorBuilder::default().media_type(MediaType::from(media_type)).digest(digest).size(size);
    builder.build().expect("all that a descriptor needs is set")
}
