//! Checking layouts, archives and seeds: everything is hashed, every mismatch is named.

use std::collections::BTreeSet;
use std::io::{self, Read};

use ociseed_image::{Document, Image, IndexDocument, index_file, is_index, is_manifest};
use ociseed_spec::lock::{BlobRef, LayerBlobs, Lock, LockedImage};
use ociseed_spec::{ChainId, DiffId, Digest, Hasher};
use ociseed_store::Source;
use ociseed_tree::decompress;

use crate::images::read_images;
use crate::read::{MAX_DEPTH, ReadImageError, read_document, read_image};

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is wrong, a line each; nothing when all is well.
    pub problems: Vec<String>,
    /// How many blobs were hashed.
    pub blobs: u64,
    /// How many bytes were hashed.
    pub bytes: u64,
}

impl Findings {
    pub(crate) fn problem(&mut self, error: &(dyn std::error::Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        self.problems.push(text);
    }
}

/// Hashes every blob of a layout or archive, and every layer's tar, and compares them with what names them.
pub fn verify_images(source: &dyn Source, findings: &mut Findings) {
    verify_images_with(source, LayerBlobs::All, findings);
}

/// Does as [`verify_images`], where layers may be left out.
pub(crate) fn verify_images_with(source: &dyn Source, layers: LayerBlobs, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    if layers == LayerBlobs::Metadata {
        // A layer that is there all the same is hashed below, as all that no image names.
        seen.extend(missing_layers(source));
    }
    for entry in source.index() {
        verify_entry(source, &entry.blob, MAX_DEPTH, &mut seen, findings);
    }
    // What no image names is hashed too: a damaged blob is damaged.
    let blobs = match source.blobs() {
        Ok(blobs) => blobs,
        Err(error) => return findings.problem(&error),
    };
    for (digest, size) in blobs {
        if seen.insert(digest) {
            verify_blob(source, &BlobRef { media_type: String::new(), digest, size }, None, findings);
        }
    }
}

/// Returns the layers that images have and the source has not.
fn missing_layers(source: &dyn Source) -> Vec<Digest> {
    // What cannot be read is found when it is checked.
    let images = read_images(source).unwrap_or_default();
    let layers = images.iter().flat_map(|(_, image)| image.layers()).map(|layer| layer.blob.digest);
    layers.filter(|digest| !source.has(digest)).collect()
}

/// Checks what an index lists, and all that it leads to.
fn verify_entry(
    source: &dyn Source,
    blob: &BlobRef,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    findings: &mut Findings,
) {
    if !is_index(&blob.media_type) && !is_manifest(&blob.media_type) {
        // Not known, so only its own bytes can be checked.
        if seen.insert(blob.digest) {
            verify_blob(source, blob, None, findings);
        }
        return;
    }
    let (_, document) = match read_document(source, blob) {
        Ok(document) => document,
        Err(error) => return findings.problem(&error),
    };
    match document {
        Document::Manifest(manifest) if manifest.is_image() => match read_image(source, blob) {
            Err(error) => findings.problem(&error),
            Ok(image) => verify_image(source, &image, seen, findings),
        },
        Document::Manifest(manifest) => {
            count_document(blob, seen, findings);
            for named in manifest.layers().iter().chain([manifest.config()]) {
                if seen.insert(named.blob().digest) {
                    verify_blob(source, named.blob(), None, findings);
                }
            }
        }
        Document::Index(index) => {
            count_document(blob, seen, findings);
            let Some(depth) = depth.checked_sub(1) else {
                return findings.problem(&ReadImageError::Depth { digest: blob.digest });
            };
            verify_members(source, blob, &index, depth, seen, findings);
        }
    }
}

/// Checks what is there of what an index lists: it may name platforms that nobody copied, but not only such.
fn verify_members(
    source: &dyn Source,
    blob: &BlobRef,
    index: &IndexDocument,
    depth: usize,
    seen: &mut BTreeSet<Digest>,
    findings: &mut Findings,
) {
    let listed = index.manifests();
    let here: Vec<_> = listed.iter().filter(|listed| source.has(&listed.blob().digest)).collect();
    if here.is_empty() && !listed.is_empty() {
        findings.problems.push(format!("index {}: nothing that it lists is here", blob.digest));
    }
    for listed in here {
        verify_entry(source, listed.blob(), depth, seen, findings);
    }
}

/// Counts a document that was hashed when it was read.
fn count_document(blob: &BlobRef, seen: &mut BTreeSet<Digest>, findings: &mut Findings) {
    if seen.insert(blob.digest) {
        findings.blobs += 1;
        findings.bytes += blob.size;
    }
}

fn verify_image(source: &dyn Source, image: &Image, seen: &mut BTreeSet<Digest>, findings: &mut Findings) {
    for document in [&image.manifest(), image.config()] {
        count_document(document, seen, findings);
    }
    for layer in image.layers() {
        if seen.insert(layer.blob.digest) {
            verify_blob(source, &layer.blob, Some(&layer.diff_id), findings);
        }
    }
}

fn verify_blob(source: &dyn Source, blob: &BlobRef, diff_id: Option<&DiffId>, findings: &mut Findings) {
    findings.blobs += 1;
    let reader = match source.open_blob(&blob.digest, blob.size) {
        Ok(reader) => reader,
        Err(error) => return findings.problem(&error),
    };
    findings.bytes += blob.size;
    match diff_id {
        None => {
            if let Err(error) = drain(reader) {
                findings.problem(&error);
            }
        }
        Some(expected) => match diff_id_of(reader) {
            Err(error) => {
                findings.problems.push(format!("layer {}: {error}", blob.digest));
                // Bad compression stops before the end, where the digest would tell that these are not the bytes.
                if let Ok(Err(other)) = source.open_blob(&blob.digest, blob.size).map(drain)
                    && other.to_string() != error.to_string()
                {
                    findings.problem(&other);
                }
            }
            Ok(found) if found == *expected => {}
            Ok(found) => {
                let text = format!("layer {}: diff id: expected {expected}, found {found}", blob.digest);
                findings.problems.push(text);
            }
        },
    }
}

/// Computes the diff id of a layer blob, reading all of the blob.
///
/// # Errors
/// The blob cannot be read, is not what its digest says, or its compression is broken.
pub fn diff_id_of(mut blob: impl Read) -> io::Result<DiffId> {
    let mut hasher = Hasher::new();
    hasher.read(decompress(&mut blob)?)?;
    // The decompressor stops where its data ends; the digest counts to the end of the blob.
    drain(blob)?;
    Ok(DiffId::new(hasher.finish()))
}

fn drain(mut reader: impl Read) -> io::Result<u64> {
    io::copy(&mut reader, &mut io::sink())
}

/// Compares a lock with the layout that it lies in.
pub fn verify_lock(lock: &Lock, source: &dyn Source, findings: &mut Findings) {
    let listed: BTreeSet<_> = source.index().iter().map(|entry| (entry.name(), entry.blob.digest)).collect();
    for image in &lock.content.images {
        let digest = image.manifest.digest;
        for name in &image.names {
            if !listed.contains(&(Some(name.as_str()), digest)) {
                findings.problems.push(format!("lock: `{name}` is not in `index.json` with {digest}"));
            }
        }
        match read_image(source, &image.manifest) {
            Err(error) => findings.problem(&error),
            Ok(found) => compare(image, &found, findings),
        }
    }
    let images = lock.content.images.iter();
    let locked: BTreeSet<_> = images
        .flat_map(|image| image.names.iter().map(|name| (Some(name.as_str()), image.manifest.digest)))
        .collect();
    for (name, digest) in listed.difference(&locked) {
        let name = name.unwrap_or("an image without name");
        findings.problems.push(format!("`index.json`: `{name}` with {digest} is not in the lock"));
    }
    let names = lock.content.images.iter();
    let names = names.flat_map(|image| image.names.iter().map(|name| (name, image.manifest.clone())));
    // With other problems it only follows from them.
    if findings.problems.is_empty() && index_file(names.collect(), &[]) != source.index_text() {
        findings.problems.push("`index.json`: not the bytes that follow from the lock".to_owned());
    }
}

fn compare(locked: &LockedImage, found: &Image, findings: &mut Findings) {
    let name = &locked.names[0];
    let diff_ids: Vec<DiffId> = found.layers().iter().map(|layer| layer.diff_id).collect();
    let chain = ChainId::chain(&diff_ids);
    let found_layers: Vec<_> =
        found.layers().iter().zip(&chain).map(|(layer, chain)| (&layer.blob, *chain)).collect();
    let same_layers = locked.layers.len() == found_layers.len()
        && locked.layers.iter().zip(&found_layers).all(|(locked, (blob, chain))| {
            (&locked.media_type, locked.digest, locked.size, locked.chain_id)
                == (&blob.media_type, blob.digest, blob.size, *chain)
        });
    let checks = [
        ("manifest", locked.manifest == found.manifest()),
        ("configuration", locked.config == *found.config()),
        ("platform", locked.platform == *found.platform()),
        ("layers", same_layers),
    ];
    for (what, _) in checks.iter().filter(|(_, same)| !same) {
        findings.problems.push(format!("lock: `{name}`: {what}: not what the manifest in the layout says"));
    }
}
