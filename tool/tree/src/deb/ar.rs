//! `ar` archives, as far as packages use them.

use super::{DebProblem, Fault};
use crate::part::{Part, fill};
use crate::tar::shown;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// A member.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) data: Part,
}

/// Walks members.
#[derive(Debug)]
pub(super) struct Members(Part);

impl Members {
    pub(super) fn new(mut archive: Part) -> Result<Self, Fault> {
        let mut magic = [0; MAGIC.len()];
        let count = fill(&mut archive, &mut magic)?;
        match &magic[..count] == MAGIC {
            true => Ok(Self(archive)),
            false => Err(DebProblem::Magic(shown(&magic[..count])).into()),
        }
    }

    /// Returns the next member; nothing at the end of the archive.
    pub(super) fn next(&mut self) -> Result<Option<Member>, Fault> {
        let at = self.0.at;
        let mut header = [0; HEADER];
        let count = fill(&mut self.0, &mut header)?;
        if count == 0 {
            return Ok(None);
        }
        let bad = || Fault::from(DebProblem::Header { at, found: shown(&header[..count]) });
        if count < HEADER || !header.ends_with(b"`\n") {
            return Err(bad());
        }
        let mut size = decimal(&header[48..58]).ok_or_else(bad)?;
        let name = header[..16].trim_ascii_end();
        let mut name = name.strip_suffix(b"/").unwrap_or(name).to_vec();
        let left = self.0.left();
        if size > left {
            return Err(DebProblem::Size { name: shown(&name), size, left }.into());
        }
        let padding = size % 2;
        if let Some(digits) = header[..16].strip_prefix(b"#1/") {
            // BSD puts long names in front of the data.
            let length = decimal(digits).filter(|length| *length <= size.min(255)).ok_or_else(bad)?;
            name = vec![0; usize::try_from(length).expect("at most 255")];
            fill(&mut self.0, &mut name)?;
            let end = name.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            name.truncate(end);
            size -= length;
        }
        let data = Part::new(self.0.file.clone(), self.0.at, size);
        self.0.skip(size + padding);
        Ok(Some(Member { name: String::from_utf8(name).map_err(|_| bad())?, data }))
    }
}

/// Reads decimal digits with blanks behind them.
fn decimal(field: &[u8]) -> Option<u64> {
    let digits = field.trim_ascii_end();
    let good = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    good.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
