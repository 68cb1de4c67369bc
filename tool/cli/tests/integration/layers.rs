//! What the sources of a layer make, by the listing that `inspect` prints, and what contradicts itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::run::{bad, good, scratch};

/// Makes inputs: a directory, and a tar of it as GNU tar writes one.
pub(crate) fn project(name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::create_dir_all(dir.join("tree/sub/deep")).expect("made");
    for (path, text) in [("tree/a.txt", "a"), ("tree/b.map", "b"), ("tree/sub/deep/c.txt", "ccc")] {
        fs::write(dir.join(path), text).expect("written");
    }
    let script = "ln tree/a.txt tree/z && mkfifo tree/pipe && tar --sort=name --owner=www:33 --group=adm:4 \
                  --mtime=@1700000000 --mode=0640 -C tree -cf t.tar . && rm tree/z tree/pipe && gzip -nk t.tar && xz -k t.tar";
    let made = Command::new("sh").args(["-c", script]).current_dir(&dir).status().expect("sh runs");
    assert!(made.success(), "GNU tar, gzip and xz are on every build machine");
    dir
}

/// Builds one layer of entries and returns its listing, a line for each path.
pub(crate) fn listing(dir: &Path, spec: &str) -> Vec<Value> {
    fs::write(dir.join("spec.toml"), spec).expect("written");
    good(dir, &["build", "spec.toml", "--out", "out", "layer.l"]);
    let report: Value =
        serde_json::from_slice(&fs::read(dir.join("out/report.json")).expect("read")).expect("JSON");
    let path = format!("out/{}", report["targets"]["layer.l"]["path"].as_str().expect("a path"));
    let lines = good(dir, &["inspect", &path, "--files", "--json"]);
    lines.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

pub(crate) fn layer(entries: &str) -> String {
    format!("[layer.l]\nadd = [{entries}]\n")
}

pub(crate) fn paths(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["path"].as_str().expect("a path")).collect()
}

pub(crate) fn at<'a>(lines: &'a [Value], path: &str) -> &'a Value {
    lines.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("no {path} in {lines:?}"))
}

#[test]
fn tars_keep_all_that_they_say_however_they_are_compressed() {
    let dir = project("layer-tars");
    let plain = listing(&dir, &layer("{ tar = \"t.tar\", to = \"/opt\" }"));
    let expected = [
        "/opt",
        "/opt/a.txt",
        "/opt/b.map",
        "/opt/pipe",
        "/opt/sub",
        "/opt/sub/deep",
        "/opt/sub/deep/c.txt",
        "/opt/z",
    ];
    assert_eq!(paths(&plain), expected);
    let file = at(&plain, "/opt/a.txt");
    for (key, value) in
        [("mode", "0640"), ("user", "www"), ("group", "adm"), ("mtime", "1700000000"), ("kind", "file")]
    {
        assert_eq!(file[key], value, "{key}");
    }
    assert_eq!((&file["uid"], &file["gid"], &file["size"]), (&33.into(), &4.into(), &1.into()));
    assert_eq!(at(&plain, "/opt/z")["link"], "/opt/a.txt");
    assert_eq!(at(&plain, "/opt/pipe")["kind"], "fifo");
    for compressed in ["t.tar.gz", "t.tar.xz"] {
        assert_eq!(
            listing(&dir, &layer(&format!("{{ tar = \"{compressed}\", to = \"/opt\" }}"))),
            plain,
            "{compressed}"
        );
    }
}

#[test]
fn sources_are_filtered_stripped_and_moved() {
    let dir = project("layer-filters");
    let lines = listing(&dir, &layer("{ dir = \"tree\", to = \"/srv\", exclude = [\"*.map\"], strip = 1 }"));
    assert_eq!(paths(&lines), ["/srv", "/srv/deep", "/srv/deep/c.txt"]);
    let lines =
        listing(&dir, &layer("{ tar = \"t.tar\", include = [\"sub/**\"], owner = \"7:8\", mtime = 5 }"));
    assert_eq!(paths(&lines), ["/sub", "/sub/deep", "/sub/deep/c.txt"]);
    assert!(
        lines.iter().all(|line| line["uid"] == 7 && line["gid"] == 8 && line["mtime"] == "5"),
        "{lines:?}"
    );
    // A link whose file is left out becomes the file.
    let lines = listing(&dir, &layer("{ tar = \"t.tar\", include = [\"z\"] }"));
    assert_eq!((paths(&lines), &lines[0]["kind"]), (vec!["/z"], &"file".into()));
}

#[test]
fn every_kind_of_entry_with_its_attributes() {
    let dir = project("layer-kinds");
    let entries = r#"
        { text = "x", to = "/t", capabilities = "cap_net_raw=ep", xattrs = { "user.a" = { hex = "00" } } },
        { hardlink = "/t", to = "/a-t" },
        { mkdir = "/d", opaque = true, acl = "user::rwx,user:5:r--,group::r-x,mask::r-x,other::---" },
        { device = "b 7:300", to = "/n", owner = "0:6" },
        { fifo = "/p" },
        { whiteout = "/w" },
        { symlink = "t", to = "/s", mtime = "1.5" },
    "#;
    let spec = format!(
        "{}set = [{{ path = \"/n\", mode = \"0660\" }}, {{ path = \"*\", kind = \"file\", user = \"web\" }}]\n",
        layer(entries)
    );
    let lines = listing(&dir, &spec);
    assert_eq!(paths(&lines), ["/a-t", "/d", "/n", "/p", "/s", "/t", "/w"]);
    // The first name in order is the file.
    let file = at(&lines, "/a-t");
    assert_eq!(
        file["xattrs"],
        serde_json::json!({"security.capability": "0100000200200000000000000000000000000000", "user.a": "00"})
    );
    assert_eq!(file["user"], "web");
    assert_eq!(at(&lines, "/t")["link"], "/a-t");
    assert_eq!((&at(&lines, "/d")["mode"], &at(&lines, "/d")["opaque"]), (&"0750".into(), &true.into()));
    let node = at(&lines, "/n");
    assert_eq!(
        (&node["kind"], &node["minor"], &node["mode"]),
        (&"block".into(), &300.into(), &"0660".into())
    );
    assert_eq!(at(&lines, "/w")["kind"], "whiteout");
    assert_eq!(at(&lines, "/s")["mtime"], "1.5");
}

