//! Directories of which each file is given, and arguments in files, as Bazel passes them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{bad, good, ociseed, scratch};

/// Everything below a directory goes to `/srv`, but for what a pattern leaves out.
const PARAMS: &str =
    r#"{"version":1,"layer":{"compression":"none","add":[{"dir":"www","to":"/srv","exclude":["*.map"]}]}}"#;
const FILES: [(&str, u32); 4] =
    [("a/b/one.txt", 0o644), ("a/run.sh", 0o755), ("a/skipped.map", 0o644), ("top name.txt", 0o600)];

/// A directory with the parameters, and the files both in a directory and laid out as links to somewhere else.
fn prepared(name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::write(dir.join("params.json"), PARAMS).expect("written");
    for (at, mode) in FILES {
        for file in [dir.join("www").join(at), dir.join("elsewhere").join(at)] {
            fs::create_dir_all(file.parent().expect("below")).expect("made");
            fs::write(&file, at).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("changed");
        }
        let link = dir.join("sandbox").join(at);
        fs::create_dir_all(link.parent().expect("below")).expect("made");
        symlink(dir.join("elsewhere").join(at), link).expect("linked");
    }
    dir
}

/// What the files are listed by, in an order of no meaning.
fn listing() -> Vec<String> {
    let one =
        |(at, _): (&str, u32)| ["--input-file".to_owned(), format!("www/{at}"), format!("sandbox/{at}")];
    FILES.into_iter().rev().flat_map(one).collect()
}

fn layer(dir: &Path, out: &str, more: &[&str]) -> String {
    let args: Vec<_> =
        ["layer", "--params", "params.json", "--out", out].iter().chain(more).copied().collect();
    good(dir, &args);
    good(dir, &["inspect", "--files", "--json", out])
}

fn refused(dir: &Path, more: &[&str], code: i32, expected: &str) {
    let args = ["layer", "--params", "params.json", "--out", "x"];
    let args: Vec<_> = args.iter().chain(more).copied().collect();
    let message = bad(dir, &args, code);
    assert!(message.contains(expected), "expected `{expected}`, found:\n{message}");
    assert!(!dir.join("x").exists(), "nothing half-written stays");
}

#[test]
fn a_listed_directory_makes_the_same_layer_as_the_directory() {
    let dir = prepared("listed-same");
    let whole = layer(&dir, "whole.tar", &["--input", "www=www"]);
    let listing = listing();
    let listing: Vec<&str> = listing.iter().map(String::as_str).collect();
    assert_eq!(layer(&dir, "listed.tar", &listing), whole);
    assert!(
        fs::read(dir.join("listed.tar")).expect("read") == fs::read(dir.join("whole.tar")).expect("read")
    );
    assert!(whole.contains("one.txt") && !whole.contains(".map"), "{whole}");
}

