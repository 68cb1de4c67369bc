//! The maps of sparse files: which of their bytes the archive has.

use super::error::TarProblem;
use super::header::{Header, unsigned};
use super::records::{Records, decimal};

/// A run of bytes that the archive has; they follow each other there without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it begins in the file.
    pub(super) at: u64,
    pub(super) size: u64,
}

/// What a piece costs in memory, about: an extent for it, one for the hole before it.
pub(super) const PIECE_COST: u64 = 200;
/// The most pieces of one file: as many as take the 64 MiB that names and attributes may have.
pub(super) const MAX_PIECES: usize = 64 * 1024 * 1024 / PIECE_COST as usize;

/// Collects pieces and sees that they can be pieces of one file.
#[derive(Debug, Default)]
pub(super) struct Map {
    pieces: Vec<Piece>,
    numbers: usize,
    begin: u64,
    end: u64,
    stored: u64,
}

impl Map {
    /// Takes the next number: in turn where a piece begins and how long it is.
    pub(super) fn push(&mut self, number: u64) -> Result<(), TarProblem> {
        self.numbers += 1;
        if self.numbers % 2 == 1 {
            self.begin = number;
            return Ok(());
        }
        let piece = Piece { at: self.begin, size: number };
        let which = self.numbers / 2;
        if piece.at < self.end {
            let message = format!("piece {which} begins at {}, expected {} or more", piece.at, self.end);
            return Err(TarProblem::Sparse(message));
        }
        if self.pieces.len() == MAX_PIECES {
            let found = MAX_PIECES as u64 + 1;
            return Err(TarProblem::Limit { what: "pieces of a sparse file", found, max: MAX_PIECES as u64 });
        }
        // Both are below 2^63.
        self.end = piece.at + piece.size;
        self.stored = self.stored.saturating_add(piece.size);
        if piece.size > 0 {
            self.pieces.push(piece);
        }
        Ok(())
    }

    /// Returns the pieces of a file of `size` bytes, of which the archive has `stored`.
    pub(super) fn finish(self, size: u64, stored: u64) -> Result<Vec<Piece>, TarProblem> {
        let fault = |message| Err(TarProblem::Sparse(message));
        if self.numbers % 2 == 1 {
            return fault(format!("the map has {} numbers, expected pairs", self.numbers));
        }
        if self.end > size {
            return fault(format!("the last piece ends at {}, past the size {size}", self.end));
        }
        if self.stored != stored {
            return fault(format!(
                "the pieces have {} bytes together, found {stored} in the archive",
                self.stored
            ));
        }
        Ok(self.pieces)
    }
}

/// Reads the four pieces in an old GNU header; returns whether more follow in a block of their own, and the file's size.
pub(super) fn gnu_header(header: &Header, map: &mut Map) -> Result<Option<(bool, u64)>, TarProblem> {
    let Some(gnu) = header.as_gnu() else { return Ok(None) };
    gnu_pieces(&gnu.sparse, map)?;
    Ok(Some((gnu.isextended[0] != 0, unsigned("realsize", &gnu.realsize)?)))
}

/// Reads pieces in blocks; the first empty one ends them.
pub(super) fn gnu_pieces(pieces: &[tar::GnuSparseHeader], map: &mut Map) -> Result<(), TarProblem> {
    for piece in pieces.iter().take_while(|piece| piece.offset[0] != 0 || piece.numbytes[0] != 0) {
        map.push(unsigned("sparse offset", &piece.offset)?)?;
        map.push(unsigned("sparse numbytes", &piece.numbytes)?)?;
    }
    Ok(())
}

/// How a PAX header says where the pieces of a sparse file are.
#[derive(Debug)]
pub(super) enum PaxMap {
    /// In the header (formats 0.0 and 0.1).
    Here(Map),
    /// In the first blocks of the file's data (format 1.0).
    InData,
}

/// Reads what a PAX header says of a sparse file: the map and the file's size; nothing where it is not sparse.
pub(super) fn pax(local: &Records, shared: &Records) -> Result<Option<(PaxMap, u64)>, TarProblem> {
    let number = |key| local.number(shared, key);
    let size = match number("GNU.sparse.realsize")? {
        Some(size) => Some(size),
        None => number("GNU.sparse.size")?,
    };
    let needed = || TarProblem::Sparse("no record says the size of the file".to_owned());
    match (number("GNU.sparse.major")?, number("GNU.sparse.minor")?) {
        (Some(1), Some(0)) => return Ok(Some((PaxMap::InData, size.ok_or_else(needed)?))),
        (None | Some(0), _) => {}
        (Some(major), minor) => {
            let message = format!("format {major}.{}, expected 0.0, 0.1 or 1.0", minor.unwrap_or_default());
            return Err(TarProblem::Sparse(message));
        }
    }
    let mut map = Map::default();
    let written = local.field(shared, "GNU.sparse.map");
    if written.is_none() && local.pieces.is_empty() && number("GNU.sparse.numblocks")?.is_none() {
        return Ok(None);
    }
    for digits in written.iter().flat_map(|text| text.split(|byte| *byte == b',')) {
        map.push(decimal("GNU.sparse.map", digits)?)?;
    }
    if written.is_none() {
        local.pieces.iter().try_for_each(|number| map.push(*number))?;
    }
    Ok(Some((PaxMap::Here(map), size.ok_or_else(needed)?)))
}

/// Reads the map at the start of a file's data: decimal numbers, each with a newline, the first says how many pairs follow.
#[derive(Debug, Default)]
pub(super) struct DataMap {
    map: Map,
    digits: Vec<u8>,
    left: Option<u64>,
}

impl DataMap {
    /// Takes a block; returns whether the map is complete.
    pub(super) fn push(&mut self, block: &[u8]) -> Result<bool, TarProblem> {
        for byte in block {
            if *byte != b'\n' {
                // decimal() refuses what is longer than any number.
                if self.digits.len() < 32 {
                    self.digits.push(*byte);
                }
                continue;
            }
            let number = decimal("sparse map", &self.digits)?;
            self.digits.clear();
            match &mut self.left {
                None => self.left = number.checked_mul(2),
                Some(left) => {
                    *left -= 1;
                    self.map.push(number)?;
                }
            }
            if self.left == Some(0) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn into_map(self) -> Map {
        self.map
    }
}
