//! The program as a persistent worker, driven over pipes as Bazel does (docs/format.md, "Worker").

mod ends;
mod keeps;
mod requests;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ociseed_spec::Digest;
use prost::Message;

use crate::run::{command, scratch};

/// A file that a request may read; this and the rest by hand from Bazel's `worker_protocol.proto`.
#[derive(Clone, PartialEq, Message)]
struct Input {
    #[prost(string, tag = "1")]
    path: String,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WorkRequest {
    #[prost(string, repeated, tag = "1")]
    arguments: Vec<String>,
    #[prost(message, repeated, tag = "2")]
    inputs: Vec<Input>,
    #[prost(int32, tag = "3")]
    request_id: i32,
    #[prost(bool, tag = "4")]
    cancel: bool,
    #[prost(int32, tag = "5")]
    verbosity: i32,
    #[prost(string, tag = "6")]
    sandbox_dir: String,
}

#[derive(Clone, PartialEq, Message)]
struct WorkResponse {
    #[prost(int32, tag = "1")]
    exit_code: i32,
    #[prost(string, tag = "2")]
    output: String,
    #[prost(int32, tag = "3")]
    request_id: i32,
    #[prost(bool, tag = "4")]
    was_cancelled: bool,
}

/// A request with these arguments.
fn request(id: i32, arguments: &[&str]) -> WorkRequest {
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    WorkRequest { arguments, request_id: id, ..WorkRequest::default() }
}

fn cancel(id: i32) -> WorkRequest {
    WorkRequest { request_id: id, cancel: true, ..WorkRequest::default() }
}

/// What a request comes to that did what it should, without a word.
fn done(id: i32) -> WorkResponse {
    WorkResponse { request_id: id, ..WorkResponse::default() }
}

fn cancelled(id: i32) -> WorkResponse {
    WorkResponse { was_cancelled: true, ..done(id) }
}

/// A worker that runs.
struct Worker {
    child: Arc<Mutex<Child>>,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Closed with this, which ends the thread that waits for it to hang.
    _lives: Sender<()>,
}

/// What none of these workers takes, even where much else runs.
const LONGEST: Duration = Duration::from_secs(300);

impl Worker {
    fn start(dir: &Path) -> Self {
        let mut command = command(dir);
        command
            .arg("--persistent_worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("ociseed runs");
        let input = child.stdin.take();
        let output = child.stdout.take().expect("a pipe");
        let child = Arc::new(Mutex::new(child));
        let (lives, ended) = channel();
        let watched = Arc::clone(&child);
        std::thread::spawn(move || {
            if ended.recv_timeout(LONGEST) == Err(RecvTimeoutError::Timeout) {
                // Whoever waits for a response sees that there is none.
                let _ = watched.lock().expect("no panic").kill();
            }
        });
        Self { child, input, output, _lives: lives }
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(bytes).and_then(|()| input.flush()).expect("it reads");
    }

    fn send(&mut self, request: &WorkRequest) {
        self.send_bytes(&request.encode_length_delimited_to_vec());
    }

    fn next(&mut self) -> WorkResponse {
        let (mut length, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            self.output.read_exact(&mut byte).expect("a response");
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut message = vec![0; length];
        self.output.read_exact(&mut message).expect("a response");
        WorkResponse::decode(&*message).expect("a response")
    }

    fn ask(&mut self, request: &WorkRequest) -> WorkResponse {
        self.send(request);
        self.next()
    }

    /// Closes the input; returns the exit code, what else was on standard output, and what was on standard error.
    fn end(mut self) -> (Option<i32>, Vec<u8>, String) {
        drop(self.input.take());
        let mut rest = Vec::new();
        self.output.read_to_end(&mut rest).expect("readable");
        let mut said = String::new();
        let mut child = self.child.lock().expect("no panic");
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        (child.wait().expect("it ends").code(), rest, said)
    }

    /// Closes the input of a worker that has answered everything and complained of nothing.
    fn end_well(self) {
        assert_eq!(self.end(), (Some(0), Vec::new(), String::new()));
    }
}

/// One of a test that failed may be in the middle of something that takes an hour.
impl Drop for Worker {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The arguments of a layer of one file, which is the input `data`.
fn layer<'a>(params: &'a str, data: &'a str, out: &'a str) -> Vec<&'a str> {
    vec!["layer", "--params", params, "--out", out, "--input", data]
}

/// Parameters of a layer of the input `data`; words between tell them apart.
fn params(word: &str) -> String {
    format!(
        r#"{{"version":1,"layer":{{"add":[{{"file":"data","to":"/data"}},{{"text":"{word}","to":"/word"}}]}}}}"#
    )
}

/// A directory with `params.json` and the file `data`.
fn prepared(name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::write(dir.join("params.json"), params("")).expect("written");
    fs::write(dir.join("data"), "some data\n".repeat(1000)).expect("written");
    dir
}

/// Makes the worker begin a layer of `endless.json` that takes an hour, below `out`, as request 1.
fn begin_endless(worker: &mut Worker, dir: &Path) {
    let file = File::create(dir.join("endless")).expect("made");
    // Most file systems have no larger files, and nothing of it is anywhere.
    file.set_len(1 << 43).expect("a file with a hole");
    fs::write(dir.join("endless.json"), params("")).expect("written");
    let out = dir.join("out");
    fs::create_dir(&out).expect("made");
    worker.send(&request(1, &layer("endless.json", "data=endless", "out/a.blob")));
    // It is in the middle when the hidden file is there.
    while !names(&out).iter().any(|name| name.starts_with(".ociseed-file-")) {
        std::thread::yield_now();
    }
}

fn fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
    assert!(made.success());
}

/// Tells by which digest Bazel knows a file.
fn input(dir: &Path, path: &str) -> Input {
    let bytes = fs::read(dir.join(path)).expect(path);
    Input { path: path.to_owned(), digest: Digest::of(&bytes).hex().into_bytes() }
}

/// The names in a directory, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("can be read");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("is there").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}
