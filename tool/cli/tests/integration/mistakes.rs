//! Mistakes that people make get one clear message with place and hint, and leave nothing behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::run::{bad, good, ociseed, scratch};

/// Makes a directory with a few inputs and a spec.
fn project(name: &str, spec: &str) -> PathBuf {
    let dir = scratch(name);
    fs::create_dir_all(dir.join("public/sub")).expect("made");
    fs::write(dir.join("public/index.html"), "x").expect("written");
    fs::write(dir.join("file"), "x").expect("written");
    symlink("/etc/passwd", dir.join("outside")).expect("made");
    symlink("../..", dir.join("up")).expect("made");
    fs::write(dir.join("spec.toml"), spec).expect("written");
    dir
}

/// Builds a spec that is wrong and returns the messages.
fn mistake(name: &str, spec: &str, code: i32) -> String {
    let dir = project(name, spec);
    let message = bad(&dir, &["build", "spec.toml", "--out", "out"], code);
    assert_clean(&dir.join("out"));
    message
}

/// Checks that nothing is there, not even the directory for outputs, which was not there before.
fn assert_clean(out: &Path) {
    assert!(!out.exists(), "{}", out.display());
}

#[test]
fn specs_that_are_wrong() {
    let cases = [
        (
            "[layer.a]\nadd = [{ txt = \"x\", to = \"/x\" }]",
            2,
            "spec `spec.toml`: 2:10: unknown field `txt`",
            "did you mean `text`?",
        ),
        (
            "[layer.a]\nadd = \"x\"",
            2,
            "2:7: invalid type: string \"x\", expected a list",
            "brackets: `[\"x\"]`",
        ),
        ("[layer.a]\ncompression = \"gz\"", 2, "2:15: compression `gz` is not `none`, `gzip`, `zstd`", ""),
        (
            "[layer.a]\nadd = [{ file = \"nothere\", to = \"/x\" }]",
            1,
            "layer.a.add[0]: cannot read `nothere`: No such file",
            "",
        ),
        (
            "[layer.a]\nadd = [{ dir = \"file\" }]",
            1,
            "layer.a.add[0]: `file` is a file, expected a directory",
            "",
        ),
        (
            "[layer.a]\nadd = [{ file = \"public\", to = \"/x\" }]",
            1,
            "`public` is a directory, expected a file",
            "",
        ),
        (
            "[layer.a]\nadd = [{ file = \"../spec.toml\", to = \"/x\" }]",
            2,
            "`../spec.toml` leads out of the spec's directory",
            "--input",
        ),
        (
            "[layer.a]\nadd = [{ file = \"/etc/passwd\", to = \"/x\" }]",
            2,
            "`/etc/passwd` leads out of the spec's directory",
            "--input",
        ),
        (
            "[layer.a]\nadd = [{ file = \"outside\", to = \"/x\" }]",
            1,
            "cannot read `outside`",
            "a link leads out",
        ),
        ("[layer.a]\nadd = [{ dir = \"up\" }]", 1, "cannot read `up`", "a link leads out"),
        ("[layer.a]\nadd = [{ text = \"x\", to = \"/a/../b\" }]", 2, "path `/a/../b` has a `..` part", ""),
        ("[layer.a]\nadd = [{ text = \"x\", to = \"b\" }]", 2, "path `b` is not absolute: write `/b`", ""),
        (
            "[layer.a]\nadd = [{ text = \"x\", to = \"/b\" }, { text = \"y\", to = \"/b\" }]",
            2,
            "two entries write `/b`: `add[0]` and `add[1]`",
            "",
        ),
        (
            "[layer.a]\nadd = [{ dir = \"public\" }, { file = \"file\", to = \"/index.html\" }]",
            2,
            "two entries write `/index.html`: `add[0]` (dir `public`) and `add[1]` (file `file`)",
            "",
        ),
        (
            "[layer.a]\nadd = [{ text = \"x\", to = \"/b\" }, { mkdir = \"/b/c\" }]",
            2,
            "`add[1]` puts `/b/c` below `/b`, which is no directory in `add[0]`",
            "",
        ),
        (
            "[image.a]\nlayers = [\"sit\"]\n[layer.site]",
            2,
            "image.a.layers: layer `sit` is not defined",
            "did you mean `site`?",
        ),
        (
            "[layer.s]\n[image.a]\nlayers = [\"s\"]\n[bundle.b]\nformat = \"oci-archive\"\nimages = { \"web:1\" = \"a\" }",
            2,
            "image name `web:1` has no registry: did you mean `docker.io/library/web:1`?",
            "",
        ),
        (
            "[image.a]\nbase = { layout = \"public\" }",
            1,
            "`public` is no OCI image layout: cannot read `oci-layout`",
            "",
        ),
        ("[layer.a", 2, "spec `spec.toml`: 1:9: ", ""),
        ("", 2, "the spec names nothing to build", ""),
    ];
    for (number, (spec, code, message, hint)) in cases.into_iter().enumerate() {
        let found = mistake(&format!("mistake-{number}"), spec, code);
        assert!(found.starts_with("error: ") && found.contains(message), "{spec}\n{found}");
        let hints = found.lines().filter(|line| line.starts_with("hint: ")).collect::<Vec<_>>();
        match hint {
            "" => {}
            hint => assert!(hints.iter().any(|line| line.contains(hint)), "{spec}\n{found}"),
        }
    }
}

