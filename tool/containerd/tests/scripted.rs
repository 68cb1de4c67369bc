//! The client against a peer that sends scripted frames: framing, flow control, limits and broken connections.
//!
//! What containerd's calls mean is tested against containerd (tests/e2e); here the peer is HTTP/2 and nothing else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod peer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use ociseed_containerd::{Client, Code, Error, Hook, Options};
use peer::{Socket, connect, head, serve, trailers};

/// A frame with a message of one length-delimited field.
fn frame(field: u8, value: &[u8]) -> Vec<u8> {
    let mut message = vec![field << 3 | 2];
    let mut length = value.len();
    while length >= 0x80 {
        message.push((length & 0x7f | 0x80) as u8);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend(value);
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// Sends all of `bytes` as the client's window allows.
async fn send(stream: &mut h2::SendStream<Bytes>, bytes: Vec<u8>) {
    let mut bytes = Bytes::from(bytes);
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else {
            return;
        };
        let piece = bytes.split_to(room.min(bytes.len()));
        stream.send_data(piece, false).expect("the client listens");
    }
}

#[test]
fn a_call_carries_what_grpc_wants_and_its_answer_comes_in_pieces() {
    let socket = Socket::new();
    serve(&socket, 65_535, |request, mut respond| async move {
        let headers = request.headers();
        let good = request.uri().path() == "/containerd.services.version.v1.Version/Version"
            && headers["content-type"] == "application/grpc"
            && headers["te"] == "trailers"
            && headers["grpc-timeout"] == "5000m"
            && !headers.contains_key("containerd-namespace");
        let mut stream = respond.send_response(head(), false).expect("the client listens");
        for byte in frame(1, if good { b"v1" } else { b"bad" }) {
            stream.send_data(Bytes::from(vec![byte]), false).expect("the client listens");
        }
        stream.send_trailers(trailers("0", "")).expect("the client listens");
        true
    });
    let client = connect(&socket, Duration::from_secs(5));
    assert_eq!(client.version().expect("answered").version, "v1");
    assert_eq!(client.tally().calls["containerd.services.version.v1.Version/Version"], 1);
}

#[test]
fn errors_come_as_trailers_with_or_without_a_body() {
    let socket = Socket::new();
    serve(&socket, 65_535, |request, mut respond| async move {
        if request.uri().path().ends_with("/Version") {
            let response =
                Response::builder().header("grpc-status", "12").header("grpc-message", "no%20such").body(());
            respond.send_response(response.expect("made of ASCII"), true).expect("the client listens");
        } else {
            let mut stream = respond.send_response(head(), false).expect("the client listens");
            stream.send_trailers(trailers("5", "not there")).expect("the client listens");
        }
        true
    });
    let client = connect(&socket, Duration::from_secs(5));
    let error = client.version().unwrap_err();
    assert_eq!(error.code(), Some(Code::Unimplemented));
    assert!(error.to_string().ends_with("Unimplemented: no such"), "{error}");
    assert_eq!(client.namespaces().unwrap_err().code(), Some(Code::NotFound));
    // What the engine does not know is an answer where one may ask.
    assert_eq!(client.scope("x").content_info("sha256:0").expect("answered"), None);
}

#[test]
fn no_labels_are_not_all_labels() {
    let socket = Socket::new();
    serve(&socket, 65_535, |_, _| async move { false });
    let client = connect(&socket, Duration::from_secs(5));
    client.scope("ns").label_content("sha256:00", &BTreeMap::new()).expect("answered");
    assert!(client.tally().calls.is_empty());
}

#[test]
fn answers_that_no_engine_gives_are_named() {
    let socket = Socket::new();
    serve(&socket, 65_535, |request, mut respond| async move {
        let namespace = request.headers()["containerd-namespace"].to_str().expect("made of ASCII");
        if namespace == "http" {
            respond
                .send_response(Response::builder().status(503).body(()).expect("made of ASCII"), true)
                .expect("the client listens");
            return true;
        }
        let mut stream = respond.send_response(head(), false).expect("the client listens");
        let (bytes, status) = match namespace {
            "compressed" => (vec![1, 0, 0, 0, 0], "0"),
            "cut" => (vec![0, 0, 0, 0, 9, 1], "0"),
            "empty" => (vec![], "0"),
            "garbage" => (frame(1, &[0xff; 9]), "0"),
            "twice" => ([frame(1, b""), frame(1, b"")].concat(), "0"),
            "status" => (vec![], "what"),
            other => panic!("{other}"),
        };
        stream.send_data(bytes.into(), false).expect("the client listens");
        let _ = stream.send_trailers(trailers(status, ""));
        true
    });
    let client = connect(&socket, Duration::from_secs(5));
    let cases = [
        ("http", "HTTP status 503"),
        ("compressed", "compressed"),
        ("cut", "within a message"),
        ("empty", "without an answer"),
        ("garbage", "cannot be read"),
        ("twice", "a second answer"),
        ("status", "no number"),
    ];
    for (namespace, word) in cases {
        let error = client.scope(namespace).content_info("d").unwrap_err();
        assert!(
            matches!(&error, Error::Protocol { .. }) && error.to_string().contains(word),
            "{namespace}: {error}"
        );
    }
}

#[test]
fn content_larger_than_any_window_flows_both_ways() {
    const SIZE: usize = 5 << 20;
    let socket = Socket::new();
    // A window smaller than a message: sending must wait for room and go on.
    serve(&socket, 1000, |request, mut respond| async move {
        let read = request.uri().path().ends_with("/Read");
        let mut stream = respond.send_response(head(), false).expect("the client listens");
        let mut body = request.into_body();
        if read {
            for _ in 0..5 {
                send(&mut stream, frame(2, &vec![7; SIZE / 5])).await;
            }
        } else {
            let (mut seen, mut answered) = (0, 0);
            while let Some(data) = body.data().await {
                let length = data.expect("the client sends").len();
                body.flow_control().release_capacity(length).expect("the client sends");
                seen += length;
                // Once for the opening, once for the message with the bytes: `offset` is field 4, a varint.
                let due = usize::from(seen > 0) + usize::from(seen > SIZE / 5);
                while answered < due {
                    let offset: &[u8] = if answered == 0 { &[] } else { &[0x20, 0x80, 0x80, 0x40] };
                    let mut bytes = vec![0, 0, 0, 0, offset.len() as u8];
                    bytes.extend(offset);
                    send(&mut stream, bytes).await;
                    answered += 1;
                }
            }
        }
        stream.send_trailers(trailers("0", "")).expect("the client listens");
        true
    });
    let client = connect(&socket, Duration::from_secs(20));
    let mut seen = 0;
    assert!(
        client
            .scope("x")
            .read_content("d", |bytes| {
                seen += bytes.len();
                bytes.iter().all(|b| *b == 7)
            })
            .expect("answered")
    );
    assert_eq!((seen, client.tally().read), (SIZE, SIZE as u64));
    let mut writer = client.scope("x").write_content("ref", "d", 1 << 20).expect("answered");
    writer.write(Bytes::from(vec![7; 1 << 20])).expect("answered");
    assert_eq!((writer.offset(), client.tally().sent), (1 << 20, 1 << 20));
}

#[test]
fn an_error_in_the_middle_of_sending_is_the_error() {
    let socket = Socket::new();
    serve(&socket, 1000, |request, mut respond| async move {
        let mut body = request.into_body();
        let _ = body.data().await;
        let mut stream = respond.send_response(head(), false).expect("the client listens");
        send(&mut stream, vec![0; 5]).await;
        let _ = body.data().await;
        stream.send_trailers(trailers("2", "no space left on device")).expect("the client listens");
        true
    });
    let client = connect(&socket, Duration::from_secs(5));
    let mut writer = client.scope("x").write_content("ref", "d", 1 << 20).expect("answered");
    let error = writer.write(Bytes::from(vec![7; 1 << 20])).unwrap_err();
    assert!(error.is_no_space() && !error.is_fatal(), "{error}");
}

#[test]
fn a_connection_that_breaks_in_a_call_is_named() {
    let socket = Socket::new();
    serve(&socket, 65_535, |_, respond| async move {
        // Not dropped, which would reset the call first.
        std::mem::forget(respond);
        false
    });
    let client = connect(&socket, Duration::from_secs(5));
    let error = client.version().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }) && error.is_fatal(), "{error}");
    // And so is every call after it, at once.
    assert!(matches!(client.namespaces().unwrap_err(), Error::Lost { .. }));
}

