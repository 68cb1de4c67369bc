//! What Docker answers: of each document, what is used.

use ociseed_spec::DiffId;
use serde::Deserialize;

/// `GET /version`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    /// As `28.5.2+dfsg1`.
    pub(super) version: String,
    api_version: String,
}

impl Version {
    /// Returns the first number; 0 where there is none.
    pub(super) fn major(&self) -> u64 {
        self.version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Returns the newest version of the API that it speaks.
    pub(super) fn api(&self) -> (u64, u64) {
        let numbers = self.api_version.split_once('.');
        numbers.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?))).unwrap_or((0, 0))
    }
}

/// `GET /info`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    /// The storage driver, or containerd's snapshotter.
    pub(super) driver: String,
    driver_status: Option<Vec<Vec<String>>>,
}

impl Info {
    /// Tells whether images are kept in containerd's store, as `docker info` says it.
    pub(super) fn has_containerd_store(&self) -> bool {
        let is_it = |pair: &Vec<String>| *pair == ["driver-type", "io.containerd.snapshotter.v1"];
        self.driver_status.iter().flatten().any(is_it)
    }
}

/// `GET /images/{name}/json`.
#[derive(Debug, Deserialize)]
pub(super) struct Inspected {
    #[serde(rename = "Id")]
    pub(super) id: String,
    #[serde(rename = "RootFS")]
    pub(super) root_fs: Option<RootFs>,
}

/// Its layers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RootFs {
    pub(super) layers: Option<Vec<DiffId>>,
}

/// One of `GET /images/json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Summary {
    pub(super) id: String,
    pub(super) manifests: Option<Vec<Manifest>>,
}

/// One of its manifests.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    #[serde(rename = "ID")]
    pub(super) id: String,
    /// Whether all of its blobs are there.
    #[serde(rename = "Available")]
    pub(super) available: bool,
}

/// What any request is answered with that fails.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) message: String,
}

/// One of the documents, one after the other, that say how a load goes. The status was sent before it began.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    stream: Option<String>,
    error: Option<String>,
    error_detail: Option<ErrorDetail>,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    message: Option<String>,
}

/// What the containerd image store says of an image whose record it made, but whose layers it could not unpack.
const NOT_UNPACKED: &str = "Error unpacking image";

/// Checks what came back from a load.
///
/// # Errors
/// The daemon says that it failed.
pub(super) fn check_load(answer: &[u8]) -> Result<(), String> {
    for message in serde_json::Deserializer::from_slice(answer).into_iter::<Message>() {
        let Message { stream, error, error_detail } =
            message.map_err(|error| format!("Docker answers a load with what is no JSON: {error}"))?;
        if let Some(error) = error_detail.and_then(|detail| detail.message).or(error) {
            return Err(format!("Docker does not load it: {error}"));
        }
        if let Some(line) = stream.filter(|line| line.contains(NOT_UNPACKED)) {
            return Err(format!("Docker does not load it: {}", line.trim()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_fails_where_its_answer_says_so() {
        for good in [
            "",
            "{\"stream\":\"Loaded image: x:1\\n\"}\r\n",
            "{\"status\":\"Loading layer\",\"progressDetail\":{}}\n{}",
        ] {
            assert_eq!(check_load(good.as_bytes()), Ok(()), "{good}");
        }
        let bad = [
            (r#"{"stream":"a"}{"errorDetail":{"message":"long"},"error":"short"}"#, "long"),
            (r#"{"error":"short"}"#, "short"),
            (
                r#"{"stream":"Error unpacking image x:1: not found\n"}"#,
                "Error unpacking image x:1: not found",
            ),
            ("<html>", "no JSON"),
        ];
        for (answer, text) in bad {
            let error = check_load(answer.as_bytes()).expect_err(answer);
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn versions_have_numbers() {
        let version = |version: &str, api_version: &str| Version {
            version: version.to_owned(),
            api_version: api_version.to_owned(),
        };
        assert_eq!((version("28.5.2+dfsg1", "1.51").major(), version("", "1.51").api()), (28, (1, 51)));
        assert_eq!((version("dev", "1.41").major(), version("", "x").api()), (0, (0, 0)));
    }
}