#[test]
fn every_contradiction_is_reported_at_once() {
    let spec = "[layer.a]\nadd = [{ dir = \"public\", to = \"/p\" }, { dir = \"public\", to = \"/p\" }, \
                { text = \"x\", to = \"/b\" }, { text = \"y\", to = \"/b\" }]\n\
                [layer.c]\nadd = [{ file = \"gone\", to = \"/x\" }]";
    let found = mistake("mistake-several", spec, 1);
    for part in ["`/p/index.html`", "`/b`", "cannot read `gone`"] {
        assert!(found.contains(part), "{part} in {found}");
    }
    assert!(!found.contains("`/p/sub`"), "directories are shared: {found}");
}

#[test]
fn things_that_no_layer_can_hold() {
    let dir = project("mistake-socket", "[layer.a]\nadd = [{ dir = \"public\" }]");
    let _listener = std::os::unix::net::UnixListener::bind(dir.join("public/socket")).expect("bound");
    let message = bad(&dir, &["build", "spec.toml", "--out", "out"], 1);
    assert!(message.contains("`public/socket` is a socket"), "{message}");
}

#[test]
fn flags_and_targets_that_are_wrong() {
    let dir = project("mistake-flags", "[layer.site]\nadd = [{ text = \"x\", to = \"/x\" }]\n");
    let cases: [(&[&str], i32, &str); 9] = [
        (&["buidl"], 2, "build"),
        (&["build"], 2, "SPEC"),
        (&["build", "spec.toml", "layer.sit"], 2, "did you mean `layer.site`?"),
        (&["build", "spec.toml", "image.x"], 2, "the spec has layer.site"),
        (&["build", "nothere.toml"], 1, "`nothere.toml`: No such file"),
        (&["build", "spec.toml", "--input", "x"], 2, "NAME=PATH"),
        (&["build", "spec.toml", "--out", "file"], 1, "cannot write `file`"),
        (
            &["layer", "--params", "spec.toml", "--out", "x"],
            2,
            "`spec.toml`: not a valid layer parameter file",
        ),
        (&["seed", "--params", "p.json"], 2, "--out"),
    ];
    for (args, code, message) in cases {
        let found = bad(&dir, args, code);
        assert!(found.contains(message), "{args:?}: {found}");
    }
    assert_clean(&dir.join("out"));
}

#[test]
fn what_a_failed_build_finds_there_stays() {
    let dir = project("mistake-keeps", "[layer.a]\nadd = [{ text = \"one\", to = \"/x\" }]\n");
    good(&dir, &["build", "spec.toml", "--out", "out"]);
    let before = crate::run::digests(&dir.join("out"));
    fs::write(dir.join("spec.toml"), "[layer.a]\nadd = [{ text = \"two\", to = \"/x\" }]\n[layer.b]\nadd = [{ file = \"gone\", to = \"/x\" }]\n").expect("written");
    bad(&dir, &["build", "spec.toml", "--out", "out"], 1);
    assert_eq!(crate::run::digests(&dir.join("out")), before);
}

