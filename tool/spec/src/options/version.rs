//! The version of the containerd that a target has.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// A version of containerd as `MAJOR.MINOR`, 1.6 or newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerdVersion {
    major: u16,
    minor: u16,
}

/// Says that a text is no version of containerd that can be written for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("containerd version `{0}` is not `MAJOR.MINOR`, 1.6 or newer")]
pub struct ContainerdVersionError(String);

impl ContainerdVersion {
    /// The oldest that is written for.
    const OLDEST: Self = Self { major: 1, minor: 6 };

    /// Returns the first number.
    pub fn major(self) -> u16 {
        self.major
    }
}

impl FromStr for ContainerdVersion {
    type Err = ContainerdVersionError;

    fn from_str(text: &str) -> Result<Self, ContainerdVersionError> {
        let number = |part: &str| {
            let plain =
                part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            part.parse().ok().filter(|_| plain)
        };
        let parsed = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: number(major)?, minor: number(minor)? }));
        parsed
            .filter(|version| *version >= Self::OLDEST)
            .ok_or_else(|| ContainerdVersionError(text.to_owned()))
    }
}

impl fmt::Display for ContainerdVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

string_form!(
    ContainerdVersion,
    "ContainerdVersion",
    "^[1-9][0-9]*\\.(0|[1-9][0-9]*)$",
    "A version of containerd, 1.6 or newer, as `2.1`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_are_written_for() {
        for (text, major) in [("1.6", 1), ("1.10", 1), ("2.0", 2), ("2.1", 2), ("10.0", 10)] {
            let version: ContainerdVersion = text.parse().expect(text);
            assert_eq!((version.major(), version.to_string().as_str()), (major, text));
        }
        for text in
            ["", "2", "1.5", "0.9", "2.1.9", "02.1", "2.01", "v2.1", "2.", ".1", "+2.1", "2.-1", "99999.1"]
        {
            assert!(text.parse::<ContainerdVersion>().is_err(), "{text}");
        }
    }
}
