//! What is said of builds that are done all the same.

use std::fs;

use crate::run::{ociseed, scratch};

const SPEC: &str = r#"
[layer.a]
add = [{ text = "a", to = "/a" }]
[image.a]
layers = ["a"]
[seed.s]
stores = ["containerd"]
image = [{ image = "a", name = "registry.k8s.io/pause:3.9" }]
[seed.s.containerd]
sandbox-image = "registry.k8s.io/pause:3.10"
[disk.s]
medium = "erofs"
seed = "s"
"#;

#[test]
fn a_sandbox_image_that_is_not_there_is_warned_of() {
    let dir = scratch("warnings");
    fs::write(dir.join("s.toml"), SPEC).expect("written");
    let warning =
        "warning: seed.s: no image of namespace `k8s.io` is the sandbox image `registry.k8s.io/pause:3.10`\n";
    // Also where nothing is left to be made.
    for _ in 0..2 {
        for target in ["seed.s", "store.s.containerd", "disk.s"] {
            let built = ociseed(&dir, &["build", "s.toml", "--out", "out", target]);
            assert!(built.status.success(), "{built:?}");
            let text = String::from_utf8(built.stderr).expect("UTF-8");
            assert!(text.starts_with(warning), "{target}: {text}");
        }
    }
    let built = ociseed(&dir, &["build", "s.toml", "--out", "out", "image.a"]);
    assert_eq!(String::from_utf8(built.stderr).expect("UTF-8"), "", "no seed is made");
    fs::write(dir.join("s.toml"), SPEC.replace("3.10", "3.9")).expect("written");
    let built = ociseed(&dir, &["build", "s.toml", "--out", "out"]);
    assert_eq!(String::from_utf8(built.stderr).expect("UTF-8"), "");
}