#[test]
fn a_peer_that_does_not_answer_is_left() {
    let socket = Socket::new();
    serve(&socket, 65_535, |_, respond| async move {
        // Held: dropped, it would reset the call.
        let _respond = respond;
        std::future::pending::<()>().await;
        true
    });
    let client = connect(&socket, Duration::from_millis(300));
    let start = Instant::now();
    let error = client.version().unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }) && error.is_fatal(), "{error}");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(3), "{waited:?}");
}

#[test]
fn a_wait_ends_when_told_to_stop() {
    let socket = Socket::new();
    serve(&socket, 65_535, |_, respond| async move {
        // Held: dropped, it would reset the call.
        let _respond = respond;
        std::future::pending::<()>().await;
        true
    });
    let stop = Arc::new(AtomicBool::new(false));
    let client = Client::connect(&socket.0, Options { stop: Arc::clone(&stop), ..Options::default() })
        .expect("connected");
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
    });
    let start = Instant::now();
    assert!(matches!(client.version().unwrap_err(), Error::Stopped { .. }));
    assert!(start.elapsed() < Duration::from_secs(3));
    // Tidying up is possible all the same, with a limit.
    client.ignore_stop();
    client.set_limits(Duration::from_millis(100), Duration::from_millis(100));
    assert!(matches!(client.version().unwrap_err(), Error::Deadline { .. }));
}

#[test]
fn a_wait_calls_until_it_ends() {
    let socket = Socket::new();
    serve(&socket, 65_535, |_, respond| async move {
        let _respond = respond;
        std::future::pending::<()>().await;
        true
    });
    let count = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&count);
    let waiting = Hook::new(move || {
        counting.fetch_add(1, Ordering::Relaxed);
    });
    let limit = Duration::from_millis(500);
    let client =
        Client::connect(&socket.0, Options { limit, waiting, ..Options::default() }).expect("connected");
    let before = count.load(Ordering::Relaxed);
    assert!(matches!(client.version().unwrap_err(), Error::Deadline { .. }));
    let during = count.load(Ordering::Relaxed) - before;
    // Each 50 ms, on a machine that may be busy, and as often as a wait begins.
    assert!(before > 0 && (4..=20).contains(&during), "{before} {during}");
}

#[test]
fn nobody_behind_the_socket_is_an_error_of_connecting() {
    let socket = Socket::new();
    let error = Client::connect(&socket.0, Options::default()).unwrap_err();
    assert!(matches!(&error, Error::Connect { path, .. } if *path == socket.0), "{error}");
}
