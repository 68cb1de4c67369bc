//! Where a file's bytes are: extents in memory or in files of the host.
//!
//! Nothing is read when content is described, only when it is copied, and
//! then in pieces, so a tree of any size costs memory only for its names.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::fs::{Dir, File, FileExt as _};
use ociseed_spec::{Digest, Hasher, Stamp, shown_path};

use crate::pieces::{Bytes, Pieces, Take};

/// Bytes are copied in pieces of this size: large enough that calls do not count, small enough for any cache.
const PIECE: usize = 256 * 1024;

/// A file of the host.
#[derive(Clone)]
pub struct HostFile(Handle);

#[derive(Clone)]
enum Handle {
    /// By an open directory and a path below it: opened for each read, so that a tree of any size holds few files open.
    Path(Arc<Dir>, Box<Path>, Option<Box<Stamp>>),
    /// Held open: an archive whose members are read in any order, or a file that has no name any more.
    Open(Arc<File>, Arc<Path>),
}

impl HostFile {
    /// Names a file; nothing is opened.
    pub fn new(dir: Arc<Dir>, path: impl Into<PathBuf>) -> Self {
        Self(Handle::Path(dir, path.into().into(), None))
    }

    /// Remembers what the file system said of the file when it was found.
    pub fn stamped(self, stamp: Stamp) -> Self {
        match self.0 {
            Handle::Path(dir, path, _) => Self(Handle::Path(dir, path, Some(Box::new(stamp)))),
            open @ Handle::Open(..) => Self(open),
        }
    }

    /// Returns what the file system said of the file when it was found, where that was kept.
    pub fn stamp(&self) -> Option<&Stamp> {
        match &self.0 {
            Handle::Path(_, _, stamp) => stamp.as_deref(),
            Handle::Open(..) => None,
        }
    }

    /// Takes an open file; `shown` names it in messages.
    pub fn opened(file: Arc<File>, shown: Arc<Path>) -> Self {
        Self(Handle::Open(file, shown))
    }

    /// Opens the file. Links that lead out of the directory are refused by the operating system's path rules of cap-std.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(&self) -> io::Result<Arc<File>> {
        match &self.0 {
            Handle::Path(dir, path, _) => dir.open(path).map(Arc::new),
            Handle::Open(file, _) => Ok(Arc::clone(file)),
        }
    }

    /// Returns the path below the directory, or how the open file is called in messages.
    pub fn path(&self) -> &Path {
        match &self.0 {
            Handle::Path(_, path, _) => path,
            Handle::Open(_, shown) => shown,
        }
    }
}

impl fmt::Debug for HostFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.path())
    }
}

/// A run of bytes of a host file.
#[derive(Debug, Clone)]
pub struct FileRange {
    /// The file.
    pub file: HostFile,
    /// Where the run starts.
    pub offset: u64,
    /// How many bytes it has.
    pub size: u64,
    /// Whether the file must end where the run ends.
    pub to_end: bool,
    /// The digest that the run must have, where one is known.
    pub digest: Option<Digest>,
}

/// A run of bytes of a file in a tree.
#[derive(Debug, Clone)]
pub enum Extent {
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// Bytes of a host file.
    File(FileRange),
    /// So many zeros: a hole of a sparse file.
    Zeros(u64),
}

impl Extent {
    /// Returns how many bytes the extent has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(range) => range.size,
            Self::Zeros(size) => *size,
        }
    }

    /// Returns a part of it.
    fn part(&self, range: Range<u64>) -> Self {
        let size = range.end - range.start;
        match self {
            _ if size == self.size() => self.clone(),
            Self::Bytes(bytes) => Self::Bytes(bytes[range.start as usize..range.end as usize].into()),
            Self::Zeros(_) => Self::Zeros(size),
            Self::File(whole) => Self::File(FileRange {
                file: whole.file.clone(),
                offset: whole.offset + range.start,
                size,
                to_end: whole.to_end && range.end == whole.size,
                digest: None,
            }),
        }
    }

    /// Adds the bytes to pieces, checking the size and, where known, the digest of a file.
    ///
    /// # Errors
    /// The file cannot be read, is not as long as it was when the tree was made, or has another digest;
    /// or the pieces cannot be handed on.
    pub fn add_to<F: Take>(&self, pieces: &mut Pieces<F>) -> Result<(), ReadError> {
        match self {
            Self::Bytes(bytes) => pieces.write_all(bytes).map_err(ReadError::Write),
            Self::File(range) => range.add_to(pieces),
            Self::Zeros(size) => pieces.zeros(*size).map_err(ReadError::Write),
        }
    }
}

