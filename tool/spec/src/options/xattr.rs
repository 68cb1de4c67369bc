//! Extended attributes.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, MapAccess, Visitor};

use crate::text::string_form;

/// The name of an extended attribute, with its namespace: `user.origin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct XattrName(Box<[u8]>);

/// Says what is wrong with an extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XattrError {
    /// The name is not one that Linux has.
    #[error(
        "xattr `{0}`: a name has a namespace (`user.`, `security.`, `system.`, `trusted.`) and at most 255 bytes"
    )]
    Name(String),
    /// The attribute would make overlay metadata.
    #[error("xattr `{0}`: whiteouts and opaque directories alone make overlay metadata")]
    Overlay(String),
    /// The value is larger than Linux takes (XATTR_SIZE_MAX).
    #[error("an xattr has a value of {0} bytes, at most 65536 are possible")]
    Size(usize),
    /// The value is not what it says it is.
    #[error("xattr value `{0}` is not hexadecimal")]
    Hex(String),
}

impl XattrName {
    /// The longest name that Linux takes (XATTR_NAME_MAX).
    const MAX: usize = 255;
    const NAMESPACES: [&[u8]; 4] = [b"user.", b"security.", b"system.", b"trusted."];

    /// Parses a name, which need not be UTF-8.
    ///
    /// # Errors
    /// A namespace that Linux does not have, nothing behind it, too many bytes, a NUL or `=`, or `trusted.overlay.*`.
    pub fn parse(bytes: &[u8]) -> Result<Self, XattrError> {
        let shown = || String::from_utf8_lossy(bytes).into_owned();
        // A PAX record's key ends at the first `=`, so no tar can hold a name with one.
        let good = |name: &&[u8]| !name.is_empty() && !name.iter().any(|byte| matches!(byte, 0 | b'='));
        let named = Self::NAMESPACES.iter().find_map(|namespace| bytes.strip_prefix(*namespace));
        if named.filter(good).is_none() || bytes.len() > Self::MAX {
            return Err(XattrError::Name(shown()));
        }
        if bytes.starts_with(b"trusted.overlay.") {
            return Err(XattrError::Overlay(shown()));
        }
        Ok(Self(bytes.into()))
    }

    /// Returns the name of what makes a directory opaque for overlayfs, which no spec or tar may say.
    pub fn overlay_opaque() -> Self {
        Self((*b"trusted.overlay.opaque").into())
    }

    /// Parses a name of a file system, which may be of overlayfs.
    ///
    /// # Errors
    /// As [`XattrName::parse`], but `trusted.overlay.*` is good.
    pub fn of_file_system(bytes: &[u8]) -> Result<Self, XattrError> {
        match Self::parse(bytes) {
            Err(XattrError::Overlay(_)) => Ok(Self(bytes.into())),
            parsed => parsed,
        }
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether this is an attribute of users, which Linux keeps of files and directories only.
    pub fn is_user(&self) -> bool {
        self.0.starts_with(b"user.")
    }
}

impl FromStr for XattrName {
    type Err = XattrError;

    fn from_str(text: &str) -> Result<Self, XattrError> {
        Self::parse(text.as_bytes())
    }
}

impl fmt::Display for XattrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

string_form!(
    XattrName,
    "XattrName",
    "^(user|security|system|trusted)\\..",
    "Name of an extended attribute, as `user.origin`."
);

/// The value of an extended attribute, written as text or as `{ hex = "00ff" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrValue(Box<[u8]>);

impl XattrValue {
    /// The longest value that Linux takes (XATTR_SIZE_MAX).
    pub const MAX: usize = 65_536;

    /// Makes a value of bytes.
    ///
    /// # Errors
    /// More than [`XattrValue::MAX`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, XattrError> {
        if bytes.len() > Self::MAX {
            return Err(XattrError::Size(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_hex(text: &str) -> Result<Self, XattrError> {
        let pair =
            |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let whole = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bytes: Option<Vec<u8>> = whole.then(|| text.as_bytes().chunks(2).map(pair).collect()).flatten();
        Self::new(&bytes.ok_or_else(|| XattrError::Hex(text.to_owned()))?)
    }
}

/// Writes text where it is text, so that equal values have equal JSON.
impl serde::Serialize for XattrValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_map([("hex", crate::text::hex(&self.0))]),
        }
    }
}

impl<'de> serde::Deserialize<'de> for XattrValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = XattrValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or `{ hex = \"…\" }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<XattrValue, E> {
                XattrValue::new(text.as_bytes()).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<XattrValue, A::Error> {
                let entry: Option<(String, String)> = map.next_entry()?;
                match (entry, map.next_key::<String>()?) {
                    (Some((key, hex)), None) if key == "hex" => {
                        XattrValue::from_hex(&hex).map_err(de::Error::custom)
                    }
                    _ => {
                        Err(de::Error::custom("an xattr's value is a text or a table with the one key `hex`"))
                    }
                }
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for XattrValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "XattrValue".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Value of an extended attribute.",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "hex": { "type": "string", "pattern": "^([0-9a-fA-F]{2})*$" } },
                    "required": ["hex"],
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
    fn names_have_a_namespace_and_make_no_overlay_metadata() {
        for good in ["user.a", "security.capability", "system.posix_acl_access", "trusted.x"] {
            assert!(good.parse::<XattrName>().is_ok(), "{good}");
        }
        let long = format!("user.{}", "a".repeat(251));
        for bad in ["", "a", "user.", "other.a", "user.a=b", "user.a\0", &long, "trusted.overlay.opaque"] {
            assert!(bad.parse::<XattrName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_text_or_hexadecimal() {
        let parse = serde_json::from_str::<XattrValue>;
        assert_eq!(parse("\"aé\"").expect("text").as_bytes(), "aé".as_bytes());
        let binary = parse("{\"hex\": \"00Ff\"}").expect("hex");
        assert_eq!(binary.as_bytes(), [0, 255]);
        assert_eq!(crate::json::encode(&binary), b"{\"hex\":\"00ff\"}");
        assert_eq!(crate::json::encode(&parse("{\"hex\": \"61\"}").expect("hex")), b"\"a\"");
        for bad in
            ["{\"hex\": \"0\"}", "{\"hex\": \"0g\"}", "{}", "{\"a\":\"\"}", "{\"hex\":\"\",\"a\":\"\"}", "3"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(XattrValue::new(&[0; XattrValue::MAX + 1]).is_err());
    }
}
