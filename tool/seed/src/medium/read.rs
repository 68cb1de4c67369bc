//! The image layout of a medium that was read into a tree.

use std::io::{self, Read};

use ociseed_spec::{Digest, lock};
use ociseed_store::{BlobError, IndexEntry, Place, Source, VerifiedReader, parse_index, read_all};
use ociseed_tree::{Content, Extent, Node, Tree};

use super::path;

/// The most bytes of a lock or an index: those of a hundred thousand images.
const MAX_DOCUMENT: u64 = 64 << 20;

/// A seed in medium form.
#[derive(Debug)]
pub struct Medium {
    tree: Tree,
    place: String,
    lock: Vec<u8>,
    index_text: Vec<u8>,
    index: Vec<IndexEntry>,
}

impl Medium {
    /// Finds a seed in a tree; `place` names it in messages. Nothing where there is none.
    ///
    /// # Errors
    /// Its lock or index cannot be read.
    pub fn of(tree: Tree, place: String) -> io::Result<Result<Self, Tree>> {
        let (Some(lock), Some(index)) = (file(&tree, lock::FILE_NAME), file(&tree, "index.json")) else {
            return Ok(Err(tree));
        };
        let (lock, index_text) = (read(lock)?, read(index)?);
        let index = parse_index(&index_text).map_err(io::Error::other)?;
        Ok(Ok(Self { tree, place, lock, index_text, index }))
    }

    /// Returns all of the medium.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the exact bytes of the lock.
    pub fn lock(&self) -> &[u8] {
        &self.lock
    }

    fn blob(&self, digest: &Digest) -> Option<&Content> {
        file(&self.tree, &format!("blobs/sha256/{}", digest.hex()))
    }
}

fn file<'a>(tree: &'a Tree, name: &str) -> Option<&'a Content> {
    match &tree.get(&path(name))?.node {
        Node::File(content) => Some(content),
        _ => None,
    }
}

fn read(content: &Content) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.reader().take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_DOCUMENT {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {MAX_DOCUMENT} bytes"))),
        false => Ok(bytes),
    }
}

impl Source for Medium {
    fn place(&self) -> &str {
        &self.place
    }

    fn index_text(&self) -> &[u8] {
        &self.index_text
    }

    /// Finds a blob that lies in one piece, as media are written here.
    fn find(&self, digest: &Digest) -> Option<Place> {
        match self.blob(digest)?.extents() {
            [Extent::File(range)] => {
                let (shown, file) = (self.place.clone(), range.file.open().ok()?);
                Some(Place::Range { file, shown, offset: range.offset, size: range.size })
            }
            [Extent::Bytes(bytes)] => Some(Place::Bytes(bytes.clone())),
            _ => None,
        }
    }

    fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_some()
    }

    fn index(&self) -> &[IndexEntry] {
        &self.index
    }

    fn blobs(&self) -> io::Result<Vec<(Digest, u64)>> {
        let names = self.tree.within(&path("blobs/sha256")).unwrap_or_default();
        let blob = |(path, entry): (&ociseed_spec::TreePath, &ociseed_tree::Entry)| match &entry.node {
            Node::File(content) => {
                let digest = Digest::from_hex(str::from_utf8(path.as_bytes()).ok()?).ok()?;
                Some((digest, content.size()))
            }
            _ => None,
        };
        Ok(names.iter().filter_map(blob).collect())
    }

    fn open_blob(&self, digest: &Digest, size: u64) -> Result<VerifiedReader<Box<dyn Read + '_>>, BlobError> {
        let place = || self.place.clone();
        let content =
            self.blob(digest).ok_or_else(|| BlobError::Missing { digest: *digest, place: place() })?;
        let found = content.size();
        if found != size {
            return Err(BlobError::Size { digest: *digest, place: place(), expected: size, found });
        }
        Ok(VerifiedReader::new(content.reader(), *digest, size, place()).boxed())
    }

    fn read_blob(&self, digest: &Digest, size: u64, limit: u64) -> Result<Vec<u8>, BlobError> {
        read_all(self.open_blob(digest, size)?, limit)
    }
}
