//! Hidden directories that killed processes left: they go with the next build, those of living ones stay.

use std::fs::{self, File};

use crate::run::{good, scratch};

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
    let mut names: Vec<_> = fs::read_dir(&out)
        .expect("can be read")
        .map(|entry| entry.expect("is there").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.starts_with('.'))
        .collect();
    names.sort();
    assert_eq!(names, [".ociseed-stage-held", ".ociseed-stage-held.lock"]);
    drop(held);
    good(&dir, &["build", "spec.toml"]);
    assert!(!out.join(".ociseed-stage-held").exists());
}
