//! The seed: its lock says what there is, its image layout has the bytes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::lock::{FILE_NAME, LayerBlobs, Lock, LockedImage};
use ociseed_spec::{Digest, Reference, shown_path};
use ociseed_store::{Document, LARGEST_MANIFEST, Layout, read_lock};

use crate::exit::Exit;
use crate::failure::{Failure, Stop};

/// A seed whose lock was read.
#[derive(Debug)]
pub(crate) struct Seed {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its id.
    pub(crate) id: Digest,
    /// Its images.
    pub(crate) images: Vec<LockedImage>,
    /// Its blobs.
    pub(crate) layout: Arc<Layout>,
}

/// The small documents of an image, read and found to be what the lock says.
#[derive(Debug)]
pub(crate) struct Documents {
    /// The manifest.
    pub(crate) manifest: Vec<u8>,
    /// The configuration.
    pub(crate) config: Vec<u8>,
}

/// Opens a seed.
///
/// # Errors
/// It is not there, its lock is not valid, or its layers' blobs are not in an image layout.
pub(crate) fn open(path: &Path) -> Result<Seed, Stop> {
    let place = shown_path(path);
    let lock_place = format!("{place}/{FILE_NAME}");
    let unread = |place: &str, error: &io::Error| {
        Stop::new(Exit::Seed, format!("cannot read `{place}`: {error}"))
            .hint("a seed is what `ociseed build` writes to `seed/NAME`, and `ociseed_seed` in Bazel")
    };
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| unread(&place, &error))?;
    let bytes = read_lock(&dir).map_err(|error| unread(&lock_place, &error))?;
    let invalid = |error: &dyn std::error::Error| {
        Stop::new(Exit::Seed, format!("`{lock_place}`: {}", ociseed_spec::chain(error)))
    };
    let lock = Lock::parse(&bytes).map_err(|error| invalid(&error))?;
    if lock.medium.is_some_and(|medium| medium.blobs == LayerBlobs::Metadata) {
        let text =
            format!("`{lock_place}`: expected a seed with its layers' blobs, found `blobs` = `metadata`");
        return Err(Stop::new(Exit::Seed, text).hint("load the host form, of which the medium was made"));
    }
    let layout = Layout::open(Arc::new(dir), place).map_err(|error| Stop::of(Exit::Seed, &error))?;
    let id = lock.seed_id();
    Ok(Seed { path: path.to_owned(), id, images: lock.content.images, layout: Arc::new(layout) })
}

impl Seed {
    /// Checks that no name stands for two images, which only namespaces could keep apart.
    ///
    /// # Errors
    /// Names the first that does.
    pub(crate) fn check_names(&self) -> Result<(), Stop> {
        let mut named: Vec<(&Reference, &Digest)> = Vec::new();
        for image in &self.images {
            named.extend(image.names.iter().map(|name| (name, &image.manifest.digest)));
        }
        named.sort();
        named.dedup();
        match named.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            None => Ok(()),
            Some(pair) => {
                let (name, one, other) = (pair[0].0, pair[0].1, pair[1].1);
                let text = format!(
                    "name `{name}` stands for two images, {one} and {other}, in different namespaces"
                );
                Err(Stop::new(Exit::Seed, text)
                    .hint("only containerd has namespaces: give the images names of their own"))
            }
        }
    }

    /// Reads manifest and configuration of an image, and checks that the manifest names what the lock does.
    ///
    /// # Errors
    /// One is damaged or missing, or the two differ.
    pub(crate) fn documents(&self, image: &LockedImage) -> Result<Documents, Failure> {
        let read = |digest: &Digest, size| {
            self.layout.read_blob(digest, size, LARGEST_MANIFEST).map_err(|error| Failure::of(&error))
        };
        let manifest = read(&image.manifest.digest, image.manifest.size)?;
        let config = read(&image.config.digest, image.config.size)?;
        let mut expected: BTreeSet<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
        expected.extend([image.manifest.digest, image.config.digest]);
        Document::parse(image.manifest.digest, &manifest)
            .map_err(|error| Failure::of(&error))?
            .check_blobs(&image.manifest.digest, &expected)
            .map_err(Failure::image)?;
        Ok(Documents { manifest, config })
    }

    /// Reads a blob to its end, to learn whether it is right.
    ///
    /// # Errors
    /// It is not, or cannot be read.
    pub(crate) fn hash(&self, digest: &Digest, size: u64) -> Result<(), Failure> {
        let mut blob = self.layout.open_blob(digest, size).map_err(|error| Failure::of(&error))?;
        io::copy(&mut blob, &mut io::sink()).map_err(|error| Failure::of(&error))?;
        Ok(())
    }
}
