//! The Engine API: one HTTP/1.1 request a connection on the daemon's socket.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::answers::Refusal;
use super::archive::Upload;

/// How long a question may take. A load has no limit: it is as long as the image is large, and somebody sits before it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that an answer may have: the list of some ten thousand images.
const LARGEST: usize = 64 << 20;

/// Says why a request brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The socket is not there, or nobody answers behind it.
    #[error("cannot connect to `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("connection to Docker lost in `{0}`")]
    Lost(String, #[source] hyper::Error),
    /// It did not answer in time.
    #[error("no answer to `{request}` within {} s", PATIENCE.as_secs())]
    Deadline {
        /// The request.
        request: String,
    },
    /// It says no.
    #[error("Docker answers `{request}` with {status}: {message}")]
    Status {
        /// The request.
        request: String,
        /// The status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// The answer cannot be understood.
    #[error("Docker answers `{0}` with what is no such document")]
    Json(String, #[source] serde_json::Error),
    /// The answer is too long to be one.
    #[error("Docker answers `{0}` with more than {LARGEST} bytes")]
    TooLong(String),
}

/// A daemon.
pub(super) struct Api {
    runtime: Runtime,
    socket: PathBuf,
}

impl Api {
    /// Makes ready to ask the daemon behind a socket.
    ///
    /// # Errors
    /// The system says no.
    pub(super) fn new(socket: &Path) -> io::Result<Self> {
        Ok(Self { runtime: Builder::new_current_thread().enable_all().build()?, socket: socket.to_owned() })
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// The daemon says no, or nothing that can be understood.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let body = self.request(Method::GET, path, Upload::empty())?;
        serde_json::from_slice(&body).map_err(|error| ApiError::Json(path.to_owned(), error))
    }

    /// Asks for a document that may not be there.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub(super) fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ApiError> {
        match self.get(path) {
            Err(ApiError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Has something done; returns the answer's body.
    ///
    /// # Errors
    /// The daemon says no.
    pub(super) fn post(&self, path: &str, body: Upload) -> Result<Vec<u8>, ApiError> {
        self.request(Method::POST, path, body)
    }

    fn request(&self, method: Method, path: &str, body: Upload) -> Result<Vec<u8>, ApiError> {
        let has_limit = hyper::body::Body::is_end_stream(&body);
        let request = format!("{method} {path}");
        self.runtime.block_on(async {
            let answer = self.exchange(&request, method, path, body);
            let (status, body) = match has_limit {
                true => tokio::time::timeout(PATIENCE, answer)
                    .await
                    .map_err(|_| ApiError::Deadline { request: request.clone() })?,
                false => answer.await,
            }?;
            if status.is_success() {
                return Ok(body);
            }
            let message = match serde_json::from_slice::<Refusal>(&body) {
                Ok(refusal) => refusal.message,
                Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
            };
            Err(ApiError::Status { request: request.clone(), status, message })
        })
    }

    async fn exchange(
        &self,
        request: &str,
        method: Method,
        path: &str,
        body: Upload,
    ) -> Result<(StatusCode, Vec<u8>), ApiError> {
        let lost = |error| ApiError::Lost(request.to_owned(), error);
        let connect = |source| ApiError::Connect { path: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // The request gets the connection's error; nobody else needs it.
        tokio::spawn(async move { drop(connection.await) });
        let message = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "docker")
            .header("content-type", "application/x-tar")
            .body(body)
            .expect("a path of names, which need no escapes");
        let answer = sender.send_request(message).await.map_err(lost)?;
        let status = answer.status();
        Ok((status, read(answer.into_body(), request).await?))
    }
}

async fn read(mut body: Incoming, request: &str) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|error| ApiError::Lost(request.to_owned(), error))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > LARGEST {
            return Err(ApiError::TooLong(request.to_owned()));
        }
    }
    Ok(bytes)
}
