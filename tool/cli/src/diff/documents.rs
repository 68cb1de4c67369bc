//! What changed in a JSON document.

use std::fmt;

use ociseed_spec::json;
use serde::Serialize;
use serde_json::Value;

/// A value that is another, or on one side only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ValueChange {
    /// Keys from the outermost on, with dots between them.
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<Value>,
}

impl fmt::Display for ValueChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => String::from_utf8_lossy(&json::encode(value)).into_owned(),
        };
        write!(f, "{}: {} -> {}", self.key, shown(&self.first), shown(&self.second))
    }
}

/// Compares two documents; lists are compared element by element where they have one length, else whole.
pub(super) fn compare_values(first: &Value, second: &Value) -> Vec<ValueChange> {
    let mut changes = Vec::new();
    compare("", Some(first), Some(second), &mut changes);
    changes
}

fn compare(key: &str, first: Option<&Value>, second: Option<&Value>, changes: &mut Vec<ValueChange>) {
    let inner = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    match (first, second) {
        (first, second) if first == second => {}
        (Some(Value::Object(first)), Some(Value::Object(second))) => {
            let mut names: Vec<&String> = first.keys().chain(second.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                compare(&inner(name), first.get(name), second.get(name), changes);
            }
        }
        (Some(Value::Array(first)), Some(Value::Array(second))) if first.len() == second.len() => {
            for (index, (first, second)) in first.iter().zip(second).enumerate() {
                compare(&inner(&index.to_string()), Some(first), Some(second), changes);
            }
        }
        (first, second) => {
            changes.push(ValueChange { key: key.to_owned(), first: first.cloned(), second: second.cloned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_named() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).expect(text);
        let first = parse(r#"{"a":1,"b":{"c":[1,2],"d":[1]},"e":"x"}"#);
        let second = parse(r#"{"a":1,"b":{"c":[1,3],"d":[]},"f":null}"#);
        let shown: Vec<String> = compare_values(&first, &second).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["b.c.1: 2 -> 3", "b.d: [1] -> []", "e: x -> nothing", "f: nothing -> null"]);
        assert_eq!(compare_values(&first, &first), []);
    }
}
