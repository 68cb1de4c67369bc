//! The Debian packages of one entry of a layer: one, or a list.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names one Debian package or several, at least one; written as a text or as a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages(Vec<String>);

/// Says that a list of packages is empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an empty list of packages: it needs at least one")]
pub struct NoPackages;

impl Packages {
    /// Takes the names of packages.
    ///
    /// # Errors
    /// There is none.
    pub fn new(words: Vec<String>) -> Result<Self, NoPackages> {
        if words.is_empty() { Err(NoPackages) } else { Ok(Self(words)) }
    }

    /// Returns the names, by path or input name.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Returns the names, to change them.
    pub fn words_mut(&mut self) -> &mut [String] {
        &mut self.0
    }
}

/// Writes a single package as a text, so that equal values have equal JSON.
impl Serialize for Packages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [word] => serializer.serialize_str(word),
            words => words.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Packages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Packages;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a Debian package or a list of them")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Packages, E> {
                Ok(Packages(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Packages, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = list.next_element()? {
                    words.push(word);
                }
                Packages::new(words).map_err(de::Error::custom)
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Packages {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Packages".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A Debian package, or a list of them.",
            "oneOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_text_and_several_are_a_list() {
        let parse = serde_json::from_str::<Packages>;
        for (text, words, written) in [
            (r#""a""#, &["a"][..], r#""a""#),
            (r#"["a"]"#, &["a"], r#""a""#),
            (r#"["b","a"]"#, &["b", "a"], r#"["b","a"]"#),
        ] {
            let packages = parse(text).expect(text);
            assert_eq!(packages.words(), words, "{text}");
            assert_eq!(crate::json::encode(&packages), written.as_bytes(), "{text}");
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        for (text, part) in [
            ("[]", "an empty list of packages"),
            ("3", "expected a Debian package or a list of them"),
            ("[3]", "expected a string"),
            (r#"{"a":"b"}"#, "expected a Debian package or a list of them"),
        ] {
            let error = serde_json::from_str::<Packages>(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
