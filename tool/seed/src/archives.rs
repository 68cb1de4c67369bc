//! The arrangement `archives`: the preseed directory of Monogon, and with another root of k3s, k0s and EVE.
//!
//! `<root>/<namespace>/<file>.tar`, one oci-archive an image. Engines import
//! each file alone, so layers that images share are repeated; the report says
//! what that costs.

use std::collections::BTreeMap;

use ociseed_image::{Carried, Named, layout_tree};
use ociseed_spec::file::{ArchivesOptions, StoreForm};
use ociseed_spec::lock::Namespace;
use ociseed_spec::{Digest, Key, Reference, TreePath};
use ociseed_tree::{Builder, Claim, Content, Entry, Extent, Precedence, Tree, tar};

use crate::seed::{Seed, SeedEntry};

/// A preseed directory and what it costs.
#[derive(Debug)]
pub struct Archives {
    /// The files, below `root` of the options or, in form `directory`, below nothing.
    pub tree: Tree,
    /// How many bytes are in the archives more than once.
    pub repeated_bytes: u64,
}

/// Says why a seed cannot be arranged as archives.
#[derive(Debug)]
pub enum ArchivesError<E> {
    /// Two images would have one file.
    SameFile(Box<SameFileError>),
    /// A blob could not be had.
    Blob(E),
}

/// Names two images that would have one file.
#[derive(Debug, thiserror::Error)]
#[error("store `archives`: images `{first}` and `{second}` both are `{file}.tar` in namespace `{namespace}`")]
pub struct SameFileError {
    first: Reference,
    second: Reference,
    file: Key,
    namespace: Namespace,
}

/// Arranges a seed as one archive for each image and namespace.
///
/// # Errors
/// Whatever `blob` returns; two different images with one file.
pub fn arrange<E>(
    seed: &Seed,
    options: &ArchivesOptions,
    mut blob: impl FnMut(&Digest, u64) -> Result<Content, E>,
) -> Result<Archives, ArchivesError<E>> {
    let root = match options.form {
        StoreForm::Tar => options.root.clone(),
        StoreForm::Directory => TreePath::root(),
    };
    let mut builder = Builder::new();
    let (mut written, mut distinct) = (0, BTreeMap::new());
    for ((namespace, file), entries) in group(seed)? {
        let named: Vec<_> = entries.iter().map(|entry| Named::image(&entry.name, &entry.image)).collect();
        let layout =
            layout_tree(&named, &Carried::default(), &[], |digest, size| blob(digest, size).map(Some));
        let layout = layout.map_err(ArchivesError::Blob)?;
        for layer in entries[0].image.layers() {
            written += layer.blob.size;
            distinct.insert(layer.blob.digest, layer.blob.size);
        }
        let path = TreePath::parse(format!("{namespace}/{file}.tar").as_bytes());
        let path = path.expect("a namespace and a key are good names").below(&root);
        // Extents of the headers are small and adjacent: one allocation an archive.
        let content: Content = join(tar::extents(&layout)).into_iter().collect();
        builder.insert(path, Entry::file(content), Claim::new(0, Precedence::Explicit));
    }
    let tree = builder.finish().expect("every archive has a path of its own and none is below another");
    Ok(Archives { tree, repeated_bytes: written - distinct.values().sum::<u64>() })
}

/// The entries of each file.
type Files<'a> = BTreeMap<(&'a Namespace, &'a Key), Vec<&'a SeedEntry>>;

/// Collects the entries of each file; several names of one image are one archive.
fn group<E>(seed: &Seed) -> Result<Files<'_>, ArchivesError<E>> {
    let mut files = Files::new();
    for entry in seed.entries() {
        for namespace in &entry.namespaces {
            let same = files.entry((namespace, &entry.file)).or_default();
            if let Some(other) = same.first().filter(|other| other.image != entry.image) {
                return Err(ArchivesError::SameFile(Box::new(SameFileError {
                    first: other.name.clone(),
                    second: entry.name.clone(),
                    file: entry.file.clone(),
                    namespace: namespace.clone(),
                })));
            }
            same.push(entry);
        }
    }
    Ok(files)
}

/// Joins runs of in-memory extents.
fn join(extents: impl Iterator<Item = Extent>) -> Vec<Extent> {
    let mut joined = Vec::new();
    let mut run: Vec<u8> = Vec::new();
    for extent in extents {
        match extent {
            Extent::Bytes(bytes) => run.extend_from_slice(&bytes),
            Extent::File(_) | Extent::Zeros(_) => {
                if !run.is_empty() {
                    joined.push(Extent::Bytes(std::mem::take(&mut run).into()));
                }
                joined.push(extent);
            }
        }
    }
    if !run.is_empty() {
        joined.push(Extent::Bytes(run.into()));
    }
    joined
}
