//! What a file system is called: its label and its UUID.

use std::fmt;
use std::str::FromStr;

use crate::Digest;
use crate::text::string_form;

/// The label of a volume, by which it is found (`LABEL=`): at most 15 bytes without NUL, which is what EROFS has room for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Label(String);

/// Says that a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label `{0}`: a volume's label has at most 15 bytes and no NUL")]
pub struct LabelError(String);

impl Label {
    /// The most bytes that a label has.
    const MAX: usize = 15;

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let good = text.len() <= Self::MAX && !text.contains('\0');
        if good { Ok(Self(text.to_owned())) } else { Err(LabelError(text.to_owned())) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(Label, "Label", "^[^\\u0000]{0,15}$", "A volume's label, at most 15 bytes.");

/// A UUID (RFC 9562), written as `8d3a1c52-3c6f-4d8e-9b1a-0c2f4e6a8b0d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

/// Says that a text is no UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("UUID `{0}` is not hexadecimal digits as 8-4-4-4-12")]
pub struct UuidError(String);

impl Uuid {
    /// Makes one of a digest (RFC 9562, version 8).
    pub fn of_digest(digest: &Digest) -> Self {
        let mut bytes: [u8; 16] = digest.as_bytes()[..16].try_into().expect("a digest has 32");
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }

    /// The digits of each part.
    const PARTS: [usize; 5] = [8, 4, 4, 4, 12];

    /// Returns the bytes in the order in which they are written.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let bad = || UuidError(text.to_owned());
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !text.split('-').map(str::len).eq(Self::PARTS) || !text.split('-').all(digits) {
            return Err(bad());
        }
        let number = u128::from_str_radix(&text.replace('-', ""), 16).map_err(|_| bad())?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = crate::hex(&self.0);
        let mut rest = hex.as_str();
        for (index, count) in Self::PARTS.into_iter().enumerate() {
            let (part, more) = rest.split_at(count);
            write!(f, "{}{part}", if index == 0 { "" } else { "-" })?;
            rest = more;
        }
        Ok(())
    }
}

string_form!(
    Uuid,
    "Uuid",
    "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
    "A UUID, as `8d3a1c52-3c6f-4d8e-9b1a-0c2f4e6a8b0d`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_fit_into_their_place() {
        for good in ["", "seed", "fifteen bytes !"] {
            assert_eq!(good.parse::<Label>().expect(good).as_str(), good);
        }
        for bad in ["sixteen bytes !!", "a\0b", "ääääääää"] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uuids_are_what_they_are_written_as() {
        let text = "8d3a1c52-3c6f-4d8e-9b1a-0c2f4e6a8b0d";
        let uuid: Uuid = text.parse().expect(text);
        assert_eq!(uuid.as_bytes()[..4], [0x8d, 0x3a, 0x1c, 0x52]);
        assert_eq!(uuid.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(uuid));
        for bad in
            ["", "8d3a1c523c6f4d8e9b1a0c2f4e6a8b0d", &text[1..], &format!("{text}0"), &text.replace('8', "+")]
        {
            assert!(bad.parse::<Uuid>().is_err(), "{bad}");
        }
    }
}
