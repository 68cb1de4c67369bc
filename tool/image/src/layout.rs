//! An OCI image layout as a tree: a bundle, the host form of a seed, or the inside of an archive.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use ociseed_spec::lock::BlobRef;
use ociseed_spec::{Digest, Reference, TreePath, annotation, json, media_type};
use ociseed_tree::{BuildError, Builder, Claim, Content, Entry, Precedence, Tree};
use serde_json::json;

use crate::descriptor::Descriptor;
use crate::index::Index;
use crate::record::Image;

/// The bytes of `oci-layout`.
pub const LAYOUT_FILE: [u8; 30] = *br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An image or an index, and one of its names.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The full name.
    pub name: &'a Reference,
    /// What has it.
    pub item: Item<'a>,
}

/// What a name can stand for.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// An image.
    Image(&'a Image),
    /// An index with its images.
    Index(&'a Index),
}

/// What a layout has beside named images and indexes: all that came along from where bases are.
#[derive(Debug, Clone, Default)]
pub struct Carried {
    /// Descriptors of referrers, without names.
    pub referrers: Vec<Descriptor>,
    /// Every blob of these, and what indexes list beside images; none is in memory.
    pub blobs: BTreeMap<Digest, u64>,
}

impl<'a> Named<'a> {
    /// Names an image.
    pub fn image(name: &'a Reference, image: &'a Image) -> Self {
        Self { name, item: Item::Image(image) }
    }

    /// Names an index.
    pub fn index(name: &'a Reference, index: &'a Index) -> Self {
        Self { name, item: Item::Index(index) }
    }
}

impl<'a> Item<'a> {
    /// Describes the manifest or index.
    pub fn blob(self) -> BlobRef {
        match self {
            Self::Image(image) => image.manifest(),
            Self::Index(index) => index.blob(),
        }
    }

    /// Returns the image, or those of the index.
    pub fn images(self) -> &'a [Image] {
        match self {
            Self::Image(image) => std::slice::from_ref(image),
            Self::Index(index) => index.images(),
        }
    }
}

/// Makes an image layout, with the content that `blob` finds for digests of blobs, and `extra` files beside it.
///
/// A blob for which it finds nothing is left out.
///
/// # Errors
/// Whatever `blob` returns.
pub fn layout_tree<E>(
    named: &[Named<'_>],
    carried: &Carried,
    extra: &[(&str, Vec<u8>)],
    mut blob: impl FnMut(&Digest, u64) -> Result<Option<Content>, E>,
) -> Result<Tree, E> {
    let mut blobs: BTreeMap<Digest, Content> = BTreeMap::new();
    let mut wanted = carried.blobs.clone();
    for Named { item, .. } in named {
        if let Item::Index(index) = item {
            blobs.insert(index.blob().digest, Content::bytes(index.text().as_bytes()));
        }
        for image in item.images() {
            let record = image.record();
            for text in [&record.manifest, &record.config] {
                blobs.insert(Digest::of(text.as_bytes()), Content::bytes(text.as_bytes()));
            }
            wanted.extend(image.layers().iter().map(|layer| (layer.blob.digest, layer.blob.size)));
        }
    }
    for (digest, size) in wanted {
        if let Slot::Vacant(slot) = blobs.entry(digest)
            && let Some(content) = blob(&digest, size)?
        {
            slot.insert(content);
        }
    }
    let names = named.iter().map(|named| (named.name, named.item.blob())).collect();
    let mut files: Vec<(String, Content)> = vec![
        ("oci-layout".to_owned(), Content::bytes(LAYOUT_FILE)),
        ("index.json".to_owned(), Content::bytes(index_file(names, &carried.referrers))),
    ];
    files.extend(blobs.into_iter().map(|(digest, content)| (blob_path(&digest), content)));
    files.extend(extra.iter().map(|(name, bytes)| ((*name).to_owned(), Content::bytes(bytes.as_slice()))));
    Ok(plain_tree(files).expect("no two files of a layout have one path"))
}

/// Returns where a blob lies in a layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
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

/// Makes `index.json`: a descriptor a name, then the referrers.
pub fn index_file(names: Vec<(&Reference, BlobRef)>, referrers: &[Descriptor]) -> Vec<u8> {
    let mut sorted = names;
    // One name can stand for two images, in two namespaces of a seed.
    sorted.sort_by_key(|(name, blob)| (*name, blob.digest));
    sorted.dedup_by_key(|(name, blob)| (*name, blob.digest));
    let mut manifests: Vec<Descriptor> = sorted
        .into_iter()
        .map(|(name, blob)| {
            let mut descriptor = Descriptor::new(blob);
            let keys = [annotation::REF_NAME, annotation::CONTAINERD_NAME];
            descriptor.annotate(keys.map(|key| (key.to_owned(), name.to_string())));
            descriptor
        })
        .collect();
    let mut referrers = referrers.to_vec();
    referrers.sort_by_key(|descriptor| descriptor.blob().digest);
    manifests.extend(referrers);
    json::encode(&json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests }))
}
