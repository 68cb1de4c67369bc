//! Calls against a peer that notes their bytes: methods, field numbers, and what becomes of the answers.
//!
//! The bytes are those of protoc and containerd's `api/services/*/v1/*.proto`, with all fields of the answers set.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod peer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ociseed_containerd::{Adopted, Client, Code, Error, Mount, Plugin, SnapshotInfo, SnapshotKind};
use peer::{Socket, connect, head, serve, trailers};

/// What the peer says to one call: messages, a status and its message.
type Say = (&'static [&'static [u8]], &'static str, &'static str);

/// What it heard: the end of the method's name, with a word more when the call has the slow limit, and the bytes of all
/// messages with their frames.
type Heard = Vec<(String, Vec<u8>)>;

const OK: &str = "0";

/// Lets `ask` call a peer that says these things in order, each when the client has said all of its own.
fn converse<T>(say: &'static [Say], ask: impl FnOnce(&Client) -> T) -> (T, Heard) {
    let socket = Socket::new();
    let heard = Arc::new(Mutex::new(Heard::new()));
    let notes = Arc::clone(&heard);
    serve(&socket, 65_535, move |request, mut respond| {
        let notes = Arc::clone(&notes);
        async move {
            let slow = request.headers().get("grpc-timeout").is_some_and(|limit| limit == "9000m");
            let path = request.uri().path().trim_start_matches("/containerd.services.");
            let method = format!("{path}{}", if slow { " slow" } else { "" });
            let mut body = request.into_body();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                bytes.extend(data.expect("the client sends"));
            }
            let (messages, status, text) = {
                let mut notes = notes.lock().expect("no thread panicked");
                notes.push((method, bytes));
                say[notes.len() - 1]
            };
            let mut stream = respond.send_response(head(), false).expect("the client listens");
            for message in messages {
                stream.send_data(Bytes::from(frame(message)), false).expect("the client listens");
            }
            stream.send_trailers(trailers(status, text)).expect("the client listens");
            true
        }
    });
    let client = connect(&socket, Duration::from_secs(5));
    client.set_limits(Duration::from_secs(5), Duration::from_secs(9));
    let answer = ask(&client);
    let heard = std::mem::take(&mut *heard.lock().expect("no thread panicked"));
    (answer, heard)
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, message.len() as u8], message].concat()
}

fn heard(calls: &[(&str, &[u8])]) -> Heard {
    calls.iter().map(|(method, message)| ((*method).to_owned(), frame(message))).collect()
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("l".to_owned(), "v".to_owned())])
}

fn layer() -> SnapshotInfo {
    let [name, parent] = ["n", "p"].map(str::to_owned);
    SnapshotInfo { name, parent, kind: SnapshotKind::Committed, labels: labels() }
}

#[test]
fn snapshots_are_looked_up() {
    let (found, calls) = converse(
        &[
            (
                &[b"\x0a\x18\x0a\x01n\x12\x01p\x18\x03\x22\x02\x08\x01*\x02\x10\x022\x06\x0a\x01l\x12\x01v"],
                OK,
                "",
            ),
            (&[], "5", "no such"),
        ],
        |client| ["k", "j"].map(|name| client.scope("x").stat_snapshot("s", name).expect("answered")),
    );
    assert_eq!(found, [Some(layer()), None]);
    let method = "snapshots.v1.Snapshots/Stat";
    assert_eq!(calls, heard(&[(method, b"\x0a\x01s\x12\x01k"), (method, b"\x0a\x01s\x12\x01j")]));
}

#[test]
fn snapshots_are_listed_message_by_message() {
    let (found, calls) = converse(
        &[(
            &[
                b"\x0a\x18\x0a\x01n\x12\x01p\x18\x03\x22\x02\x08\x01*\x02\x10\x022\x06\x0a\x01l\x12\x01v",
                b"\x0a\x05\x0a\x01m\x18\x07\x0a\x05\x0a\x01o\x18\x02",
            ],
            OK,
            "",
        )],
        |client| {
            let mut found = Vec::new();
            let filters = ["f", "g"].map(str::to_owned).to_vec();
            client.scope("x").list_snapshots("s", filters, |info| found.push(info)).expect("answered");
            found
        },
    );
    assert_eq!(found[0], layer());
    let kinds: Vec<_> = found.iter().map(|info| (info.name.as_str(), info.kind)).collect();
    // Kind 7 is one that nobody knows yet.
    let expected =
        [("n", SnapshotKind::Committed), ("m", SnapshotKind::Unknown), ("o", SnapshotKind::Active)];
    assert_eq!(kinds, expected);
    assert_eq!(calls, heard(&[("snapshots.v1.Snapshots/List", b"\x0a\x01s\x12\x01f\x12\x01g")]));
}

