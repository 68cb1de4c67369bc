//! What comes along with images and indexes of a bundle from where their bases are: what indexes list beside images, and
//! referrers (signatures, attestations, bills of materials) whose subject is in the bundle.

use std::collections::BTreeSet;

use ociseed_image::{Carried, Descriptor, Document, Item, Named, is_index, is_manifest};
use ociseed_spec::{Digest, annotation};
use ociseed_store::Source;

use crate::choose::listed;
use crate::read::{MAX_DEPTH, ReadImageError, read_document};

/// Finds all that comes along with what is named; referrers only where they are wanted.
///
/// # Errors
/// A document is damaged.
pub fn carry(
    sources: &[&dyn Source],
    named: &[Named<'_>],
    referrers: bool,
) -> Result<Carried, ReadImageError> {
    let mut carry = Carry { sources, there: BTreeSet::new(), carried: Carried::default() };
    for Named { item, .. } in named {
        carry.there.insert(item.blob().digest);
        carry.there.extend(item.images().iter().map(|image| image.manifest().digest));
    }
    for Named { item, .. } in named {
        if let Item::Index(index) = item {
            carry.members(index.manifests(), MAX_DEPTH - 1)?;
        }
    }
    if referrers {
        carry.referrers()?;
    }
    Ok(carry.carried)
}

struct Carry<'a> {
    sources: &'a [&'a dyn Source],
    /// Manifests and indexes that are in the bundle.
    there: BTreeSet<Digest>,
    carried: Carried,
}

impl Carry<'_> {
    /// Adds what an index lists and is here; images that were read are there already.
    fn members(&mut self, listed: &[Descriptor], depth: usize) -> Result<(), ReadImageError> {
        for descriptor in listed {
            if !self.there.contains(&descriptor.blob().digest) {
                self.add(descriptor, depth)?;
            }
        }
        Ok(())
    }

    /// Adds a manifest or index and all that it leads to.
    fn add(&mut self, descriptor: &Descriptor, depth: usize) -> Result<(), ReadImageError> {
        let blob = descriptor.blob();
        let Some(source) = self.sources.iter().find(|source| source.has(&blob.digest)) else {
            // An index may name platforms that nobody copied.
            return Ok(());
        };
        self.there.insert(blob.digest);
        self.carried.blobs.insert(blob.digest, blob.size);
        if !is_index(&blob.media_type) && !is_manifest(&blob.media_type) {
            return Ok(());
        }
        match read_document(*source, blob)?.1 {
            Document::Index(index) => {
                let depth = depth.checked_sub(1).ok_or(ReadImageError::Depth { digest: blob.digest })?;
                self.members(index.manifests(), depth)
            }
            Document::Manifest(manifest) => {
                let blobs = manifest.layers().iter().chain([manifest.config()]);
                self.carried.blobs.extend(blobs.map(|blob| (blob.blob().digest, blob.blob().size)));
                Ok(())
            }
        }
    }

    /// Adds referrers of what is there, and theirs, until there are no more.
    fn referrers(&mut self) -> Result<(), ReadImageError> {
        let mut candidates = Vec::new();
        let mut seen = BTreeSet::new();
        for source in self.sources {
            find_referrers(*source, listed(*source)?, MAX_DEPTH, &mut seen, &mut candidates)?;
        }
        while let Some(next) = candidates.iter().position(|(subject, _)| self.there.contains(subject)) {
            let (_, descriptor) = candidates.swap_remove(next);
            if !self.there.contains(&descriptor.blob().digest) {
                self.add(&descriptor, MAX_DEPTH)?;
                let names = [annotation::REF_NAME, annotation::CONTAINERD_NAME];
                self.carried.referrers.push(descriptor.without_annotations(&names));
            }
        }
        Ok(())
    }
}

/// Finds everything that has a subject, also in nested indexes: tools list referrers in one of their own, `sha256-<hex>`.
fn find_referrers(
    source: &dyn Source,
    listed: Vec<Descriptor>,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    found: &mut Vec<(Digest, Descriptor)>,
) -> Result<(), ReadImageError> {
    for descriptor in listed {
        let blob = descriptor.blob();
        let document = is_index(&blob.media_type) || is_manifest(&blob.media_type);
        if !document || !source.has(&blob.digest) || !seen.insert(blob.digest) {
            continue;
        }
        let (_, document) = read_document(source, blob)?;
        if let Document::Index(index) = &document {
            let depth = depth.checked_sub(1).ok_or(ReadImageError::Depth { digest: blob.digest })?;
            find_referrers(source, index.manifests().to_vec(), depth, seen, found)?;
        }
        if let Some(subject) = document.subject() {
            found.push((*subject, descriptor));
        }
    }
    Ok(())
}
