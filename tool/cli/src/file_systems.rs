//! The images in something that the command line names, and their file systems.

use std::io::{Read, Seek as _};
use std::path::Path;
use std::sync::Arc;

use ociseed_image::Image;
use ociseed_spec::Packing;
use ociseed_spec::lock::BlobRef;
use ociseed_store::Source;
use ociseed_tree::{ArchiveError, Tree, flatten, spool, tar};

use crate::artifact::Artifact;
use crate::failure::{Failure, chain};
use crate::scratch::Scratch;
use ociseed_spec::shown_path;

/// An image that was found, and where its layers are.
pub(crate) struct FoundImage<'a> {
    /// The archive that holds it, in a preseed directory.
    pub(crate) archive: Option<&'a str>,
    /// Its names, sorted; none is known of a record.
    pub(crate) names: Vec<String>,
    pub(crate) image: Image,
    /// Where its layers are; a record has none.
    source: Option<&'a dyn Source>,
}

impl FoundImage<'_> {
    /// Returns what tells the image from others: each of its names, else its digest, with archive and platform.
    pub(crate) fn labels(&self) -> Vec<String> {
        let archive = self.archive.map(|archive| format!("{archive}: ")).unwrap_or_default();
        let label = |name: &str| format!("{archive}{name} ({})", self.image.platform());
        match &self.names[..] {
            [] => vec![label(&self.image.manifest().digest.to_string())],
            names => names.iter().map(|name| label(name)).collect(),
        }
    }

    /// Reads what a container of the image sees: all layers, one over the other.
    pub(crate) fn file_system(&self, scratch: &Scratch) -> Option<Result<Tree, Failure>> {
        let source = self.source?;
        let layers = self.image.layers().iter().map(|layer| of_blob(source, &layer.blob, scratch));
        Some(layers.collect::<Result<Vec<Tree>, Failure>>().map(flatten))
    }

    /// Reads the files of one layer.
    pub(crate) fn layer(&self, blob: &BlobRef, scratch: &Scratch) -> Option<Result<Tree, Failure>> {
        Some(of_blob(self.source?, blob, scratch))
    }
}

/// Finds the images of whatever holds some; nothing of what never does.
pub(crate) fn images(artifact: &Artifact) -> Result<Option<Vec<FoundImage<'_>>>, Failure> {
    let mut found = match artifact {
        Artifact::Seed(layout, _) | Artifact::Layout(layout) => of_source(&**layout, None)?,
        Artifact::Archive(archive) => of_source(archive, None)?,
        Artifact::Medium(medium) => of_source(&**medium, None)?,
        Artifact::Preseed(archives) => {
            let images = archives.iter().map(|(name, archive)| of_source(archive, Some(name)));
            images.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()
        }
        Artifact::Record(image) => {
            vec![FoundImage { archive: None, names: Vec::new(), image: (**image).clone(), source: None }]
        }
        Artifact::Index(index) => {
            let images = index.images().iter().cloned();
            let found = |image| FoundImage { archive: None, names: Vec::new(), image, source: None };
            images.map(found).collect()
        }
        Artifact::Output(..)
        | Artifact::Lock(..)
        | Artifact::Metadata(_)
        | Artifact::Tar(_)
        | Artifact::Disk(_)
        | Artifact::DiskMetadata(_)
        | Artifact::Bolt(_) => return Ok(None),
    };
    found.sort_by(|one, two| (one.archive, &one.names).cmp(&(two.archive, &two.names)));
    Ok(Some(found))
}

/// Reads the images of a layout or archive, once for all names of one.
fn of_source<'a>(source: &'a dyn Source, archive: Option<&'a str>) -> Result<Vec<FoundImage<'a>>, Failure> {
    let images = ociseed_seed::read_images(source).map_err(|error| Failure::new(chain(&error)))?;
    let found =
        images.into_iter().map(|(names, image)| FoundImage { archive, names, image, source: Some(source) });
    Ok(found.collect())
}

/// Reads the files of a layer blob, checking its digest.
fn of_blob(source: &dyn Source, blob: &BlobRef, scratch: &Scratch) -> Result<Tree, Failure> {
    let place = format!("layer {}", blob.digest);
    let reader = source.open_blob(&blob.digest, blob.size);
    of_reader(reader.map_err(|error| Failure::because(&place, &error))?, blob.size, &place, scratch)
}

/// Reads the files of a layer of `size` bytes; whether it is the right one is for the reader to check.
pub(crate) fn of_reader(
    reader: impl Read,
    size: u64,
    place: &str,
    scratch: &Scratch,
) -> Result<Tree, Failure> {
    // Into a scratch file, which a full disk has no room for.
    scratch.archive(reader, size, Path::new(place)).map_err(|error| match error {
        // Says no more than the place does.
        ArchiveError::Spool { source, .. } => Failure::writing(place, &source),
        error => Failure::writing(place, &error),
    })
}

/// Reads the files of what is a file system by itself: a layer or a disk.
pub(crate) fn own(artifact: &Artifact, path: &Path, scratch: &Scratch) -> Result<Option<Tree>, Failure> {
    Ok(match artifact {
        Artifact::Tar(file) => Some(of_file(file, path, scratch)?),
        Artifact::Disk(tree) => Some(tree.clone()),
        Artifact::Medium(medium) => Some(medium.tree().clone()),
        _ => None,
    })
}

/// Reads the files of a tar, compressed or not; one of a disk may have the xattrs of overlayfs.
fn of_file(file: &std::fs::File, path: &Path, scratch: &Scratch) -> Result<Tree, Failure> {
    let shown = shown_path(path);
    let fail = |error: &(dyn std::error::Error + 'static)| Failure::because(format_args!("`{shown}`"), error);
    let mut file = file.try_clone().map_err(|error| fail(&error))?;
    let mut head = Vec::new();
    let read = file.rewind().and_then(|()| (&mut file).take(Packing::HEAD as u64).read_to_end(&mut head));
    read.and_then(|_| file.rewind()).map_err(|error| fail(&error))?;
    let size = file.metadata().map_err(|error| fail(&error))?.len();
    let plain = match Packing::of(&head) {
        Packing::Plain => Arc::new(cap_std::fs::File::from_std(file)),
        _ => spool(file, size, &mut || scratch.file()).map_err(|error| fail(&error))?,
    };
    tar::read_file_system(plain, path.into()).map_err(|error| fail(&error))
}
