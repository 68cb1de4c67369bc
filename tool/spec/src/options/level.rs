//! What is written as one word or, with a level, as a table of that word.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;

/// Reads `"NAME"` or `{ NAME = LEVEL }`; `make` says what it means, `expected` what people read otherwise.
pub(super) fn deserialize<'de, D: Deserializer<'de>, T, E: fmt::Display>(
    deserializer: D,
    expected: &'static str,
    make: fn(&str, Option<i64>) -> Result<T, E>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(Form { expected, make, made: PhantomData })
}

/// Always writes the long form, so that equal values have equal JSON.
pub(super) fn serialize<S: Serializer>(
    serializer: S,
    name: &str,
    level: Option<i32>,
) -> Result<S::Ok, S::Error> {
    match level {
        None => serializer.serialize_str(name),
        Some(level) => serializer.collect_map([(name, level)]),
    }
}

struct Form<T, E> {
    expected: &'static str,
    make: fn(&str, Option<i64>) -> Result<T, E>,
    made: PhantomData<T>,
}

impl<'de, T, R: fmt::Display> Visitor<'de> for Form<T, R> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.make)(text, None).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let entry: Option<(String, i64)> = map.next_entry()?;
        match (entry, map.next_key::<String>()?) {
            (Some((name, level)), None) => (self.make)(&name, Some(level)).map_err(de::Error::custom),
            _ => Err(de::Error::custom("compression is a table with one key")),
        }
    }
}

/// Says in a schema that a value is one of `names`, or a table of one of `levels` with a number from 1 to the greatest.
#[cfg(feature = "schema")]
pub(super) fn schema(description: &str, names: &[&str], levels: &[(&str, i32)]) -> schemars::Schema {
    let table = |(name, greatest): &(&str, i32)| {
        serde_json::json!({
            "type": "object",
            "properties": { *name: { "type": "integer", "minimum": 1, "maximum": greatest } },
            "required": [name],
            "additionalProperties": false
        })
    };
    let forms: Vec<_> =
        [serde_json::json!({ "enum": names })].into_iter().chain(levels.iter().map(table)).collect();
    schemars::json_schema!({ "description": description, "oneOf": forms })
}
