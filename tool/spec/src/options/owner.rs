//! Owners, by number and by name.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// The owner of a path in an image, written `"uid:gid"` with numbers up to 2^32-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
}

/// Says that a text is not an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("owner `{found}` is not `uid:gid` with two numbers, as in `33:33`")]
pub struct OwnerError {
    found: String,
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        // 2^32-1 is the kernel's "no id" (-1) and cannot own anything.
        let id = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten().filter(|id| *id != u32::MAX)
        };
        let ids = text.split_once(':').and_then(|(uid, gid)| id(uid).zip(id(gid)));
        ids.map(|(uid, gid)| Self { uid, gid }).ok_or_else(|| OwnerError { found: text.to_owned() })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

string_form!(Owner, "Owner", "^[0-9]+:[0-9]+$", "Numeric owner, as `33:33`.");

/// The name of a user or group, which tars carry beside the number and engines do not use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnerName(Box<[u8]>);

/// Says that a text is not the name of a user or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name of a user or group `{found}` does not have 1 to 255 bytes without NUL, `:` and newline")]
pub struct OwnerNameError {
    found: String,
}

impl OwnerName {
    /// Parses a name, which need not be UTF-8.
    ///
    /// # Errors
    /// It is empty, too long, or has bytes that passwd files cannot hold.
    pub fn parse(bytes: &[u8]) -> Result<Self, OwnerNameError> {
        let bad = |byte: &u8| matches!(byte, 0 | b':' | b'\n');
        if bytes.is_empty() || bytes.len() > 255 || bytes.iter().any(bad) {
            return Err(OwnerNameError { found: String::from_utf8_lossy(bytes).into_owned() });
        }
        Ok(Self(bytes.into()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for OwnerName {
    type Err = OwnerNameError;

    fn from_str(text: &str) -> Result<Self, OwnerNameError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for OwnerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

string_form!(OwnerName, "OwnerName", "^[^:\\n]{1,255}$", "Name of a user or group.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners() {
        assert_eq!("33:4294967294".parse(), Ok(Owner { uid: 33, gid: 4_294_967_294 }));
        for bad in ["", "33", "root:root", "1:", ":1", "1:4294967295", "1:-1", "+1:1"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
    }
}
