//! The walk over the entries of a tar, with everything that its headers say of each put together.
//!
//! tar-rs' own walk takes the size of the header where a PAX header says another, the map of a sparse file
//! for its data, and the end of the file for the end of the tar, so this one is ours.

use std::io;

use ociseed_spec::Timestamp;

use super::BLOCK;
use super::error::{Fault, Place, TarProblem, shown};
use super::header::Header;
use super::records::Records;
use super::sparse::{self, DataMap, Map, PaxMap, Piece};
use crate::part::{Part, fill};

/// The most bytes of a PAX header, a long name, or all PAX headers for all entries together.
const MAX_HEADER: u64 = 1024 * 1024;

/// Where the bytes of a tar come from.
pub(super) trait Input {
    /// Fills the buffer as far as there are bytes.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Passes over bytes, and returns how many there were.
    fn skip(&mut self, count: u64) -> io::Result<u64>;
}

impl Input for Part {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        fill(self, buffer)
    }

    fn skip(&mut self, count: u64) -> io::Result<u64> {
        Ok(Self::skip(self, count))
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Link,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
    Unknown(u8),
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Link => "hard link",
            Self::Symlink => "symbolic link",
            Self::Char | Self::Block => "device",
            Self::Directory => "directory",
            Self::Fifo => "fifo",
            Self::Unknown(_) => "entry of unknown type",
        }
    }
}

/// One entry.
#[derive(Debug)]
pub(super) struct Member {
    /// Where its own header is.
    pub(super) at: u64,
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    /// Target of a link.
    pub(super) link: Vec<u8>,
    pub(super) mode: u16,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) user: Vec<u8>,
    pub(super) group: Vec<u8>,
    pub(super) mtime: Timestamp,
    pub(super) device: [u32; 2],
    /// Size of a file with its holes.
    pub(super) size: u64,
    /// Where its bytes begin.
    pub(super) data_at: u64,
    /// Which bytes there are, of a sparse file.
    pub(super) pieces: Option<Vec<Piece>>,
    /// Its own PAX records.
    pub(super) records: Records,
}

impl Member {
    pub(super) fn place(&self) -> Place {
        Place { at: Some(self.at), name: self.path.clone() }
    }
}

/// Walks entries.
#[derive(Debug)]
pub(super) struct Members<I> {
    input: I,
    at: u64,
    /// What PAX headers say of all entries behind them.
    shared: Records,
    shared_bytes: u64,
}

/// What headers say of the entry that follows.
#[derive(Debug, Default)]
struct Pending {
    records: Option<Records>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<I: Input> Members<I> {
    pub(super) fn new(input: I) -> Self {
        Self { input, at: 0, shared: Records::default(), shared_bytes: 0 }
    }

    /// Returns what PAX headers said of all entries so far.
    pub(super) fn shared(&self) -> &Records {
        &self.shared
    }

    /// Returns the next entry; nothing at the end of the tar.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let mut pending = Pending::default();
        loop {
            let at = self.at;
            let fault = |problem| Fault::Problem(Place { at: Some(at), name: Vec::new() }, problem);
            let block = self.block()?;
            let parsed = Header::parse(&block).map_err(|problem| match at {
                0 => fault(TarProblem::NoTar(shown(&block[..16]))),
                _ => fault(problem),
            });
            let Some(header) = parsed? else {
                self.end()?;
                let kinds = [
                    ('x', pending.records.is_some()),
                    ('L', pending.long_path.is_some()),
                    ('K', pending.long_link.is_some()),
                ];
                return match kinds.into_iter().find(|(_, pending)| *pending) {
                    Some((kind, _)) => Err(fault(TarProblem::NoEntry(kind))),
                    None => Ok(None),
                };
            };
            let twice = |there: bool, kind| match there {
                true => Err(fault(TarProblem::TwoHeaders(kind))),
                false => Ok(()),
            };
            match header.kind() {
                b'x' => {
                    twice(pending.records.is_some(), 'x')?;
                    let body = self.body(&header, "bytes of a PAX header", at)?;
                    let mut records = Records::default();
                    records.add(&body, false).map_err(fault)?;
                    pending.records = Some(records);
                }
                b'g' => {
                    let body = self.body(&header, "bytes of a PAX header", at)?;
                    self.share(&body).map_err(fault)?;
                }
                b'L' => {
                    twice(pending.long_path.is_some(), 'L')?;
                    pending.long_path = Some(self.long_name(&header, at)?);
                }
                b'K' => {
                    twice(pending.long_link.is_some(), 'K')?;
                    pending.long_link = Some(self.long_name(&header, at)?);
                }
                _ => return self.member(at, &header, pending).map(Some),
            }
        }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], Fault> {
        let mut block = [0; BLOCK];
        let count = self.input.fill(&mut block)?;
        if count < BLOCK {
            let place = Place { at: Some(self.at), name: Vec::new() };
            return Err(Fault::Problem(place, TarProblem::Cut));
        }
        self.at += BLOCK as u64;
        Ok(block)
    }

