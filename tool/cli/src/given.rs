//! Links to blobs where they were given, in place of copies.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;
use ociseed_spec::params::BlobSource;
use ociseed_spec::{Digest, shown_path};
use ociseed_tree::{Content, Extent};

use crate::failure::Failure;
use crate::inputs::Inputs;
use crate::step;

/// Where the files of blobs were given, by absolute paths.
#[derive(Debug, Default)]
pub(crate) struct Given {
    layers: BTreeMap<Digest, PathBuf>,
    layouts: Vec<PathBuf>,
}

impl Given {
    /// Collects what a parameter file names; what is in archives is no file.
    pub(crate) fn of_params(sources: &[BlobSource], inputs: &Inputs) -> Result<Self, Failure> {
        let mut given = Self::default();
        for (index, source) in sources.iter().enumerate() {
            let place = format!("`blobs[{index}]`");
            if let (Some(layer), Some(metadata)) = (&source.layer, &source.metadata) {
                let metadata = step::read_metadata(inputs, metadata, &place)?;
                given.layers.insert(metadata.digest, absolute(inputs, layer, &place)?);
            } else if let Some(layout) = &source.layout {
                given.layouts.push(absolute(inputs, layout, &place)?);
            }
        }
        Ok(given)
    }

    /// Puts a link in the place of a blob that is a file which was given, and tells whether it did.
    ///
    /// What it leads to is read before: only what is right is linked.
    pub(crate) fn link(&self, content: &Content, dir: &Dir, path: &Path) -> io::Result<bool> {
        let [Extent::File(range)] = content.extents() else { return Ok(false) };
        let Some(target) = range.digest.and_then(|digest| self.file(&digest)) else { return Ok(false) };
        // Who copies it then says what is wrong with it.
        if content.copy_to(&mut io::sink()).is_err() {
            return Ok(false);
        }
        dir.symlink_contents(target, path).map(|()| true)
    }

    fn file(&self, digest: &Digest) -> Option<PathBuf> {
        let hex = digest.hex();
        let in_layouts = || {
            let files = self.layouts.iter().map(|layout| layout.join("blobs/sha256").join(&hex));
            // Of a layout of links, what they lead to.
            files.into_iter().find_map(|file| file.canonicalize().ok())
        };
        self.layers.get(digest).cloned().or_else(in_layouts)
    }
}

fn absolute(inputs: &Inputs, word: &str, place: &str) -> Result<PathBuf, Failure> {
    match inputs.given(word) {
        Some(path) if path.is_absolute() => Ok(path.to_owned()),
        path => {
            let shown = path.map_or_else(|| word.to_owned(), shown_path);
            let failure = Failure::usage(format!("{place}: `{shown}` is no absolute path"));
            Err(failure.hint("`--link-blobs` makes links that must lead there from anywhere".to_owned()))
        }
    }
}
