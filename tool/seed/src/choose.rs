//! Choosing a base in an image layout or archive, by name or digest and by platform.

use std::collections::BTreeSet;

use ociseed_image::{Descriptor, Document, Image, Index, IndexDocument, is_index, is_manifest};
use ociseed_spec::{Digest, Platform, annotation, media_type};
use ociseed_store::{Source, full_name};

use crate::read::{MAX_DEPTH, ReadImageError, read_document, read_image, read_index};

/// Says why a base could not be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// What is there cannot be read.
    #[error(transparent)]
    Read(#[from] ReadImageError),
    /// Nothing is what was asked for, or more than one.
    #[error("expected one {wanted} in `{place}`, found {count}")]
    NotOne {
        /// What was asked for, as `image named ... for ...`.
        wanted: String,
        /// The layout or archive.
        place: String,
        /// How many there are.
        count: usize,
        /// What is there, for people.
        there: Vec<String>,
    },
}

/// Reads the one image that has a name or digest, if one is given, for a platform, if one is given.
///
/// # Errors
/// There is no such image, or there are several; it cannot be read.
pub fn choose_image(
    source: &dyn Source,
    reference: Option<&str>,
    platform: Option<&Platform>,
) -> Result<Image, ChooseError> {
    let mut found = Leaves::default();
    for descriptor in matching(source, reference)? {
        found.add(source, descriptor, MAX_DEPTH)?;
    }
    let chosen = match platform {
        None => found.0,
        Some(platform) => for_platform(found.0, platform),
    };
    match chosen.as_slice() {
        [one] => Ok(read_image(source, one.descriptor.blob())?),
        several => {
            let named = reference.map(|name| format!(" named `{name}`")).unwrap_or_default();
            let platform = platform.map(|platform| format!(" for {platform}")).unwrap_or_default();
            Err(not_one(source, format!("image{named}{platform}"), several.len()))
        }
    }
}

/// Reads the one index that has a name or digest, if one is given, with its images that are there.
///
/// # Errors
/// There is no such index, or there are several; it cannot be read.
pub fn choose_index(source: &dyn Source, reference: Option<&str>) -> Result<Index, ChooseError> {
    let mut seen = BTreeSet::new();
    let mut found = matching(source, reference)?;
    found.retain(|descriptor| {
        is_index(&descriptor.blob().media_type) && seen.insert(descriptor.blob().digest)
    });
    match found.as_slice() {
        [one] => Ok(read_index(source, one.blob())?),
        several => {
            let named = reference.map(|name| format!(" named `{name}`")).unwrap_or_default();
            Err(not_one(source, format!("index{named}"), several.len()))
        }
    }
}

/// Returns what `index.json` lists with a name or digest; everything without.
fn matching(source: &dyn Source, reference: Option<&str>) -> Result<Vec<Descriptor>, ReadImageError> {
    let listed = listed(source)?;
    let Some(reference) = reference else { return Ok(listed) };
    let digest = reference.rsplit('@').next().and_then(|digest| digest.parse::<Digest>().ok());
    let Some(digest) = digest else {
        let full = full_name(reference);
        let named = |descriptor: &Descriptor| {
            let keys = [annotation::CONTAINERD_NAME, annotation::REF_NAME];
            let names = keys.into_iter().filter_map(|key| descriptor.annotation(key));
            names.into_iter().any(|name| name == reference || full_name(name) == full)
        };
        return Ok(listed.into_iter().filter(named).collect());
    };
    let found: Vec<_> =
        listed.iter().filter(|descriptor| descriptor.blob().digest == digest).cloned().collect();
    if !found.is_empty() {
        return Ok(found);
    }
    // One image of an index has no entry of its own.
    let mut leaves = Leaves::default();
    for descriptor in listed {
        leaves.add(source, descriptor, MAX_DEPTH)?;
    }
    let leaves = leaves.0.into_iter().map(|leaf| leaf.descriptor);
    Ok(leaves.filter(|descriptor| descriptor.blob().digest == digest).collect())
}