#[test]
fn a_listed_directory_may_be_empty() {
    let dir = prepared("listed-empty");
    fs::create_dir(dir.join("nothing")).expect("made");
    let params = PARAMS.replace(r#","exclude":["*.map"]"#, "");
    fs::write(dir.join("params.json"), params).expect("written");
    let whole = layer(&dir, "whole.tar", &["--input", "www=nothing"]);
    assert_eq!(layer(&dir, "listed.tar", &["--input-dir", "www"]), whole);
    refused(&dir, &[], 2, "no input `www`");
}

#[test]
fn lists_that_contradict_themselves_are_refused() {
    let dir = prepared("listed-bad");
    let file = |word: &'static str, path: &'static str| ["--input-file", word, path];
    let both = ["--input", "www=www", "--input-file", "www/a", "sandbox/a/run.sh"];
    refused(&dir, &both, 2, "input `www` is given both as a whole and file by file");
    let twice = [file("www/a", "sandbox/a/run.sh"), file("www/./a", "sandbox/a/run.sh")].concat();
    refused(&dir, &twice, 1, "`/a` is listed twice");
    for pair in [["www/a", "www/a/b"], ["www/a/b", "www/a"]] {
        let mixed = pair.map(|word| file(word, "sandbox/a/run.sh")).concat();
        refused(&dir, &mixed, 1, "`/a` is listed twice, or as a file and as a directory");
    }
    refused(&dir, &file("www/a", "sandbox/a"), 1, "`sandbox/a` is a directory, expected a file");
    refused(&dir, &file("www/.wh.a", "sandbox/a/run.sh"), 1, "whiteout");
    refused(&dir, &file("www/a", "sandbox/a/rum.sh"), 1, "did you mean `run.sh`?");
    refused(&dir, &file("www/../a", "sandbox/a/run.sh"), 2, "`..`");
    for word in ["www", "/a", "www/", ""] {
        refused(&dir, &file(word, "sandbox/a/run.sh"), 2, "expected NAME/PATH");
    }
    refused(&dir, &["--input-file", "www/a"], 2, "2 values required");
    let params =
        PARAMS.replace(r#""dir":"www","to":"/srv","exclude":["*.map"]"#, r#""file":"www","to":"/srv""#);
    fs::write(dir.join("params.json"), params).expect("written");
    refused(&dir, &file("www/a", "sandbox/a/run.sh"), 2, "input `www` is a directory, given file by file");
}

#[test]
fn arguments_may_stand_in_a_file() {
    let dir = prepared("argfile");
    let expected = layer(&dir, "whole.tar", &["--input", "www=www"]);
    let mut lines = ["layer", "--params", "params.json", "--out", "from file.tar"].join("\n");
    for word in listing() {
        lines += &format!("\n{word}");
    }
    for (name, text) in [("with", format!("{lines}\n")), ("without", lines)] {
        fs::write(dir.join(name), text).expect("written");
        good(&dir, &[&format!("@{name}")]);
        assert_eq!(good(&dir, &["inspect", "--files", "--json", "from file.tar"]), expected);
        fs::remove_file(dir.join("from file.tar")).expect("removed");
    }
    assert!(bad(&dir, &["@absent"], 1).contains("`absent`"));
    // Beside others it is what it says, as in a file.
    fs::write(dir.join("@with"), "x").expect("written");
    assert!(bad(&dir, &["inspect", "@with"], 1).contains("`@with`"));
    fs::write(dir.join("again"), "@with\n").expect("written");
    assert!(bad(&dir, &["@again"], 2).contains("@with"));
}

#[test]
fn a_program_of_another_name_takes_arguments_from_the_file_beside_it() {
    let dir = prepared("beside");
    let expected = layer(&dir, "whole.tar", &["--input", "www=www"]);
    let program = dir.join("my test");
    symlink(env!("CARGO_BIN_EXE_ociseed"), &program).expect("linked");
    fs::write(dir.join("my test.args"), "inspect\n--files\n").expect("written");
    let run = |program: &Path, args: &[&str]| {
        Command::new(program).args(args).current_dir(&dir).output().expect("it runs")
    };
    let found = run(&program, &["--json", "whole.tar"]);
    assert_eq!(String::from_utf8_lossy(&found.stdout), expected);
    // Without the file, and under its own name, it is what it always is.
    fs::remove_file(dir.join("my test.args")).expect("removed");
    assert_eq!(run(&program, &["whole.tar"]).status.code(), Some(2));
    symlink(env!("CARGO_BIN_EXE_ociseed"), dir.join("ociseed")).expect("linked");
    fs::write(dir.join("ociseed.args"), "inspect\n").expect("written");
    assert_eq!(run(&dir.join("ociseed"), &["whole.tar"]).status.code(), Some(2));
}

/// A layout with one image, and what is in it as it is listed.
fn layout(dir: &Path) -> Vec<String> {
    let spec = r#"{"layer":{"a":{"add":[{"text":"a","to":"/a"}]}},"image":{"a":{"layers":["a"]}},
        "index":{"a":{"images":["a"]}},
        "bundle":{"a":{"format":"layout","images":{"docker.io/library/a:1":"a"},"indexes":{"docker.io/library/all:1":"a"}}}}"#;
    fs::write(dir.join("spec.json"), spec).expect("written");
    good(dir, &["build", "spec.json", "--out", "out", "bundle.a"]);
    // What sandboxes do to a directory.
    let mut listing = Vec::new();
    for at in ["oci-layout", "index.json"].map(str::to_owned).into_iter().chain(blobs(dir)) {
        let link = dir.join("sandbox/layout").join(&at);
        fs::create_dir_all(link.parent().expect("below")).expect("made");
        symlink(dir.join("out/bundle/a").join(&at), link).expect("linked");
        listing.extend(["--input-file".to_owned(), format!("base/{at}"), format!("sandbox/layout/{at}")]);
    }
    listing
}

fn blobs(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("out/bundle/a/blobs/sha256")).expect("a layout");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("read").file_name();
    entries.map(|entry| format!("blobs/sha256/{}", name(entry).to_string_lossy())).collect()
}

