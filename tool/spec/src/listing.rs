//! One line of a canonical listing: how what is known of a path becomes text.
//!
//! `docs/format.md`, section "Listings", is the contract. The builder makes
//! lines of trees, the loader of what it finds on a disk; both go through
//! here, so that equal file systems have equal lines, whoever looks.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{Digest, FileMode, Owner, Timestamp, TreePath, escape, hex, json};

/// What a listing says of one path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The absolute path, escaped.
    pub path: String,
    /// What it is, in a word.
    pub kind: &'static str,
    /// Permission bits in octal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Owner's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Owner's name, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Group's name, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Time in decimal seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<String>,
    /// Size of a file in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Digest of a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Target of a symbolic link, escaped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The first name of a file, of its further ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Number of a device's driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<u32>,
    /// Number of a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<u32>,
    /// Whether a directory hides what layers below have in it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub opaque: bool,
    /// Extended attributes, values in hexadecimal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

impl Line {
    /// Starts the line of a path: what it is, and no more.
    pub fn new(path: &TreePath, kind: &'static str) -> Self {
        Self { path: absolute(path), kind, ..Self::default() }
    }

    /// Says what every path but a further name and a whiteout has.
    #[must_use]
    pub fn with_stat(self, mode: FileMode, owner: Owner, mtime: Timestamp) -> Self {
        let (uid, gid) = (Some(owner.uid), Some(owner.gid));
        Self { mode: Some(mode.to_string()), uid, gid, mtime: Some(mtime.to_string()), ..self }
    }

    /// Says the extended attributes, in any order, each by the bytes of its name and value.
    #[must_use]
    pub fn with_xattrs<'a>(self, xattrs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let text = |(name, value)| (escape(name), hex(value));
        Self { xattrs: xattrs.into_iter().map(text).collect(), ..self }
    }

    /// Says the target of a symbolic link.
    #[must_use]
    pub fn with_target(self, target: &[u8]) -> Self {
        Self { target: Some(escape(target)), ..self }
    }

    /// Says the first name of the file that this is a further one of.
    #[must_use]
    pub fn with_link(self, first: &TreePath) -> Self {
        Self { link: Some(absolute(first)), ..self }
    }

    /// Encodes the line as a listing has it: canonical JSON and a newline.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = json::encode(self);
        bytes.push(b'\n');
        bytes
    }
}

fn absolute(path: &TreePath) -> String {
    format!("/{}", escape(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_the_contract() {
        let path = TreePath::parse(b"a\\/\xff").expect("a path");
        let stat =
            |line: Line, mode, mtime| line.with_stat(FileMode::new(mode), Owner { uid: 1, gid: 2 }, mtime);
        let half = Timestamp::new(-2, 500_000_000);
        let xattrs: [(&[u8], &[u8]); 2] = [(b"user.b\xff", b"\0\xab"), (b"user.a", b"")];
        for (line, text) in [
            (Line::new(&path, "whiteout"), r#"{"kind":"whiteout","path":"/a\\\\/\\xff"}"#),
            (
                Line::new(&path, "link").with_link(&path),
                r#"{"kind":"link","link":"/a\\\\/\\xff","path":"/a\\\\/\\xff"}"#,
            ),
            (
                stat(Line::new(&path, "symlink").with_target(b"\xfe\\"), 0o777, Timestamp::EPOCH),
                r#"{"gid":2,"kind":"symlink","mode":"0777","mtime":"0","path":"/a\\\\/\\xff","target":"\\xfe\\\\","uid":1}"#,
            ),
            (
                stat(Line { opaque: true, ..Line::new(&path, "directory") }, 0o12, half).with_xattrs(xattrs),
                r#"{"gid":2,"kind":"directory","mode":"0012","mtime":"-1.5","opaque":true,"path":"/a\\\\/\\xff","uid":1,"xattrs":{"user.a":"","user.b\\xff":"00ab"}}"#,
            ),
        ] {
            assert_eq!(String::from_utf8(line.encode()), Ok(format!("{text}\n")));
        }
    }
}
