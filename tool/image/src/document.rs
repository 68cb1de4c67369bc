//! Manifests and indexes, OCI's and Docker's, as the JSON that they are.

use ociseed_spec::{Digest, media_type};
use serde_json::{Map, Value};

use crate::descriptor::Descriptor;
use crate::record::{RecordError, invalid, mismatch};

/// A document that names other blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image manifest (OCI or Docker schema 2), or an artifact in its form.
    Manifest(Manifest),
    /// An image index, or Docker's manifest list.
    Index(IndexDocument),
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub(crate) fields: Map<String, Value>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Option<Digest>,
}

/// An index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDocument {
    manifests: Vec<Descriptor>,
    subject: Option<Digest>,
}

impl Document {
    /// Parses a document of a media type.
    ///
    /// # Errors
    /// A media type that is neither a manifest's nor an index's; a document that is not what it says.
    pub fn parse(media_type: &str, text: &str) -> Result<Self, RecordError> {
        match media_type {
            media_type::MANIFEST | media_type::DOCKER_MANIFEST => {
                Manifest::parse(media_type, text).map(Self::Manifest)
            }
            media_type::INDEX | media_type::DOCKER_INDEX => {
                IndexDocument::parse(media_type, text).map(Self::Index)
            }
            other => Err(RecordError::MediaType { found: other.to_owned() }),
        }
    }

    /// Returns what it refers to, if it is a referrer.
    pub fn subject(&self) -> Option<&Digest> {
        match self {
            Self::Manifest(manifest) => manifest.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }
}

/// Tells whether a media type is a manifest's.
pub fn is_manifest(media_type: &str) -> bool {
    [media_type::MANIFEST, media_type::DOCKER_MANIFEST].contains(&media_type)
}

/// Tells whether a media type is an index's.
pub fn is_index(media_type: &str) -> bool {
    [media_type::INDEX, media_type::DOCKER_INDEX].contains(&media_type)
}

impl Manifest {
    pub(crate) fn parse(media_type: &str, text: &str) -> Result<Self, RecordError> {
        let fields = fields("manifest", media_type, text)?;
        let config = Descriptor::parse(fields.get("config").unwrap_or(&Value::Null));
        let config = config.map_err(invalid("manifest"))?;
        let layers = descriptors("manifest", &fields, "layers")?;
        let subject = subject("manifest", &fields)?;
        Ok(Self { fields, config, layers, subject })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Descriptor {
        &self.config
    }

    /// Returns the layers, bottom first.
    pub fn layers(&self) -> &[Descriptor] {
        &self.layers
    }

    /// Tells whether its configuration is an image's. That of a build's attestation is too, its layers are not.
    pub fn has_image_config(&self) -> bool {
        // Registries of old called configurations so.
        const OCTETS: &str = "application/octet-stream";
        let config = self.config.blob().media_type.as_str();
        [media_type::CONFIG, media_type::DOCKER_CONFIG, OCTETS].contains(&config)
    }

    /// Tells whether it is an image's: of a platform, with file systems as layers.
    pub fn is_image(&self) -> bool {
        self.has_image_config()
            && self.fields.get("artifactType").is_none_or(Value::is_null)
            && self.layers.iter().all(|layer| is_layer(&layer.blob().media_type))
    }
}

/// Tells whether a media type is a file system's; attestations, say, are in layers of other types.
fn is_layer(media_type: &str) -> bool {
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."]
        .iter()
        .any(|prefix| media_type.starts_with(prefix))
}

impl IndexDocument {
    /// Parses an index; `media_type` is what names it says.
    ///
    /// # Errors
    /// It is not what it says.
    pub fn parse(media_type: &str, text: &str) -> Result<Self, RecordError> {
        let fields = fields("index", media_type, text)?;
        let manifests = descriptors("index", &fields, "manifests")?;
        Ok(Self { manifests, subject: subject("index", &fields)? })
    }

    /// Returns what it lists.
    pub fn manifests(&self) -> &[Descriptor] {
        &self.manifests
    }
}

fn fields(what: &'static str, media_type: &str, text: &str) -> Result<Map<String, Value>, RecordError> {
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(invalid(what))?;
    // Engines that go by the one or the other would see two images.
    match fields.get("mediaType") {
        None | Some(Value::Null) => Ok(fields),
        Some(Value::String(found)) if found == media_type => Ok(fields),
        Some(found) => {
            let found = found.as_str().map_or_else(|| found.to_string(), ToOwned::to_owned);
            Err(mismatch(&format!("{what}: `mediaType`"), media_type, &found))
        }
    }
}

fn descriptors(
    what: &'static str,
    fields: &Map<String, Value>,
    field: &'static str,
) -> Result<Vec<Descriptor>, RecordError> {
    let list = match fields.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(mismatch(&format!("{what}: `{field}`"), "a list", "something else")),
    };
    list.iter().map(Descriptor::parse).collect::<Result<_, _>>().map_err(invalid(what))
}

fn subject(what: &'static str, fields: &Map<String, Value>) -> Result<Option<Digest>, RecordError> {
    let subject = fields.get("subject").filter(|subject| !subject.is_null());
    let digest = |subject| Descriptor::parse(subject).map(|subject| subject.blob().digest);
    subject.map(digest).transpose().map_err(invalid(what))
}
