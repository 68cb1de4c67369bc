//! Listing a tar for people.

use std::io::{self, Read};

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
    /// Size in bytes.
    pub size: u64,
    /// Target of a link.
    pub target: Option<String>,
}

/// Lists the entries of any tar, with GNU and PAX names resolved.
///
/// # Errors
/// It cannot be read, is no tar, or ends without the two zero blocks that say that it is whole.
pub fn list(tar: impl Read, mut each: impl FnMut(Listed)) -> io::Result<()> {
    let mut archive = tar::Archive::new(EndSeen { inner: tar, end_seen: false });
    for entry in archive.entries()? {
        let mut entry = entry?;
        // Sizes, owners and names may be in PAX records; tar-rs applies names and sizes, not owners.
        let (mut uid, mut gid) = (entry.header().uid()?, entry.header().gid()?);
        if let Some(records) = entry.pax_extensions()? {
            for record in records.filter_map(Result::ok) {
                let number = record.value().ok().and_then(|value| value.parse().ok());
                match (record.key(), number) {
                    (Ok("uid"), Some(number)) => uid = number,
                    (Ok("gid"), Some(number)) => gid = number,
                    _ => {}
                }
            }
        }
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => "file".to_owned(),
            tar::EntryType::Directory => "directory".to_owned(),
            tar::EntryType::Symlink => "symlink".to_owned(),
            other => char::from(other.as_byte()).to_string(),
        };
        each(Listed {
            path: String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
            kind,
            mode: entry.header().mode()? & 0o7777,
            uid,
            gid,
            size: entry.size(),
            target: entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned()),
        });
    }
    // tar-rs takes the end of the data for the end of the tar, which hides a cut between two entries.
    match archive.into_inner().end_seen {
        true => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the tar ends without two zero blocks: it was cut",
        )),
        false => Ok(()),
    }
}

/// Remembers whether the end of the data was met.
struct EndSeen<R> {
    inner: R,
    end_seen: bool,
}

impl<R: Read> Read for EndSeen<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.end_seen |= count == 0 && !buffer.is_empty();
        Ok(count)
    }
}
