//! Where blobs are: layer files with known digests, and the layouts and archives that bases come from.
//!
//! Layouts and archives are opened when something of them is needed, which in a build where nothing changed is never.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use cap_std::fs::{Dir, File};
use ociseed_image::{Carried, Named};
use ociseed_seed::carry;
use ociseed_spec::Digest;
use ociseed_spec::file::Base;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::params::BlobSource;
use ociseed_store::{
    Archive, ArchiveError, BlobFile, Layout, LayoutError, ListedLayout, Place as BlobPlace, Source,
};
use ociseed_tree::{Content, Extent, FileRange, HostFile, ListedFile, spool};

use crate::context::cancellation;
use crate::failure::{Failure, chain};
use crate::files::digest_of_stamps;
use crate::inputs::{Directory, Inputs, Place};
use crate::scratch::Scratch;
use crate::step;

/// Finds blobs by digest.
#[derive(Default)]
pub(crate) struct Blobs {
    layers: RwLock<BTreeMap<Digest, Place>>,
    sources: Vec<Opening>,
}

/// Layouts and archives among those of [`Blobs`].
pub(crate) type SourceSet = BTreeSet<usize>;

/// Where a layout or archive is.
enum Found {
    /// One of this machine; the flag says whether it is an archive.
    Host(Place, bool),
    /// A layout of which each file is given, and what it is called.
    Listed(Vec<ListedFile>, String),
}

/// A layout or archive, opened when it is first needed.
struct Opening {
    /// What tells it from others.
    key: String,
    found: Found,
    /// Who asked for it first, for messages.
    wanted_by: String,
    /// What the file system said of the files that decide what it is, where somebody keeps what comes of it.
    stamps: Option<Digest>,
    opened: OnceLock<Box<dyn Source + Send + Sync>>,
}

impl Opening {
    /// Returns the files that decide what it is: its index, as all else goes by digest, or itself.
    fn deciding_files(&self) -> Vec<Place> {
        match &self.found {
            Found::Host(archive, true) => vec![archive.clone()],
            Found::Host(layout, false) => {
                let below = |name: &str| Place { path: layout.path.join(name), ..layout.clone() };
                vec![below("index.json"), below("oci-layout")]
            }
            // Of a step alone, whose results nobody here keeps.
            Found::Listed(..) => Vec::new(),
        }
    }

    fn open(&self) -> Result<&dyn Source, Failure> {
        if self.opened.get().is_none() {
            let opened = self.open_now().map_err(|failure| failure.within(&self.wanted_by))?;
            // Another thread may have been faster; then its one is taken.
            let _ = self.opened.set(opened);
        }
        Ok(&**self.opened.get().expect("set above"))
    }

    fn open_now(&self) -> Result<Box<dyn Source + Send + Sync>, Failure> {
        let layout_failure = |error: LayoutError| {
            let hint = "it has `oci-layout` and `index.json`; `skopeo copy SOURCE oci:DIR:TAG` makes one";
            Failure::new(chain(&error)).hint(hint.to_owned())
        };
        let (place, archive) = match &self.found {
            Found::Host(place, archive) => (place, *archive),
            Found::Listed(files, shown) => {
                let layout = ListedLayout::open(&by_path(files), shown.clone());
                return Ok(Box::new(layout.map_err(layout_failure)?));
            }
        };
        let Place { dir, path, shown } = place;
        let is_dir = dir.metadata(path);
        let is_dir =
            is_dir.map_err(|error| place.failure(&error).hint(Place::missing_hint(&error)))?.is_dir();
        match (archive, is_dir) {
            (true, false) => Ok(Box::new(open_archive(place)?)),
            (false, true) => {
                let layout = Layout::open(place.open_dir()?, shown.clone());
                Ok(Box::new(layout.map_err(layout_failure)?))
            }
            (true, true) => {
                let failure = Failure::new(format!("`{shown}` is a directory, expected an archive, a tar"));
                Err(failure.hint("an image layout that is a directory is a `layout`".to_owned()))
            }
            (false, false) => {
                let failure = Failure::new(format!("`{shown}` is no directory, expected an image layout"));
                Err(failure.hint("a tar of an image layout or of `docker save` is an `archive`".to_owned()))
            }
        }
    }
}

impl Blobs {
    /// Collects what a parameter file names.
    pub(crate) fn of_params(sources: &[BlobSource], inputs: &Inputs) -> Result<Self, Failure> {
        let mut blobs = Self::default();
        for (index, source) in sources.iter().enumerate() {
            let place = format!("`blobs[{index}]`");
            match (&source.layer, &source.metadata, &source.layout, &source.archive) {
                (Some(layer), Some(metadata), None, None) => {
                    let metadata = step::read_metadata(inputs, metadata, &place)?;
                    blobs.add_layer(&metadata, inputs.find(layer, &place)?);
                }
                (None, None, Some(layout), None) => {
                    blobs.add(Base::Layout(layout), inputs, &place)?;
                }
                (None, None, None, Some(archive)) => {
                    blobs.add(Base::Archive(archive), inputs, &place)?;
                }
                _ => {
                    let expected = "`layer` with `metadata`, or `layout` alone, or `archive` alone";
                    return Err(Failure::usage(format!("{place}: expected {expected}")));
                }
            }
        }
        for source in &blobs.sources {
            source.open()?;
        }
        Ok(blobs)
    }

