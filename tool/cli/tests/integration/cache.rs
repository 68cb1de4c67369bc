//! The cache: what it saves, what it notices, and that it never changes what comes out.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::run::{bad, digests, good, ociseed, scratch};

const SPEC: &str = r#"
[layer.one]
add = [{ dir = "one", to = "/one" }]
[layer.two]
compression = "none"
add = [{ file = "two.txt", to = "/two" }, { tar = "one.tar" }]
[layer.three]
compression = "gzip"
add = [{ layer = "two" }, { text = "three", to = "/three" }]
[image.web]
layers = ["one", "three"]
[image.over]
base = { layout = "base", reference = "example.com/base:1" }
layers = ["two"]
[bundle.web]
format = "layout"
images = { "example.com/web:1" = "web", "example.com/over:1" = "over" }
[bundle.archive]
format = "oci-archive"
images = { "example.com/web:1" = "web" }
[seed.s]
stores = ["archives"]
image = [{ image = "web", name = "example.com/web:1" }]
"#;

/// A directory with everything that the spec names.
fn project(name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::create_dir_all(dir.join("one/sub")).expect("can be made");
    for (path, text) in [("one/a", "a"), ("one/sub/b", "b"), ("two.txt", "two"), ("spec.toml", SPEC)] {
        fs::write(dir.join(path), text).expect("can be written");
    }
    let base = "[layer.l]\nadd = [{ dir = \"one\" }]\ncompression = \"none\"\n[image.i]\nlayers = [\"l\"]\n\
                [bundle.b]\nformat = \"layout\"\nimages = { \"example.com/base:1\" = \"i\" }";
    fs::write(dir.join("base.toml"), base).expect("can be written");
    good(&dir, &["build", "base.toml", "--out", "made", "--no-cache"]);
    fs::rename(dir.join("made/bundle/b"), dir.join("base")).expect("can be moved");
    fs::rename(dir.join("made/layer/l.tar"), dir.join("one.tar")).expect("can be moved");
    dir
}

/// Builds with the cache, and says why each step that `target` needs ran.
fn explain(dir: &Path, target: &str) -> String {
    let output = ociseed(dir, &["build", "spec.toml", "--explain", target]);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{text}");
    text
}

/// Requires that what is in `out` is what a build without a cache makes.
fn assert_right(dir: &Path) {
    good(dir, &["build", "spec.toml", "--out", "reference", "--no-cache"]);
    assert_eq!(digests(&dir.join("out")), digests(&dir.join("reference")));
}

/// What tells whether any file or directory was written: its inode and when it last changed.
fn stamps(dir: &Path) -> String {
    let mut lines = Vec::new();
    let mut pending = vec![dir.to_path_buf()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).expect("is there");
        if metadata.is_dir() {
            pending.extend(
                fs::read_dir(&path).expect("can be read").map(|entry| entry.expect("is there").path()),
            );
        }
        let (inode, changed) = (metadata.ino(), (metadata.ctime(), metadata.ctime_nsec()));
        lines.push(format!("{} {inode} {changed:?}\n", path.display()));
    }
    lines.sort();
    lines.concat()
}

fn cache_of(dir: &Path) -> PathBuf {
    dir.with_file_name(format!("{}.cache/ociseed", dir.file_name().expect("a name").to_string_lossy()))
}

#[test]
fn a_build_where_nothing_changed_writes_nothing() {
    let dir = project("cache-nothing");
    assert!(explain(&dir, "seed.s").contains("layer.one: ran: nothing is remembered of it in this cache\n"));
    // What was changed just now is looked at more closely once more.
    explain(&dir, "seed.s");
    let before = (stamps(&dir.join("out")), stamps(&cache_of(&dir)));
    for target in ["seed.s", "bundle.web", "bundle.archive", "store.s.archives"] {
        for line in explain(&dir, target).lines() {
            assert!(line.ends_with(": nothing changed"), "{line}");
        }
    }
    assert_eq!(before, (stamps(&dir.join("out")), stamps(&cache_of(&dir))));
    assert_right(&dir);
}

