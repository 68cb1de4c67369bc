//! Bytes and times as text: what an entry of the list writes for names, targets, digests and modification times.

use std::fmt::Write;

/// Writes bytes as text: a backslash twice, and each byte that is not part of valid UTF-8 as `\xNN`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    text
}

/// Writes bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// Writes a time as decimal seconds since 1970, with no more digits than it needs.
pub(crate) fn time(seconds: i64, nanoseconds: u32) -> String {
    // The kernel counts nanoseconds upwards from the second, before 1970 too: -1.5 is -2 s and 500,000,000 ns.
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let sign = if total < 0 { "-" } else { "" };
    let (whole, part) = (total.unsigned_abs() / 1_000_000_000, total.unsigned_abs() % 1_000_000_000);
    let fraction = format!(".{part:09}");
    format!("{sign}{whole}{}", fraction.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_other_bytes_are_escaped() {
        for (bytes, text) in [
            (&b"/etc/motd"[..], "/etc/motd"),
            ("/zürich".as_bytes(), "/zürich"),
            (b"/caf\xe9", "/caf\\xe9"),
            // A name that spells an escape must not look like the byte.
            (b"/caf\\xe9", "/caf\\\\xe9"),
            // A character that is cut off, and a surrogate, which UTF-8 has none of: each byte for itself.
            (b"a\xe2\x82z", "a\\xe2\\x82z"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            (b"a\nb", "a\nb"),
        ] {
            assert_eq!(escape(bytes), text);
        }
    }

    #[test]
    fn hexadecimal_digits_keep_leading_zeros() {
        assert_eq!(hex(b"\x00\x0fhello\xff"), "000f68656c6c6fff");
    }

    #[test]
    fn times_have_no_needless_digits() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (1_700_000_000, 123_456_789, "1700000000.123456789"),
            (10, 1, "10.000000001"),
            (10, 0, "10"),
            (-2, 500_000_000, "-1.5"),
            (-1, 500_000_000, "-0.5"),
            (-1, 0, "-1"),
        ] {
            assert_eq!(time(seconds, nanoseconds), text);
        }
    }
}
