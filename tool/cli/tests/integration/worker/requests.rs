//! Requests: what they make, what they are told, and how they are given up.

use std::fs::{self, File};
use std::io::Write as _;
use std::thread::available_parallelism;

use super::{Worker, begin_endless, cancel, cancelled, done, fifo, layer, names, params, prepared, request};
use crate::run::{bad, good, ociseed};

#[test]
fn steps_make_what_processes_make() {
    let dir = prepared("worker-steps");
    let mut words = layer("params.json", "data=data", "alone.blob");
    words.extend(["--metadata", "alone.json"]);
    good(&dir, &words);
    let mut worker = Worker::start(&dir);
    // One after the other with the id 0, then more than one.
    for (number, id) in [0, 0, 7].into_iter().enumerate() {
        let (blob, metadata) = (format!("{number}.blob"), format!("{number}.json"));
        let mut words = layer("params.json", "data=data", &blob);
        words.extend(["--metadata", &metadata]);
        assert_eq!(worker.ask(&request(id, &words)), done(id));
        for (made, alone) in [(&blob, "alone.blob"), (&metadata, "alone.json")] {
            assert!(
                fs::read(dir.join(made)).expect(made) == fs::read(dir.join(alone)).expect(alone),
                "{made}"
            );
        }
    }
    worker.end_well();
}

#[test]
fn a_request_is_told_what_a_process_says() {
    let dir = prepared("worker-errors");
    fs::write(dir.join("paramz.json"), "{").expect("written");
    let mut worker = Worker::start(&dir);
    for (code, words) in [
        (1, layer("params.jsn", "data=data", "x")),
        (1, layer("params.json", "data=dat", "x")),
        (1, layer("params.json", "data=data", "nowhere/x")),
        (2, layer("paramz.json", "data=data", "x")),
        (2, layer("params.json", "dta=data", "x")),
        (2, layer("params.json", "data", "x")),
        (
            2,
            vec![
                "layer",
                "--params",
                "params.json",
                "--out",
                "x",
                "--input-file",
                "data/x",
                "data",
                "--nothing",
            ],
        ),
        (2, vec![]),
    ] {
        let said = if words.is_empty() { String::new() } else { bad(&dir, &words, code) };
        let answer = worker.ask(&request(3, &words));
        assert_eq!(
            (answer.request_id, answer.exit_code, answer.was_cancelled),
            (3, code, false),
            "{words:?}"
        );
        if !words.is_empty() {
            assert_eq!(answer.output, said, "{words:?}");
        }
    }
    // What hinders nobody is said, too.
    let mut noted = layer("params.json", "data=data", "x");
    noted.extend(["--input", "other=data"]);
    let said = String::from_utf8(ociseed(&dir, &noted).stderr).expect("UTF-8");
    assert!(said.starts_with("note: nothing uses `--input other`"), "{said}");
    let answer = worker.ask(&request(4, &noted));
    assert_eq!((answer.exit_code, &answer.output), (0, &said));
    worker.end_well();
}

