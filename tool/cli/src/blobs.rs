//! Where blobs are: layer files with known digests, and the layouts and archives that bases come from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use ociseed_image::{Carried, Named};
use ociseed_seed::carry;
use ociseed_spec::Digest;
use ociseed_spec::file::Base;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::params::BlobSource;
use ociseed_store::{Archive, BlobFile, Layout, Place as BlobPlace, Source};
use ociseed_tree::{Content, Extent, FileRange, HostFile};

use crate::failure::{Failure, chain};
use crate::inputs::{Inputs, Place};
use crate::step;

/// Finds blobs by digest.
#[derive(Default)]
pub(crate) struct Blobs {
    layers: BTreeMap<Digest, Place>,
    sources: Vec<(String, Box<dyn Source>)>,
}

/// Layouts and archives among those of [`Blobs`].
pub(crate) type SourceSet = BTreeSet<usize>;

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
                    blobs.open(Base::Layout(layout), inputs, &place)?;
                }
                (None, None, None, Some(archive)) => {
                    blobs.open(Base::Archive(archive), inputs, &place)?;
                }
                _ => {
                    let expected = "`layer` with `metadata`, or `layout` alone, or `archive` alone";
                    return Err(Failure::usage(format!("{place}: expected {expected}")));
                }
            }
        }
        Ok(blobs)
    }

    /// Adds a layer blob's file.
    pub(crate) fn add_layer(&mut self, metadata: &LayerMetadata, blob: Place) {
        self.layers.insert(metadata.digest, blob);
    }

    /// Opens a layout or archive, once however often it is asked for; `wanted_by` is who asks, for messages.
    ///
    /// Another image is in no layout, so it is none.
    pub(crate) fn open(
        &mut self,
        base: Base<'_>,
        inputs: &Inputs,
        wanted_by: &str,
    ) -> Result<Option<usize>, Failure> {
        let (key, word) = match base {
            Base::Layout(word) => (format!("layout {word}"), word),
            Base::Archive(word) => (format!("archive {word}"), word),
            Base::Image(_) => return Ok(None),
        };
        if let Some(known) = self.sources.iter().position(|(known, _)| *known == key) {
            return Ok(Some(known));
        }
        let place = inputs.find(word, wanted_by)?;
        let source: Box<dyn Source> = match base {
            Base::Layout(_) => Box::new(
                Layout::open(place.open_dir()?, place.shown.clone())
                    .map_err(|error| Failure::new(chain(&error)))?,
            ),
            _ => Box::new(open_archive(&place)?),
        };
        self.sources.push((key, source));
        Ok(Some(self.sources.len() - 1))
    }

    /// Returns a layout or archive that was opened.
    pub(crate) fn source(&self, number: usize) -> &dyn Source {
        &*self.sources[number].1
    }

    /// Returns all that were opened.
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
        let sources: Vec<&dyn Source> = from.iter().map(|number| self.source(*number)).collect();
        carry(&sources, named, referrers).map_err(|error| Failure::new(chain(&error)))
    }

    /// Finds a blob; its digest is checked when it is copied.
    pub(crate) fn content(&self, digest: &Digest, size: u64) -> Result<Content, Failure> {
        if let Some(place) = self.layers.get(digest) {
            let file = HostFile::new(place.dir.clone(), &place.path);
            return Ok(Content::file(file, size, Some(*digest)));
        }
        match self.sources.iter().find_map(|(_, source)| source.find(digest)) {
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
                let hint = "name its layer, layout or archive in `blobs`".to_owned();
                Err(Failure::new(format!("blob {digest} is in none of the inputs")).hint(hint))
            }
        }
    }
}

fn open_archive(place: &Place) -> Result<Archive, Failure> {
    let file = place.dir.open(&place.path).map_err(|error| place.failure(&error))?;
    Archive::open(file, place.shown.clone()).map_err(|error| Failure::new(chain(&error)))
}