    /// Adds a layer blob's file.
    pub(crate) fn add_layer(&self, metadata: &LayerMetadata, blob: Place) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        layers.insert(metadata.digest, blob);
    }

    /// Adds a layout or archive, once however often it is asked for; `wanted_by` is who asks, for messages.
    ///
    /// Another image is in no layout, so it is none.
    pub(crate) fn add(
        &mut self,
        base: Base<'_>,
        inputs: &Inputs,
        wanted_by: &str,
    ) -> Result<Option<usize>, Failure> {
        let Some((key, word, archive)) = naming(&base) else { return Ok(None) };
        if let Some(known) = self.number(&base) {
            return Ok(Some(known));
        }
        let found = if archive {
            Found::Host(inputs.find(word, wanted_by)?, true)
        } else {
            match inputs.find_layout(word, wanted_by)? {
                Directory::Host(place) => Found::Host(place, false),
                Directory::Listed(files) => Found::Listed(files.into_owned(), word.to_owned()),
            }
        };
        let wanted_by = wanted_by.to_owned();
        let (stamps, opened) = (None, OnceLock::new());
        self.sources.push(Opening { key, found, wanted_by, stamps, opened });
        Ok(Some(self.sources.len() - 1))
    }

    /// Returns the number of a layout or archive that was added.
    pub(crate) fn number(&self, base: &Base<'_>) -> Option<usize> {
        let (key, ..) = naming(base)?;
        self.sources.iter().position(|source| source.key == key)
    }

    /// Opens a layout or archive that was added.
    pub(crate) fn source(&self, number: usize) -> Result<&dyn Source, Failure> {
        self.sources[number].open()
    }

    /// Notes by their stamps what layouts and archives are.
    ///
    /// Before any is opened: what is made of one that changes later is then kept under what it no longer is, and never found.
    pub(crate) fn note_stamps(&mut self) {
        for source in &mut self.sources {
            source.stamps = digest_of_stamps(&source.deciding_files());
        }
    }

    /// Returns what the stamps said of a layout or archive; nothing where they do not tell.
    pub(crate) fn stamps(&self, number: usize) -> Option<Digest> {
        self.sources[number].stamps
    }

    /// Returns all that were added.
    pub(crate) fn all(&self) -> SourceSet {
        (0..self.sources.len()).collect()
    }

    /// Finds what comes along with images and indexes from where their bases are.
    pub(crate) fn carry(
        &self,
        named: &[Named<'_>],
        from: &SourceSet,
        referrers: bool,
    ) -> Result<Carried, Failure> {
        let sources = from.iter().map(|number| self.source(*number)).collect::<Result<Vec<_>, _>>()?;
        carry(&sources, named, referrers).map_err(|error| Failure::new(chain(&error)))
    }

    /// Finds a blob; its digest is checked when it is copied.
    pub(crate) fn content(&self, digest: &Digest, size: u64) -> Result<Content, Failure> {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = layers.get(digest) {
            let file = HostFile::new(place.dir.clone(), &place.path);
            return Ok(Content::file(file, size, Some(*digest)));
        }
        let mut found = None;
        for source in &self.sources {
            found = source.open()?.find(digest);
            if found.is_some() {
                break;
            }
        }
        match found {
            Some(BlobPlace::File(BlobFile { dir, path, .. })) => {
                Ok(Content::file(HostFile::new(dir, path), size, Some(*digest)))
            }
            Some(BlobPlace::Range { file, shown, offset, .. }) => {
                let file = HostFile::opened(file, Arc::from(Path::new(&shown)));
                let range = FileRange { file, offset, size, to_end: false, digest: Some(*digest) };
                Ok([Extent::File(range)].into_iter().collect())
            }
            Some(BlobPlace::Bytes(bytes)) => Ok(Content::bytes(bytes)),
            None => {
                let hint =
                    "name its layer, layout or archive in `blobs`; `--follow-links` reads layouts of links"
                        .to_owned();
                Err(Failure::new(format!("blob {digest} is in none of the inputs")).hint(hint))
            }
        }
    }
}

/// Returns what tells a layout or archive from others, its path, and whether it is an archive.
fn naming<'a>(base: &Base<'a>) -> Option<(String, &'a str, bool)> {
    match base {
        Base::Layout(word) => Some((format!("layout {word}"), word, false)),
        Base::Archive(word) => Some((format!("archive {word}"), word, true)),
        Base::Image(_) => None,
    }
}

/// Returns by its path in a directory where each file is.
pub(crate) fn by_path(files: &[ListedFile]) -> BTreeMap<PathBuf, (Arc<Dir>, PathBuf)> {
    let file = |file: &ListedFile| {
        let at = PathBuf::from(OsStr::from_bytes(file.at.as_bytes()));
        (at, (Arc::clone(&file.dir), file.path.clone()))
    };
    files.iter().map(file).collect()
}

fn open_archive(place: &Place) -> Result<Archive, Failure> {
    let open = || place.dir.open(&place.path).map_err(|error| place.failure(&error));
    let mut opened = Archive::open(open()?, place.shown.clone());
    if let Err(ArchiveError::Compressed { .. }) = opened {
        opened = Archive::open(decompressed(&open()?, place)?, place.shown.clone());
    }
    let hint = "`docker save` makes one, and `skopeo copy SOURCE oci-archive:FILE:NAME`";
    opened.map_err(|error| Failure::new(chain(&error)).hint(hint.to_owned()))
}

/// Decompresses an archive into a file without a name: what is in it is read in any order.
fn decompressed(file: &File, place: &Place) -> Result<File, Failure> {
    let scratch = Scratch::temporary()?;
    let size = file.metadata().map_err(|error| place.failure(&error))?.len();
    let plain = spool(cancellation().over(file), size, &mut || scratch.file());
    let plain = plain.map_err(|error| place.failure(&error))?;
    Ok(Arc::into_inner(plain).expect("nobody else has it yet"))
}
