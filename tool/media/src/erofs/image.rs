//! An image as a whole: planned from a tree, then described as extents.

use ociseed_spec::{Digest, Hasher, Label, TreePath, Uuid};
use ociseed_tree::{Bytes, Content, Extent, Pieces, ReadError, Take, Tree};

use super::BLOCK;
use super::codec::{Algorithm, Compression};
use super::layout::{ErofsError, Layout};
use super::superblock::{self, Superblock};

/// What an image has beside its tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The volume's label, or none.
    pub label: Label,
    /// The volume's UUID; without one it follows from the tree's metadata and the digests that are known of its files.
    /// Compression does not change it.
    pub uuid: Option<Uuid>,
    /// How files are compressed.
    pub compression: Compression,
}

/// An image that can be written: everything but the files' bytes is known.
#[derive(Debug)]
pub struct Image<'a> {
    layout: Layout<'a>,
    uuid: Uuid,
    superblock: Vec<u8>,
}

impl<'a> Image<'a> {
    /// Plans the image of a tree; `digest` says what a file holds, where that is known, so that equal ones share blocks.
    /// Nothing is compressed, whatever the options say: sizes are not known before files are read.
    ///
    /// # Errors
    /// The tree has what the format cannot hold, or a layer's whiteouts.
    pub fn plan(
        tree: &'a Tree,
        digest: &dyn Fn(&TreePath) -> Option<Digest>,
        options: &Options,
    ) -> Result<Self, ErofsError> {
        let layout = Layout::of(tree, digest)?;
        let uuid = options.uuid.unwrap_or_else(|| derived_uuid(tree, &layout, digest));
        Ok(Self { superblock: superblock(&layout, &options.label, uuid), uuid, layout })
    }

    /// Returns the volume's UUID: the one of the options, or what follows from the tree.
    pub(super) fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Returns how many bytes the image has.
    pub fn size(&self) -> u64 {
        u64::from(self.layout.blocks) * BLOCK
    }

    /// Describes the image as extents, in order; together they are the whole file.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        [Extent::Bytes(self.superblock.clone().into())].into_iter().chain(self.layout.extents())
    }

    /// Makes the image the content of a file.
    pub fn content(&self) -> Content {
        self.extents().collect()
    }
}

impl Bytes for Image<'_> {
    fn add_to<F: Take>(&self, pieces: &mut Pieces<F>) -> Result<(), ReadError> {
        self.extents().try_for_each(|extent| extent.add_to(pieces))
    }
}

/// Writes the superblock of an image in which everything has its place.
pub(super) fn superblock(layout: &Layout<'_>, label: &Label, uuid: Uuid) -> Vec<u8> {
    let mut place = [0; 16];
    place[..label.as_str().len()].copy_from_slice(label.as_str().as_bytes());
    let chunks = if layout.has_chunks() { superblock::CHUNKED } else { 0 };
    let compressed = layout.algorithm.map_or(0, |_| superblock::COMPRESSED);
    let superblock = Superblock {
        root_nid: layout.root_nid(),
        inodes: layout.inodes(),
        time: layout.time,
        blocks: layout.blocks,
        meta_block: layout.meta_block,
        xattr_block: layout.xattr_block,
        uuid: *uuid.as_bytes(),
        label: place,
        incompatible: chunks | compressed,
        algorithms: layout.algorithm.map_or(0, Algorithm::bit),
    };
    superblock.encode()
}

/// Makes a UUID of what is known of a tree (RFC 9562, version 8).
fn derived_uuid(tree: &Tree, layout: &Layout<'_>, digest: &dyn Fn(&TreePath) -> Option<Digest>) -> Uuid {
    let mut hasher = Hasher::new();
    for extent in layout.metadata() {
        match extent {
            Extent::Bytes(bytes) => hasher.update(&bytes),
            other => hasher.update(&other.size().to_le_bytes()),
        }
    }
    for digest in tree.iter().filter_map(|(path, _)| digest(path)) {
        hasher.update(digest.as_bytes());
    }
    let digest = hasher.finish();
    Uuid::of_digest(&digest)
}