#[test]
fn only_what_changed_is_made_again_and_the_reason_is_said() {
    let dir = project("cache-changed");
    explain(&dir, "seed.s");
    fs::write(dir.join("one/sub/b"), "c").expect("can be written");
    fs::write(dir.join("one/new"), "new").expect("can be written");
    let found = explain(&dir, "bundle.web");
    let expected = "image.over: nothing changed\n\
                    layer.one: ran: add[0] `one/new` is new; add[0] `one/sub/b` changed\n\
                    layer.three: nothing changed\n\
                    layer.two: nothing changed\n\
                    image.web: ran: `layers[0]` changed\n\
                    bundle.web: ran: `image.web` changed\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&found), sorted(expected));
    assert_right(&dir);

    fs::remove_file(dir.join("one/new")).expect("can go");
    fs::write(dir.join("spec.toml"), SPEC.replace("\"gzip\"", "{ gzip = 1 }")).expect("can be written");
    let found = explain(&dir, "image.web");
    assert!(found.contains("layer.one: ran: add[0] `one/new` is gone\n"), "{found}");
    assert!(found.contains("layer.three: ran: `compression` of the spec changed\n"), "{found}");
    assert_right(&dir);
}

#[test]
fn an_edit_that_keeps_size_and_time_is_noticed() {
    let dir = project("cache-touch");
    explain(&dir, "seed.s");
    explain(&dir, "seed.s");
    for path in ["one/a", "two.txt"] {
        let file = dir.join(path);
        let times = fs::metadata(&file).and_then(|found| found.modified()).expect("has a time");
        let text = fs::read_to_string(&file).expect("can be read").to_uppercase();
        fs::write(&file, text).expect("can be written");
        fs::File::options().write(true).open(&file).expect("opens").set_modified(times).expect("can be set");
    }
    let found = explain(&dir, "bundle.web");
    assert!(found.contains("`one/a` changed") && found.contains("`two.txt` changed"), "{found}");
    assert_right(&dir);
}

#[test]
fn names_and_places_of_inputs_change_nothing() {
    let dir = project("cache-names");
    explain(&dir, "seed.s");
    fs::rename(dir.join("one"), dir.join("uno")).expect("can be moved");
    fs::write(dir.join("spec.toml"), SPEC.replace("dir = \"one\"", "dir = \"uno\"")).expect("can be written");
    assert!(explain(&dir, "layer.one").contains("layer.one: nothing changed"));
    assert_right(&dir);
    // The same names, of other files.
    let other = dir.join("other");
    fs::create_dir_all(other.join("uno")).expect("can be made");
    fs::write(other.join("uno/a"), "other").expect("can be written");
    let args = ["build", "spec.toml", "--input", "uno=other/uno", "--explain", "layer.one"];
    let found = String::from_utf8(ociseed(&dir, &args).stderr).expect("UTF-8");
    assert!(found.contains("layer.one: ran: "), "{found}");
}

/// What somebody does to a path.
type Edit = fn(&Path);

#[test]
fn outputs_that_somebody_changed_are_put_right() {
    let dir = project("cache-outputs");
    explain(&dir, "seed.s");
    let edits: [(&str, Edit); 5] = [
        // Through a link: the blob in the cache is another name of the file.
        ("out/layer/two.tar", |path| fs::write(path, "no tar").expect("can be written")),
        ("out/image/web.json", |path| fs::remove_file(path).expect("can go")),
        ("out/bundle/web/more", |path| fs::write(path, "more").expect("can be written")),
        ("out/bundle/archive.tar", |path| fs::write(path, "").expect("can be written")),
        ("out/seed/s", |path| fs::remove_dir_all(path).expect("can go")),
    ];
    for (path, edit) in edits {
        edit(&dir.join(path));
        explain(&dir, "seed.s");
        assert_right(&dir);
    }
}