    /// Sees that a second zero block follows the first.
    fn end(&mut self) -> Result<(), Fault> {
        let place = Place { at: Some(self.at), name: Vec::new() };
        match self.block()?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Fault::Problem(place, TarProblem::LoneZeroBlock)),
        }
    }

    /// Reads the data of a header that says something of entries behind it.
    fn body(&mut self, header: &Header, what: &'static str, at: u64) -> Result<Vec<u8>, Fault> {
        let fault = |problem| Fault::Problem(Place { at: Some(at), name: Vec::new() }, problem);
        let size = header.size().map_err(fault)?;
        if size > MAX_HEADER {
            return Err(fault(TarProblem::Limit { what, found: size, max: MAX_HEADER }));
        }
        let size = usize::try_from(size).expect("at most a MiB");
        let mut body = vec![0; size.next_multiple_of(BLOCK)];
        let count = self.input.fill(&mut body)?;
        self.at += count as u64;
        if count < body.len() {
            return Err(fault(TarProblem::Size { size: size as u64, left: count as u64 }));
        }
        body.truncate(size);
        Ok(body)
    }

    fn long_name(&mut self, header: &Header, at: u64) -> Result<Vec<u8>, Fault> {
        let mut name = self.body(header, "bytes of a long name", at)?;
        let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        name.truncate(end);
        Ok(name)
    }

    /// Takes records that count for all entries from here on.
    fn share(&mut self, body: &[u8]) -> Result<(), TarProblem> {
        self.shared.add(body, true)?;
        self.shared_bytes += body.len() as u64;
        // Counted anew only now and then, as counting takes time.
        if self.shared_bytes > MAX_HEADER {
            self.shared_bytes = self.shared.size();
        }
        if self.shared_bytes > MAX_HEADER {
            let what = "bytes of PAX headers for all entries";
            return Err(TarProblem::Limit { what, found: self.shared_bytes, max: MAX_HEADER });
        }
        Ok(())
    }

    fn member(&mut self, at: u64, header: &Header, pending: Pending) -> Result<Member, Fault> {
        let Pending { records, long_path, long_link } = pending;
        let mut member = {
            let records = records.unwrap_or_default();
            let name = match records.field(&self.shared, "GNU.sparse.name") {
                Some(name) => Some(name),
                None => records.field(&self.shared, "path"),
            };
            let path = name.map(<[u8]>::to_vec).or(long_path).unwrap_or_else(|| header.path());
            let link = records.field(&self.shared, "linkpath").map(<[u8]>::to_vec).or(long_link);
            let link = link.unwrap_or_else(|| header.link().to_vec());
            let place = Place { at: Some(at), name: path.clone() };
            described(header, records, &self.shared, at, path, link)
                .map_err(|problem| Fault::Problem(place, problem))?
        };
        let place = member.place();
        let fault = |problem| Fault::Problem(place.clone(), problem);
        let stored = match member.kind {
            // Some write the size of the file here; its bytes never follow.
            Kind::Link => 0,
            _ => member.size,
        };
        if !matches!(member.kind, Kind::File | Kind::Unknown(_)) && stored > 0 {
            return Err(fault(TarProblem::NoData { kind: member.kind.name(), size: stored }));
        }
        member.size = stored;
        member.data_at = self.at;
        let stored = match member.kind {
            Kind::File => self.sparse(&mut member, header, stored)?,
            _ => stored,
        };
        // Below 2^63.
        let count = self.input.skip(stored.next_multiple_of(BLOCK as u64))?;
        self.at += count;
        if count < stored {
            return Err(fault(TarProblem::Size { size: stored, left: count }));
        }
        Ok(member)
    }

    /// Reads the map of a file that has one; returns how many bytes of its data are still to come.
    fn sparse(&mut self, member: &mut Member, header: &Header, mut stored: u64) -> Result<u64, Fault> {
        let place = member.place();
        let fault = |problem| Fault::Problem(place.clone(), problem);
        let mut map = Map::default();
        let (map, size) = if header.kind() == b'S' {
            let more = sparse::gnu_header(header, &mut map).map_err(fault)?;
            let (mut more, size) = more.expect("other headers of type S are of unknown kind");
            while more {
                let block = self.block()?;
                let mut pieces = tar::GnuExtSparseHeader::new();
                pieces.as_mut_bytes().copy_from_slice(&block);
                sparse::gnu_pieces(pieces.sparse(), &mut map).map_err(fault)?;
                more = pieces.isextended[0] != 0;
            }
            (map, size)
        } else {
            match sparse::pax(&member.records, &self.shared).map_err(fault)? {
                None => return Ok(stored),
                Some((PaxMap::Here(map), size)) => (map, size),
                Some((PaxMap::InData, size)) => {
                    let mut map = DataMap::default();
                    loop {
                        let left = stored.checked_sub(BLOCK as u64).ok_or_else(|| {
                            fault(TarProblem::Sparse("the map is longer than the data".to_owned()))
                        })?;
                        stored = left;
                        if map.push(&self.block()?).map_err(fault)? {
                            break (map.into_map(), size);
                        }
                    }
                }
            }
        };
        member.pieces = Some(map.finish(size, stored).map_err(fault)?);
        member.size = size;
        member.data_at = self.at;
        Ok(stored)
    }
}