/// Says why a file's bytes could not be brought where they should go.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read `{}`", shown_path(path))]
    Read {
        /// The file's path below the directory that it was found in.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file is longer or shorter than it was.
    #[error("`{}`: expected {expected} bytes, found {found}: it changed while it was read", shown_path(path))]
    Size {
        /// The file's path below the directory that it was found in.
        path: PathBuf,
        /// Its size when the tree was made.
        expected: u64,
        /// What could be read.
        found: String,
    },
    /// The file has other content than its name or a manifest says.
    #[error("`{}`: expected {expected}, found {found}", shown_path(path))]
    Digest {
        /// The file's path below the directory that it was found in.
        path: PathBuf,
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// The output cannot be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

impl FileRange {
    fn add_to<F: Take>(&self, pieces: &mut Pieces<F>) -> Result<(), ReadError> {
        let read = |source| ReadError::Read { path: self.file.path().into(), source };
        let file = self.file.open().map_err(read)?;
        let mut hasher = self.digest.map(|_| Hasher::new());
        let (mut position, mut ended) = (0, !self.to_end);
        while position < self.size {
            let left = self.size - position;
            let room = pieces.room().map_err(ReadError::Write)? as u64;
            // With one byte more than there should be, the same call tells whether the file ends there.
            let want = room.min(left + u64::from(self.to_end)) as usize;
            let found =
                pieces.fill(want, |bytes| file.read_at(bytes, self.offset + position)).map_err(read)?;
            let count = found.len() as u64;
            match count {
                0 => return Err(self.size_error(position.to_string())),
                _ if count > left => return Err(self.size_error("more".to_owned())),
                _ => {}
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(found);
            }
            position += count;
            ended |= count == left && count < want as u64;
        }
        if !ended && file.read_at(&mut [0], self.offset + position).map_err(read)? > 0 {
            return Err(self.size_error("more".to_owned()));
        }
        match (self.digest, hasher.map(Hasher::finish)) {
            (Some(expected), Some(found)) if expected != found => {
                Err(ReadError::Digest { path: self.file.path().into(), expected, found })
            }
            _ => Ok(()),
        }
    }

    fn size_error(&self, found: String) -> ReadError {
        ReadError::Size { path: self.file.path().into(), expected: self.size, found }
    }
}

/// The bytes of a file in a tree.
#[derive(Debug, Clone, Default)]
pub struct Content {
    extents: Vec<Extent>,
}

impl Content {
    /// Makes content of bytes in memory.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { extents: if bytes.is_empty() { Vec::new() } else { vec![Extent::Bytes(bytes)] } }
    }

    /// Makes content of a whole host file of `size` bytes, with `digest` where it is known.
    pub fn file(file: HostFile, size: u64, digest: Option<Digest>) -> Self {
        Self { extents: vec![Extent::File(FileRange { file, offset: 0, size, to_end: true, digest })] }
    }

    /// Returns the extents in order.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Returns how many bytes there are.
    pub fn size(&self) -> u64 {
        self.extents.iter().map(Extent::size).sum()
    }

    /// Names the file that has the bytes anew: by a path, it need not be held open.
    pub(crate) fn name_file(&mut self, file: &HostFile) {
        for extent in &mut self.extents {
            if let Extent::File(range) = extent {
                range.file = file.clone();
            }
        }
    }

    /// Tells whether a part of it has a digest that is checked when all of it is read.
    pub fn is_checked(&self) -> bool {
        let checked = |extent: &Extent| matches!(extent, Extent::File(range) if range.digest.is_some());
        self.extents.iter().any(checked)
    }

    /// Returns a part of it, in order; of an extent that is cut no digest is checked.
    pub fn part(&self, range: Range<u64>) -> impl Iterator<Item = Extent> {
        let mut end = 0;
        self.extents.iter().filter_map(move |extent| {
            let start = end;
            end += extent.size();
            let (from, to) = (range.start.max(start), range.end.min(end));
            (from < to).then(|| extent.part(from - start..to - start))
        })
    }

    /// Writes all bytes to `out`, checking the size and, where known, the digest of files.
    ///
    /// # Errors
    /// A file cannot be read, is not as long as it was when the tree was made, or has another digest;
    /// or `out` cannot be written.
    pub fn copy_to(&self, out: &mut (impl Write + ?Sized)) -> Result<(), ReadError> {
        // Small files need no large piece; one byte more shows that they end.
        let size = usize::try_from(self.size()).unwrap_or(PIECE).clamp(1, PIECE - 1) + 1;
        let mut pieces = Pieces::new(size, |piece: Vec<u8>| out.write_all(&piece).map(|()| piece));
        self.add_to(&mut pieces)?;
        pieces.finish().map_err(ReadError::Write)
    }
}

impl Bytes for Content {
    fn add_to<F: Take>(&self, pieces: &mut Pieces<F>) -> Result<(), ReadError> {
        self.extents.iter().try_for_each(|extent| extent.add_to(pieces))
    }
}

impl FromIterator<Extent> for Content {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        Self { extents: extents.into_iter().collect() }
    }
}
