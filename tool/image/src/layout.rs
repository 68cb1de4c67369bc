//! An OCI image layout as a tree: a bundle, the host form of a seed, or the inside of an archive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use oci_spec::image::{ImageIndexBuilder, MediaType};
use ociseed_spec::{Digest, Reference, TreePath, annotation, json};
use ociseed_tree::{BuildError, Builder, Claim, Content, Entry, Precedence, Tree};

use crate::image::descriptor;
use crate::record::Image;

/// An image and one of its names.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The full name.
    pub name: &'a Reference,
    /// The image.
    pub image: &'a Image,
}

/// Makes the image layout of images, with the content that `blob` finds for layer digests, and `extra` files beside it.
///
/// # Errors
/// Whatever `blob` returns.
pub fn layout_tree<E>(
    images: &[Named<'_>],
    extra: &[(&str, Vec<u8>)],
    mut blob: impl FnMut(&Digest, u64) -> Result<Content, E>,
) -> Result<Tree, E> {
    let mut blobs: BTreeMap<Digest, Content> = BTreeMap::new();
    for Named { image, .. } in images {
        let record = image.record();
        for text in [&record.manifest, &record.config] {
            blobs.insert(Digest::of(text.as_bytes()), Content::bytes(text.as_bytes()));
        }
        for layer in image.layers() {
            if let Slot::Vacant(slot) = blobs.entry(layer.blob.digest) {
                slot.insert(blob(&layer.blob.digest, layer.blob.size)?);
            }
        }
    }
    let mut files: Vec<(String, Content)> = vec![
        ("oci-layout".to_owned(), Content::bytes(*br#"{"imageLayoutVersion":"1.0.0"}"#)),
        ("index.json".to_owned(), Content::bytes(index(images))),
    ];
    files.extend(
        blobs.into_iter().map(|(digest, content)| (format!("blobs/sha256/{}", digest.hex()), content)),
    );
    files.extend(extra.iter().map(|(name, bytes)| ((*name).to_owned(), Content::bytes(bytes.as_slice()))));
    Ok(plain_tree(files).expect("no two files of a layout have one path"))
}

/// Makes a tree of plain files with the default modes.
fn plain_tree(files: Vec<(String, Content)>) -> Result<Tree, Vec<BuildError>> {
    let mut builder = Builder::new();
    for (source, (name, content)) in (0..).zip(files) {
        let path = TreePath::parse(name.as_bytes()).expect("names of a layout are good paths");
        builder.insert(path, Entry::file(content), Claim::new(source, Precedence::Explicit));
    }
    builder.finish()
}

fn index(images: &[Named<'_>]) -> Vec<u8> {
    let mut sorted = images.to_vec();
    // One name can stand for two images, in two namespaces of a seed.
    sorted.sort_by_key(|named| (named.name, named.image.manifest().digest));
    sorted.dedup_by_key(|named| (named.name, named.image.manifest().digest));
    let manifests = sorted.iter().map(|Named { name, image }| {
        let manifest = image.manifest();
        let mut descriptor = descriptor(&manifest.media_type, &manifest.digest, manifest.size);
        let keys = [annotation::REF_NAME, annotation::CONTAINERD_NAME];
        descriptor.set_annotations(Some(keys.map(|key| (key.to_owned(), name.to_string())).into()));
        descriptor
    });
    let builder = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageIndex)
        .manifests(manifests.collect::<Vec<_>>());
    json::encode(&builder.build().expect("all that an index needs is set"))
}
