//! A peer that speaks HTTP/2 and answers as its test says.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use ociseed_containerd::{Client, Options};
use tokio::net::UnixListener;

/// A socket of its own; removed at the end.
pub(crate) struct Socket(pub(crate) PathBuf);

impl Socket {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("ociseed-scripted-{}-{number}", std::process::id())))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Serves one connection with `answer` for each call, in a thread; the connection breaks when `answer` returns false.
pub(crate) fn serve<F, R>(socket: &Socket, window: u32, answer: F)
where
    F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> R + Send + 'static,
    R: Future<Output = bool>,
{
    let path = socket.0.clone();
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = UnixListener::bind(path).expect("the socket is new");
            ready.send(()).expect("the client listens");
            let (stream, _) = listener.accept().await.expect("connected");
            let mut connection = h2::server::Builder::new()
                .initial_window_size(window)
                .handshake::<_, Bytes>(stream)
                .await
                .expect("connected");
            while let Some(call) = connection.accept().await {
                let Ok((request, respond)) = call else { return };
                let mut answered = std::pin::pin!(answer(request, respond));
                // The connection makes progress only while it is polled.
                let go_on = std::future::poll_fn(|context| {
                    let _ = connection.poll_closed(context);
                    answered.as_mut().poll(context)
                });
                if !go_on.await {
                    return;
                }
            }
        });
    });
    listening.recv().expect("the peer listens");
}

pub(crate) fn connect(socket: &Socket, limit: Duration) -> Client {
    Client::connect(&socket.0, Options { limit, slow_limit: limit, ..Options::default() }).expect("connected")
}

pub(crate) fn trailers(status: &str, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().expect("made of ASCII"));
    trailers.insert("grpc-message", message.parse().expect("made of ASCII"));
    trailers
}

pub(crate) fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("made of ASCII")
}
