//! The files of a tar that lies in a file, found by one scan of its headers and read in place.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use cap_std::fs::{File, FileExt as _};

/// The most that all headers of one entry have: no program writes names and records of more.
const MAX_HEADERS: u64 = 4 << 20;

/// A run of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Where each file of a tar is; of two with one path the last counts, as with extraction.
#[derive(Debug, Default)]
pub(crate) struct Members(BTreeMap<Vec<u8>, Member>);

#[derive(Debug)]
enum Member {
    File(Range),
    /// What the link leads to, from the tar's root. Archives name a layer that many images share by links.
    #[cfg(feature = "builder")]
    Link(Vec<u8>),
}

impl Members {
    /// Scans a tar that lies in a range of a file.
    pub(crate) fn scan(file: &File, whole: Range) -> io::Result<Self> {
        let mut members = Self::default();
        let left = Cell::new(MAX_HEADERS);
        let mut archive = tar::Archive::new(Headers { at: At::new(file, whole), left: &left });
        for entry in archive.entries_with_seek()? {
            // tar-rs quotes what it cannot read, whatever bytes that is.
            let entry = entry.map_err(|error| match error.kind() {
                io::ErrorKind::Other => {
                    io::Error::new(io::ErrorKind::InvalidData, "a header of it is none of a tar")
                }
                _ => error,
            })?;
            left.set(MAX_HEADERS);
            let range = Range { offset: entry.raw_file_position(), size: entry.size() };
            // Seeking past the end of a file succeeds, so a cut entry must be seen here.
            if range.offset.checked_add(range.size).is_none_or(|end| end > whole.size) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let path = entry.path_bytes();
            let path = path.strip_prefix(b"./").unwrap_or(&path);
            if entry.header().entry_type().is_file() {
                let range = Range { offset: whole.offset + range.offset, size: range.size };
                members.0.insert(path.to_vec(), Member::File(range));
            }
            #[cfg(feature = "builder")]
            if let Some(target) = link_target(&entry, path) {
                members.0.insert(path.to_vec(), Member::Link(target));
            }
        }
        Ok(members)
    }

    /// Lists the files, also under the names of links to them.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&[u8], Range)> {
        self.0.keys().filter_map(|path| Some((path.as_slice(), self.find(path)?)))
    }

    /// Finds a file.
    #[cfg(not(feature = "builder"))]
    pub(crate) fn find(&self, path: &[u8]) -> Option<Range> {
        let Member::File(range) = self.0.get(path)?;
        Some(*range)
    }

    /// Finds a file, through links.
    #[cfg(feature = "builder")]
    pub(crate) fn find(&self, path: &[u8]) -> Option<Range> {
        /// As many as Linux follows.
        const MAX_LINKS: usize = 40;
        let mut path = path;
        for _ in 0..MAX_LINKS {
            match self.0.get(path)? {
                Member::File(range) => return Some(*range),
                Member::Link(target) => path = target,
            }
        }
        None
    }
}

/// Returns what a link leads to, from the tar's root.
#[cfg(feature = "builder")]
fn link_target<R: Read>(entry: &tar::Entry<'_, R>, path: &[u8]) -> Option<Vec<u8>> {
    let kind = entry.header().entry_type();
    let target = entry.link_name_bytes().filter(|_| kind.is_symlink() || kind.is_hard_link())?;
    let mut parts: Vec<&[u8]> = Vec::new();
    if kind.is_symlink() && !target.starts_with(b"/") {
        parts.extend(path.split(|byte| *byte == b'/'));
        parts.pop();
    }
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

impl Range {
    /// Reads a small file into memory.
    pub(crate) fn read(self, file: &File, limit: u64) -> io::Result<Vec<u8>> {
        if self.size > limit {
            let error = format!("{} bytes where at most {limit} are read into memory", self.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        let mut bytes = Vec::new();
        At::new(file, self).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Reads a range of a file without moving a position that others share.
#[derive(Debug)]
pub(crate) struct At<'a> {
    file: &'a File,
    range: Range,
    /// Within the range.
    position: u64,
}

impl<'a> At<'a> {
    pub(crate) fn new(file: &'a File, range: Range) -> Self {
        Self { file, range, position: 0 }
    }
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.size.saturating_sub(self.position);
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..want], self.range.offset + self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => self.range.size.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// What is read of a tar for its headers: data are passed over, but a PAX header or a long name that says that it
/// has gigabytes would come into memory.
struct Headers<'a> {
    at: At<'a>,
    /// How much may be read before the next entry.
    left: &'a Cell<u64>,
}

impl Read for Headers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.at.read(buffer)?;
        let left = self.left.get().checked_sub(count as u64).ok_or_else(|| {
            let error = format!("headers of one entry have more than {MAX_HEADERS} bytes");
            io::Error::new(io::ErrorKind::InvalidData, error)
        })?;
        self.left.set(left);
        Ok(count)
    }
}

impl Seek for Headers<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at.seek(to)
    }
}
