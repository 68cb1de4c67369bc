//! A seed as a source: the lock says what there is, the layout has the bytes.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::Digest;
use ociseed_spec::lock::{Class, FILE_NAME, LayerBlobs, Lock, LockError, LockedImage};
use ociseed_spec::records::content_records;
use ociseed_store::{Layout, LayoutError};

use crate::source::{Source, Store, Wanted};

/// A lock of a hundred thousand images; more is a mistake or an attack.
const LARGEST_LOCK: u64 = 64 << 20;

/// Says why a seed cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeedError {
    /// The directory or a file of it cannot be read.
    #[error("cannot read `{0}`")]
    Read(String, #[source] io::Error),
    /// The lock is not the one that was asked for.
    #[error("`{place}`: expected {expected}, found {found}")]
    Expected {
        /// The lock's file.
        place: String,
        /// The digest that was asked for.
        expected: Digest,
        /// The lock's.
        found: Digest,
    },
    /// The lock says nothing that can be followed.
    #[error("`{0}`")]
    Lock(String, #[source] LockError),
    /// The blobs do not lie in an image layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// A seed whose lock was read.
#[derive(Debug)]
pub(crate) struct Seed {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its directory.
    pub(crate) dir: Dir,
    /// The digest of its lock.
    pub(crate) digest: Digest,
    /// Its lock.
    pub(crate) lock: Lock,
}

/// Reads the lock of a seed, which must have each of the digests `expected`.
///
/// # Errors
/// It is not there, not valid, of another version, or another seed.
pub(crate) fn read(path: &Path, expected: &[Digest]) -> Result<Seed, SeedError> {
    let place = path.display().to_string();
    let lock_place = path.join(FILE_NAME).display().to_string();
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(|e| SeedError::Read(place, e))?;
    let bytes = read_lock(&dir).map_err(|error| SeedError::Read(lock_place.clone(), error))?;
    let digest = Digest::of(&bytes);
    if let Some(&expected) = expected.iter().find(|expected| **expected != digest) {
        return Err(SeedError::Expected { place: lock_place, expected, found: digest });
    }
    let lock = Lock::parse(&bytes).map_err(|error| SeedError::Lock(lock_place, error))?;
    Ok(Seed { path: path.to_owned(), dir, digest, lock })
}

/// Opens a seed as a source of images.
///
/// # Errors
/// As [`read`]; it is no image layout.
pub(crate) fn open(path: &Path, expected: &[Digest]) -> Result<Source, SeedError> {
    let Seed { path, dir, lock, .. } = read(path, expected)?;
    let owner = lock.seed_id().to_string();
    let store = Rc::new(Store::Layout(Layout::open(Arc::new(dir), path.display().to_string())?));
    let of_class = |class| lock.content.images.iter().filter(move |image| image.class == class);
    let in_order = of_class(Class::Critical).chain(of_class(Class::Background));
    // In host form all blobs are there.
    let layers = lock.medium.map_or(LayerBlobs::All, |medium| medium.blobs);
    let images = in_order.flat_map(|image| wanted(image, layers, &store)).collect();
    Ok(Source { owner, images, refused: Vec::new() })
}

fn read_lock(dir: &Dir) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.open(FILE_NAME)?.take(LARGEST_LOCK + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_LOCK {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {LARGEST_LOCK} bytes")));
    }
    Ok(bytes)
}

/// One image for each of its namespaces.
fn wanted(image: &LockedImage, layers: LayerBlobs, store: &Rc<Store>) -> Vec<Wanted> {
    let blobs = content_records(image, layers);
    let namespaces = image.namespaces.iter().map(|namespace| namespace.as_str().to_owned());
    namespaces
        .map(|namespace| Wanted {
            names: image.names.clone(),
            namespace,
            class: image.class,
            pin: image.pin,
            target: image.manifest.clone(),
            blobs: blobs.clone(),
            layers,
            store: Rc::clone(store),
        })
        .collect()
}
