//! Indexes: one image for several platforms.

use std::collections::BTreeMap;

use ociseed_spec::lock::BlobRef;
use ociseed_spec::metadata::IndexRecord;
use ociseed_spec::{Digest, json, media_type};
use serde_json::{Map, Value, json};

use crate::descriptor::Descriptor;
use crate::document::{IndexDocument, is_index};
use crate::record::{Image, RecordError, mismatch};

/// An index: its exact document, and the images of it that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    media_type: String,
    text: String,
    document: IndexDocument,
    images: Vec<Image>,
}

/// Says why images do not make an index.
#[derive(Debug, thiserror::Error)]
pub enum AssembleIndexError {
    /// Two of them are for one platform.
    #[error("images {first} and {second} both are for {platform}")]
    SamePlatform {
        /// Which image, from 0.
        first: usize,
        /// Which other.
        second: usize,
        /// The platform.
        platform: String,
    },
    /// What came out is no index.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Index {
    /// Takes the document of an index and the images of it that are there.
    ///
    /// # Errors
    /// The document is no index, or an image is not in it.
    pub fn new(media_type: &str, text: String, images: Vec<Image>) -> Result<Self, RecordError> {
        if !is_index(media_type) {
            return Err(RecordError::MediaType { found: media_type.to_owned() });
        }
        let document = IndexDocument::parse(media_type, &text)?;
        let listed = |blob: &BlobRef| document.manifests().iter().any(|listed| listed.blob() == blob);
        // What an index within this one lists is in a document that is not here.
        let nested = document.manifests().iter().any(|listed| is_index(&listed.blob().media_type));
        if let Some(image) = images.iter().map(Image::manifest).find(|image| !nested && !listed(image)) {
            let expected = format!("{} with {} bytes", image.digest, image.size);
            return Err(mismatch("index", &expected, "no such manifest in it"));
        }
        Ok(Self { media_type: media_type.to_owned(), text, document, images })
    }

    /// Parses and checks an index record file.
    ///
    /// # Errors
    /// A record that is not valid, or whose documents do not belong together.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let record = IndexRecord::parse(bytes)?;
        let images = record.images.into_iter().map(Image::from_record).collect::<Result<_, _>>()?;
        Self::new(&record.media_type, record.index, images)
    }

    /// Makes the record file's content.
    pub fn record(&self) -> IndexRecord {
        let images = self.images.iter().map(|image| image.record().clone()).collect();
        IndexRecord::new(&self.media_type, self.text.clone(), images)
    }

    /// Returns the exact document.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Describes the document's blob.
    pub fn blob(&self) -> BlobRef {
        let text = self.text.as_bytes();
        let media_type = self.media_type.clone();
        BlobRef { media_type, digest: Digest::of(text), size: text.len() as u64 }
    }

    /// Returns what the document lists.
    pub fn manifests(&self) -> &[Descriptor] {
        self.document.manifests()
    }

    /// Returns the images that are there, in the order of the document.
    pub fn images(&self) -> &[Image] {
        &self.images
    }
}

/// Makes an index of images, in their order.
///
/// # Errors
/// Two images for one platform.
pub fn assemble_index(
    images: Vec<Image>,
    annotations: &BTreeMap<String, String>,
) -> Result<Index, AssembleIndexError> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut manifests = Vec::with_capacity(images.len());
    for (number, image) in images.iter().enumerate() {
        let platform = image.platform_fields();
        if let Some(first) = seen.insert(platform.to_string(), number) {
            let platform = image.platform().to_string();
            return Err(AssembleIndexError::SamePlatform { first, second: number, platform });
        }
        let mut descriptor = Descriptor::new(image.manifest());
        descriptor.set("platform", platform);
        manifests.push(descriptor);
    }
    let mut fields = Map::new();
    fields.insert("schemaVersion".into(), json!(2));
    fields.insert("mediaType".into(), json!(media_type::INDEX));
    fields.insert("manifests".into(), json!(manifests));
    if !annotations.is_empty() {
        fields.insert("annotations".into(), json!(annotations));
    }
    let text = String::from_utf8(json::encode(&Value::Object(fields))).expect("JSON is UTF-8");
    Ok(Index::new(media_type::INDEX, text, images)?)
}
