//! Hidden directories and files that killed processes left: they go with the next one, those of living ones stay.

use std::fs::{self, File};
use std::path::Path;

use crate::run::{good, scratch};

fn hidden(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("can be read");
    let names = entries.map(|entry| entry.expect("is there").file_name().into_string().expect("UTF-8"));
    let mut names: Vec<_> = names.filter(|name| name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn what_nobody_holds_goes_and_what_somebody_holds_stays() {
    let dir = scratch("stages");
    fs::write(dir.join("spec.toml"), "[layer.a]\nadd = [{ text = \"a\", to = \"/a\" }]")
        .expect("can be written");
    let out = dir.join("out");
    for stage in ["no-lock", "left", "held"] {
        fs::create_dir_all(out.join(format!(".ociseed-stage-{stage}/layer"))).expect("can be made");
    }
    let lock =
        |stage: &str| File::create(out.join(format!(".ociseed-stage-{stage}.lock"))).expect("can be made");
    lock("left");
    lock("lock-alone");
    let held = lock("held");
    held.lock().expect("nobody else has it");
    good(&dir, &["build", "spec.toml"]);
    assert_eq!(hidden(&out), [".ociseed-stage-held", ".ociseed-stage-held.lock"]);
    drop(held);
    good(&dir, &["build", "spec.toml"]);
    assert!(!out.join(".ociseed-stage-held").exists());
}

#[test]
fn files_beside_the_output_of_a_step_go_the_same_way() {
    let dir = scratch("stages-of-steps");
    for name in [".ociseed-file-left", ".ociseed-scratch-left"] {
        fs::write(dir.join(name), "half of it").expect("can be written");
    }
    let held = File::create(dir.join(".ociseed-file-held")).expect("can be made");
    held.lock().expect("nobody else has it");
    let text = r#"{"version":1,"layer":{"add":[{"text":"a","to":"/a"}]}}"#;
    let step = ["layer", "--params-json", text, "--out", "a.blob", "--metadata", "a.json"];
    good(&dir, &step);
    assert_eq!(hidden(&dir), [".ociseed-file-held"]);
    assert_eq!(fs::read_dir(&dir).expect("can be read").count(), 3, "the outputs and nothing else");
    drop(held);
    good(&dir, &step);
    assert_eq!(hidden(&dir), [""; 0]);
}
