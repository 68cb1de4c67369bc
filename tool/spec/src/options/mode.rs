//! Permission bits.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// The permission bits of a path in an image, written in octal as `"0755"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(u16);

/// Says that a text is not a file mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode `{found}` is not three or four octal digits, as in `0644`")]
pub struct FileModeError {
    found: String,
}

impl FileMode {
    /// Makes a mode of its twelve bits; higher bits are dropped.
    pub const fn new(bits: u16) -> Self {
        Self(bits & 0o7777)
    }

    /// Returns the bits, 0 to 0o7777.
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl FromStr for FileMode {
    type Err = FileModeError;

    fn from_str(text: &str) -> Result<Self, FileModeError> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = octal.then(|| u16::from_str_radix(text, 8).ok()).flatten();
        bits.map(Self).ok_or_else(|| FileModeError { found: text.to_owned() })
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

string_form!(FileMode, "FileMode", "^[0-7]{3,4}$", "Permission bits in octal, as `0644`.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!("0644".parse::<FileMode>().map(FileMode::bits), Ok(0o644));
        assert_eq!("4755".parse::<FileMode>().map(|m| m.to_string()), Ok("4755".to_owned()));
        for bad in ["", "64", "0o644", "888", "07777", "+644", "64 4"] {
            assert!(bad.parse::<FileMode>().is_err(), "{bad}");
        }
    }
}