#[test]
fn snapshots_are_made() {
    const MOUNTS: &[&[u8]] = &[b"\x0a\x1f\x0a\x07overlay\x12\x01o\x1a\x01t\x22\x01a\x22\x0bupperdir=/u"];
    let ((prepared, again), calls) =
        converse(&[(MOUNTS, OK, ""), (MOUNTS, OK, ""), (&[b""], OK, "")], |client| {
            let scope = client.scope("x");
            let mounts = scope.prepare_snapshot("s", "k", "p", &labels()).expect("answered");
            let again = scope.snapshot_mounts("s", "k").expect("answered");
            scope.commit_snapshot("s", "n", "k", &labels()).expect("answered");
            (mounts, again)
        });
    let [kind, source, target] = ["overlay", "o", "t"].map(str::to_owned);
    let options = ["a", "upperdir=/u"].map(str::to_owned).to_vec();
    assert_eq!(prepared, [Mount { kind, source, target, options }]);
    assert_eq!(again, prepared);
    let expected: &[(&str, &[u8])] = &[
        ("snapshots.v1.Snapshots/Prepare", b"\x0a\x01s\x12\x01k\x1a\x01p\x22\x06\x0a\x01l\x12\x01v"),
        ("snapshots.v1.Snapshots/Mounts", b"\x0a\x01s\x12\x01k"),
        ("snapshots.v1.Snapshots/Commit slow", b"\x0a\x01s\x12\x01n\x1a\x01k\x22\x06\x0a\x01l\x12\x01v"),
    ];
    assert_eq!(calls, heard(expected));
}

#[test]
fn snapshots_are_labelled_and_removed() {
    let (removed, calls) = converse(
        &[
            (&[b"\x0a\x03\x0a\x01n"], OK, ""),
            (&[b""], OK, ""),
            (&[], "5", "no such"),
            (&[], "9", "cannot remove snapshot with child"),
        ],
        |client| {
            let scope = client.scope("x");
            scope.label_snapshot("s", "n", &labels()).expect("answered");
            [(); 3].map(|()| scope.remove_snapshot("s", "k").map_err(|error| error.code()))
        },
    );
    assert_eq!(removed, [Ok(true), Ok(false), Err(Some(Code::FailedPrecondition))]);
    let update = b"\x0a\x01s\x12\x0b\x0a\x01n2\x06\x0a\x01l\x12\x01v\x1a\x0a\x0a\x08labels.l";
    let remove: (&str, &[u8]) = ("snapshots.v1.Snapshots/Remove", b"\x0a\x01s\x12\x01k");
    assert_eq!(calls, heard(&[("snapshots.v1.Snapshots/Update", update), remove, remove, remove]));
}

#[test]
fn plugins_tell_what_they_export_and_why_they_failed() {
    let (plugins, calls) = converse(
        &[(
            &[b"\x0a(\x0a\x01T\x12\x01I\x1a\x01r\x22\x0e\x0a\x05linux\x12\x05amd64*\x0a\x0a\x04root\x12\x02/r2\x01c\
                \x0a\x0e\x0a\x01T\x12\x01J:\x06\x08\x02\x12\x02no"],
            OK,
            "",
        )],
        |client| client.plugins(["f", "g"].map(str::to_owned).to_vec()).expect("answered"),
    );
    let plugin = |id: &str, exports: &[(&str, &str)], failure: Option<&str>| Plugin {
        kind: "T".to_owned(),
        id: id.to_owned(),
        exports: exports.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        failure: failure.map(str::to_owned),
    };
    assert_eq!(plugins, [plugin("I", &[("root", "/r")], None), plugin("J", &[], Some("no"))]);
    assert_eq!(calls, heard(&[("introspection.v1.Introspection/Plugins", b"\x0a\x01f\x0a\x01g")]));
}

/// The one message of an adoption, and the call that gives its ingest up.
const WRITE: (&str, &[u8]) =
    ("content.v1.Content/Write", b"\x08\x02\x12\x01r\x18\xac\x02\x22\x01d(\xac\x02:\x06\x0a\x01l\x12\x01v");
const ABORT: (&str, &[u8]) = ("content.v1.Content/Abort", b"\x0a\x01r");

#[test]
fn an_adoption_is_one_message_and_leaves_no_ingest() {
    // containerd sends the answer to a commit twice.
    const COMMITTED: Say = (&[b"\x08\x02\x20\xac\x02", b"\x08\x02\x20\xac\x02"], OK, "");
    const ABORTED: Say = (&[b""], OK, "");
    let refused = |text: &str| Adopted::Refused(text.to_owned());
    let cases: [(&'static [Say], Adopted, &[_]); 5] = [
        (&[COMMITTED], Adopted::Adopted, &[WRITE]),
        (&[(&[], "6", "there")], Adopted::AlreadyThere, &[WRITE]),
        (&[(&[], "11", "offset"), ABORTED], refused("offset"), &[WRITE, ABORT]),
        (&[(&[], "9", "size"), ABORTED], refused("size"), &[WRITE, ABORT]),
        // There was none to give up.
        (&[(&[], "11", "offset"), (&[], "5", "no such")], refused("offset"), &[WRITE, ABORT]),
    ];
    for (say, expected, calls) in cases {
        let (adopted, found) = converse(say, |client| {
            client.scope("x").adopt_content("r", "d", 300, &labels()).expect("answered")
        });
        assert_eq!((adopted, found), (expected, heard(calls)));
    }
}

#[test]
fn an_adoption_that_fails_otherwise_is_an_error() {
    let (error, calls) = converse(&[(&[], "14", "locked")], |client| {
        client.scope("x").adopt_content("r", "d", 300, &labels()).unwrap_err()
    });
    assert!(matches!(error, Error::Status { code: Code::Unavailable, .. }), "{error}");
    assert_eq!(calls, heard(&[WRITE]));
}
