//! A file's bytes as a stream, for those who take one.

use std::io::{self, Read};
use std::sync::Arc;

use cap_std::fs::{File, FileExt as _};

use crate::{Content, Extent};

/// Reads content from its beginning to its end; sizes and digests are for the caller to check.
#[derive(Debug)]
pub struct ContentReader<'a> {
    extents: std::slice::Iter<'a, Extent>,
    /// The extent that is being read, how far, and its file where it has one.
    at: Option<(&'a Extent, u64, Option<Arc<File>>)>,
}

impl Content {
    /// Returns a reader of the bytes.
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader { extents: self.extents().iter(), at: None }
    }
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some((extent, done, file)) = &mut self.at {
                let left = extent.size() - *done;
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let count = match (extent, file) {
                    (Extent::Bytes(bytes), _) => {
                        let from = *done as usize;
                        buffer[..want].copy_from_slice(&bytes[from..from + want]);
                        want
                    }
                    (Extent::File(range), Some(file)) => {
                        file.read_at(&mut buffer[..want], range.offset + *done)?
                    }
                    _ => {
                        buffer[..want].fill(0);
                        want
                    }
                };
                // A file that ends too early ends all: whoever checks the size will see it.
                if count > 0 || want > 0 {
                    *done += count as u64;
                    return Ok(count);
                }
            }
            let Some(next) = self.extents.next() else { return Ok(0) };
            let file = match next {
                Extent::File(range) => Some(range.file.open()?),
                _ => None,
            };
            self.at = Some((next, 0, file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileRange, HostFile};

    #[test]
    fn every_extent_is_read_in_order() {
        let scratch = rustix::fs::memfd_create("content", rustix::fs::MemfdFlags::CLOEXEC).expect("a file");
        let file = File::from_std(scratch.into());
        file.write_all_at(b"0123456789", 0).expect("in memory");
        let file = HostFile::opened(Arc::new(file), std::path::Path::new("f").into());
        let range = |offset, size| {
            Extent::File(FileRange { file: file.clone(), offset, size, to_end: false, digest: None })
        };
        let extents = [Extent::Bytes((*b"ab").into()), Extent::Zeros(2), range(3, 0), range(2, 3)];
        let content: Content = extents.into_iter().collect();
        let mut all = Vec::new();
        content.reader().read_to_end(&mut all).expect("it can be read");
        assert_eq!(all, b"ab\0\x00234");
        let short: Content = [range(8, 5), Extent::Bytes((*b"x").into())].into_iter().collect();
        let mut all = Vec::new();
        short.reader().read_to_end(&mut all).expect("it can be read");
        assert_eq!(all, b"89", "nothing follows what is missing");
    }
}
