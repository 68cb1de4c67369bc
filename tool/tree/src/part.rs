//! A run of bytes of an open file, read from its start to its end.

use std::io::{self, Read};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};

/// Reads a part of a file without moving the file's own position, which others may share.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) file: Arc<File>,
    /// Where the next byte is.
    pub(crate) at: u64,
    /// Where the part ends; the file may end before.
    pub(crate) end: u64,
}

impl Part {
    /// Takes `size` bytes from `at` on.
    pub(crate) fn new(file: Arc<File>, at: u64, size: u64) -> Self {
        Self { file, at, end: at.saturating_add(size) }
    }

    /// Takes all of a file.
    pub(crate) fn whole(file: Arc<File>) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self::new(file, 0, size))
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// Passes over bytes, and returns how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> u64 {
        let count = count.min(self.left());
        self.at += count;
        count
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left()).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Fills a buffer as far as there are bytes.
pub(crate) fn fill(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