/// Runs a step over the layout both whole and listed; both must make the same.
fn same_of_layout(dir: &Path, listing: &[String], step: &str, params: &str) {
    fs::write(dir.join("p.json"), params).expect("written");
    let run = |out: &str, inputs: &[&str]| {
        let args = [step, "--params", "p.json", "--out", out];
        let output = ociseed(dir, &args.iter().chain(inputs).copied().collect::<Vec<_>>());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(dir.join(out)).expect("written")
    };
    let listed: Vec<&str> = listing.iter().map(String::as_str).collect();
    assert!(run("whole", &["--input", "base=out/bundle/a"]) == run("listed", &listed), "{step}");
}

#[test]
fn a_listed_layout_is_the_same_base_as_the_layout() {
    let dir = scratch("listed-layout");
    let listing = layout(&dir);
    let image = r#"{"version":1,"image":{"base":{"layout":"base","reference":"docker.io/library/a:1"}}}"#;
    same_of_layout(&dir, &listing, "image", image);
    fs::copy(dir.join("listed"), dir.join("a.image.json")).expect("copied");
    let index = r#"{"version":1,"index":{"base":{"layout":"base","reference":"docker.io/library/all:1"}}}"#;
    same_of_layout(&dir, &listing, "index", index);
    let bundle = r#"{"version":1,"inputs":{"a":"a.image.json"},"blobs":[{"layout":"base"}],
        "bundle":{"format":"oci-archive","images":{"docker.io/library/b:1":"a"}}}"#;
    same_of_layout(&dir, &listing, "bundle", bundle);
}

#[test]
fn a_listed_layout_without_a_part_of_it_is_refused() {
    let dir = scratch("listed-layout-bad");
    let listing = layout(&dir);
    let image = r#"{"version":1,"image":{"base":{"layout":"base","reference":"docker.io/library/a:1"}}}"#;
    fs::write(dir.join("params.json"), image).expect("written");
    let without = |part: &str| {
        let kept = listing.chunks(3).filter(|entry| !entry[1].contains(part)).flatten();
        let args = ["image", "--params", "params.json", "--out", "x"];
        let args: Vec<&str> = args.into_iter().chain(kept.map(String::as_str)).collect();
        let message = bad(&dir, &args, 1);
        assert!(!dir.join("x").exists(), "nothing half-written stays");
        message
    };
    assert!(without("oci-layout").contains("`base` is no OCI image layout: cannot read `oci-layout`"));
    assert!(without("index.json").contains("`base` is no OCI image layout: cannot read `index.json`"));
    assert!(without("/blobs/").contains("is not in base"), "{}", without("/blobs/"));
    for name in blobs(&dir) {
        let blob = dir.join("out/bundle/a").join(name);
        fs::write(&blob, fs::read(&blob).expect("read").to_ascii_uppercase()).expect("written");
    }
    assert!(without("no such part").contains("in base: expected"));
}

#[test]
fn a_directory_may_say_the_mode_of_its_files() {
    let dir = prepared("listed-mode");
    fs::write(dir.join("params.json"), PARAMS.replace(r#""to":"/srv""#, r#""to":"/srv","mode":"0640""#))
        .expect("written");
    let found = layer(&dir, "whole.tar", &["--input", "www=www"]);
    let entries: Vec<serde_json::Value> =
        found.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let modes = |kind: &str| {
        let of_kind = entries.iter().filter(|entry| entry["kind"] == kind);
        of_kind.map(|entry| entry["mode"].as_str().expect("a mode").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(modes("file"), ["0640"; 3], "{found}");
    assert!(modes("directory").iter().all(|mode| mode == "0755"), "{found}");
    assert!(modes("directory").len() >= 3, "{found}");
}
