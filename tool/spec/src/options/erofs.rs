//! How the files of an EROFS image are compressed.

use super::level;

/// How the files of an EROFS image are compressed, written `"none"`, `"lz4"`, `"zstd"`, `{ lz4 = LEVEL }` or
/// `{ zstd = LEVEL }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErofsCompression {
    /// Not at all.
    #[default]
    None,
    /// LZ4 at a level from 1 to 12, as its HC mode counts them; every kernel with EROFS reads it.
    Lz4(i32),
    /// Zstandard at a level from 1 to 19; Linux reads it since 6.10.
    Zstd(i32),
}

/// Says that a text is no compression of an EROFS image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErofsCompressionError {
    /// No such algorithm.
    #[error(
        "compression `{0}` of an erofs is not `none`, `lz4`, `zstd`, `{{ lz4 = LEVEL }}` or `{{ zstd = LEVEL }}`"
    )]
    Unknown(String),
    /// The level is out of range.
    #[error("{0} level {1} is not from 1 to {2}")]
    Level(&'static str, i64, i32),
}

impl ErofsCompression {
    /// LZ4's own default of its HC mode.
    const LZ4_LEVEL: i32 = 9;
    /// The strongest level of LZ4.
    const MAX_LZ4_LEVEL: i32 = 12;
    /// zstd's own default level.
    const ZSTD_LEVEL: i32 = 3;
    /// Levels 20 to 22 only have larger windows, which clusters do not fill.
    const MAX_ZSTD_LEVEL: i32 = 19;

    fn new(name: &str, level: Option<i64>) -> Result<Self, ErofsCompressionError> {
        let (make, name, usual, max): (fn(i32) -> Self, _, _, _) = match name {
            "none" if level.is_none() => return Ok(Self::None),
            "lz4" => (Self::Lz4, "lz4", Self::LZ4_LEVEL, Self::MAX_LZ4_LEVEL),
            "zstd" => (Self::Zstd, "zstd", Self::ZSTD_LEVEL, Self::MAX_ZSTD_LEVEL),
            other => return Err(ErofsCompressionError::Unknown(other.to_owned())),
        };
        let level = level.unwrap_or(usual.into());
        let good = i32::try_from(level).ok().filter(|level| (1..=max).contains(level));
        good.map(make).ok_or(ErofsCompressionError::Level(name, level, max))
    }
}

impl serde::Serialize for ErofsCompression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, value) = match self {
            Self::None => ("none", None),
            Self::Lz4(value) => ("lz4", Some(*value)),
            Self::Zstd(value) => ("zstd", Some(*value)),
        };
        level::serialize(serializer, name, value)
    }
}

impl<'de> serde::Deserialize<'de> for ErofsCompression {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "`none`, `lz4`, `zstd`, `{ lz4 = LEVEL }` or `{ zstd = LEVEL }`";
        level::deserialize(deserializer, expected, Self::new)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ErofsCompression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ErofsCompression".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        level::schema(
            "How the files of an EROFS image are compressed.",
            &["none", "lz4", "zstd"],
            &[("lz4", Self::MAX_LZ4_LEVEL), ("zstd", Self::MAX_ZSTD_LEVEL)],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_levels() {
        let parse = serde_json::from_str::<ErofsCompression>;
        for (text, expected) in [
            ("\"none\"", ErofsCompression::None),
            ("\"lz4\"", ErofsCompression::Lz4(9)),
            ("{\"lz4\": 12}", ErofsCompression::Lz4(12)),
            ("\"zstd\"", ErofsCompression::Zstd(3)),
            ("{\"zstd\": 1}", ErofsCompression::Zstd(1)),
        ] {
            assert_eq!(parse(text).expect(text), expected);
        }
        for bad in ["\"gzip\"", "{\"lz4\": 13}", "{\"zstd\": 0}", "{\"none\": 1}", "{}", "3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
