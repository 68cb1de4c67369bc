//! Texts: serde and schema for types that are written as one string, and bytes shown as text.
//!
//! Every such type has a private field, one `FromStr` and one `Display`; this
//! macro makes its JSON form exactly that string, so that a value that was
//! parsed once is never checked again.

use std::path::Path;

/// Implements `Serialize`, `Deserialize` and, with the feature `schema`,
/// `JsonSchema` for a type with `FromStr` and `Display`.
macro_rules! string_form {
    ($type:ty, $name:literal, $pattern:literal, $description:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    };
}

pub(crate) use string_form;

/// Writes bytes as text that says all of them: a backslash is doubled, what is no UTF-8 is `\xNN`.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        chunk.invalid().iter().for_each(|byte| text.extend(["\\x", &hex(&[*byte])]));
    }
    text
}

/// Shows a name in a message: as it is, or as [`escape`] writes it where it is no UTF-8.
pub fn shown(name: &[u8]) -> String {
    str::from_utf8(name).map_or_else(|_| escape(name), str::to_owned)
}

/// Shows a path of the host in a message, as [`shown`].
pub fn shown_path(path: &Path) -> String {
    shown(path.as_os_str().as_encoded_bytes())
}

/// Writes bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Returns an error and what caused it as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_whole() {
        let cases: [(&[u8], &str, &str); 4] = [
            (b"a b", "a b", "a b"),
            (b"a\\b", "a\\\\b", "a\\b"),
            (b"a\xff\xc3\xa4", "a\\xffä", "a\\xffä"),
            (b"\\xff\xff", "\\\\xff\\xff", "\\\\xff\\xff"),
        ];
        for (bytes, escaped, as_shown) in cases {
            assert_eq!((escape(bytes), shown(bytes)), (escaped.to_owned(), as_shown.to_owned()), "{bytes:?}");
        }
    }
}
