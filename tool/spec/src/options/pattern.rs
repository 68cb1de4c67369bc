//! Patterns over paths (globs).

use std::fmt;
use std::str::FromStr;

use crate::TreePath;
use crate::text::string_form;

/// A pattern over paths below some root: `*` and `?` within a part, `**` over parts, `[…]` and `{a,b}`.
///
/// One without a `/` is matched against the last part alone, at any depth; a `/` in front says that the whole
/// path is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

/// Says that a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It cannot match anything.
    #[error("pattern `{0}` is empty, or has an empty, `.` or `..` part")]
    Part(String),
    /// A bracket or brace is not closed.
    #[error("pattern `{0}` has `[` or `{{` without its end")]
    Open(String),
}

impl Pattern {
    /// Tells whether the pattern says this very path.
    pub fn matches(&self, path: &TreePath) -> bool {
        let whole = self.0.contains('/');
        let against = if whole { path.as_bytes() } else { path.name() };
        !path.is_root() && fast_glob::glob_match(self.0.strip_prefix('/').unwrap_or(&self.0), against)
    }

    /// Tells whether the pattern says this path or a directory that it is in.
    pub fn covers(&self, path: &TreePath) -> bool {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            if self.matches(&path) {
                return true;
            }
            at = path.parent();
        }
        false
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let path = text.strip_prefix('/').unwrap_or(text);
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(PatternError::Part(text.to_owned()));
        }
        if !closed(path) {
            return Err(PatternError::Open(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Tells whether brackets and braces end, with `\` taking the meaning of what follows.
fn closed(text: &str) -> bool {
    let (mut braces, mut bracket, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b']' => bracket = false,
            _ if bracket => {}
            b'[' => bracket = true,
            b'{' => braces += 1,
            b'}' => match braces.checked_sub(1) {
                Some(left) => braces = left,
                None => return false,
            },
            _ => {}
        }
    }
    braces == 0 && !bracket && !escaped
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(Pattern, "Pattern", ".", "A pattern over paths, as `usr/bin/*` or `*.map`.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_documented() {
        let cases = [
            ("*.map", "a/b/x.map", true),
            ("*.map", "x.map", true),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**/b", "b", true),
            ("**", "a/b", true),
            ("a/[bc]", "a/c", true),
            ("a/[!bc]", "a/d", true),
            ("a/[!bc]", "a/c", false),
            ("a/*/[!c]*", "a/x/changelog", false),
            ("a/*/[!c]*", "a/x/a-c", true),
            ("a/*/[!c]*", "a/x/y/z", false),
            ("a[!x]b", "a/b", false),
            ("{a,b}/x", "b/x", true),
            ("/a", "a", true),
            ("/a", "b/a", false),
            ("/a/b", "a/b", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
        ];
        for (pattern, path, expected) in cases {
            let parsed: Pattern = pattern.parse().expect(pattern);
            let path = TreePath::parse(path.as_bytes()).expect("path");
            assert_eq!(parsed.matches(&path), expected, "{pattern} {path}");
        }
        let any: Pattern = "a*".parse().expect("good");
        assert!(any.matches(&TreePath::parse(b"a\xff\xfe").expect("path")), "bytes need not be UTF-8");
        assert!(!any.matches(&TreePath::root()));
    }

    #[test]
    fn a_directory_covers_what_is_below() {
        let pattern: Pattern = "var/cache".parse().expect("good");
        for (path, covered) in [("var/cache", true), ("var/cache/a/b", true), ("var", false)] {
            assert_eq!(pattern.covers(&TreePath::parse(path.as_bytes()).expect("path")), covered, "{path}");
        }
    }

    #[test]
    fn what_cannot_match_is_refused() {
        for bad in ["", "/", "a//b", "../a", "./a", "a/", "[a", "{a", "a}", "a\\"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }
}