#[test]
fn a_damaged_cache_never_changes_what_comes_out() {
    let dir = project("cache-damaged");
    explain(&dir, "seed.s");
    explain(&dir, "seed.s");
    let mut files = Vec::new();
    let mut pending = vec![cache_of(&dir)];
    while let Some(path) = pending.pop() {
        for entry in fs::read_dir(&path).expect("can be read") {
            let path = entry.expect("is there").path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    assert!(files.len() > 20, "{files:?}");
    files.sort();
    for (number, file) in files.iter().enumerate() {
        let Ok(mut bytes) = fs::read(file) else { continue };
        let at = number * 7919 % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (number % 8);
        }
        fs::write(file, bytes).expect("can be written");
        // Nothing in the output directory is taken for right because it was.
        fs::remove_dir_all(dir.join("out")).expect("can go");
        explain(&dir, "seed.s");
        assert_eq!(
            digests(&dir.join("out")),
            {
                good(&dir, &["build", "spec.toml", "--out", "reference", "--no-cache"]);
                digests(&dir.join("reference"))
            },
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_cache_that_cannot_be_written_or_opened_is_done_without() {
    let dir = project("cache-refused");
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    fs::write(dir.join("file"), "no directory").expect("can be written");
    let output = ociseed(&dir, &["build", "spec.toml", "--cache-dir", "file"]);
    assert!(output.status.success());
    assert_eq!(told(&output), "note: `file`: File exists; nothing is cached\n");
    assert_right(&dir);

    // Also for root, who may write anywhere: something else lies where it would write.
    fs::create_dir_all(dir.join("cache/v1")).expect("can be made");
    for name in ["actions", "blobs", "memory", "outputs", "stamps", "tmp"] {
        fs::write(dir.join("cache/v1").join(name), "no directory").expect("can be written");
    }
    fs::remove_dir_all(dir.join("out")).expect("can go");
    let output = ociseed(&dir, &["build", "spec.toml", "--cache-dir", "cache"]);
    assert!(output.status.success());
    let text = told(&output);
    assert!(
        text.starts_with("note: cache `cache`: ") && text.ends_with("what is new is not cached\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_right(&dir);
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let dir = project("cache-none");
    good(&dir, &["build", "spec.toml", "--no-cache"]);
    assert!(!cache_of(&dir).exists());
    assert_eq!(fs::metadata(dir.join("out/layer/one.tar.zst")).expect("is there").nlink(), 1);
}

#[test]
fn status_and_gc_count_what_there_is() {
    let dir = project("cache-gc");
    let path = good(&dir, &["cache", "path"]);
    assert_eq!(path.trim_end(), cache_of(&dir).to_str().expect("UTF-8"));
    assert!(good(&dir, &["cache", "status"]).contains("  0 blobs, 0 bytes\n"));
    assert!(!cache_of(&dir).exists(), "looking makes nothing");
    explain(&dir, "seed.s");
    let status = good(&dir, &["cache", "status"]);
    assert!(status.contains("  3 blobs, "), "{status}");
    assert_eq!(good(&dir, &["cache", "gc", "--max-size", "1G"]), "removed 0 files, 0 bytes\n");
    let removed = good(&dir, &["cache", "gc", "--max-size", "0", "--json"]);
    assert!(removed.contains("\"files\":"), "{removed}");
    assert!(good(&dir, &["cache", "status"]).contains("  0 blobs, 0 bytes\n  0 records, 0 bytes\n"));
    explain(&dir, "seed.s");
    assert_right(&dir);
    let found = bad(&dir, &["cache", "gc", "--max-size", "1.5G"], 2);
    assert!(found.contains("expected a size such as `500M` or `20G`"), "{found}");
}

#[test]
fn errors_of_several_steps_are_all_said_and_the_rest_is_made_on_request() {
    let dir = project("cache-errors");
    fs::remove_file(dir.join("two.txt")).expect("can go");
    let more = "[layer.four]\nadd = [{ file = \"gone\", to = \"/x\" }, { deb = \"gone.deb\" }]\n";
    fs::write(dir.join("spec.toml"), format!("{SPEC}{more}")).expect("can be written");
    let found = bad(&dir, &["build", "spec.toml"], 1);
    for part in ["layer.four.add[0]", "gone.deb", "layer.two.add[0]: cannot read `two.txt`"] {
        assert!(found.contains(part), "{part} in {found}");
    }
    assert!(!dir.join("out").exists(), "nothing was made");

    let output =
        ociseed(&dir, &["build", "spec.toml", "--keep-going", "layer.one", "bundle.web", "layer.four"]);
    assert_eq!(output.status.code(), Some(1));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with("layer.one: layer/one.tar.zst") && stdout.lines().count() == 1, "{stdout}");
    assert!(stderr.contains("error: bundle.web: not made, as what it needs was not\n"), "{stderr}");
    assert!(dir.join("out/layer/one.tar.zst").exists());
    assert!(fs::read_to_string(dir.join("out/report.json")).expect("is there").contains("layer.one"));
}

#[test]
fn a_check_builds_twice_and_says_what_differs() {
    let dir = project("cache-check");
    good(&dir, &["build", "spec.toml", "--check"]);
    assert_right(&dir);
    let found = bad(&dir, &["build", "spec.toml", "--explain", "layer.oen"], 2);
    assert!(
        found.contains("no target `layer.oen`") && found.contains("hint: did you mean `layer.one`?"),
        "{found}"
    );
}