#[test]
fn a_signal_leaves_nothing_half_written() {
    use std::process::{Command, Stdio};
    let dir = scratch("signal");
    // Incompressible and slow at this level, so that the signal meets the work.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    })
    .take(64 << 20)
    .collect();
    fs::write(dir.join("noise"), noise).expect("written");
    fs::write(
        dir.join("spec.toml"),
        "[layer.a]\ncompression = { zstd = 19 }\nadd = [{ file = \"noise\", to = \"/n\" }]\n",
    )
    .expect("written");
    let params = r#"{"version":1,"inputs":{"noise":"noise"},"layer":{"compression":{"zstd":19},"add":[{"file":"noise","to":"/n"}]}}"#;
    let build: &[&str] = &["build", "spec.toml", "--out", "out", "--no-cache"];
    let step: &[&str] = &["layer", "--params-json", params, "--out", "out/a.tar.zst"];
    fs::create_dir(dir.join("out")).expect("made");
    let hidden = || fs::read_dir(dir.join("out")).map_or(0, Iterator::count);
    // What is hidden shows that the work has begun.
    let begin = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ociseed"));
        command.args(arguments).current_dir(&dir).stderr(Stdio::null());
        let mut child = command.spawn().expect("ociseed runs");
        while hidden() == 0 {
            assert!(child.try_wait().expect("can be asked").is_none(), "too fast to be interrupted");
        }
        child
    };
    for (signal, arguments) in [("-INT", build), ("-TERM", build), ("-INT", step), ("-TERM", step)] {
        let mut child = begin(arguments);
        let killed =
            Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        assert_eq!(child.wait().expect("ends").code(), None, "ended by the signal");
        let left: Vec<_> = fs::read_dir(dir.join("out")).expect("a signal leaves it").collect();
        assert!(left.is_empty(), "{arguments:?}: {left:?}");
    }
    // What SIGKILL leaves goes with the next build.
    let mut child = begin(build);
    std::thread::sleep(std::time::Duration::from_millis(50));
    child.kill().expect("can be killed");
    child.wait().expect("ends");
    assert_ne!(hidden(), 0);
    fs::write(dir.join("spec.toml"), "[layer.a]\nadd = [{ text = \"x\", to = \"/n\" }]\n").expect("written");
    good(&dir, &["build", "spec.toml", "--out", "out"]);
    assert!(
        !fs::read_dir(dir.join("out"))
            .expect("read")
            .any(|entry| { entry.expect("can be read").file_name().to_string_lossy().starts_with('.') })
    );
}

#[test]
fn paths_with_spaces_and_other_scripts() {
    let dir = scratch("a path with späces");
    fs::create_dir_all(dir.join("in put/ünder")).expect("made");
    fs::write(dir.join("in put/ünder/ä b"), "x").expect("written");
    let long = "n".repeat(200);
    fs::write(dir.join("in put").join(&long), "x").expect("written");
    let spec = "[layer.a]\ncompression = \"none\"\nadd = [{ dir = \"in put\", to = \"/ein pfad\" }]\n";
    fs::write(dir.join("s pec.toml"), spec).expect("written");
    good(&dir, &["build", "s pec.toml", "--out", "o ut"]);
    let listing = good(&dir, &["inspect", "o ut/layer/a.tar"]);
    for name in ["ein pfad/ünder/ä b", &format!("ein pfad/{long}")] {
        assert!(listing.contains(name), "{name} in {listing}");
    }
    let output = std::process::Command::new("tar")
        .args(["-tf", "o ut/layer/a.tar"])
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&dir)
        .output();
    let output = output.expect("GNU tar is on every build machine");
    assert!(output.status.success());
    assert_eq!(ociseed(&dir, &["verify", "o ut"]).status.code(), Some(0));
}

#[test]
fn many_at_once_in_one_directory_do_not_hinder_each_other() {
    let dir = project("mistake-many", "[layer.a]\nadd = [{ text = \"x\", to = \"/x\" }]\n");
    fs::write(dir.join("p.json"), "{\"version\":1,\"layer\":{\"add\":[{\"text\":\"x\",\"to\":\"/x\"}]}}")
        .expect("written");
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let dir = dir.clone();
            std::thread::spawn(move || {
                for round in 0..150 {
                    good(&dir, &["layer", "--params", "p.json", "--out", &format!("{thread}-{round}")]);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("every build succeeds");
    }
}

#[test]
fn what_a_terminal_would_obey_is_escaped() {
    let dir = scratch("mistake-escape");
    fs::create_dir(dir.join("d")).expect("can be made");
    fs::write(dir.join("d/.wh.\u{1b}]0;title\u{7}"), "").expect("can be written");
    fs::write(dir.join("spec.toml"), "[layer.a]\nadd = [{ dir = \"d\" }]\n").expect("can be written");
    let found = bad(&dir, &["build", "spec.toml"], 1);
    assert!(found.contains("`d/.wh.\\u{1b}]0;title\\u{7}`"), "{found}");
}
