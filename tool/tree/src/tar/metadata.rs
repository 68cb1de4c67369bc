//! From an entry's headers to the metadata of a path.

use ociseed_spec::{Acl, FileMode, Owner, OwnerName, XattrError, XattrName, XattrValue};

use super::error::{TarProblem, shown};
use super::members::{Kind, Member};
use super::notes::Listless;
use super::records::{LIBARCHIVE_XATTR, Records, SCHILY_XATTR};
use crate::{Stat, Xattrs};

/// The size of an access list that says no more than a mode: a version and three entries.
const MODE_ONLY: usize = 4 + 3 * 8;

/// What names of xattrs a tar may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    /// Those of a layer, which makes overlay metadata of whiteouts alone.
    Layer,
    /// Also those that overlayfs gives a meaning.
    FileSystem,
}

impl Names {
    fn parse(self, name: &[u8]) -> Result<XattrName, XattrError> {
        match self {
            Self::Layer => XattrName::parse(name),
            Self::FileSystem => XattrName::of_file_system(name),
        }
    }
}

/// Returns an entry's metadata, and which of its access control lists are none.
pub(super) fn stat(member: &Member, shared: &Records, names: Names) -> Result<(Stat, Listless), TarProblem> {
    let mut stat = Stat::new(FileMode::new(member.mode), owner(member)?, member.mtime);
    let name = |bytes: &[u8]| (!bytes.is_empty()).then(|| OwnerName::parse(bytes)).transpose();
    let (user, group) = (name(&member.user)?, name(&member.group)?);
    if user.is_some() || group.is_some() {
        stat.set_names(user, group);
    }
    let (xattrs, listless) = xattrs(member, shared, names)?;
    for (name, value) in xattrs {
        stat.set_xattr(name, value);
    }
    Ok((stat, listless))
}

/// Returns who owns an entry.
pub(super) fn owner(member: &Member) -> Result<Owner, TarProblem> {
    Ok(Owner { uid: id("uid", member.uid)?, gid: id("gid", member.gid)? })
}

fn id(field: &'static str, number: u64) -> Result<u32, TarProblem> {
    // 2^32-1 is the kernel's "no id" (-1) and cannot own anything.
    let id = u32::try_from(number).ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| TarProblem::number(field, number.to_string().as_bytes(), "at most 4294967294"))
}

/// Returns the xattrs, whichever way they are spelt; `SCHILY.xattr.` says most exactly what they are.
fn xattrs(member: &Member, shared: &Records, names: Names) -> Result<(Xattrs, Listless), TarProblem> {
    let mut xattrs = Xattrs::new();
    for (key, text, directories) in
        [("SCHILY.acl.access", Acl::ACCESS_XATTR, false), ("SCHILY.acl.default", Acl::DEFAULT_XATTR, true)]
    {
        if let Some(list) = member.records.field(shared, key)
            && (member.kind == Kind::Directory || !directories)
        {
            let name = XattrName::parse(text).expect("a name of Linux's own");
            xattrs.insert(name, XattrValue::new(&acl(list)?.xattr_value())?);
        }
    }
    for (key, value) in member.records.attributes(shared) {
        if let Some(name) = key.strip_prefix(LIBARCHIVE_XATTR) {
            let (name, value) = (percent_decoded(name), base64_decoded(value));
            let broken = || TarProblem::Record(shown(key));
            let (name, value) = name.zip(value).ok_or_else(broken)?;
            xattrs.insert(names.parse(&name)?, XattrValue::new(&value)?);
        }
    }
    for (key, value) in member.records.attributes(shared) {
        if let Some(name) = key.strip_prefix(SCHILY_XATTR) {
            xattrs.insert(names.parse(name)?, XattrValue::new(value)?);
        }
    }
    let has = |xattrs: &Xattrs, list: &[u8]| xattrs.keys().any(|name| name.as_bytes() == list);
    let lists = |xattrs: &Xattrs| Listless::NAMES.map(|list| has(xattrs, list));
    let said = lists(&xattrs);
    // A list without entries is what Linux takes as none: written where a directory would give its own.
    let empty = |name: &XattrName, value: &XattrValue| {
        Listless::NAMES.contains(&name.as_bytes()) && value.as_bytes() == Acl::EMPTY
    };
    xattrs.retain(|name, value| !empty(name, value));
    // Nor does Linux keep one that says no more than the mode, however it came.
    xattrs.retain(|name, value| name.as_bytes() != Acl::ACCESS_XATTR || value.as_bytes().len() != MODE_ONLY);
    let kept = lists(&xattrs);
    Ok((xattrs, Listless::of(said, kept)))
}

/// Reads an access control list as star, libarchive and GNU tar write it.
///
/// Named users and groups have their number as a name or behind the permissions; there may be comments.
fn acl(text: &[u8]) -> Result<Acl, TarProblem> {
    let text = String::from_utf8_lossy(text);
    let mut entries = Vec::new();
    for entry in text.split(['\n', ',']) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        match entry.split(':').collect::<Vec<_>>()[..] {
            [""] => {}
            [tag, _, permissions, id] => entries.push(format!("{tag}:{id}:{permissions}")),
            _ => entries.push(entry.to_owned()),
        }
    }
    Ok(entries.join(",").parse()?)
}

fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (pair, tail) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(pair[0])? << 4 | digit(pair[1])?);
        rest = tail;
    }
    Some(bytes)
}

/// Decodes base64 with or without `=` at the end: libarchive writes none.
fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.trim_ascii_end().split(|byte| *byte == b'=').next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut bits = 0u32;
        for digit in chunk {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - chunk.len());
        let whole = match chunk.len() {
            1 => return None,
            digits => digits - 1,
        };
        bytes.extend_from_slice(&bits.to_be_bytes()[1..=whole]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_however_they_are_written() {
        let expected = "user::rw-,user:33:r--,group::r--,mask::r--,other::---";
        for text in [
            "user::rw-,user:www-data:r--:33,group::r--,mask::r--,other::---",
            "user::rw-\nuser:33:r--\ngroup::r--\t#effective:r--\nmask::r--\nother::---\n",
            "user::rw-,group::r--,other::---,user:33:r--,mask::r--",
        ] {
            assert_eq!(acl(text.as_bytes()).map(|acl| acl.to_string()), Ok(expected.to_owned()), "{text}");
        }
        for text in ["", "user::rw-,user:www-data:r--,group::r--,mask::r--,other::---", "user::rw-"] {
            assert!(matches!(acl(text.as_bytes()), Err(TarProblem::Acl(_))), "{text}");
        }
    }

    #[test]
    fn libarchives_spelling_is_decoded() {
        assert_eq!(percent_decoded(b"user.a%3Db%20%c3"), Some(b"user.a=b \xc3".to_vec()));
        for bad in ["%", "%1", "%zz"] {
            assert_eq!(percent_decoded(bad.as_bytes()), None, "{bad}");
        }
        for (text, expected) in
            [("", ""), ("YQ", "a"), ("YQ==", "a"), ("YWI", "ab"), ("YWJj", "abc"), ("YWJjZA", "abcd")]
        {
            assert_eq!(base64_decoded(text.as_bytes()), Some(expected.into()), "{text}");
        }
        assert_eq!(base64_decoded(b"/+8="), Some(vec![0xff, 0xef]));
        for bad in ["Y", "YWJjZ", "Y!", "YQ YQ"] {
            assert_eq!(base64_decoded(bad.as_bytes()), None, "{bad}");
        }
    }
}
