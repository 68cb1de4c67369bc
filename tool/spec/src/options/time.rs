//! Times of files: seconds and nanoseconds since the epoch.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Visitor};

/// A time, written as decimal seconds since the epoch: `"0"`, `"1700000000.5"`, `"-1.5"`.
///
/// Order is that of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

/// Says that a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time `{found}` is not decimal seconds since the epoch, as `1700000000` or `1700000000.5`")]
pub struct TimestampError {
    found: String,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };

    const BILLION: u32 = 1_000_000_000;

    /// Makes a time of whole seconds, which may be before the epoch, and the nanoseconds after them.
    ///
    /// Nanoseconds from a billion on are dropped.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds: if nanoseconds < Self::BILLION { nanoseconds } else { 0 } }
    }

    /// Returns whole seconds, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds after the whole seconds, below a billion.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// Parses decimal seconds; digits beyond nanoseconds are dropped, as PAX says readers may.
    fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let seconds: i64 = whole.parse().ok()?;
        let nanoseconds = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
        let nanoseconds = nanoseconds.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        Some(match (negative, nanoseconds) {
            (false, _) => Self { seconds, nanoseconds },
            (true, 0) => Self { seconds: -seconds, nanoseconds },
            (true, _) => Self { seconds: -seconds - 1, nanoseconds: Self::BILLION - nanoseconds },
        })
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        Self::parse(text).ok_or_else(|| TimestampError { found: text.to_owned() })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before_epoch = self.seconds < 0;
        let (whole, fraction) = match (before_epoch, self.nanoseconds) {
            (true, nanoseconds @ 1..) => ((self.seconds + 1).unsigned_abs(), Self::BILLION - nanoseconds),
            (_, nanoseconds) => (self.seconds.unsigned_abs(), nanoseconds),
        };
        write!(f, "{}{whole}", if before_epoch { "-" } else { "" })?;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Takes a whole number too, as people write times in TOML.
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl Visitor<'_> for Form {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the epoch, a whole number or a text with decimals")
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Timestamp, E> {
                Ok(Timestamp::new(seconds, 0))
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Timestamp, E> {
                i64::try_from(seconds).map(|seconds| Timestamp::new(seconds, 0)).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Seconds since the epoch.",
            "oneOf": [{ "type": "integer" }, { "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$" }]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_go_both_ways() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("1700000000.000000001", 1_700_000_000, 1),
            ("-1", -1, 0),
            ("-1.5", -2, 500_000_000),
            ("-0.25", -1, 750_000_000),
        ] {
            let time: Timestamp = text.parse().expect(text);
            assert_eq!((time.seconds(), time.nanoseconds()), (seconds, nanoseconds), "{text}");
            assert_eq!(time.to_string(), text);
        }
        assert_eq!("1.1234567899".parse(), Ok(Timestamp::new(1, 123_456_789)));
        for bad in ["", "-", "1.", ".5", "1e3", "+1", "--1", "1.-5", "9223372036854775808"] {
            assert!(bad.parse::<Timestamp>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_taken_too() {
        let parse = serde_json::from_str::<Timestamp>;
        assert_eq!(parse("-3").ok(), Some(Timestamp::new(-3, 0)));
        assert_eq!(parse("\"3.5\"").ok(), Some(Timestamp::new(3, 500_000_000)));
        assert!(parse("1.5").is_err(), "a float would lose nanoseconds");
        assert_eq!(crate::json::encode(&Timestamp::new(3, 0)), b"\"3\"");
    }
}
