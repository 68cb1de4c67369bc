//! Listing a tar for people, as it comes.

use std::io::{self, Read};

use super::members::{Input, Kind, Member, Members};
use crate::part::fill;

/// One entry of a tar that is read for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The path as the tar has it.
    pub path: String,
    /// The type: `file`, `directory`, `symlink`, or tar's own type character.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// User id.
    pub uid: u64,
    /// Group id.
    pub gid: u64,
    /// Size in bytes, of a sparse file with its holes.
    pub size: u64,
    /// Target of a link.
    pub target: Option<String>,
}

/// Lists the entries of any tar, with GNU and PAX names resolved.
///
/// # Errors
/// It cannot be read, is no tar, or ends without the two zero blocks that say that it is whole.
pub fn list(tar: impl Read, mut each: impl FnMut(Listed)) -> io::Result<()> {
    let mut members = Members::new(Stream(tar));
    while let Some(member) = members.next()? {
        each(Listed::of(&member));
    }
    Ok(())
}

impl Listed {
    fn of(member: &Member) -> Self {
        let text = |bytes: &[u8]| ociseed_spec::shown(bytes);
        let kind = match member.kind {
            Kind::File => "file".to_owned(),
            Kind::Directory => "directory".to_owned(),
            Kind::Symlink => "symlink".to_owned(),
            Kind::Link => "1".to_owned(),
            Kind::Char => "3".to_owned(),
            Kind::Block => "4".to_owned(),
            Kind::Fifo => "6".to_owned(),
            Kind::Unknown(kind) => char::from(kind).to_string(),
        };
        let target = matches!(member.kind, Kind::Symlink | Kind::Link).then(|| text(&member.link));
        let Member { uid, gid, size, .. } = *member;
        Self { path: text(&member.path), kind, mode: member.mode.into(), uid, gid, size, target }
    }
}

/// A tar that can only be read from its start to its end.
struct Stream<R>(R);

impl<R: Read> Input for Stream<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        fill(&mut self.0, buffer)
    }

    fn skip(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut self.0.by_ref().take(count), &mut io::sink())
    }
}
