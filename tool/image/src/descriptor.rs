//! Descriptors (OCI image specification, "Content Descriptors"), read as oci-spec's type and kept as their JSON.
//!
//! The type says whether they are good; the JSON keeps what it does not know, so
//! that nothing is lost when they are written again.

use std::collections::BTreeMap;

use ociseed_spec::lock::BlobRef;
use ociseed_spec::{DigestError, Platform};
use serde::{Deserialize as _, Serialize, Serializer};
use serde_json::{Map, Value, json};

/// A descriptor: its JSON, and the blob that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    fields: Map<String, Value>,
    blob: BlobRef,
}

/// Says why a JSON value is no descriptor.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// A field is not there or has another type.
    #[error("descriptor")]
    Field(#[from] serde_json::Error),
    /// Its digest is no sha256.
    #[error("descriptor: {0}")]
    Digest(#[from] DigestError),
}

impl Descriptor {
    /// Makes the descriptor of a blob.
    pub fn new(blob: BlobRef) -> Self {
        let mut fields = Map::new();
        fields.insert("mediaType".into(), json!(blob.media_type));
        fields.insert("digest".into(), json!(blob.digest));
        fields.insert("size".into(), json!(blob.size));
        Self { fields, blob }
    }

    /// Takes a descriptor out of a document.
    ///
    /// # Errors
    /// It has no media type, digest or size.
    pub fn parse(value: &Value) -> Result<Self, DescriptorError> {
        let read = oci_spec::image::Descriptor::deserialize(value)?;
        let blob = BlobRef {
            media_type: read.media_type().to_string(),
            digest: read.digest().to_string().parse()?,
            size: read.size(),
        };
        let fields = value.as_object().expect("a value with fields is an object").clone();
        Ok(Self { fields, blob })
    }

    /// Returns what it names.
    pub fn blob(&self) -> &BlobRef {
        &self.blob
    }

    /// Returns the platform that it names, if it names one as we write them.
    pub fn platform(&self) -> Option<Platform> {
        let platform = self.fields.get("platform")?;
        let variant = platform["variant"].as_str().filter(|variant| !variant.is_empty());
        Platform::new(platform["os"].as_str()?, platform["architecture"].as_str()?, variant).ok()
    }

    /// Returns an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.fields.get("annotations")?[key].as_str()
    }

    /// Puts annotations over those that are there.
    pub fn annotate(&mut self, annotations: impl IntoIterator<Item = (String, String)>) {
        let mut all: BTreeMap<String, Value> = self.take_annotations();
        all.extend(annotations.into_iter().map(|(key, value)| (key, Value::String(value))));
        self.put_annotations(all);
    }

    /// Takes annotations away.
    pub fn without_annotations(mut self, keys: &[&str]) -> Self {
        let mut all = self.take_annotations();
        all.retain(|key, _| !keys.contains(&key.as_str()));
        self.put_annotations(all);
        self
    }

    fn take_annotations(&mut self) -> BTreeMap<String, Value> {
        match self.fields.remove("annotations") {
            Some(Value::Object(annotations)) => annotations.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }

    fn put_annotations(&mut self, annotations: BTreeMap<String, Value>) {
        if !annotations.is_empty() {
            self.fields.insert("annotations".into(), annotations.into_iter().collect());
        }
    }

    /// Sets a field that is not part of the blob's name.
    pub(crate) fn set(&mut self, field: &'static str, value: Value) {
        self.fields.insert(field.into(), value);
    }

    pub(crate) fn set_media_type(&mut self, media_type: &str) {
        self.fields.insert("mediaType".into(), json!(media_type));
        media_type.clone_into(&mut self.blob.media_type);
    }
}

impl Serialize for Descriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use ociseed_spec::Digest;

    use super::*;

    #[test]
    fn unknown_fields_survive_and_missing_ones_are_named() {
        let digest = Digest::of(b"");
        let text = format!(
            r#"{{"mediaType":"a/b","digest":"{digest}","size":3,"urls":["x"],"annotations":{{"a":"1","b":"2"}},
                "platform":{{"os":"linux","architecture":"arm64","variant":"","os.version":"7"}}}}"#
        );
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let mut descriptor = Descriptor::parse(&value).expect("good");
        assert_eq!((descriptor.blob().digest, descriptor.blob().size), (digest, 3));
        assert_eq!(
            descriptor.platform().map(|platform| platform.to_string()).as_deref(),
            Some("linux/arm64")
        );
        assert_eq!(serde_json::to_value(&descriptor).expect("JSON"), value);
        descriptor.annotate([("b".to_owned(), "3".to_owned())]);
        assert_eq!((descriptor.annotation("a"), descriptor.annotation("b")), (Some("1"), Some("3")));
        let bare = serde_json::to_value(descriptor.without_annotations(&["a", "b"])).expect("JSON");
        assert_eq!((bare.get("annotations"), &bare["urls"]), (None, &json!(["x"])));

        for field in ["mediaType", "digest", "size"] {
            let mut lacking = value.clone();
            lacking.as_object_mut().expect("an object").remove(field);
            let error = Descriptor::parse(&lacking).expect_err(field);
            let error = std::error::Error::source(&error).expect("the parser's reason").to_string();
            assert!(error.contains(&format!("`{field}`")), "{error}");
        }
        assert!(Descriptor::parse(&json!([])).is_err());
    }
}
