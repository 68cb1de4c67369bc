//! How a worker ends: well at the end of its input, badly by what is no protocol.

use std::fs::{self, File};
use std::io::Write as _;

use super::{Worker, begin_endless, cancelled, done, fifo, layer, names, params, prepared, request};
use crate::run::bad;

#[test]
fn what_was_asked_for_is_done_before_the_end() {
    let dir = prepared("worker-end");
    fifo(&dir.join("fifo.json"));
    let mut worker = Worker::start(&dir);
    worker.send(&request(1, &layer("fifo.json", "data=data", "one")));
    let mut pipe = File::options().write(true).open(dir.join("fifo.json")).expect("opened");
    worker.send(&request(2, &layer("params.json", "data=data", "two")));
    worker.send(&request(3, &layer("params.json", "data=data", "three")));
    drop(worker.input.take());
    pipe.write_all(params("").as_bytes()).expect("written");
    drop(pipe);
    let mut answers = [worker.next(), worker.next(), worker.next()];
    answers.sort_by_key(|answer| answer.request_id);
    assert_eq!(answers, [done(1), done(2), done(3)]);
    worker.end_well();
}

#[test]
fn what_is_no_protocol_ends_it() {
    let dir = prepared("worker-malformed");
    for (bytes, said) in [
        (&b"\x80"[..], "the input ends in the length of a message"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "the length of a message has more than 64 bits"),
        (b"\xff\xff\xff\xff\x7f", "expected a message of at most 268435456 bytes, found 34359738367"),
        (b"\x05\x0a", "expected a message of 5 bytes, found 1 to the end"),
        (
            b"{\"arguments\": [\"layer\"], \"requestId\": 1}\n",
            "expected a message of 123 bytes, found 40 to the end",
        ),
    ] {
        let mut worker = Worker::start(&dir);
        // Those before it have their answers.
        assert_eq!(worker.ask(&request(1, &layer("params.json", "data=data", "out"))), done(1));
        worker.send_bytes(bytes);
        let (code, rest, stderr) = worker.end();
        assert_eq!((code, rest), (Some(1), Vec::new()), "{stderr}");
        assert_eq!(stderr, format!("error: the worker protocol: {said}\n"));
    }
    let mut worker = Worker::start(&dir);
    worker.send_bytes(b"\x02\x0a\x09");
    let (code, _, stderr) = worker.end();
    assert!(
        code == Some(1) && stderr.starts_with("error: the worker protocol: no WorkRequest: "),
        "{stderr}"
    );
}

#[test]
fn what_is_worked_on_then_is_given_up() {
    let dir = prepared("worker-malformed-while");
    let mut worker = Worker::start(&dir);
    begin_endless(&mut worker, &dir);
    worker.send(&request(1, &layer("params.json", "data=data", "out/b.blob")));
    assert_eq!(worker.next(), cancelled(1));
    let (code, rest, stderr) = worker.end();
    assert_eq!((code, rest), (Some(1), Vec::new()));
    assert_eq!(stderr, "error: the worker protocol: request 1 came while one of that id was in flight\n");
    assert_eq!(names(&dir.join("out")), [""; 0], "nothing half-written");
}

#[test]
fn it_is_a_worker_by_that_argument_alone() {
    let dir = prepared("worker-flag");
    fs::write(dir.join("arguments"), "--persistent_worker\n").expect("written");
    let message = bad(&dir, &["--persistent_worker", "layer"], 2);
    assert!(message.contains("unexpected argument '--persistent_worker'"), "{message}");
    let message = bad(&dir, &["layer", "--persistent_worker"], 2);
    assert!(message.contains("unexpected argument '--persistent_worker'"), "{message}");
}