#[test]
fn a_layer_can_be_taken_into_another_with_its_whiteouts() {
    let dir = project("layer-of-layer");
    let spec = "[layer.inner]\ncompression = \"gzip\"\nadd = [{ whiteout = \"/w\" }, { text = \"x\", to = \"/d/x\" }]\n\
                [layer.l]\nadd = [{ text = \"y\", to = \"/d/y\" }, { layer = \"inner\" }]\n";
    let lines = listing(&dir, spec);
    assert_eq!(paths(&lines), ["/d", "/d/x", "/d/y", "/w"]);
    assert_eq!(at(&lines, "/w")["kind"], "whiteout");
}

#[test]
fn what_a_tar_says_of_directories_counts_more_than_a_directory_of_the_host() {
    let dir = project("layer-directories");
    let script = "mkdir -p r/root && chmod 700 r/root && tar --owner=root:0 --group=root:0 --mtime=@5 -C r -cf r.tar root && \
                  mkdir -p h/root && touch h/root/.profile && chmod 755 h/root";
    assert!(Command::new("sh").args(["-c", script]).current_dir(&dir).status().expect("sh runs").success());
    for entries in ["{ tar = \"r.tar\" }, { dir = \"h\" }", "{ dir = \"h\" }, { tar = \"r.tar\" }"] {
        let lines = listing(&dir, &layer(entries));
        assert_eq!(paths(&lines), ["/root", "/root/.profile"]);
        assert_eq!((&lines[0]["mode"], &lines[0]["mtime"]), (&"0700".into(), &"5".into()), "{entries}");
    }
}

#[test]
fn who_replaces_wins_and_others_are_named() {
    let dir = project("layer-replace");
    let two = "{ tar = \"t.tar\" }, { dir = \"tree\", exclude = [\"sub\", \"*.map\"] }";
    fs::write(dir.join("spec.toml"), layer(two)).expect("written");
    let message = bad(&dir, &["build", "spec.toml", "--out", "out"], 2);
    for part in
        ["two entries write `/a.txt`", "`add[0]` (tar `t.tar`)", "`add[1]` (dir `tree`)", "`replace = true`"]
    {
        assert!(message.contains(part), "{message}");
    }
    let lines = listing(&dir, &layer(&two.replace("] }", "], replace = true }")));
    assert_eq!(at(&lines, "/a.txt")["mode"], "0644");
    // The other name keeps what it had.
    assert_eq!((&at(&lines, "/z")["kind"], &at(&lines, "/z")["mode"]), (&"file".into(), &"0640".into()));
}

#[test]
fn mistakes_in_sources() {
    let dir = project("layer-mistakes");
    fs::write(dir.join("tree/.wh.x"), "").expect("written");
    fs::write(dir.join("no.tar"), "this is no tar").expect("written");
    let script = "cp -r tree dev && rm dev/.wh.x && tar --sort=name -cf dev.tar -C / dev/null";
    assert!(Command::new("sh").args(["-c", script]).current_dir(&dir).status().expect("sh runs").success());
    let cases = [
        ("{ dir = \"tree\" }", 1, "begins with `.wh.` means a whiteout"),
        ("{ tar = \"no.tar\" }", 1, "layer.l.add[0]: "),
        ("{ tar = \"t.tar\", include = [\"nothing\"] }", 2, "pattern `nothing` matches nothing"),
        ("{ tar = \"dev.tar\" }", 1, "`/dev/null` is a device"),
        (
            "{ hardlink = \"/none\", to = \"/x\" }",
            2,
            "is a hard link to `/none`, which is no file of this layer",
        ),
        ("{ whiteout = \"/x\" }, { text = \"x\", to = \"/x/y\" }", 2, "puts `/x/y` below `/x`"),
        ("{ deb = \"no.tar\" }", 1, "layer.l.add[0]: "),
    ];
    for (entries, code, part) in cases {
        fs::write(dir.join("spec.toml"), layer(entries)).expect("written");
        let message = bad(&dir, &["build", "spec.toml", "--out", "out"], code);
        assert!(message.contains(part), "{entries}: {message}");
        assert!(!dir.join("out/report.json").exists(), "{entries}");
    }
    let fifo = "mkfifo fifo";
    assert!(Command::new("sh").args(["-c", fifo]).current_dir(&dir).status().expect("sh runs").success());
    for kind in ["tar", "deb"] {
        fs::write(dir.join("spec.toml"), layer(&format!("{{ {kind} = \"fifo\" }}"))).expect("written");
        let message = bad(&dir, &["build", "spec.toml", "--out", "out"], 1);
        assert!(message.contains("`fifo` is no regular file"), "{message}");
    }
    fs::write(dir.join("spec.toml"), "[layer.l]\nset = [{ path = \"none\", mode = \"0600\" }]\n")
        .expect("written");
    let message = bad(&dir, &["build", "spec.toml", "--out", "out"], 2);
    assert!(message.contains("layer.l.set[0]: `none` matches nothing"), "{message}");
}
