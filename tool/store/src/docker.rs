//! What `docker save` wrote before 25, and what other tools write in its likeness.
//!
//! `manifest.json` names for each image a configuration, layers from the
//! bottom, and names. There is no image manifest, so one is made; all else is
//! read where it lies. The layers' digests follow from the configuration (a
//! plain tar is its own diff id) or, where they are compressed, are computed
//! when the archive is opened.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use cap_std::fs::File;
use ociseed_spec::{DiffId, Digest, Hasher, Packing, annotation, json, media_type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Archive;
use crate::archive::packing;
use crate::index::{IndexError, parse_index};
use crate::members::{At, Members, Range};
use crate::names::full_name;

/// `manifest.json` and configurations are read into memory up to this size.
const MAX_DOCUMENT: u64 = 16 << 20;

/// Says why an archive is not what `docker save` writes.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// A document is not JSON of the right shape.
    #[error("`{file}` is not valid")]
    Json {
        /// `manifest.json`, or the path of a configuration.
        file: String,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A file cannot be read.
    #[error("cannot read `{file}`")]
    Read {
        /// The file.
        file: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A file that `manifest.json` names is not there.
    #[error("`manifest.json` names `{0}`, which is not in the archive")]
    Missing(String),
    /// There is no image.
    #[error("`manifest.json` names no image")]
    Empty,
    /// A configuration is not what its name says.
    #[error("`{file}`: expected this digest, found {found}")]
    ConfigDigest {
        /// The configuration.
        file: String,
        /// Its digest.
        found: Digest,
    },
    /// A configuration has more or fewer layers than `manifest.json`.
    #[error("`{file}`: number of layers: expected {expected}, found {found}")]
    Layers {
        /// The configuration.
        file: String,
        /// What it says.
        expected: usize,
        /// What `manifest.json` says.
        found: usize,
    },
    /// A layer is compressed as no layer of an image can be.
    #[error("`{file}` is compressed with {with}, for which no image has a media type")]
    Compression {
        /// The layer.
        file: String,
        /// How.
        with: &'static str,
    },
    /// What was made of it is no index; a name is no name.
    #[error(transparent)]
    Index(#[from] IndexError),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<DiffId>>,
}

/// Opens an archive whose files were found.
pub(crate) fn open(file: &Arc<File>, members: &Members, place: &str) -> Result<Archive, DockerError> {
    let mut reader = Reader { file, members, blobs: BTreeMap::new(), compressed: BTreeMap::new() };
    let listed: Vec<Listed> = parse("manifest.json", &reader.document("manifest.json")?)?;
    if listed.is_empty() {
        return Err(DockerError::Empty);
    }
    let (mut made, mut manifests) = (BTreeMap::new(), Vec::new());
    for image in &listed {
        let manifest = json::encode(&reader.manifest(image)?);
        let digest = Digest::of(&manifest);
        let descriptor =
            json!({ "mediaType": media_type::MANIFEST, "digest": digest, "size": manifest.len() });
        made.insert(digest, Arc::from(manifest));
        let names = image.repo_tags.iter().flatten().filter(|name| !name.contains('<'));
        let named = names.map(|name| {
            let mut named = descriptor.clone();
            named["annotations"] = json!({ annotation::CONTAINERD_NAME: full_name(name) });
            named
        });
        let before = manifests.len();
        manifests.extend(named);
        if manifests.len() == before {
            manifests.push(descriptor);
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests });
    let index_text = json::encode(&index);
    let index = parse_index(&index_text)?;
    let (file, place) = (Arc::clone(file), place.to_owned());
    Ok(Archive { file, place, blobs: reader.blobs, index, index_text, made })
}

struct Reader<'a> {
    file: &'a File,
    members: &'a Members,
    /// What was found so far.
    blobs: BTreeMap<Digest, Range>,
    /// The digests of compressed layers by where they are: images share them.
    compressed: BTreeMap<u64, Digest>,
}

impl Reader<'_> {
    /// Makes the manifest of an image, and notes its blobs.
    fn manifest(&mut self, image: &Listed) -> Result<Value, DockerError> {
        let name = &image.config;
        let text = self.document(name)?;
        let digest = Digest::of(&text);
        check_config_name(name, &digest)?;
        let config: Config = parse(name, &text)?;
        let diff_ids = config.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        let layers = image.layers.as_deref().unwrap_or_default();
        if diff_ids.len() != layers.len() {
            let (expected, found) = (diff_ids.len(), layers.len());
            return Err(DockerError::Layers { file: name.clone(), expected, found });
        }
        self.blobs.insert(digest, self.find(name)?);
        let layers = layers.iter().zip(&diff_ids).map(|(layer, diff_id)| self.layer(layer, diff_id));
        let layers = layers.collect::<Result<Vec<_>, _>>()?;
        let config = json!({ "mediaType": media_type::CONFIG, "digest": digest, "size": text.len() });
        Ok(json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config, "layers": layers,
        }))
    }

    /// Makes the descriptor of a layer, and notes where it is.
    fn layer(&mut self, name: &str, diff_id: &DiffId) -> Result<Value, DockerError> {
        let range = self.find(name)?;
        let read = |source| DockerError::Read { file: name.to_owned(), source };
        let media_type = match packing(self.file, range).map_err(read)? {
            Packing::Plain => media_type::LAYER_TAR,
            Packing::Gzip => media_type::LAYER_TAR_GZIP,
            Packing::Zstd => media_type::LAYER_TAR_ZSTD,
            other => {
                return Err(DockerError::Compression { file: name.to_owned(), with: other.name() });
            }
        };
        let digest = match self.compressed.get(&range.offset) {
            // Whoever reads the blob checks it.
            _ if media_type == media_type::LAYER_TAR => *diff_id.digest(),
            Some(digest) => *digest,
            None => {
                let digest = hash(At::new(self.file, range)).map_err(read)?;
                self.compressed.insert(range.offset, digest);
                digest
            }
        };
        self.blobs.insert(digest, range);
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": range.size }))
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, DockerError> {
        let read = |source| DockerError::Read { file: name.to_owned(), source };
        self.find(name)?.read(self.file, MAX_DOCUMENT).map_err(read)
    }

    fn find(&self, name: &str) -> Result<Range, DockerError> {
        let path = name.strip_prefix("./").unwrap_or(name);
        self.members.find(path.as_bytes()).ok_or_else(|| DockerError::Missing(name.to_owned()))
    }
}

/// Compares a configuration with its name, where that is a digest, as most tools write it.
fn check_config_name(name: &str, found: &Digest) -> Result<(), DockerError> {
    let stem = name.strip_suffix(".json").unwrap_or(name);
    let hex = stem.rsplit(['/', ':']).next().unwrap_or(stem);
    match Digest::from_hex(hex) {
        Ok(expected) if expected != *found => {
            Err(DockerError::ConfigDigest { file: name.to_owned(), found: *found })
        }
        _ => Ok(()),
    }
}

fn parse<T: serde::de::DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<T, DockerError> {
    serde_json::from_slice(bytes).map_err(|source| DockerError::Json { file: file.to_owned(), source })
}

fn hash(bytes: impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    hasher.read(bytes)?;
    Ok(hasher.finish())
}
