//! How a layer blob is compressed.

use std::str::FromStr;

use super::level;

/// How a layer blob is compressed, written `"none"`, `"gzip"`, `"zstd"`, `{ gzip = LEVEL }` or `{ zstd = LEVEL }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// The blob is the tar itself.
    None,
    /// gzip at a level from 1 to 12, as libdeflate counts them.
    Gzip(i32),
    /// Zstandard at a level from 1 to 19.
    Zstd(i32),
}

/// Says that a text is not a compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompressionError {
    /// No such algorithm.
    #[error("compression `{0}` is not `none`, `gzip`, `zstd`, `{{ gzip = LEVEL }}` or `{{ zstd = LEVEL }}`")]
    Unknown(String),
    /// The level is out of range.
    #[error("{0} level {1} is not from 1 to {2}")]
    Level(&'static str, i64, i32),
}

impl Compression {
    /// libdeflate's and gzip's own default level.
    const GZIP_LEVEL: i32 = 6;
    /// The strongest level of libdeflate.
    const MAX_GZIP_LEVEL: i32 = 12;
    /// zstd's own default level.
    const ZSTD_LEVEL: i32 = 3;
    /// Levels 20 to 22 need more window than containerd's decoder grants.
    const MAX_ZSTD_LEVEL: i32 = 19;

    fn new(name: &str, level: Option<i64>) -> Result<Self, CompressionError> {
        let (make, name, usual, max): (fn(i32) -> Self, _, _, _) = match name {
            "none" if level.is_none() => return Ok(Self::None),
            "gzip" => (Self::Gzip, "gzip", Self::GZIP_LEVEL, Self::MAX_GZIP_LEVEL),
            "zstd" => (Self::Zstd, "zstd", Self::ZSTD_LEVEL, Self::MAX_ZSTD_LEVEL),
            other => return Err(CompressionError::Unknown(other.to_owned())),
        };
        let level = level.unwrap_or(usual.into());
        let good = i32::try_from(level).ok().filter(|level| (1..=max).contains(level));
        good.map(make).ok_or(CompressionError::Level(name, level, max))
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
        Self::new(text, None)
    }
}

impl serde::Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, value) = match self {
            Self::None => ("none", None),
            Self::Gzip(value) => ("gzip", Some(*value)),
            Self::Zstd(value) => ("zstd", Some(*value)),
        };
        level::serialize(serializer, name, value)
    }
}

impl<'de> serde::Deserialize<'de> for Compression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "`none`, `gzip`, `zstd`, `{ gzip = LEVEL }` or `{ zstd = LEVEL }`";
        level::deserialize(deserializer, expected, Self::new)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Compression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Compression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        level::schema(
            "How a layer blob is compressed.",
            &["none", "gzip", "zstd"],
            &[("gzip", Self::MAX_GZIP_LEVEL), ("zstd", Self::MAX_ZSTD_LEVEL)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressions() {
        let parse = serde_json::from_str::<Compression>;
        assert_eq!(parse("\"none\"").ok(), Some(Compression::None));
        assert_eq!(parse("\"zstd\"").ok(), Some(Compression::Zstd(3)));
        assert_eq!(parse("\"gzip\"").ok(), Some(Compression::Gzip(6)));
        assert_eq!(parse("{\"gzip\": 12}").ok(), Some(Compression::Gzip(12)));
        assert_eq!(parse("{\"zstd\": 19}").ok(), Some(Compression::Zstd(19)));
        for bad in [
            "\"lzma\"",
            "{\"zstd\": 20}",
            "{\"zstd\": 0}",
            "{\"gzip\": 13}",
            "{}",
            "{\"zstd\":1,\"a\":2}",
            "3",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(crate::json::encode(&Compression::default()), b"{\"zstd\":3}");
    }
}
