//! Bytes on their way, cut into pieces of one size.
//!
//! Files are read straight into the piece that is handed on, so that their
//! bytes are not copied on the way, and many small files are one piece.

use std::io::{self, Write};

use crate::ReadError;

/// Gets each piece, and gives memory for another one back, empty or not.
pub trait Take: FnMut(Vec<u8>) -> io::Result<Vec<u8>> {}

impl<F: FnMut(Vec<u8>) -> io::Result<Vec<u8>>> Take for F {}

/// Bytes that can be brought piece by piece: files are read when they are.
pub trait Bytes: Sync {
    /// Adds all bytes to pieces.
    ///
    /// # Errors
    /// A file cannot be read or is not what it was, or the pieces cannot be handed on.
    fn add_to<F: Take>(&self, pieces: &mut Pieces<F>) -> Result<(), ReadError>;
}

/// Collects bytes and hands them on in pieces of one size; the last one has the rest.
pub struct Pieces<F> {
    piece: Vec<u8>,
    size: usize,
    take: F,
}

impl<F> std::fmt::Debug for Pieces<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pieces").field("size", &self.size).finish_non_exhaustive()
    }
}

impl<F: Take> Pieces<F> {
    /// Starts with no bytes.
    pub fn new(size: usize, take: F) -> Self {
        assert!(size > 0, "a piece has room");
        Self { piece: Vec::with_capacity(size), size, take }
    }

    /// Hands on what is left.
    ///
    /// # Errors
    /// Whatever takes the pieces says.
    pub fn finish(mut self) -> io::Result<()> {
        if self.piece.is_empty() { Ok(()) } else { (self.take)(self.piece).map(drop) }
    }

    /// Returns how many bytes can be added now, at least one.
    pub(crate) fn room(&mut self) -> io::Result<usize> {
        if self.piece.len() == self.size {
            self.piece = (self.take)(std::mem::take(&mut self.piece))?;
            self.piece.clear();
        }
        Ok(self.size - self.piece.len())
    }

    /// Lets `read` add up to `most` bytes, for which there must be room, and returns those that it added.
    pub(crate) fn fill(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<&[u8]> {
        let start = self.piece.len();
        assert!(most <= self.size - start, "there is room");
        self.piece.resize(start + most, 0);
        let result = read(&mut self.piece[start..]);
        self.piece.truncate(start + result.as_ref().copied().unwrap_or_default());
        result.map(|_| &self.piece[start..])
    }

    /// Adds so many zeros.
    pub(crate) fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(self.room()?);
            self.piece.resize(self.piece.len() + now, 0);
            count -= now as u64;
        }
        Ok(())
    }
}

impl<F: Take> Write for Pieces<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let now = bytes.len().min(self.room()?);
        self.piece.extend_from_slice(&bytes[..now]);
        Ok(now)
    }

    /// Does nothing: a piece that is not full waits.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_full_but_the_last() {
        let mut found = Vec::new();
        let mut pieces = Pieces::new(4, |piece| {
            found.push(piece);
            Ok(b"left over".to_vec())
        });
        pieces.write_all(b"abcdef").expect("in memory");
        pieces.zeros(5).expect("in memory");
        let room = pieces.room().expect("in memory");
        let read = pieces.fill(room, |bytes| {
            bytes[0] = b'g';
            Ok(1)
        });
        assert_eq!((room, read.expect("read")), (1, &b"g"[..]));
        pieces.write_all(b"h").expect("in memory");
        pieces.finish().expect("in memory");
        assert_eq!(found, [&b"abcd"[..], b"ef\0\0", b"\0\0\0g", b"h"]);
    }

    #[test]
    fn what_is_not_read_is_not_there() {
        let mut found = Vec::new();
        let mut pieces = Pieces::new(4, |piece| {
            found.push(piece);
            Ok(Vec::new())
        });
        pieces.write_all(b"a").expect("in memory");
        pieces.fill(3, |_| Err(io::ErrorKind::Other.into())).expect_err("it fails");
        pieces.finish().expect("in memory");
        assert_eq!(found, [b"a"]);
    }
}
