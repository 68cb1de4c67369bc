//! What a worker keeps: the same bytes as without, for whoever asks for the same.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Input, WorkRequest, Worker, done, input, layer, params, prepared, request};

/// Asks for the layer `out` of the file `data`, which is said to be what `inputs` say.
fn ask(worker: &mut Worker, data: &str, out: &str, inputs: &[Input]) {
    let name = format!("data={data}");
    let request = WorkRequest { inputs: inputs.to_vec(), ..request(1, &layer("params.json", &name, out)) };
    assert_eq!(worker.ask(&request), done(1));
}

fn blob(dir: &Path, name: &str) -> Vec<u8> {
    fs::read(dir.join(name)).expect(name)
}

/// A file of another path that has the same bytes as `data` for who asks, and others on the disk.
fn false_input(dir: &Path, path: &str) -> Input {
    fs::write(dir.join(path), "something else").expect("written");
    Input { path: path.to_owned(), ..input(dir, "data") }
}

#[test]
fn what_was_made_is_not_made_again() {
    let dir = prepared("worker-keeps");
    let mut worker = Worker::start(&dir);
    let params = input(&dir, "params.json");
    ask(&mut worker, "data", "first", &[params.clone(), input(&dir, "data")]);
    // Elsewhere, as for another configuration. That nothing is read shows in that it could only be something else.
    fs::create_dir(dir.join("k8-opt")).expect("made");
    let other = false_input(&dir, "k8-opt/data");
    ask(&mut worker, "k8-opt/data", "k8-opt/second", &[params.clone(), other.clone()]);
    assert!(blob(&dir, "k8-opt/second") == blob(&dir, "first"));
    let mode = fs::metadata(dir.join("k8-opt/second")).expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    // What is there gives way, as to a step.
    fs::write(dir.join("first"), "old").expect("written");
    ask(&mut worker, "k8-opt/data", "first", &[params, other]);
    assert!(blob(&dir, "first") == blob(&dir, "k8-opt/second"));
    worker.end_well();
}

#[test]
fn what_differs_is_made() {
    let dir = prepared("worker-keeps-not");
    fs::write(dir.join("other.json"), params("other")).expect("written");
    let mut worker = Worker::start(&dir);
    let (params, data) = (input(&dir, "params.json"), input(&dir, "data"));
    ask(&mut worker, "data", "first", &[params.clone(), data.clone()]);
    let first = blob(&dir, "first");
    let mut differs = |why: &str, data: &str, inputs: &[Input]| {
        ask(&mut worker, data, "second", inputs);
        assert!(blob(&dir, "second") != first, "{why}");
    };
    let other = false_input(&dir, "elsewhere");
    let digest = |digest: &[u8]| Input { digest: digest.to_vec(), ..other.clone() };
    differs("another digest", "elsewhere", &[params.clone(), input(&dir, "elsewhere")]);
    differs("no digest of the file", "elsewhere", std::slice::from_ref(&params));
    differs("an empty digest", "elsewhere", &[params.clone(), digest(b"")]);
    differs("no sha256", "elsewhere", &[params.clone(), digest(&other.digest[..40])]);
    differs("no digest of the parameters", "elsewhere", std::slice::from_ref(&other));
    // Not in the digest, but in the layer.
    let run = fs::Permissions::from_mode(0o755);
    fs::copy(dir.join("data"), dir.join("program")).expect("copied");
    fs::set_permissions(dir.join("program"), run).expect("changed");
    differs("executable", "program", &[params.clone(), input(&dir, "program")]);
    // Another step, or another output of it.
    let mut words = layer("other.json", "data=data", "third");
    let sent =
        |words: &[&str], inputs: &[Input]| WorkRequest { inputs: inputs.to_vec(), ..request(1, words) };
    assert_eq!(worker.ask(&sent(&words, &[input(&dir, "other.json"), data.clone()])), done(1));
    assert!(blob(&dir, "third") != first);
    words[2] = "params.json";
    words.extend(["--metadata", "third.json"]);
    assert_eq!(worker.ask(&sent(&words, &[params.clone(), data.clone()])), done(1));
    assert!(blob(&dir, "third") == first && !blob(&dir, "third.json").is_empty());
    worker.end_well();
}

