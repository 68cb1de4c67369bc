//! The one JSON encoder for everything that gets a digest.
//!
//! Object keys are sorted and nothing is between the tokens (RFC 8785 form),
//! so the bytes follow from the value alone. Types whose maps have a random
//! order, as those of oci-spec, are therefore safe to pass.

use serde::Serialize;

/// Encodes a value as canonical JSON, without a newline at the end.
///
/// # Panics
/// Never for the types of this workspace: their maps have string keys, they
/// hold no floats that are not finite, and a `Vec` takes every write.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, canon_json::CanonicalFormatter::new());
    value.serialize(&mut serializer).expect("the types of this workspace always encode");
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: serde_json::Value =
            serde_json::from_str("{\"b\": [ {\"z\":1,\"a\":\"\\u00e9\\n\"} ], \"a\": null}").expect("valid");
        assert_eq!(super::encode(&value), "{\"a\":null,\"b\":[{\"a\":\"é\\n\",\"z\":1}]}".as_bytes());
    }
}
