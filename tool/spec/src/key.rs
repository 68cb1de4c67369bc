//! Names that a spec gives to its layers, images, bundles and seeds.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// A name in a spec: a lower-case letter or digit, then those and `.`, `_`, `-`.
///
/// It becomes a file name of the output directory, so no other characters are
/// taken and it is at most 128 bytes long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(String);

/// Says that a text cannot be a [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name `{found}` does not match [a-z0-9][a-z0-9._-]* with at most 128 bytes")]
pub struct KeyError {
    found: String,
}

impl Key {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let good = bytes.len() <= 128
            && bytes.first().is_some_and(plain)
            && bytes.iter().all(|byte| plain(byte) || b"._-".contains(byte));
        if good { Ok(Self(text.to_owned())) } else { Err(KeyError { found: text.to_owned() }) }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(Key, "Key", "^[a-z0-9][a-z0-9._-]{0,127}$", "A name that a spec gives to one of its parts.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_file_names() {
        for good in ["a", "0", "web-1.2_x", &"a".repeat(128)] {
            assert!(good.parse::<Key>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "A", "a/b", "a b", "é", &"a".repeat(129)] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
    }
}
