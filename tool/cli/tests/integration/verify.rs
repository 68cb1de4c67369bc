//! `verify` finds every kind of damage and lists all of it; `inspect` shows what is there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::golden;
use crate::run::{bad, good, scratch};

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn whole_outputs_are_good() {
    let dir = golden::build("verify-good", "2");
    for path in [
        "out",
        "out/layer/site.tar.zst",
        "out/layer/plain.tar",
        "out/image/web.json",
        "out/bundle/web.tar",
        "out/bundle/all",
        "out/seed/appliance",
        "out/seed/appliance/seed.json",
        "out/store/appliance.archives",
        "out/disk/appliance.erofs",
        "out/disk/site.erofs",
        "out/disk/initramfs.cpio",
        "out/disk/appliance.json",
    ] {
        assert!(good(&dir, &["verify", path]).contains(": good"), "{path}");
        assert!(!good(&dir, &["inspect", path]).is_empty(), "{path}");
        let json = good(&dir, &["inspect", path, "--json"]);
        serde_json::from_str::<serde_json::Value>(&json).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let seed = good(&dir, &["inspect", "out/seed/appliance"]);
    for shown in
        ["seed id: sha256:", "docker.io/library/web:1", "for default, k8s.io: background", "critical, pinned"]
    {
        assert!(seed.contains(shown), "{shown} in {seed}");
    }
}

#[test]
fn all_damage_is_listed() {
    let dir = golden::build("verify-damage", "2");
    let blobs = dir.join("out/seed/appliance/blobs/sha256");
    let lock: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("out/seed/appliance/seed.json")).expect("read"))
            .expect("JSON");
    let hex = |image: usize, layer: usize| {
        let digest = lock["content"]["images"][image]["layers"][layer]["digest"].as_str().expect("a digest");
        digest.trim_start_matches("sha256:").to_owned()
    };
    let (site, plain, base) = (hex(0, 0), hex(0, 1), hex(1, 0));
    flip(&blobs.join(&plain), 700);
    fs::remove_file(blobs.join(&site)).expect("removed");
    fs::write(blobs.join(&base), "short").expect("written");
    fs::write(blobs.join("0".repeat(64)), "nobody's").expect("written");
    let message = bad(&dir, &["verify", "out/seed/appliance"], 1);
    let zeros = "0".repeat(64);
    for (blob, what) in [
        (&plain, "found sha256:"),
        (&site, "is not in"),
        (&base, "expected 2048 bytes, found 5"),
        (&zeros, "found sha256:"),
    ] {
        let line = message
            .lines()
            .find(|line| line.contains(blob.as_str()))
            .unwrap_or_else(|| panic!("{blob} in {message}"));
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn a_lock_that_does_not_fit_its_layout_is_found() {
    let dir = golden::build("verify-lock", "2");
    let path = dir.join("out/seed/appliance/seed.json");
    let text = fs::read_to_string(&path).expect("read");
    let cases = [
        (text.replace("\"linux/amd64\"", "\"linux/arm64\""), "platform"),
        (text.replace("library/web:1", "library/web:2"), "`docker.io/library/web:2` is not in `index.json`"),
        (text.clone() + "\n", "not in canonical form"),
        (text.replace("\"version\":1", "\"version\":2"), "format version 2, this program reads version 1"),
        (text[..text.len() / 2].to_owned(), "not a valid seed lock"),
    ];
    for (damaged, what) in cases {
        assert_ne!(damaged, text, "{what}");
        fs::write(&path, damaged).expect("written");
        let message = bad(&dir, &["verify", "out/seed/appliance"], 1);
        assert!(message.contains(what), "{what} in {message}");
    }
}

#[test]
fn damaged_files_are_found_through_the_report() {
    let paths = [
        "layer/site.tar.zst",
        "layer/plain.tar",
        "bundle/web.tar",
        "image/web.json",
        "store/appliance.archives/k8s.io/www.tar",
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let dir = golden::build(&format!("verify-report-{number}"), "2");
        let file = dir.join("out").join(path);
        flip(&file, fs::metadata(&file).expect("there").len() as usize / 2);
        let message = bad(&dir, &["verify", "out"], 1);
        assert!(message.starts_with("error: out: "), "{path}: {message}");
    }
}

#[test]
fn truncated_archives_and_strange_files_get_clear_errors() {
    let dir = golden::build("verify-strange", "2");
    let tar = fs::read(dir.join("out/bundle/web.tar")).expect("read");
    for length in (0..tar.len()).step_by(512) {
        fs::write(dir.join("cut.tar"), &tar[..length]).expect("written");
        // The end of a tar is optional: all that may go unseen are its two empty blocks.
        if length + 1024 < tar.len() {
            bad(&dir, &["verify", "cut.tar"], 1);
        }
    }
    fs::write(dir.join("text"), "hello").expect("written");
    fs::write(dir.join("other.json"), "{}").expect("written");
    fs::create_dir(dir.join("empty")).expect("made");
    for path in ["text", "other.json", "empty", "not there"] {
        let message = bad(&dir, &["inspect", path], 1);
        assert!(message.contains(&format!("`{path}`")), "{message}");
    }
}

#[test]
fn layer_metadata_that_a_report_names_is_checked() {
    let dir = golden::build("verify-metadata", "2");
    let path = dir.join("out/layer/site.json");
    let text = fs::read_to_string(&path).expect("read");
    let other = text.replacen("\"size\":", "\"sizes\":", 1);
    for damaged in [&text[..text.len() / 2], "{\"targets\":{},\"version\":1}", &other] {
        fs::write(&path, damaged).expect("written");
        let message = bad(&dir, &["verify", "out"], 1);
        assert!(message.contains("layer.site: ") && message.contains("site.json"), "{message}");
    }
    fs::remove_file(&path).expect("removed");
    let message = bad(&dir, &["verify", "out"], 1);
    assert!(message.contains("layer.site: ") && message.contains("No such file"), "{message}");
}

#[test]
fn a_layer_whose_tar_is_not_what_the_configuration_says_is_found_wherever_it_is() {
    let dir = scratch("verify-diff-ids");
    let layer = |name: &str| {
        format!("[layer.{name}]\ncompression = \"gzip\"\nadd = [{{ text = \"{name}\", to = \"/{name}\" }}]\n")
    };
    let names = ["bottom", "middle", "top"];
    fs::write(dir.join("spec.toml"), names.map(layer).concat()).expect("written");
    good(&dir, &["build", "spec.toml", "--out", "out"]);
    let diff_id = |name: &str| {
        let bytes = fs::read(dir.join(format!("out/layer/{name}.json"))).expect("read");
        serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON")["diff-id"].clone()
    };
    let layers = names.map(|name| format!("layer/{name}.tar.gz"));
    let listed = serde_json::json!([{ "Config": "config.json", "RepoTags": ["a:1"], "Layers": layers }]);
    fs::write(dir.join("out/manifest.json"), listed.to_string()).expect("written");
    // Blobs are what their digests say, so that only the tars in them can be wrong.
    let archive = |diff_ids: &[serde_json::Value]| {
        let config = serde_json::json!({
            "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        fs::write(dir.join("out/config.json"), config.to_string()).expect("written");
        let mut tar = Command::new("tar");
        tar.args(["-C", "out", "-cf", "saved.tar", "manifest.json", "config.json", "layer"]);
        assert!(tar.current_dir(&dir).status().expect("tar runs").success());
    };
    archive(&names.map(diff_id));
    good(&dir, &["verify", "saved.tar"]);
    let other = format!("sha256:{}", "0".repeat(64));
    for (number, name) in names.iter().enumerate() {
        let mut diff_ids = names.map(diff_id);
        diff_ids[number] = other.as_str().into();
        archive(&diff_ids);
        let message = bad(&dir, &["verify", "saved.tar"], 1);
        let found = diff_id(name).as_str().expect("text").to_owned();
        assert!(message.contains(&format!("diff id: expected {other}, found {found}")), "{name}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn broken_compression_is_told_from_other_bytes() {
    let dir = scratch("verify-gzip");
    let spec = "[layer.a]\ncompression = \"gzip\"\nadd = [{ text = \"x\", to = \"/x\" }]\n[image.a]\nlayers = [\"a\"]\n\
                [bundle.a]\nformat = \"layout\"\nimages = { \"a.org/a:1\" = \"a\" }\n";
    fs::write(dir.join("spec.toml"), spec).expect("written");
    good(&dir, &["build", "spec.toml"]);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("out/report.json")).expect("read")).expect("JSON");
    let digest = report["targets"]["layer.a"]["digest"].as_str().expect("a digest").to_owned();
    // The first byte of what is compressed: the decompressor stops before the end.
    flip(&dir.join("out/bundle/a/blobs/sha256").join(digest.trim_start_matches("sha256:")), 10);
    let message = bad(&dir, &["verify", "out/bundle/a"], 1);
    assert!(message.contains(&format!("out/bundle/a: layer {digest}: ")), "{message}");
    assert!(message.contains("expected this digest, found sha256:"), "{message}");
}

#[test]
fn a_report_that_names_itself_comes_to_an_end() {
    let dir = scratch("verify-itself");
    let report = r#"{"targets":{"seed.a":{"path":".","size":0}},"version":1}"#;
    fs::write(dir.join("report.json"), report).expect("written");
    let message = bad(&dir, &["verify", "."], 1);
    assert!(message.contains("seed.a: an output directory is no target of a build"), "{message}");
}

#[test]
fn images_that_are_not_there_are_told_from_those_that_are() {
    let dir = golden::build("verify-image", "2");
    let ask = |image: &str| bad(&dir, &["inspect", "out/bundle/web.tar", "--image", image], 2);
    assert!(ask("docker.io/library/wbe:1").contains("hint: did you mean `docker.io/library/web:1`?"));
    assert!(ask("x").contains("no image `x`\nhint: it has `docker.io/library/web:1`"), "{}", ask("x"));
}

/// Lays the files of a directory out as links to somewhere else, as sandboxes do.
fn link_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("read");
        let link = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            link_files(&entry.path(), &link);
        } else {
            symlink(entry.path(), link).expect("linked");
        }
    }
}

