//! A preseed directory as a source: `<namespace>/<file>.tar`, each an oci-archive that says itself what it holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File};
use ociseed_spec::lock::{BlobRef, Class, LayerBlobs, Namespace};
use ociseed_spec::records::ContentRecords;
use ociseed_spec::{Digest, Reference};
use ociseed_store::{Archive, ArchiveError, BlobError, Document, IndexEntry, ManifestError};

use crate::collect::set;
use crate::source::{Previous, Refused, Source, Store, Wanted, name_records};
use crate::talk::chain;

/// The value of our owner label: there is no lock, so there is no seed id.
const OWNER: &str = "archives";

/// Says why a preseed directory cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read `{place}`")]
pub(crate) struct ArchivesError {
    place: String,
    source: io::Error,
}

/// Says why one archive is refused.
#[derive(Debug, thiserror::Error)]
enum ArchiveProblem {
    #[error("cannot be opened")]
    Open(#[source] io::Error),
    #[error("{0}, expected a regular file")]
    Kind(&'static str),
    #[error("the file is empty")]
    Empty,
    #[error("the name does not end with `.tar`")]
    Ending,
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("no image in `index.json`")]
    NoImage,
    #[error("manifest {0} has no name in `index.json`")]
    NoName(Digest),
    #[error("`index.json`")]
    Name(#[source] ociseed_spec::ReferenceError),
    #[error("index {0} lists an index")]
    Nested(Digest),
}

/// Opens a preseed directory; archives that cannot be used are in the source as refused.
///
/// # Errors
/// The directory itself cannot be read.
pub(crate) fn open(path: &Path) -> Result<Source, ArchivesError> {
    let failed = |source| ArchivesError { place: path.display().to_string(), source };
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
    let mut reading = Reading::default();
    for namespace in names(&dir, ".").map_err(failed)? {
        reading.namespace(&dir, &namespace);
    }
    let mut images = reading.images;
    name_records(&mut images);
    Ok(Source {
        owner: OWNER.to_owned(),
        images,
        others: Vec::new(),
        previous: Previous::None,
        refused: reading.refused,
        links: None,
        copies: Some("they come from archives"),
    })
}

/// Lists a directory; sorted, so that every run meets archives in the same order.
fn names(dir: &Dir, below: &str) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in dir.read_dir(below)? {
        let name = entry?.file_name();
        // Names that are no UTF-8 end with `.tar` or not like any other; the message shows them as well as it can.
        let name = name.to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}

#[derive(Default)]
struct Reading {
    images: Vec<Wanted>,
    refused: Vec<Refused>,
    /// What each name stands for in a namespace.
    claimed: BTreeMap<(String, Reference), Digest>,
}

impl Reading {
    fn namespace(&mut self, dir: &Dir, namespace: &str) {
        let listed = namespace
            .parse::<Namespace>()
            .map_err(|error| error.to_string())
            .and_then(|_| names(dir, namespace).map_err(|error| format!("`{namespace}`: {error}")));
        match listed {
            Err(error) => self.refuse(namespace, None, error),
            Ok(files) => {
                for file in files {
                    let place = format!("{namespace}/{file}");
                    if let Err(error) = self.archive(dir, namespace, &place) {
                        self.refuse(namespace, None, place_error(&place, &error));
                    }
                }
            }
        }
    }

    fn archive(&mut self, dir: &Dir, namespace: &str, place: &str) -> Result<(), ArchiveProblem> {
        if !place.ends_with(".tar") {
            return Err(ArchiveProblem::Ending);
        }
        let archive = Archive::open(open_regular(dir, place)?, place)?;
        let mut by_target: BTreeMap<Digest, (BlobRef, Vec<Reference>)> = BTreeMap::new();
        for entry in archive.index() {
            let (blob, name) = named(entry)?;
            by_target.entry(blob.digest).or_insert((blob, Vec::new())).1.push(name);
        }
        if by_target.is_empty() {
            return Err(ArchiveProblem::NoImage);
        }
        let store = Rc::new(Store::Archive(archive));
        // All or none of an archive's images: half an archive is a damaged one.
        let mut images = Vec::new();
        for (_, (target, names)) in by_target {
            images.push(image(&store, namespace, target, names)?);
        }
        images.into_iter().for_each(|image| self.add(image, place));
        Ok(())
    }

    fn add(&mut self, mut image: Wanted, place: &str) {
        for name in set(std::mem::take(&mut image.names)) {
            let key = (image.namespace.clone(), name.clone());
            match self.claimed.get(&key).copied() {
                Some(digest) if digest != image.target.digest => {
                    let found = image.target.digest;
                    let error =
                        format!("`{place}`: `{name}` is {digest} in an earlier archive, here {found}");
                    self.refuse(&image.namespace, Some(name.to_string()), error);
                }
                Some(_) => {}
                None => {
                    self.claimed.insert(key, image.target.digest);
                    image.names.push(name);
                }
            }
        }
        if !image.names.is_empty() {
            self.images.push(image);
        }
    }

    fn refuse(&mut self, namespace: &str, name: Option<String>, error: String) {
        self.refused.push(Refused { name, namespace: namespace.to_owned(), error });
    }
}

/// Puts the archive's name before an error that does not begin with it.
fn place_error(place: &str, error: &ArchiveProblem) -> String {
    let text = chain(error);
    if text.contains(place) { text } else { format!("`{place}`: {text}") }
}

/// Opens a file by its path from the preseed directory, which links in it may use but not leave.
fn open_regular(dir: &Dir, file: &str) -> Result<File, ArchiveProblem> {
    // Asked first: opening a pipe would wait for somebody to write to it.
    let kind = dir.metadata(file).map_err(ArchiveProblem::Open)?;
    if kind.is_dir() {
        return Err(ArchiveProblem::Kind("a directory"));
    }
    if !kind.is_file() {
        return Err(ArchiveProblem::Kind("a special file"));
    }
    if kind.len() == 0 {
        return Err(ArchiveProblem::Empty);
    }
    dir.open(file).map_err(ArchiveProblem::Open)
}

fn named(entry: &IndexEntry) -> Result<(BlobRef, Reference), ArchiveProblem> {
    let name = entry.name().ok_or(ArchiveProblem::NoName(entry.blob.digest))?;
    Ok((entry.blob.clone(), name.parse().map_err(ArchiveProblem::Name)?))
}

fn image(
    store: &Rc<Store>,
    namespace: &str,
    target: BlobRef,
    names: Vec<Reference>,
) -> Result<Wanted, ArchiveProblem> {
    let mut blobs = ContentRecords::default();
    let mut of_image = None;
    match store.document(&target)? {
        Document::Manifest { config, layers } => {
            of_image = Some(config.digest);
            add_manifest(&mut blobs, &target, &config, layers);
        }
        Document::Index(manifests) => {
            for blob in &manifests {
                match store.document(blob)? {
                    Document::Manifest { config, layers } => add_manifest(&mut blobs, blob, &config, layers),
                    Document::Index(_) => return Err(ArchiveProblem::Nested(target.digest)),
                }
            }
            blobs.index(&target, &manifests);
        }
    }
    let blobs = blobs.finish();
    // An archive that lacks a blob is refused before anything of it is copied.
    for blob in &blobs {
        store.open(&blob.digest, blob.size)?;
    }
    let (namespace, store) = (namespace.to_owned(), Rc::clone(store));
    Ok(Wanted {
        owner: OWNER.into(),
        names,
        // Known when it is known which names earlier archives have.
        records: Vec::new(),
        namespace,
        class: Class::Critical,
        pin: true,
        target,
        config: of_image,
        blobs,
        layers: LayerBlobs::All,
        absent: Vec::new(),
        chains: Vec::new(),
        links: None,
        wrong: Vec::new(),
        store,
    })
}

fn add_manifest(blobs: &mut ContentRecords, manifest: &BlobRef, config: &BlobRef, layers: Vec<BlobRef>) {
    let layers: Vec<_> = layers.into_iter().map(|layer| (layer, None)).collect();
    blobs.manifest(manifest, config, &layers);
}
