//! The records of PAX headers (POSIX.1-2008, pax, "pax Extended Header").
//!
//! tar-rs splits records at newlines, which values may hold, so the records are taken apart here.

use std::collections::BTreeMap;

use super::error::{TarProblem, shown};

/// What PAX headers say that matters here; everything else is passed over, as POSIX wants.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    fields: BTreeMap<&'static str, Box<[u8]>>,
    /// Xattrs of any spelling, by the whole key.
    attributes: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// The numbers of sparse format 0.0, which has records whose order counts.
    pub(super) pieces: Vec<u64>,
}

/// What may be in a header for all entries.
const SHARED: [&str; 7] =
    ["gid", "gname", "mtime", "uid", "uname", "SCHILY.acl.access", "SCHILY.acl.default"];
/// What can be true of one entry only.
const SINGLE: [&str; 12] = [
    "linkpath",
    "path",
    "size",
    "SCHILY.devmajor",
    "SCHILY.devminor",
    "GNU.sparse.major",
    "GNU.sparse.map",
    "GNU.sparse.minor",
    "GNU.sparse.name",
    "GNU.sparse.numblocks",
    "GNU.sparse.realsize",
    "GNU.sparse.size",
];
/// Keys of xattrs begin with these: libarchive's own spelling is `LIBARCHIVE.xattr.`.
pub(super) const SCHILY_XATTR: &[u8] = b"SCHILY.xattr.";
pub(super) const LIBARCHIVE_XATTR: &[u8] = b"LIBARCHIVE.xattr.";

impl Records {
    /// Adds the records of a header's body; of two with one key the last counts.
    pub(super) fn add(&mut self, mut body: &[u8], global: bool) -> Result<(), TarProblem> {
        while !body.is_empty() {
            let (key, value, rest) = split(body).ok_or_else(|| TarProblem::Record(shown(body)))?;
            self.put(key, value, global)?;
            body = rest;
        }
        Ok(())
    }

    fn put(&mut self, key: &[u8], value: &[u8], global: bool) -> Result<(), TarProblem> {
        let known = |keys: &[&'static str]| keys.iter().copied().find(|known| known.as_bytes() == key);
        if key.starts_with(SCHILY_XATTR) || key.starts_with(LIBARCHIVE_XATTR) {
            self.attributes.insert(key.into(), value.into());
        } else if let Some(known) = known(&SHARED) {
            self.fields.insert(known, value.into());
        } else if let Some(known) = known(&SINGLE) {
            if global {
                return Err(TarProblem::GlobalRecord(known));
            }
            self.fields.insert(known, value.into());
        } else if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
            if global {
                return Err(TarProblem::GlobalRecord("GNU.sparse.offset"));
            }
            self.pieces.push(decimal("GNU.sparse.offset", value)?);
        }
        Ok(())
    }

    /// Returns how many bytes are kept.
    pub(super) fn size(&self) -> u64 {
        let fields = self.fields.values().map(|value| value.len());
        let attributes = self.attributes.iter().map(|(key, value)| key.len() + value.len());
        fields.chain(attributes).map(|size| size as u64).sum()
    }

    /// Returns what these records say, or else those for all entries; an empty value leaves it to the header.
    pub(super) fn field<'a>(&'a self, shared: &'a Self, key: &'static str) -> Option<&'a [u8]> {
        let value = self.fields.get(key).or_else(|| shared.fields.get(key));
        value.map(|value| &**value).filter(|value| !value.is_empty())
    }

    /// Returns a number, where the records say one.
    pub(super) fn number(&self, shared: &Self, key: &'static str) -> Result<Option<u64>, TarProblem> {
        self.field(shared, key).map(|value| decimal(key, value)).transpose()
    }

    /// Returns all xattrs by their keys: first those for all entries, then those of this one, which count more.
    pub(super) fn attributes<'a>(&'a self, shared: &'a Self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let both = shared.attributes.iter().chain(&self.attributes);
        both.map(|(key, value)| (&**key, &**value))
    }
}

/// Takes the first record off: key, value, the rest.
fn split(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = body.iter().take(8).position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal("length", &body[..blank]).ok()?).ok()?;
    let (record, rest) = body.split_at_checked(length)?;
    let record = record.get(blank + 1..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// Reads decimal digits.
pub(super) fn decimal(field: &'static str, digits: &[u8]) -> Result<u64, TarProblem> {
    let fault = |expected| TarProblem::number(field, digits, expected);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(fault("decimal digits"));
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    let number = digits.iter().try_fold(0, add).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| fault("a smaller number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_by_their_length() {
        let mut records = Records::default();
        let body = b"12 path=a\nb\n12 path=c=d\n32 SCHILY.xattr.user.a=\n\0=\n\xff345\n9 other=\n".to_vec();
        records.add(&body, false).expect("good");
        let none = Records::default();
        assert_eq!(records.field(&none, "path"), Some(&b"c=d"[..]));
        let attributes: Vec<_> = records.attributes(&none).collect();
        assert_eq!(attributes, [(&b"SCHILY.xattr.user.a"[..], &b"\n\0=\n\xff345"[..])]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for bad in [
            "x",
            "6 path\n",
            "8 path=a",
            "9 path=a",
            "9 path=ab",
            "99 path=a\n",
            "-9 path=a\n",
            "00000009 path=a\n",
            "4 =\n\n",
            "3 \n",
            "0 ",
            "1 ",
            "\0\0",
            "99999999999999999999 a=b\n",
        ] {
            let found = Records::default().add(bad.as_bytes(), false);
            assert_eq!(found, Err(TarProblem::Record(shown(bad.as_bytes()))), "{bad}");
        }
    }
}