#[test]
fn directories_of_links_are_followed_where_that_is_asked_for() {
    let dir = golden::build("verify-links", "2");
    for path in ["seed/appliance", "bundle/all", "store/appliance.archives"] {
        let (out, linked) = (format!("out/{path}"), format!("linked/{path}"));
        link_files(&dir.join(&out), &dir.join(&linked));
        bad(&dir, &["verify", &linked], 1);
        let said = good(&dir, &["verify", "--follow-links", &linked]).replace("linked/", "out/");
        assert_eq!(said, good(&dir, &["verify", &out]), "{path}");
    }
    let blobs = dir.join("out/seed/appliance/blobs/sha256");
    let blob = fs::read_dir(&blobs).expect("a seed").next().expect("a blob").expect("read").path();
    // Blobs may be links of one file; the damage is to be in this one.
    let bytes = fs::read(&blob).expect("read");
    fs::remove_file(&blob).expect("removed");
    fs::write(&blob, bytes).expect("written");
    flip(&blob, 20);
    let name = blob.file_name().expect("named").to_string_lossy().into_owned();
    assert!(bad(&dir, &["verify", "--follow-links", "linked/seed/appliance"], 1).contains(&name));
    fs::create_dir(dir.join("empty")).expect("made");
    assert!(bad(&dir, &["verify", "--follow-links", "empty"], 1).contains("nothing that ociseed knows"));
    assert!(bad(&dir, &["verify", "--follow-links", "nowhere"], 1).contains("`nowhere`"));
}
