//! Disks: one step as in a build, one tree in every medium, and no damage that `verify` does not see.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::golden;
use crate::run::{bad, command, good, ociseed, scratch, workspace};

/// Layers: more than are held open (`step::disk::tree`).
const MANY: usize = 600;

/// What a disk holds, from its own listing.
fn listing(dir: &Path, disk: &str) -> String {
    good(dir, &["inspect", disk, "--files", "--json"])
}

#[test]
fn a_step_makes_the_disk_of_a_build() {
    let dir = golden::build("disks-step", "2");
    for (name, from) in [
        ("web.json", "image/web.json"),
        ("over.json", "image/over.json"),
        ("site.json", "layer/site.json"),
        ("plain.json", "layer/plain.json"),
        ("site.blob", "layer/site.tar.zst"),
        ("plain.blob", "layer/plain.tar"),
    ] {
        fs::copy(dir.join("out").join(from), dir.join(name)).expect("copied");
    }
    let params = workspace().join("tests/golden/format/disk-params.json");
    fs::copy(params, dir.join("params.json")).expect("the golden parameters");
    let same = |step: &str, built: &str| {
        let read = |path: &str| fs::read(dir.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(read(step) == read(built), "{step} is not {built}");
    };
    let step = ["disk", "--params", "params.json", "--out", "a disk", "--metadata", "a disk.json"];
    assert_eq!(good(&dir, &step), "", "a step prints nothing");
    same("a disk", "out/disk/appliance.erofs");
    same("a disk.json", "out/disk/appliance.json");
    // Others of that file's kind.
    for (disk, built) in [
        (r#""layer":"site.blob""#, "site.erofs"),
        (r#""image":"over""#, "root.tar"),
        (r#""store":"appliance.archives""#, "store.tar"),
        (r#""store":"appliance.containerd""#, "containerd.erofs"),
    ] {
        let medium = built.split_once('.').expect("an ending").1;
        let mut value: serde_json::Value =
            serde_json::from_slice(&fs::read(dir.join("params.json")).expect("read")).expect("JSON");
        let disk = format!(r#"{{"medium":"{medium}",{}}}"#, disk.replace("site.blob", "site"));
        value["disk"] = serde_json::from_str(&disk).expect("JSON");
        fs::write(dir.join("other.json"), value.to_string()).expect("written");
        good(&dir, &["disk", "--params", "other.json", "--out", "other"]);
        same("other", &format!("out/disk/{built}"));
    }
}

#[test]
fn one_tree_is_the_same_in_every_medium() {
    let dir = golden::build("disks-media", "2");
    for kind in
        ["seed = \"appliance\"", "layer = \"site\"", "image = \"web\"", "store = \"appliance.archives\""]
    {
        let mut spec = fs::read_to_string(dir.join("spec.toml")).expect("read");
        for medium in ["erofs", "tar", "cpio"] {
            spec += &format!("[disk.x-{medium}]\nmedium = \"{medium}\"\n{kind}\n");
        }
        fs::write(dir.join("x.toml"), spec).expect("written");
        good(&dir, &["build", "x.toml", "--out", "x", "disk.x-erofs", "disk.x-tar", "disk.x-cpio"]);
        let own = |medium: &str| {
            let disk = format!("x/disk/x-{medium}.{medium}");
            assert!(good(&dir, &["verify", &disk]).contains(": good"), "{kind}: {medium}");
            match kind.starts_with("store") && medium == "tar" {
                // A tar of a preseed directory is shown as what is in its archives.
                true => String::new(),
                false => listing(&dir, &disk),
            }
        };
        let erofs = own("erofs");
        assert!(erofs.lines().count() > 3, "{erofs}");
        assert_eq!(own("cpio"), erofs, "{kind}");
        if !kind.starts_with("store") {
            assert_eq!(own("tar"), erofs, "{kind}");
        }
    }
}

/// Every so many bytes one is changed: either that is said, or nothing that the disk holds is another.
#[test]
fn no_damage_of_a_seed_goes_unseen() {
    let dir = golden::build("disks-damage", "2");
    for disk in ["appliance.erofs", "initramfs.cpio"] {
        let whole = fs::read(dir.join("out/disk").join(disk)).expect("read");
        fs::write(dir.join(disk), &whole).expect("written");
        let expected = listing(&dir, disk);
        let (mut seen, mut harmless) = (0, 0);
        for at in (0..whole.len()).step_by(211) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(dir.join(disk), bytes).expect("written");
            let verified = ociseed(&dir, &["verify", disk]);
            match verified.status.code() {
                Some(1) => seen += 1,
                Some(0) => {
                    harmless += 1;
                    assert!(listing(&dir, disk) == expected, "{disk}: the change at {at} is not seen");
                }
                other => panic!("{disk}: {other:?} at {at}: {verified:?}"),
            }
        }
        assert!(seen > 20, "{disk}: {seen} seen, {harmless} harmless");
    }
    // Beside its metadata every byte counts.
    let disk = dir.join("out/disk/site.erofs");
    let mut bytes = fs::read(&disk).expect("read");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&disk, bytes).expect("written");
    let message = bad(&dir, &["verify", "out/disk/site.erofs"], 1);
    assert!(message.contains("digest: expected sha256:"), "{message}");
}

#[test]
fn what_a_medium_cannot_hold_is_said_with_the_way_out() {
    let dir = scratch("disks-refused");
    let layer = "[layer.a]\nadd = [{ text = \"x\", to = \"/p\", capabilities = \"cap_net_raw=ep\" }]\n";
    for (spec, code, expected) in [
        ("[disk.a]\nmedium = \"cpio\"\nlayer = \"a\"", 1, "disk.a: `/p`: cpio has no place for xattrs"),
        ("[disk.a]\nmedium = \"cpio\"\nlayer = \"a\"", 1, "hint: the medium `erofs` holds it"),
        (
            "[disk.a]\nmedium = \"erofs\"",
            2,
            "disk.a: expected one of `seed`, `layer`, `image`, `store`, found none",
        ),
        ("[disk.a]\nmedium = \"erofs\"\nlayer = \"b\"", 2, "disk.a: layer `b` is not defined"),
        (
            "[disk.a]\nmedium = \"tar\"\nlayer = \"a\"\nlabel = \"x\"",
            2,
            "`label` is of the medium `erofs`, not of `tar`",
        ),
        (
            "[disk.a]\nmedium = \"erofs\"\nstore = \"a.docker\"",
            2,
            "store `a.docker` is not a seed and an engine",
        ),
        ("[disk.a]\nmedium = \"erofs\"\nlayer = \"a\"\nlabel = \"sixteen bytes !!\"", 2, "at most 15 bytes"),
        (
            "[disk.a]\nmedium = \"erofs\"\nlayer = \"a\"\ncompression = \"gzip\"",
            2,
            "is not `none`, `lz4`, `zstd`",
        ),
        (
            "[disk.a]\nmedium = \"erofs\"\nlayer = \"a\"\nuuid = \"1\"",
            2,
            "UUID `1` is not hexadecimal digits",
        ),
        ("[disk.a]\nmedium = \"iso\"\nlayer = \"a\"", 2, "unknown value `iso`"),
    ] {
        fs::write(dir.join("s.toml"), format!("{layer}{spec}\n")).expect("written");
        let message = bad(&dir, &["build", "s.toml", "--no-cache"], code);
        assert!(message.contains(expected), "{spec}: {message}");
        assert!(!dir.join("out").exists(), "nothing is left");
    }
}

/// The tar of a disk is no layer, and is shown all the same.
#[test]
fn overlay_xattrs_are_shown() {
    let dir = scratch("disks-opaque");
    let spec =
        "[layer.a]\nadd = [{ mkdir = \"/o\", opaque = true }]\n[disk.a]\nmedium = \"tar\"\nlayer = \"a\"\n";
    fs::write(dir.join("s.toml"), spec).expect("written");
    good(&dir, &["build", "s.toml", "--no-cache"]);
    assert!(listing(&dir, "out/disk/a.tar").contains(r#""trusted.overlay.opaque":"79""#));
    let text = "[layer.b]\nadd = [{ tar = \"out/disk/a.tar\" }]\n";
    fs::write(dir.join("t.toml"), text).expect("written");
    let message = bad(&dir, &["build", "t.toml", "--no-cache", "--out", "two"], 1);
    assert!(message.contains("trusted.overlay.opaque"), "{message}");
}

#[test]
fn parameters_without_the_seed_are_refused() {
    let dir = golden::build("disks-params", "2");
    let file = workspace().join("tests/golden/format/disk-params.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(file).expect("read")).expect("JSON");
    value.as_object_mut().expect("an object").remove("seed");
    fs::write(dir.join("params.json"), value.to_string()).expect("written");
    let message = bad(&dir, &["disk", "--params", "params.json", "--out", "x"], 2);
    assert!(message.contains("needs the parameter `seed`"), "{message}");
}

/// A directory where a medium is mounted cannot be checked whole: that is said, not passed over.
#[test]
fn a_mounted_medium_is_not_called_good() {
    let dir = golden::build("disks-mounted", "2");
    let mut spec = fs::read_to_string(dir.join("spec.toml")).expect("read");
    spec += "[disk.as-tar]\nmedium = \"tar\"\nseed = \"appliance\"\n";
    fs::write(dir.join("x.toml"), spec).expect("written");
    good(&dir, &["build", "x.toml", "--out", "x", "disk.as-tar"]);
    fs::create_dir(dir.join("mounted")).expect("made");
    let mut tar = std::process::Command::new("tar");
    let tar = tar.args(["-xf", "x/disk/as-tar.tar", "-C", "mounted", "--no-same-owner"]).current_dir(&dir);
    assert!(tar.status().expect("tar runs").success());
    let message = bad(&dir, &["verify", "mounted"], 1);
    assert!(message.contains("verify the disk itself"), "{message}");
}

#[test]
fn a_seed_of_many_layers_takes_few_open_files() {
    let dir = scratch("disks-many-layers");
    let keys = |image| (0..MANY / 6).map(move |number| format!("l{image}-{number}"));
    let mut spec = String::new();
    for image in 0..6 {
        for key in keys(image) {
            let add = format!(r#"{{ text = "{key}", to = "/{key}" }}"#);
            writeln!(spec, "[layer.{key}]\ncompression = \"none\"\nadd = [{add}]").expect("a string");
        }
        let layers: Vec<_> = keys(image).collect();
        writeln!(spec, "[image.i{image}]\nlayers = {layers:?}").expect("a string");
        let name = format!("example.org/i{image}:1");
        writeln!(spec, "[[seed.all.image]]\nimage = \"i{image}\"\nname = \"{name}\"").expect("a string");
    }
    spec.push_str("[disk.all]\nmedium = \"erofs\"\nseed = \"all\"\n");
    fs::write(dir.join("ociseed.toml"), spec).expect("written");
    let program = command(&dir);
    // First made, then read from the cache.
    for out in ["made", "cached"] {
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "ulimit -n 100 && exec \"$@\"", "sh"])
            .arg(program.get_program())
            .current_dir(&dir);
        limited.args([
            "build",
            "ociseed.toml",
            "--jobs",
            "2",
            "--out",
            out,
            "--cache-dir",
            "cache",
            "disk.all",
        ]);
        let output = limited.output().expect("sh runs");
        assert!(output.status.success(), "{out}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{out}");
    }
}