#[test]
fn parameters_in_an_argument_are_told_apart() {
    let dir = prepared("worker-keeps-text");
    let data = input(&dir, "data");
    let mut worker = Worker::start(&dir);
    let mut ask = |text: &str, name: &str, out: &str, input: &Input| {
        let words = ["layer", "--params-json", text, "--input", name, "--out", out];
        let request = WorkRequest { inputs: vec![input.clone()], ..request(1, &words) };
        assert_eq!(worker.ask(&request), done(1));
    };
    ask(&params(""), "data=data", "first", &data);
    ask(&params(""), "data=other", "same", &false_input(&dir, "other"));
    ask(&params("other"), "data=data", "differs", &data);
    assert!(blob(&dir, "same") == blob(&dir, "first") && blob(&dir, "differs") != blob(&dir, "first"));
    worker.end_well();
}

#[test]
fn what_was_read_of_a_changed_file_is_not_kept() {
    let dir = prepared("worker-keeps-changed");
    let mut worker = Worker::start(&dir);
    let (params, data) = (input(&dir, "params.json"), input(&dir, "data"));
    let true_data = blob(&dir, "data");
    // Saved after Bazel has read it, and back again.
    fs::write(dir.join("data"), "something else").expect("written");
    ask(&mut worker, "data", "changed", &[params.clone(), data.clone()]);
    fs::write(dir.join("data"), true_data).expect("written");
    ask(&mut worker, "data", "right", &[params, data]);
    assert!(blob(&dir, "right") != blob(&dir, "changed"));
    worker.end_well();
}

#[test]
fn what_the_parameters_place_is_read_each_time() {
    let dir = prepared("worker-keeps-placed");
    fs::write(dir.join("params.json"), params("").replacen('{', r#"{"inputs":{"data":"data"},"#, 1))
        .expect("written");
    let inputs = vec![input(&dir, "params.json")];
    let sent = |out| {
        let words = ["layer", "--params", "params.json", "--out", out];
        WorkRequest { inputs: inputs.clone(), ..request(1, &words) }
    };
    let mut worker = Worker::start(&dir);
    assert_eq!(worker.ask(&sent("one")), done(1));
    fs::write(dir.join("data"), "something else").expect("written");
    assert_eq!(worker.ask(&sent("two")), done(1));
    assert!(blob(&dir, "one") != blob(&dir, "two"));
    worker.end_well();
}

#[test]
fn what_is_said_is_said_each_time() {
    let dir = prepared("worker-keeps-said");
    let inputs = vec![input(&dir, "params.json"), input(&dir, "data")];
    let mut words = layer("params.json", "data=data", "out");
    words.extend(["--input", "other=data"]);
    let mut worker = Worker::start(&dir);
    for id in 1..=2 {
        let answer = worker.ask(&WorkRequest { inputs: inputs.clone(), ..request(id, &words) });
        assert!(answer.exit_code == 0 && answer.output.starts_with("note: "), "{answer:?}");
    }
    worker.end_well();
}

#[test]
fn listed_files_are_told_apart_by_path_and_digest() {
    let dir = prepared("worker-keeps-listed");
    fs::write(dir.join("params.json"), r#"{"version":1,"layer":{"add":[{"dir":"d","to":"/"}]}}"#)
        .expect("written");
    let mut worker = Worker::start(&dir);
    let mut ask = |out: &str, at: &str, file: &str, inputs: &[Input]| {
        let words = ["layer", "--params", "params.json", "--out", out, "--input-file", at, file];
        let mut sent = WorkRequest { inputs: inputs.to_vec(), ..request(1, &words) };
        sent.inputs.push(input(&dir, "params.json"));
        assert_eq!(worker.ask(&sent), done(1));
        blob(&dir, out)
    };
    let first = ask("1", "d/a", "data", &[input(&dir, "data")]);
    let other = false_input(&dir, "other");
    assert!(ask("2", "d/a", "other", std::slice::from_ref(&other)) == first, "kept");
    assert!(
        ask("3", "d/a", "./other", std::slice::from_ref(&other)) == first,
        "kept, however the path is written"
    );
    assert!(ask("4", "d/b", "data", &[input(&dir, "data")]) != first, "another path");
    assert!(ask("5", "d/a", "other", &[input(&dir, "other")]) != first, "another digest");
    worker.end_well();
}
