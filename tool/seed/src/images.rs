//! Finding all images of a layout or archive, also those in nested indexes.

use std::collections::{BTreeMap, BTreeSet};

use ociseed_image::Image;
use ociseed_spec::lock::BlobRef;
use ociseed_spec::{Digest, media_type};
use ociseed_store::{IndexEntry, Source, parse_index};

use crate::read::{MAX_DEPTH, MAX_DOCUMENT, ReadImageError, read_image};

/// Reads every image that the index names, directly or through indexes, with its names, sorted by digest.
///
/// What is no image (signatures, attestations and other artifacts) is passed over.
///
/// # Errors
/// A document is missing or damaged, or documents do not belong together.
pub fn read_images(source: &dyn Source) -> Result<Vec<(Vec<String>, Image)>, ReadImageError> {
    let mut found: BTreeMap<Digest, (BlobRef, Vec<String>)> = BTreeMap::new();
    let blobs = source.blobs().map_err(ReadImageError::List)?;
    let present: BTreeSet<Digest> = blobs.into_iter().map(|(digest, _)| digest).collect();
    for entry in source.index() {
        collect(source, &present, entry, entry.name(), MAX_DEPTH, &mut found)?;
    }
    let mut images = Vec::new();
    for (manifest, mut names) in found.into_values() {
        if is_image(source, &manifest)? {
            names.sort_unstable();
            names.dedup();
            images.push((names, read_image(source, &manifest)?));
        }
    }
    Ok(images)
}

fn collect(
    source: &dyn Source,
    present: &BTreeSet<Digest>,
    entry: &IndexEntry,
    name: Option<&str>,
    depth: usize,
    found: &mut BTreeMap<Digest, (BlobRef, Vec<String>)>,
) -> Result<(), ReadImageError> {
    let blob = &entry.blob;
    if ![media_type::INDEX, media_type::DOCKER_INDEX].contains(&blob.media_type.as_str()) {
        let (_, names) = found.entry(blob.digest).or_insert_with(|| (blob.clone(), Vec::new()));
        names.extend(name.map(str::to_owned));
        return Ok(());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(ReadImageError::Depth { digest: blob.digest });
    };
    let bytes = source.read_blob(&blob.digest, blob.size, MAX_DOCUMENT)?;
    let nested =
        parse_index(&bytes).map_err(|source| ReadImageError::Index { digest: blob.digest, source })?;
    // An index may name platforms that nobody copied.
    for inner in nested.iter().filter(|inner| present.contains(&inner.blob.digest)) {
        collect(source, present, inner, name, depth, found)?;
    }
    Ok(())
}

/// Tells images from other artifacts by what their configuration is.
fn is_image(source: &dyn Source, manifest: &BlobRef) -> Result<bool, ReadImageError> {
    let bytes = source.read_blob(&manifest.digest, manifest.size, MAX_DOCUMENT)?;
    let digest = manifest.digest;
    let document: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|source| ReadImageError::Manifest { digest, source })?;
    let config = document["config"]["mediaType"].as_str().unwrap_or(media_type::CONFIG);
    let image = [media_type::CONFIG, media_type::DOCKER_CONFIG].contains(&config);
    let attestation = document["layers"].as_array().is_some_and(|layers| {
        !layers.is_empty() && layers.iter().all(|layer| layer["mediaType"] == "application/vnd.in-toto+json")
    });
    Ok(image && document.get("subject").is_none_or(serde_json::Value::is_null) && !attestation)
}
