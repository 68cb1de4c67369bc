//! Small options that specs and parameters write as one value.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, MapAccess, Visitor};

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

/// How a layer blob is compressed, written `"none"`, `"zstd"` or `{ zstd = LEVEL }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The blob is the tar itself.
    None,
    /// Zstandard at a level from 1 to 19.
    Zstd(i32),
}

/// Says that a text is not a compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// No such algorithm.
    #[error("compression `{0}` is not `none`, `zstd` or `{{ zstd = LEVEL }}`")]
    Unknown(String),
    /// The level is out of range.
    #[error("zstd level {0} is not from 1 to 19")]
    Level(i64),
}

impl Compression {
    /// zstd's own default level.
    const ZSTD_LEVEL: i32 = 3;

    fn zstd(level: i64) -> Result<Self, CompressionError> {
        // Levels 20 to 22 need more window than containerd's decoder grants.
        let good = i32::try_from(level).ok().filter(|level| (1..=19).contains(level));
        good.map(Self::Zstd).ok_or(CompressionError::Level(level))
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self::Zstd(Self::ZSTD_LEVEL)
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(text: &str) -> Result<Self, CompressionError> {
        match text {
            "none" => Ok(Self::None),
            "zstd" => Ok(Self::default()),
            other => Err(CompressionError::Unknown(other.to_owned())),
        }
    }
}

/// Always writes the long form, so that equal values have equal JSON.
impl serde::Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str("none"),
            Self::Zstd(level) => serializer.collect_map([("zstd", level)]),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Compression;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, `zstd` or `{ zstd = LEVEL }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Compression, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Compression, A::Error> {
                let entry: Option<(String, i64)> = map.next_entry()?;
                match (entry, map.next_key::<String>()?) {
                    (Some((name, level)), None) if name == "zstd" => {
                        Compression::zstd(level).map_err(de::Error::custom)
                    }
                    (Some((name, _)), None) => Err(de::Error::custom(CompressionError::Unknown(name))),
                    _ => Err(de::Error::custom("compression is a table with one key")),
                }
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Compression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Compression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "How a layer blob is compressed.",
            "oneOf": [
                { "enum": ["none", "zstd"] },
                {
                    "type": "object",
                    "properties": { "zstd": { "type": "integer", "minimum": 1, "maximum": 19 } },
                    "required": ["zstd"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

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

    #[test]
    fn owners() {
        assert_eq!("33:4294967294".parse(), Ok(Owner { uid: 33, gid: 4_294_967_294 }));
        for bad in ["", "33", "root:root", "1:", ":1", "1:4294967295", "1:-1", "+1:1"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
    }

    #[test]
    fn compressions() {
        let parse = serde_json::from_str::<Compression>;
        assert_eq!(parse("\"none\"").ok(), Some(Compression::None));
        assert_eq!(parse("\"zstd\"").ok(), Some(Compression::Zstd(3)));
        assert_eq!(parse("{\"zstd\": 19}").ok(), Some(Compression::Zstd(19)));
        for bad in ["\"lzma\"", "{\"zstd\": 20}", "{\"zstd\": 0}", "{}", "{\"zstd\":1,\"a\":2}", "3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(crate::json::encode(&Compression::default()), b"{\"zstd\":3}");
    }
}
