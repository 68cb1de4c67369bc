//! `diff` and `inspect` over what `build` makes.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::run::{bad, good, ociseed, scratch};

const SPEC: &str = r#"
[layer.base]
compression = "gzip"
add = [{ text = "one", to = "/a" }, { text = "large text", to = "/d/large" }, { text = "gone", to = "/d/gone" }]
[layer.top]
add = [{ whiteout = "/d/gone" }, { text = "two", to = "/b" }]
[image.small]
layers = ["base"]
[image.web]
layers = ["base", "top"]
env = { A = "1" }
[bundle.all]
format = "layout"
images = { "example.org/small:1" = "small", "example.org/web:1" = "web" }
[seed.s]
image = [{ image = "web", name = "example.org/web:1" }]
"#;

/// Builds two versions of one spec.
fn two(name: &str, change: impl Fn(&str) -> String) -> PathBuf {
    let dir = scratch(name);
    for (out, spec) in [("one", SPEC.to_owned()), ("two", change(SPEC))] {
        fs::write(dir.join("spec.toml"), spec).expect("written");
        good(&dir, &["build", "spec.toml", "--out", out]);
    }
    dir
}

#[test]
fn equal_things_do_not_differ() {
    let dir = two("diff-equal", str::to_owned);
    for path in ["", "bundle/all", "seed/s", "layer/base.tar.gz", "image/web.json", "layer/top.json"] {
        assert_eq!(good(&dir, &["diff", &format!("one/{path}"), &format!("two/{path}")]), "", "{path}");
    }
}

#[test]
fn what_changed_is_said_by_document_and_by_file() {
    let change = |spec: &str| {
        spec.replace("\"two\"", "\"three\"")
            .replace("A = \"1\"", "A = \"2\"")
            .replace("/d/large", "/d/larger")
    };
    let dir = two("diff-changes", change);
    let differs = |one: &str, two: &str, json: bool| {
        let mut arguments = vec!["diff", one, two];
        arguments.extend(json.then_some("--json"));
        let output = ociseed(&dir, &arguments);
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(1), &b""[..]), "{one}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let text = differs("one/bundle/all", "two/bundle/all", false);
    let expected = [
        "example.org/small:1 (linux/amd64)\n",
        "  config.rootfs.diff_ids.0: sha256:",
        "  config.config.Env.0: A=1 -> A=2\n",
        "  - /d/large (file 0644 0:0 10 bytes)\n",
        "  + /d/larger (file 0644 0:0 10 bytes)\n",
        "  ~ /b: digest: sha256:",
        "size: 3 -> 5",
    ];
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    assert!(!text.contains(" /a"), "what did not change is not named: {text}");
    let layer = differs("one/layer/top.tar.zst", "two/layer/top.tar.zst", true);
    let parts: Value = serde_json::from_str(&layer).expect("JSON");
    assert_eq!(parts[0]["files"].as_array().map(Vec::len), Some(1));
    assert_eq!(parts[0]["files"][0]["second"]["size"], 5);
    // The same image under another name, in another form.
    assert!(differs("one/seed/s", "one/bundle/all", false).contains("+ example.org/small:1"));
    assert!(differs("one", "two", false).contains("layer.top\n  ~ /b: "), "targets of a report are compared");
    let message = bad(&dir, &["diff", "one/layer/top.tar.zst", "one/seed/s"], 2);
    assert!(message.contains("is a layer") && message.contains("is a seed"), "{message}");
}

#[test]
fn what_a_lock_says_of_images_is_compared() {
    let dir = two("diff-lock", |spec| {
        spec.replace("name = \"example.org/web:1\" }", "name = \"example.org/web:1\", pin = false }")
    });
    let output = ociseed(&dir, &["diff", "one/seed/s", "two/seed/s"]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text, "example.org/web:1\n  pin: true -> false\n");
}

#[test]
fn inspect_shows_files_the_largest_and_what_is_shared() {
    let dir = two("inspect-files", str::to_owned);
    let lines =
        good(&dir, &["inspect", "one/bundle/all", "--image", "example.org/web:1", "--files", "--json"]);
    let paths: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect(line)["path"].clone()).collect();
    assert_eq!(paths, ["/a", "/b", "/d", "/d/large"], "the whiteout took `/d/gone` away");
    let text = good(&dir, &["inspect", "one/bundle/all"]);
    assert!(text.contains("+gzip, in 2 images"), "{text}");
    let large = good(&dir, &["inspect", "one/bundle/all", "--image", "example.org/web:1", "--largest", "2"]);
    assert_eq!(large, "          10  layer 0  /d/large\n           4  layer 0  /d/gone\n");
    let message = bad(&dir, &["inspect", "one/bundle/all", "--files"], 2);
    assert!(message.contains("expected one image, found 2") && message.contains("--image"), "{message}");
    let message = bad(&dir, &["inspect", "one/image/web.json", "--files"], 2);
    assert!(message.contains("is an image record, which holds no files"), "{message}");
}

#[test]
fn inspect_says_all_but_content_of_a_path_in_a_line() {
    let dir = scratch("inspect-lines");
    let entries = r#"
        { text = "xyz", to = "/f", mode = "4750", owner = "7:8", mtime = "1.5", xattrs = { "user.b" = "1", "user.a" = "2" } },
        { hardlink = "/f", to = "/g" },
        { symlink = "f", to = "/l" },
        { device = "c 1:3", to = "/n" },
        { mkdir = "/o", opaque = true, xattrs = { "user.c" = "3" } },
        { whiteout = "/w" },
    "#;
    fs::write(dir.join("spec.toml"), format!("[layer.l]\ncompression = \"none\"\nadd = [{entries}]\n"))
        .expect("written");
    good(&dir, &["build", "spec.toml", "--out", "out"]);
    let text = good(&dir, &["inspect", "out/layer/l.tar", "--files"]);
    let expected = [
        "4750 file            7:8            3 1.5 /f [user.a user.b]",
        "4750 link            7:8            0 1.5 /g = /f [user.a user.b]",
        "0777 symlink         0:0            0 0 /l -> f",
        "0600 char            0:0            0 0 /n c 1:3",
        "0755 directory       0:0            0 0 /o (opaque) [user.c]",
        "0644 whiteout        0:0            0 0 /w",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}
