//! The bytes of everything that a build writes, on a spec that uses every key.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{assert_golden, copy, digests, good, scratch, workspace};

fn golden() -> PathBuf {
    workspace().join("tests/golden")
}

/// Builds the golden spec and returns its scratch directory; outputs are in `out`.
pub(crate) fn build(name: &str, jobs: &str) -> PathBuf {
    let dir = scratch(name);
    copy(&golden().join("format/inputs"), &dir);
    fs::copy(golden().join("format/spec.toml"), dir.join("spec.toml")).expect("the golden spec");
    good(&dir, &["build", "spec.toml", "--out", "out", "--jobs", jobs]);
    dir
}

#[test]
fn every_byte_is_as_it_was() {
    let out = build("golden", "2").join("out");
    for (document, path) in [
        ("layer-metadata.json", "layer/site.json"),
        ("image-record.json", "image/over.json"),
        ("index-record.json", "index/web.json"),
        ("seed.json", "seed/appliance/seed.json"),
        ("disk-metadata.json", "disk/appliance.json"),
        ("report.json", "report.json"),
    ] {
        let found = fs::read_to_string(out.join(path)).expect(path);
        assert_golden(&golden().join("format").join(document), &found);
    }
    let listing = good(&out, &["inspect", "disk/appliance.erofs", "--files", "--json"]);
    assert_golden(&golden().join("build/appliance.ndjson"), &listing);
    assert_golden(&golden().join("format/medium-seed.json"), &lock_of(&out));
    let listing = good(&out, &["inspect", "store/appliance.containerd.tar", "--files", "--json"]);
    assert_golden(&golden().join("build/containerd.ndjson"), &listing);
    for (layer, file) in [("site", "site.tar.zst"), ("plain", "plain.tar")] {
        let listing = good(&out, &["inspect", &format!("layer/{file}"), "--json"]);
        assert_golden(&golden().join("build").join(format!("{layer}.ndjson")), &lines(&listing));
    }
    let listing = good(&out, &["inspect", "layer/kinds.tar.gz", "--files", "--json"]);
    assert_golden(&golden().join("build/kinds.ndjson"), &listing);
    assert_golden(&golden().join("build/digests.txt"), &digests(&out));
}

/// Returns the lock in a disk: that of the cpio archive of the same seed, whose file lies in it as it is.
fn lock_of(out: &Path) -> String {
    let archive = fs::read(out.join("disk/initramfs.cpio")).expect("read");
    let text = String::from_utf8_lossy(&archive);
    let start = text.find("{\"content\":").expect("the lock is in it");
    let end = text[start..].find("\"version\":1}").expect("its last key") + start;
    text[start..end].to_owned() + "\"version\":1}"
}

/// Writes one line for each entry, so that a diff can be read.
fn lines(listing: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(listing).expect("JSON");
    let entries = value["entries"].as_array().expect("a list");
    entries.iter().map(|entry| format!("{entry}\n")).collect()
}

#[test]
fn threads_and_earlier_outputs_change_no_byte() {
    let one = build("golden-one-thread", "1");
    let again = build("golden-again", "3");
    good(&again, &["build", "spec.toml", "--out", "out"]);
    assert_eq!(digests(&one.join("out")), digests(&again.join("out")));
}

#[test]
fn many_threads_compress_a_large_layer_to_the_same_bytes() {
    let dir = scratch("large-layer");
    // Numbers, so that there is something to compress, and enough of it for several workers.
    let text: String = (0..3_000_000u32).map(|n| format!("{}\n", n.wrapping_mul(2_654_435_761))).collect();
    fs::write(dir.join("large"), text).expect("can be written");
    fs::write(dir.join("s.toml"), "[layer.a]\nadd = [{ file = \"large\", to = \"/large\" }]\n")
        .expect("can be written");
    for jobs in ["1", "4"] {
        good(&dir, &["build", "s.toml", "--out", &format!("out{jobs}"), "--jobs", jobs, "--no-cache"]);
    }
    assert_eq!(digests(&dir.join("out1")), digests(&dir.join("out4")));
}

#[test]
fn modes_and_umask_of_the_host_stay_out() {
    let one = build("golden-modes", "2");
    let two = scratch("golden-umask");
    let script = format!(
        "umask 077; cp -r '{0}'/. . && rm -rf out && chmod -R go= . && exec '{1}' build spec.toml --out out --no-cache",
        one.display(),
        env!("CARGO_BIN_EXE_ociseed")
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).current_dir(&two).env("TZ", "Pacific/Chatham").env("LC_ALL", "tr_TR.UTF-8");
    assert!(shell.output().expect("sh runs").status.success());
    assert_eq!(digests(&one.join("out")), digests(&two.join("out")));
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &str| fs::metadata(two.join(path)).expect(path).permissions().mode() & 0o7777;
    for (path, expected) in [
        ("out/seed/appliance", 0o755),
        ("out/seed/appliance/blobs/sha256", 0o755),
        ("out/seed/appliance/seed.json", 0o644),
        ("out/bundle/web.tar", 0o644),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
}
