//! Device nodes.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// A device node, written `"c MAJOR:MINOR"` or `"b MAJOR:MINOR"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Device {
    /// Which kind.
    pub kind: DeviceKind,
    /// The number of the driver.
    pub major: u32,
    /// The number of the device.
    pub minor: u32,
}

/// The kinds of device nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
}

/// Says that a text is not a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device `{found}` is not `c MAJOR:MINOR` or `b MAJOR:MINOR`, as in `c 1:3`")]
pub struct DeviceError {
    found: String,
}

impl FromStr for Device {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        let parse = || {
            let (kind, numbers) = text.split_once(' ')?;
            let kind = match kind {
                "c" => DeviceKind::Char,
                "b" => DeviceKind::Block,
                _ => return None,
            };
            let (major, minor) = numbers.split_once(':')?;
            Some(Self { kind, major: number(major)?, minor: number(minor)? })
        };
        parse().ok_or_else(|| DeviceError { found: text.to_owned() })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        write!(f, "{kind} {}:{}", self.major, self.minor)
    }
}

string_form!(Device, "Device", "^[bc] [0-9]+:[0-9]+$", "A device node, as `c 1:3`.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_go_both_ways() {
        for text in ["c 1:3", "b 259:300", "c 4294967295:0"] {
            assert_eq!(text.parse::<Device>().map(|device| device.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "1:3", "x 1:3", "c 1", "c 1:", "c -1:3", "c 4294967296:0", "c  1:3", "c +1:3"] {
            assert!(bad.parse::<Device>().is_err(), "{bad}");
        }
    }
}
