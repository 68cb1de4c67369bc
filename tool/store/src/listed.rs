//! An OCI image layout of which each file is given, as build systems pass the files of a directory.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::Dir;
use ociseed_spec::Digest;

use crate::index::{IndexEntry, check_layout_file, parse_index};
use crate::layout::{BlobFile, LayoutError, open_blob, read_limited};
use crate::verified::{BlobError, VerifiedReader, read_all};
use crate::{Place, Source};

/// A layout that was opened and whose index was read.
#[derive(Debug)]
pub struct ListedLayout {
    place: String,
    index: Vec<IndexEntry>,
    index_text: Vec<u8>,
    blobs: BTreeMap<Digest, BlobFile>,
}

impl ListedLayout {
    /// Opens a layout; `place` names it in messages.
    ///
    /// `files` has, by the path in the layout, the directory that each file is beneath, and its path there, where links are
    /// followed. Files that are no part of a layout are passed over.
    ///
    /// # Errors
    /// `oci-layout` or `index.json` is missing or not valid, or a blob is not there.
    pub fn open(
        files: &BTreeMap<PathBuf, (Arc<Dir>, PathBuf)>,
        place: impl Into<String>,
    ) -> Result<Self, LayoutError> {
        let place = place.into();
        let read = |name: &'static str| {
            let file = files.get(Path::new(name));
            let text =
                file.map_or(Err(io::ErrorKind::NotFound.into()), |(dir, path)| read_limited(dir, path));
            text.map_err(|source| LayoutError::Read { place: place.clone(), file: name.to_owned(), source })
        };
        let bad = |source| LayoutError::Index { place: place.clone(), source };
        check_layout_file(&read("oci-layout")?).map_err(bad)?;
        let index_text = read("index.json")?;
        let index = parse_index(&index_text).map_err(bad)?;
        let mut blobs = BTreeMap::new();
        for (at, (dir, path)) in files {
            let hex = at.strip_prefix("blobs/sha256").ok().and_then(Path::to_str);
            let Some(digest) = hex.and_then(|hex| Digest::from_hex(hex).ok()) else { continue };
            let size = dir.metadata(path).map_err(|source| {
                let file = at.display().to_string();
                LayoutError::Read { place: place.clone(), file, source }
            })?;
            blobs.insert(digest, BlobFile { dir: Arc::clone(dir), path: path.clone(), size: size.len() });
        }
        Ok(Self { place, index, index_text, blobs })
    }
}

impl Source for ListedLayout {
    fn place(&self) -> &str {
        &self.place
    }

    fn index_text(&self) -> &[u8] {
        &self.index_text
    }

    fn find(&self, digest: &Digest) -> Option<Place> {
        self.blobs.get(digest).cloned().map(Place::File)
    }

    fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    fn blobs(&self) -> io::Result<Vec<(Digest, u64)>> {
        Ok(self.blobs.iter().map(|(digest, blob)| (*digest, blob.size)).collect())
    }

    fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<Box<dyn Read + '_>>, BlobError> {
        let Some(BlobFile { dir, path, .. }) = self.blobs.get(digest) else {
            return Err(BlobError::Missing { digest: *digest, place: self.place.clone() });
        };
        Ok(open_blob(dir, path, digest, size, &self.place)?.boxed())
    }

    fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        read_all(Source::open_blob(self, digest, size)?, limit)
    }
}