#[test]
fn nothing_but_steps_is_done() {
    let dir = prepared("worker-commands");
    fs::write(dir.join("spec.json"), r#"{"layer":{"a":{"add":[]}}}"#).expect("written");
    fs::write(dir.join("arguments"), "--version\n").expect("written");
    let before = names(&dir);
    let mut worker = Worker::start(&dir);
    for words in [
        &["build", "spec.json"][..],
        &["inspect", "params.json"],
        &["completions", "bash"],
        &["man", "--out", "."],
        &["--help"],
        &["layer", "--help"],
        &["--version"],
        &["@arguments"],
        &["--persistent_worker"],
    ] {
        let answer = worker.ask(&request(1, words));
        assert_eq!(answer.exit_code, 2, "{words:?}: {}", answer.output);
        assert!(answer.output.starts_with("error: "), "{words:?}: {}", answer.output);
    }
    worker.end_well();
    assert_eq!(names(&dir), before);
}

#[test]
fn paths_are_relative_to_the_sandbox_and_shown_without_it() {
    let dir = prepared("worker-sandbox");
    good(&dir, &layer("params.json", "data=data", "alone.blob"));
    for number in ["1", "2"] {
        let sandbox = dir.join(format!("__sandbox/{number}/_main"));
        fs::create_dir_all(sandbox.join("out")).expect("made");
        // As Bazel lays inputs out.
        for name in ["params.json", "data"] {
            fs::rename(dir.join(name), dir.join(format!("real-{name}"))).unwrap_or_default();
            std::os::unix::fs::symlink(dir.join(format!("real-{name}")), sandbox.join(name)).expect("linked");
        }
    }
    // Listed files, and inputs that the parameter file places.
    let listed = r#"{"version":1,"inputs":{"in":"data"},"layer":{"add":[{"dir":"d","to":"/"},{"file":"in","to":"/in"}]}}"#;
    fs::write(dir.join("__sandbox/2/_main/listed.json"), listed).expect("written");
    let before = names(&dir);
    let mut worker = Worker::start(&dir);
    let sent = |words: &[&str], sandbox: &str| super::WorkRequest {
        sandbox_dir: format!("__sandbox/{sandbox}/_main"),
        ..request(5, words)
    };
    for sandbox in ["1", "2"] {
        let words = layer("params.json", "data=data", "out/a.blob");
        assert_eq!(worker.ask(&sent(&words, sandbox)), done(5));
        let made = dir.join(format!("__sandbox/{sandbox}/_main/out"));
        assert!(
            fs::read(made.join("a.blob")).expect("there") == fs::read(dir.join("alone.blob")).expect("there")
        );
        assert_eq!(names(&made), ["a.blob"]);
    }
    let words = ["layer", "--params", "listed.json", "--out", "out/b", "--input-file", "d/data", "data"];
    assert_eq!(worker.ask(&sent(&words, "2")), done(5));
    let listed = good(&dir, &["inspect", "--files", "__sandbox/2/_main/out/b"]);
    assert!(listed.contains("/data") && listed.contains("/in"), "{listed}");
    for (words, said) in [
        (
            layer("params.jsn", "data=data", "x"),
            "error: `params.jsn`: No such file or directory\nhint: did you mean `params.json`?\n",
        ),
        (
            layer("params.json", "data=dat", "x"),
            "error: layer.add[0]: input `data`: `dat`: No such file or directory\n",
        ),
        (
            layer("params.json", "data=data", "no/x"),
            "error: cannot write `no/x`: No such file or directory\n",
        ),
    ] {
        assert_eq!(worker.ask(&sent(&words, "1")).output, said);
    }
    worker.end_well();
    assert_eq!(names(&dir), before, "nothing is written beside the sandboxes");
}

#[test]
fn paths_that_bazel_maps_to_nowhere_are_explained() {
    let dir = prepared("worker-mapped");
    fs::create_dir_all(dir.join("bazel-out/cfg/bin")).expect("made");
    let mut worker = Worker::start(&dir);
    let output =
        |worker: &mut Worker, params| worker.ask(&request(1, &layer(params, "data=dat", "x"))).output;
    let hint = "hint: with `--experimental_output_paths=strip` workers need \
                `--worker_sandboxing --experimental_worker_multiplex_sandboxing`\n";
    let missing = "error: `bazel-out/cfg/bin/params.json`: No such file or directory\n";
    assert_eq!(output(&mut worker, "bazel-out/cfg/bin/params.json"), format!("{missing}{hint}"));
    // Where it is there, another mistake is explained as ever.
    fs::copy(dir.join("params.json"), dir.join("bazel-out/cfg/bin/params.json")).expect("copied");
    assert!(!output(&mut worker, "bazel-out/cfg/bin/params.json").contains("strip"));
    worker.end_well();
}

#[test]
fn one_request_does_not_wait_for_another() {
    if available_parallelism().map_or(1, usize::from) < 2 {
        return;
    }
    let dir = prepared("worker-two");
    fifo(&dir.join("fifo.json"));
    let mut worker = Worker::start(&dir);
    worker.send(&request(1, &layer("fifo.json", "data=data", "one")));
    // Once this is open it is read at the other end, which waits for more.
    let mut pipe = File::options().write(true).open(dir.join("fifo.json")).expect("opened");
    assert_eq!(worker.ask(&request(2, &layer("params.json", "data=data", "two"))), done(2));
    pipe.write_all(params("").as_bytes()).expect("written");
    drop(pipe);
    assert_eq!(worker.next(), done(1));
    assert!(fs::read(dir.join("one")).expect("made") == fs::read(dir.join("two")).expect("made"));
    worker.end_well();
}

#[test]
fn a_step_is_cancelled_while_it_writes() {
    let dir = prepared("worker-cancel-writing");
    let mut worker = Worker::start(&dir);
    begin_endless(&mut worker, &dir);
    worker.send(&cancel(77));
    worker.send(&cancel(1));
    worker.send(&cancel(1));
    assert_eq!(worker.next(), cancelled(1));
    assert_eq!(names(&dir.join("out")), [""; 0], "nothing half-written");
    // It goes on as if nothing had been; what comes too late is of nobody.
    worker.send(&cancel(1));
    assert_eq!(worker.ask(&request(1, &layer("params.json", "data=data", "out/a.blob"))), done(1));
    worker.end_well();
}

#[test]
fn a_step_is_cancelled_while_it_reads() {
    let dir = prepared("worker-cancel-reading");
    let out = dir.join("out");
    fs::create_dir(&out).expect("made");
    fs::write(out.join("a.blob"), "as it was").expect("written");
    fifo(&dir.join("fifo.json"));
    let mut worker = Worker::start(&dir);
    let mut words = layer("fifo.json", "data=data", "out/a.blob");
    words.extend(["--metadata", "out/a.json"]);
    worker.send(&request(1, &words));
    // Once this is open it is read at the other end, which waits for more.
    let mut pipe = File::options().write(true).open(dir.join("fifo.json")).expect("opened");
    worker.send(&cancel(1));
    // Requests are taken in order: when the second one is answered, in whatever way, the first one is given up.
    worker.send(&request(2, &["layer"]));
    worker.send(&cancel(2));
    let mut answers = vec![worker.next()];
    if answers[0].request_id == 1 {
        answers.push(worker.next());
    }
    // If it was given up before it read anything, nobody reads this.
    let _ = pipe.write_all(params("").as_bytes());
    drop(pipe);
    if answers.len() == 1 {
        answers.push(worker.next());
    }
    answers.sort_by_key(|answer| answer.request_id);
    assert_eq!((&answers[0], answers[1].request_id), (&cancelled(1), 2));
    assert_eq!(names(&out), ["a.blob"]);
    assert_eq!(fs::read_to_string(out.join("a.blob")).expect("there"), "as it was");
    worker.end_well();
}
