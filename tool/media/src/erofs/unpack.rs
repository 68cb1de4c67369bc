//! Compressed files of an image, decompressed into one scratch file: a tree's content is read in any order, and in parts.

use std::path::Path;
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_tree::{Extent, FileRange, HostFile, Scratch, write_holes};

use super::BLOCK;
use super::codec::Decoder;
use super::index::{Head, Start, Starts, pack_size, packs};
use super::read::{Fault, Image, Inode, problem};
use super::superblock::ZERO_PADDING;

/// No cluster has more bytes of a file (`Z_EROFS_PCLUSTER_MAX_DSIZE`).
const MAX_LENGTH: u64 = 12 << 20;

/// Where decompressed files go.
pub(super) struct Unpacker<'s> {
    scratch: &'s mut Scratch<'s>,
    /// What messages call it.
    shown: Arc<Path>,
    file: Option<Arc<File>>,
    decoder: Option<Decoder>,
    /// Bytes so far, and how many may be.
    at: u64,
    max: u64,
}

/// The clusters of a file, and where what lies behind its index begins.
struct Map {
    head: Head,
    starts: Vec<Start>,
    end: u64,
}

impl<'s> Unpacker<'s> {
    /// Starts with nothing; a scratch file is made for the first compressed one, and has at most `max` bytes.
    pub(super) fn new(max: u64, shown: &Path, scratch: &'s mut Scratch<'s>) -> Self {
        Self { scratch, shown: shown.into(), file: None, decoder: None, at: 0, max }
    }

    /// Decompresses a file that is not empty.
    pub(super) fn unpack(&mut self, image: &Image, inode: &Inode) -> Result<Vec<Extent>, Fault> {
        let offset = self.at;
        let Some(end) = offset.checked_add(inode.size).filter(|end| *end <= self.max) else {
            return problem(format!(
                "with it, files expand to more than {} bytes, the most for this image",
                self.max
            ));
        };
        let map = Map::read(image, inode)?;
        if image.superblock.algorithms & map.head.algorithm.bit() == 0 {
            return problem("it is compressed in a way that the superblock does not have");
        }
        let file = self.file()?;
        let mut bytes = Vec::new();
        for (number, start) in map.starts.iter().enumerate() {
            let next = map.starts.get(number + 1).map_or(inode.size, |next| next.at.min(inode.size));
            let length = next.saturating_sub(start.at);
            if length > MAX_LENGTH {
                return problem(format!("a cluster has {length} bytes of it"));
            }
            if length > 0 {
                bytes.resize(length as usize, 0);
                let last = next == inode.size;
                self.cluster(image, &map, *start, last, &mut bytes)?;
                write_holes(&file, offset + start.at, &bytes).map_err(Fault::Write)?;
            }
        }
        file.set_len(end).map_err(Fault::Write)?;
        self.at = end;
        let file = HostFile::opened(file, Arc::clone(&self.shown));
        Ok(vec![Extent::File(FileRange { file, offset, size: inode.size, to_end: false, digest: None })])
    }

    fn file(&mut self) -> Result<Arc<File>, Fault> {
        if self.file.is_none() {
            self.file = Some(Arc::new((self.scratch)().map_err(Fault::Write)?));
            self.decoder = Decoder::new();
        }
        self.file.clone().ok_or_else(|| Fault::Problem("no scratch file".to_owned()))
    }

    /// Fills `to` with the bytes of a cluster.
    fn cluster(
        &mut self,
        image: &Image,
        map: &Map,
        start: Start,
        last: bool,
        to: &mut [u8],
    ) -> Result<(), Fault> {
        let bytes = match map.head.tail {
            tail if last && tail > 0 => image.bytes(map.end, tail)?,
            _ => image.bytes(start.block * BLOCK, start.blocks * BLOCK)?,
        };
        let good = if start.raw {
            bytes.get(..to.len()).map(|bytes| to.copy_from_slice(bytes)).is_some()
        } else {
            let padded = image.superblock.incompatible & ZERO_PADDING != 0;
            let zeros = bytes.iter().take_while(|byte| padded && **byte == 0).count();
            let decoder = self.decoder.as_mut();
            decoder.is_some_and(|decoder| decoder.fill(map.head.algorithm, &bytes[zeros..], to))
        };
        match good {
            true => Ok(()),
            false => problem(format!("what is {} bytes into it cannot be decompressed", start.at)),
        }
    }
}

impl Map {
    fn read(image: &Image, inode: &Inode) -> Result<Self, Fault> {
        let at = (inode.at + inode.head).next_multiple_of(8);
        let head = Head::decode(&image.bytes(at, Head::SIZE)?).map_err(Fault::Problem)?;
        let entries = inode.size.div_ceil(BLOCK);
        let mut starts = Starts::default();
        let mut end = at + Head::SIZE;
        if inode.form == 1 {
            // Eight bytes have no meaning there.
            let bytes = image.bytes(end + 8, entries.saturating_mul(8))?;
            starts.full(&head, &bytes).map_err(Fault::Problem)?;
            end += 8 + bytes.len() as u64;
        } else {
            for (entries, count) in packs(head.is_short(), end, entries) {
                let size = pack_size(count);
                let bytes = image.bytes(end, entries.div_ceil(count as u64).saturating_mul(size as u64))?;
                let mut left = entries as usize;
                for pack in bytes.chunks_exact(size) {
                    starts.pack(&head, pack, count, left.min(count)).map_err(Fault::Problem)?;
                    left -= left.min(count);
                }
                end += bytes.len() as u64;
            }
        }
        if head.tail > 0 && end / BLOCK != (end + head.tail - 1) / BLOCK {
            return problem("what lies behind its index goes over the end of its block");
        }
        Ok(Self { head, starts: starts.found, end })
    }
}
