//! `manifest.json`, by which Docker before 25 knows what is in an archive.

use std::collections::BTreeMap;

use ociseed_spec::{Digest, Reference, json, media_type};
use serde::Serialize;

use crate::layout::{Item, Named, blob_path};
use crate::record::Image;

/// The file's name.
pub const MANIFEST_FILE: &str = "manifest.json";

/// Says that Docker before 25 could not read an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: layer {layer} is compressed with zstd, which `docker load` before 25 cannot read")]
pub struct DockerArchiveError {
    name: Box<Reference>,
    layer: Box<Digest>,
}

/// An image of the list.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    layers: Vec<String>,
    repo_tags: Vec<String>,
}

/// Makes `manifest.json` of the images among what is named.
///
/// # Errors
/// A layer that is compressed with zstd.
pub fn docker_manifest(named: &[Named<'_>]) -> Result<Vec<u8>, DockerArchiveError> {
    let mut list: BTreeMap<Digest, Listed> = BTreeMap::new();
    for Named { name, item } in named {
        let Item::Image(image) = item else { continue };
        check_layers(name, image)?;
        // Docker's image is the configuration: two manifests with one of these are one image there.
        let listed = list.entry(image.config().digest).or_insert_with(|| Listed {
            config: blob_path(&image.config().digest),
            layers: image.layers().iter().map(|layer| blob_path(&layer.blob.digest)).collect(),
            repo_tags: Vec::new(),
        });
        listed.repo_tags.extend(tag(name).map(str::to_owned));
    }
    for listed in list.values_mut() {
        listed.repo_tags.sort_unstable();
        listed.repo_tags.dedup();
    }
    Ok(json::encode(&list.into_values().collect::<Vec<_>>()))
}

fn check_layers(name: &Reference, image: &Image) -> Result<(), DockerArchiveError> {
    let is_zstd =
        |media_type: &str| media_type == media_type::LAYER_TAR_ZSTD || media_type.ends_with(".zstd");
    match image.layers().iter().find(|layer| is_zstd(&layer.blob.media_type)) {
        None => Ok(()),
        Some(layer) => Err(DockerArchiveError { name: name.clone().into(), layer: layer.blob.digest.into() }),
    }
}

/// Returns a name without its digest, which Docker refuses to give to an image; nothing where no tag is left.
fn tag(name: &Reference) -> Option<&str> {
    let tagged = name.as_str().split('@').next()?;
    (tagged.len() > name.repository().len()).then_some(tagged)
}