/// Returns what `index.json` lists.
pub(crate) fn listed(source: &dyn Source) -> Result<Vec<Descriptor>, ReadImageError> {
    let text = String::from_utf8_lossy(source.index_text());
    let index = IndexDocument::parse(media_type::INDEX, &text)
        .map_err(|error| ReadImageError::Layout { place: source.place().to_owned(), source: error })?;
    Ok(index.manifests().to_vec())
}

/// The images that descriptors lead to, each once.
#[derive(Default)]
struct Leaves(Vec<Leaf>);

struct Leaf {
    descriptor: Descriptor,
    platform: Option<Platform>,
}

impl Leaves {
    fn add(
        &mut self,
        source: &dyn Source,
        descriptor: Descriptor,
        depth: usize,
    ) -> Result<(), ReadImageError> {
        let blob = descriptor.blob();
        let here = source.has(&blob.digest);
        if is_index(&blob.media_type) && here {
            let depth = depth.checked_sub(1).ok_or(ReadImageError::Depth { digest: blob.digest })?;
            if let (_, Document::Index(index)) = read_document(source, blob)? {
                for inner in index.manifests() {
                    self.add(source, inner.clone(), depth)?;
                }
            }
            return Ok(());
        }
        if !is_manifest(&blob.media_type) || self.0.iter().any(|leaf| leaf.descriptor.blob() == blob) {
            return Ok(());
        }
        let platform = match descriptor.platform() {
            // What is not here can still be told from what was asked for.
            Some(platform) => Some(platform),
            None if !here => None,
            None => match read_document(source, blob)? {
                (_, Document::Manifest(manifest)) if manifest.is_image() => {
                    Some(read_image(source, blob)?.platform().clone())
                }
                _ => return Ok(()),
            },
        };
        // Attestations are listed so, beside the images that they speak of.
        let attestation = platform.as_ref().is_some_and(|platform| platform.os() == "unknown");
        if !attestation {
            self.0.push(Leaf { descriptor, platform });
        }
        Ok(())
    }
}

/// Chooses the images for a platform: those that are for exactly it, else for any variant where none is asked for.
fn for_platform(mut leaves: Vec<Leaf>, wanted: &Platform) -> Vec<Leaf> {
    if leaves.iter().any(|leaf| leaf.platform.as_ref() == Some(wanted)) {
        leaves.retain(|leaf| leaf.platform.as_ref() == Some(wanted));
        return leaves;
    }
    leaves.retain(|leaf| {
        leaf.platform.as_ref().is_some_and(|found| {
            wanted.variant().is_none()
                && (found.os(), found.architecture()) == (wanted.os(), wanted.architecture())
        })
    });
    leaves
}

/// Says that not exactly one thing is what was asked for, and what there is.
fn not_one(source: &dyn Source, wanted: String, count: usize) -> ChooseError {
    let mut there = Vec::new();
    for descriptor in listed(source).unwrap_or_default() {
        let keys = [annotation::CONTAINERD_NAME, annotation::REF_NAME];
        let name = keys.into_iter().find_map(|key| descriptor.annotation(key));
        let name = name.map_or_else(|| descriptor.blob().digest.to_string(), ToOwned::to_owned);
        let mut leaves = Leaves::default();
        let platforms = match leaves.add(source, descriptor, MAX_DEPTH) {
            Err(_) => Vec::new(),
            Ok(()) => leaves.0.iter().filter_map(|leaf| Some(leaf.platform.as_ref()?.to_string())).collect(),
        };
        let platforms =
            if platforms.is_empty() { String::new() } else { format!(" ({})", platforms.join(", ")) };
        there.push(format!("`{name}`{platforms}"));
    }
    ChooseError::NotOne { wanted, place: source.place().to_owned(), count, there }
}
