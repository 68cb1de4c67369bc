//! What every JSON document of ours begins with: a format version.
//!
//! A document of a newer version is refused with both versions in the text,
//! before anything else of it is read, because its other keys may mean other
//! things than they do today.

use serde::de::DeserializeOwned;

/// The version of all formats that `docs/format.md` describes; adding a key raises it.
pub const VERSION: u32 = 1;

/// Says why a versioned JSON document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The bytes are not JSON, or not of this shape; the text has line and column.
    #[error("not a valid {what}")]
    Json {
        /// What the document should be.
        what: &'static str,
        /// serde_json's own words.
        source: serde_json::Error,
    },
    /// The document's version is not the one that this program knows.
    #[error("{what} has format version {found}, this program reads version {VERSION}")]
    Version {
        /// What the document should be.
        what: &'static str,
        /// The document's version.
        found: u64,
    },
}

/// Parses a document with a `version` key, checking the version first.
pub(crate) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DocumentError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u64,
    }
    let json = |source| DocumentError::Json { what, source };
    let Versioned { version: found } = serde_json::from_slice(bytes).map_err(json)?;
    if found != u64::from(VERSION) {
        return Err(DocumentError::Version { what, found });
    }
    serde_json::from_slice(bytes).map_err(json)
}
