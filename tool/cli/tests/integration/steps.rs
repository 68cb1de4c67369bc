//! Single steps, as Bazel and Nix run them, make the same bytes as a build.

use std::fs;
use std::path::Path;

use crate::golden;
use crate::run::{bad, digests, good, workspace};

fn params(dir: &Path, name: &str) -> String {
    let from = workspace().join("tests/golden/format").join(format!("{name}-params.json"));
    fs::copy(&from, dir.join(format!("{name}-params.json")))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    format!("{name}-params.json")
}

fn same(dir: &Path, step: &str, built: &str) {
    let read = |path: &str| fs::read(dir.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(read(step) == read(built), "{step} is not {built}");
}

#[test]
fn steps_chained_by_their_files_equal_a_build() {
    let dir = golden::build("steps", "2");
    let step = |name: &str, args: &[&str]| {
        let file = params(&dir, name);
        let mut all = vec![name, "--params", &file];
        all.extend(args);
        assert_eq!(good(&dir, &all), "", "a step prints nothing");
    };
    step("layer", &["--out", "site.blob", "--metadata", "site.json"]);
    same(&dir, "site.blob", "out/layer/site.tar.zst");
    same(&dir, "site.json", "out/layer/site.json");

    // The metadata of the second layer comes from the build: records need no blobs.
    fs::copy(dir.join("out/layer/plain.json"), dir.join("plain.json")).expect("copied");
    step("image", &["--out", "web.json"]);
    same(&dir, "web.json", "out/image/web.json");

    fs::copy(dir.join("out/image/arm.json"), dir.join("arm.json")).expect("copied");
    step("index", &["--out", "index.json"]);
    same(&dir, "index.json", "out/index/web.json");

    fs::copy(dir.join("out/image/over.json"), dir.join("over.json")).expect("copied");
    fs::copy(dir.join("out/layer/plain.tar"), dir.join("plain.blob")).expect("copied");
    step("bundle", &["--out", "web.tar"]);
    same(&dir, "web.tar", "out/bundle/web.tar");

    step("seed", &["--metadata", "lock.json"]);
    same(&dir, "lock.json", "out/seed/appliance/seed.json");
    step("seed", &["--out", "seed"]);
    assert_eq!(digests(&dir.join("seed")), digests(&dir.join("out/seed/appliance")));

    step("store", &["--out", "store"]);
    assert_eq!(digests(&dir.join("store")), digests(&dir.join("out/store/appliance.archives")));
}

#[test]
fn a_layer_is_held_to_its_metadata() {
    let dir = golden::build("steps-expect", "2");
    let file = params(&dir, "layer");
    let step = ["layer", "--params", &file, "--out", "site.blob", "--expect", "pin.json"];
    fs::copy(dir.join("out/layer/site.json"), dir.join("pin.json")).expect("copied");
    assert_eq!(good(&dir, &step), "");
    same(&dir, "site.blob", "out/layer/site.tar.zst");
    fs::remove_file(dir.join("site.blob")).expect("removed");
    let mut pin: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("pin.json")).expect("read")).expect("JSON");
    pin["diff-id"] = format!("sha256:{}", "0".repeat(64)).into();
    fs::write(dir.join("pin.json"), pin.to_string()).expect("written");
    let stderr = bad(&dir, &step, 1);
    assert!(stderr.contains("the layer is not what `pin.json` says: diff id sha256:"), "{stderr}");
    assert!(!dir.join("site.blob").exists());
    fs::write(dir.join("pin.json"), "{}").expect("written");
    assert!(bad(&dir, &step, 1).contains("`pin.json`: not a valid layer metadata file"));
}

#[test]
fn parameters_may_stand_in_an_argument() {
    let dir = golden::build("steps-text", "2");
    let text = fs::read_to_string(dir.join(params(&dir, "layer"))).expect("there");
    good(&dir, &["layer", "--params-json", &text, "--out", "text.blob", "--metadata", "text.json"]);
    same(&dir, "text.blob", "out/layer/site.tar.zst");
    same(&dir, "text.json", "out/layer/site.json");
    let refused = |arguments: &[&str]| bad(&dir, &[&["layer", "--out", "none"], arguments].concat(), 2);
    assert!(refused(&["--params-json", "{"]).contains("`--params-json`: not a valid layer parameter file: "));
    assert!(
        refused(&["--params-json", &text, "--params", "layer-params.json"]).contains("cannot be used with")
    );
    assert!(!dir.join("none").exists());
}

#[test]
fn inputs_of_the_command_line_win_and_may_be_links() {
    let dir = golden::build("steps-inputs", "2");
    let file = params(&dir, "layer");
    fs::create_dir(dir.join("elsewhere")).expect("made");
    fs::rename(dir.join("nginx.conf"), dir.join("elsewhere/conf")).expect("moved");
    std::os::unix::fs::symlink(dir.join("elsewhere/conf"), dir.join("a link")).expect("made");
    good(&dir, &["layer", "--params", &file, "--out", "site.blob", "--input", "conf=a link"]);
    same(&dir, "site.blob", "out/layer/site.tar.zst");
}

#[test]
fn blobs_that_are_not_what_their_metadata_says_are_refused() {
    let dir = golden::build("steps-wrong-blob", "2");
    let file = params(&dir, "bundle");
    for (name, from) in
        [("web.json", "image/web.json"), ("plain.json", "layer/plain.json"), ("site.json", "layer/site.json")]
    {
        fs::copy(dir.join("out").join(from), dir.join(name)).expect("copied");
    }
    fs::copy(dir.join("out/layer/site.tar.zst"), dir.join("site.blob")).expect("copied");
    let mut blob = fs::read(dir.join("out/layer/plain.tar")).expect("read");
    blob[600] ^= 1;
    fs::write(dir.join("plain.blob"), &blob).expect("written");
    let before = fs::read_dir(&dir).expect("read").count();
    let message = bad(&dir, &["bundle", "--params", &file, "--out", "web.tar"], 1);
    assert!(message.contains("`plain.blob`: expected sha256:c925"), "{message}");
    blob.pop();
    fs::write(dir.join("plain.blob"), &blob).expect("written");
    let message = bad(&dir, &["bundle", "--params", &file, "--out", "web.tar"], 1);
    assert!(message.contains("expected 2048 bytes, found 2047"), "{message}");
    assert_eq!(fs::read_dir(&dir).expect("read").count(), before, "nothing half-written stays");
}

#[test]
fn a_directory_that_is_not_empty_is_never_replaced_by_a_step() {
    let dir = golden::build("steps-not-empty", "2");
    let file = params(&dir, "seed");
    for (name, from) in [
        ("web.json", "image/web.json"),
        ("over.json", "image/over.json"),
        ("plain.json", "layer/plain.json"),
        ("site.json", "layer/site.json"),
        ("site.blob", "layer/site.tar.zst"),
        ("plain.blob", "layer/plain.tar"),
    ] {
        fs::copy(dir.join("out").join(from), dir.join(name)).expect("copied");
    }
    fs::create_dir(dir.join("photos")).expect("made");
    fs::write(dir.join("photos/1.jpg"), "x").expect("written");
    let message = bad(&dir, &["seed", "--params", &file, "--out", "photos"], 1);
    assert!(message.contains("cannot write `photos`") && message.contains("hint: "), "{message}");
    assert_eq!(fs::read_dir(dir.join("photos")).expect("read").count(), 1);
    fs::remove_file(dir.join("photos/1.jpg")).expect("removed");
    good(&dir, &["seed", "--params", &file, "--out", "photos"]);
}