/// Puts together what header and records say of an entry.
fn described(
    header: &Header,
    records: Records,
    shared: &Records,
    at: u64,
    path: Vec<u8>,
    link: Vec<u8>,
) -> Result<Member, TarProblem> {
    let or = |number: Option<u64>, other: &dyn Fn() -> Result<u64, TarProblem>| number.map_or_else(other, Ok);
    let kind = kind(header, &path);
    let [user, group] = header.names();
    let name = |key, name: &[u8]| records.field(shared, key).unwrap_or(name).to_vec();
    let mtime = match records.field(shared, "mtime") {
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| TarProblem::number("mtime", text, "decimal seconds"))?,
        None => Timestamp::new(header.mtime()?, 0),
    };
    let device = match kind {
        Kind::Char | Kind::Block => device(header, &records, shared)?,
        _ => [0, 0],
    };
    Ok(Member {
        at,
        kind,
        path,
        link,
        mode: header.mode()?,
        uid: or(records.number(shared, "uid")?, &|| header.uid())?,
        gid: or(records.number(shared, "gid")?, &|| header.gid())?,
        user: name("uname", user),
        group: name("gname", group),
        mtime,
        device,
        size: or(records.number(shared, "size")?, &|| header.size())?,
        data_at: 0,
        pieces: None,
        records,
    })
}

fn kind(header: &Header, path: &[u8]) -> Kind {
    match header.kind() {
        // Version 7 had no type for directories, and some programs never learned it.
        0 | b'0' if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' => Kind::File,
        b'S' if header.as_gnu().is_some() => Kind::File,
        b'1' => Kind::Link,
        b'2' => Kind::Symlink,
        b'3' => Kind::Char,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => Kind::Unknown(other),
    }
}

/// Returns major and minor number, for which star and libarchive have records.
fn device(header: &Header, records: &Records, shared: &Records) -> Result<[u32; 2], TarProblem> {
    let mut numbers = header.device()?;
    for (number, key) in numbers.iter_mut().zip(["SCHILY.devmajor", "SCHILY.devminor"]) {
        if let Some(said) = records.number(shared, key)? {
            let large = |_| {
                TarProblem::number(key, shown(said.to_string().as_bytes()).as_bytes(), "a smaller number")
            };
            *number = u32::try_from(said).map_err(large)?;
        }
    }
    Ok(numbers)
}
