//! Where layer blobs are: files with known digests, and image layouts.

use std::collections::BTreeMap;

use ociseed_spec::Digest;
use ociseed_spec::metadata::LayerMetadata;
use ociseed_spec::params::BlobSource;
use ociseed_store::{BlobFile, Layout};
use ociseed_tree::{Content, HostFile};

use crate::failure::Failure;
use crate::inputs::{Inputs, Place};
use crate::step;

/// Finds blobs by digest.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    layers: BTreeMap<Digest, Place>,
    layouts: Vec<Layout>,
}

impl Blobs {
    /// Collects what a parameter file names.
    pub(crate) fn of_params(sources: &[BlobSource], inputs: &Inputs) -> Result<Self, Failure> {
        let mut blobs = Self::default();
        for (index, source) in sources.iter().enumerate() {
            let place = format!("`blobs[{index}]`");
            match (&source.layer, &source.metadata, &source.layout) {
                (Some(layer), Some(metadata), None) => {
                    let metadata = step::read_metadata(inputs, metadata, &place)?;
                    blobs.add_layer(&metadata, inputs.find(layer, &place)?);
                }
                (None, None, Some(layout)) => {
                    blobs.add_layout(step::open_layout(&inputs.find(layout, &place)?)?)
                }
                _ => {
                    let message = format!("{place}: expected `layer` with `metadata`, or `layout` alone");
                    return Err(Failure::usage(message));
                }
            }
        }
        Ok(blobs)
    }

    /// Adds a layer blob's file.
    pub(crate) fn add_layer(&mut self, metadata: &LayerMetadata, blob: Place) {
        self.layers.insert(metadata.digest, blob);
    }

    /// Adds all blobs of a layout.
    pub(crate) fn add_layout(&mut self, layout: Layout) {
        self.layouts.push(layout);
    }

    /// Finds a blob; its digest is checked when it is copied.
    pub(crate) fn content(&self, digest: &Digest, size: u64) -> Result<Content, Failure> {
        if let Some(place) = self.layers.get(digest) {
            let file = HostFile::new(place.dir.clone(), &place.path);
            return Ok(Content::file(file, size, Some(*digest)));
        }
        let found = self.layouts.iter().find_map(|layout| layout.find_blob(digest).ok());
        let Some(BlobFile { dir, path, .. }) = found else {
            let hint = "name its layer or layout in `blobs`".to_owned();
            return Err(Failure::new(format!("layer blob {digest} is in none of the inputs")).hint(hint));
        };
        Ok(Content::file(HostFile::new(dir, path), size, Some(*digest)))
    }
}
