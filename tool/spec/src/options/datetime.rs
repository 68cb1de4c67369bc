//! Points in time as image configurations write them.

use std::fmt;
use std::str::FromStr;

use crate::text::string_form;

/// A time in UTC (RFC 3339 with `Z`), kept as it was written: `2026-01-31T12:00:00Z`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateTime(Box<str>);

/// Says that a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time `{found}` is not of the form `2026-01-31T12:00:00Z`")]
pub struct DateTimeError {
    found: String,
}

impl DateTime {
    /// Returns the epoch, which everything that we make bears unless the spec says otherwise.
    pub fn epoch() -> Self {
        Self("1970-01-01T00:00:00Z".into())
    }

    fn is_good(text: &str) -> bool {
        let Some((whole, fraction)) =
            text.strip_suffix('Z').map(|text| text.split_once('.').unwrap_or((text, "0")))
        else {
            return false;
        };
        let shape = "dddd-dd-ddTdd:dd:dd";
        let fits = |(byte, expected): (u8, u8)| match expected {
            b'd' => byte.is_ascii_digit(),
            expected => byte == expected,
        };
        let shaped = whole.len() == shape.len() && whole.bytes().zip(shape.bytes()).all(fits);
        let fraction =
            (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
        let number =
            |range: std::ops::Range<usize>| whole.get(range).and_then(|part| part.parse::<u32>().ok());
        let within = |range, from, to| number(range).is_some_and(|number| (from..=to).contains(&number));
        let days = match (number(0..4), number(5..7)) {
            (Some(year), Some(2)) => 28 + u32::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)),
            (_, Some(4 | 6 | 9 | 11)) => 30,
            _ => 31,
        };
        shaped
            && fraction
            && within(5..7, 1, 12)
            && within(8..10, 1, days)
            && within(11..13, 0, 23)
            && within(14..16, 0, 59)
            && within(17..19, 0, 59)
    }
}

impl FromStr for DateTime {
    type Err = DateTimeError;

    fn from_str(text: &str) -> Result<Self, DateTimeError> {
        if Self::is_good(text) {
            Ok(Self(text.into()))
        } else {
            Err(DateTimeError { found: text.to_owned() })
        }
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

string_form!(
    DateTime,
    "DateTime",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$",
    "A time in UTC, as `2026-01-31T12:00:00Z`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_that_exist() {
        for good in ["1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-01-31T12:00:00.123456789Z"] {
            assert_eq!(good.parse::<DateTime>().map(|time| time.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00+00:00",
            "1970-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:0\u{e9}Z",
        ] {
            assert!(bad.parse::<DateTime>().is_err(), "{bad}");
        }
    }
}
