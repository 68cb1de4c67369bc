//! Paths inside an image.
//!
//! A [`TreePath`] is relative to the image's root, has no `.`, `..` or empty
//! part, and is bytes: file names on Linux need not be UTF-8. Order is that of
//! the parts, so a directory sorts directly before everything below it.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use crate::text::shown;

/// A normal path below an image's root; the root itself is the empty path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Box<[u8]>);

/// Says what is wrong with a path inside an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreePathError {
    /// The path has a `..` part, which would lead out of where it starts.
    #[error("path `{0}` has a `..` part")]
    Parent(String),
    /// The path holds a NUL byte, which no file name can.
    #[error("path `{0}` holds a NUL byte")]
    Nul(String),
    /// A part is longer than the 255 bytes that Linux takes (NAME_MAX).
    #[error("path `{0}` has a name of {1} bytes, at most 255 are possible")]
    LongName(String, usize),
    /// The path must begin with `/` here and does not.
    #[error("path `{0}` is not absolute: write `/{0}`")]
    NotAbsolute(String),
}

impl TreePath {
    /// Returns the root.
    pub fn root() -> Self {
        Self(Box::default())
    }

    /// Parses bytes with or without `/` at the front; `.` and empty parts are dropped.
    ///
    /// # Errors
    /// A `..` part, a NUL byte, or a name of more than 255 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, TreePathError> {
        let shown = || shown(bytes);
        if bytes.contains(&0) {
            return Err(TreePathError::Nul(shown()));
        }
        let mut path = Vec::with_capacity(bytes.len());
        for part in bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
            if part == b".." {
                return Err(TreePathError::Parent(shown()));
            }
            if part.len() > 255 {
                return Err(TreePathError::LongName(shown(), part.len()));
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        Ok(Self(path.into()))
    }

    /// Returns the bytes, without `/` at the front; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the directory that holds this path, or nothing for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// Returns the last part; empty for the root.
    pub fn name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// Tells whether this path is in the directory `above`, at any depth.
    pub fn is_below(&self, above: &Self) -> bool {
        match above.is_root() {
            true => !self.is_root(),
            false => self.0.strip_prefix(&*above.0).is_some_and(|rest| rest.first() == Some(&b'/')),
        }
    }

    /// Returns this path below `base`.
    pub fn below(&self, base: &Self) -> Self {
        match (base.is_root(), self.is_root()) {
            (true, _) => self.clone(),
            (_, true) => base.clone(),
            _ => Self([&base.0, b"/".as_slice(), &self.0].concat().into()),
        }
    }

    /// Returns the path of `name` in this directory.
    ///
    /// # Errors
    /// As [`TreePath::parse`]; also `..`, when `name` is that.
    pub fn join(&self, name: &[u8]) -> Result<Self, TreePathError> {
        Ok(Self::parse(name)?.below(self))
    }

    /// Returns the parts from the root on.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // By parts: a part ends before any byte of a longer one. Found at the first byte that differs, because
        // paths are compared all the time and have much in common.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        // Sixteen bytes at once, which one instruction compares.
        let ((one, _), (two, _)) = (self.0.as_chunks::<16>(), other.0.as_chunks::<16>());
        let same = 16 * one.iter().zip(two).take_while(|(one, two)| one == two).count();
        let differing = self.0[same..].iter().zip(&other.0[same..]).find(|(one, two)| one != two);
        differing.map_or_else(|| self.0.len().cmp(&other.0.len()), |(one, two)| rank(*one).cmp(&rank(*two)))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", shown(&self.0))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"/{}\"", self.0.escape_ascii())
    }
}

/// Parses a path as specs write it: absolute, UTF-8.
impl FromStr for TreePath {
    type Err = TreePathError;

    fn from_str(text: &str) -> Result<Self, TreePathError> {
        if !text.starts_with('/') {
            return Err(TreePathError::NotAbsolute(text.to_owned()));
        }
        Self::parse(text.as_bytes())
    }
}

crate::text::string_form!(TreePath, "TreePath", "^/", "An absolute path inside an image, without `..`.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_normalizes_and_refuses_escapes() {
        for (given, expected) in [("/a//b/./c/", "a/b/c"), ("/", ""), ("./x", "x"), ("a", "a")] {
            assert_eq!(TreePath::parse(given.as_bytes()).map(|p| p.as_bytes().to_vec()), Ok(expected.into()));
        }
        for bad in ["..", "/a/../b", "a\0", &"n".repeat(256)] {
            assert!(TreePath::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!("a".parse::<TreePath>().is_err());
    }

    #[test]
    fn a_directory_sorts_directly_before_what_is_below_it() {
        let mut paths: Vec<TreePath> = ["a.b", "a", "a/z", "b", "a-", "a/b/c"]
            .map(|p| TreePath::parse(p.as_bytes()).expect("good"))
            .into();
        paths.sort();
        let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["/a", "/a/b/c", "/a/z", "/a-", "/a.b", "/b"]);
    }

    #[test]
    fn order_is_that_of_parts_however_much_paths_have_in_common() {
        for common in 0..40 {
            let path = |end: &str| format!("/{}{end}", "a".repeat(common)).parse::<TreePath>();
            let sorted = ["b", "b/z", "b-", "b0", "c"].map(|end| path(end).expect("good"));
            for (index, one) in sorted.iter().enumerate() {
                for (other_index, other) in sorted.iter().enumerate() {
                    assert_eq!(one.cmp(other), index.cmp(&other_index), "{one} {other}");
                }
            }
        }
    }

    #[test]
    fn below_means_parts_not_bytes() {
        let path = |text: &str| text.parse::<TreePath>().expect(text);
        for (below, above, expected) in [
            ("/a/b/c", "/a", true),
            ("/a/b", "/a/b", false),
            ("/a/bc", "/a/b", false),
            ("/a", "/a/b", false),
            ("/a", "/", true),
            ("/", "/", false),
        ] {
            assert_eq!(path(below).is_below(&path(above)), expected, "{below} {above}");
        }
    }

    #[test]
    fn parents_names_and_joins() {
        let path = TreePath::parse(b"a/b").expect("good");
        assert_eq!(path.parent().map(|p| p.to_string()), Some("/a".to_owned()));
        assert_eq!(path.parent().and_then(|p| p.parent()), Some(TreePath::root()));
        assert_eq!(path.name(), b"b");
        assert_eq!(TreePath::root().parent(), None);
        assert_eq!(path.join(b"c\xff").map(|p| p.as_bytes().to_vec()), Ok(b"a/b/c\xff".to_vec()));
        assert_eq!(TreePath::root().join(b"c").map(|p| p.to_string()), Ok("/c".to_owned()));
    }
}
