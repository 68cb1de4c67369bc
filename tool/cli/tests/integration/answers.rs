//! What a new user is told after a mistake: `answers.txt` has the mistakes and every word of the answers.
//!
//! A block is a title (`#`), a spec (`|`; a good one where there is none), the command line (`$`), the exit code and
//! the answer (`>`). `OCISEED_BLESS=1` writes the answers anew: read them as somebody who never saw the docs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::run::{command, good, scratch, workspace};

const GOOD: &str = "\
[layer.site]
add = [{ text = \"x\", to = \"/x\" }]

[image.web]
layers = [\"site\"]

[bundle.web]
format = \"oci-archive\"
images = { \"docker.io/library/web:1\" = \"web\" }
";

struct Mistake<'a> {
    title: &'a str,
    spec: Option<String>,
    args: Vec<&'a str>,
}

impl<'a> Mistake<'a> {
    fn parse(block: &'a str) -> Self {
        let lines = |mark: char| block.lines().filter_map(move |line| line.strip_prefix(mark));
        let only =
            |mark| lines(mark).next().unwrap_or_else(|| panic!("no line with {mark}: {block}")).trim_start();
        let spec: Vec<_> =
            lines('|').map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect();
        let spec = (!spec.is_empty()).then(|| spec.concat());
        Self { title: only('#'), spec, args: only('$').split(' ').collect() }
    }

    /// Makes the mistake and writes the block with the answer.
    fn answer(&self) -> String {
        let dir = project("answers");
        let json = self.args.contains(&"spec.json");
        let spec = self.spec.as_deref().unwrap_or(GOOD);
        fs::write(dir.join(if json { "spec.json" } else { "spec.toml" }), spec).expect("written");
        let output = command(&dir).args(&self.args).output().expect("ociseed runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.stdout, b"", "{}: messages go to standard error", self.title);
        assert!(!dir.join("out").exists(), "{}: nothing is left behind", self.title);
        let marked = |mark: &str, text: &str| -> String {
            text.lines().map(|line| format!("{mark} {line}").trim_end().to_owned() + "\n").collect()
        };
        let spec = self.spec.as_deref().map(|spec| marked("|", spec)).unwrap_or_default();
        let code = output.status.code().expect("ends by itself");
        format!("# {}\n{spec}$ {}\nexit {code}\n{}", self.title, self.args.join(" "), marked(">", &stderr))
    }
}

/// A directory with a few inputs, and no spec.
fn project(name: &str) -> PathBuf {
    let dir = scratch(name);
    fs::create_dir(dir.join("public")).expect("made");
    fs::write(dir.join("public/index.html"), "x\n").expect("written");
    fs::write(dir.join("file"), "x\n").expect("written");
    dir
}

#[test]
fn mistakes_are_answered_so_that_people_can_go_on() {
    let path = workspace().join("tool/cli/tests/integration/answers.txt");
    let expected = fs::read_to_string(&path).expect("it lies beside this file");
    let answers: Vec<_> = expected.split("\n\n").map(|block| Mistake::parse(block).answer()).collect();
    assert!(answers.len() >= 60, "{}", answers.len());
    let found = answers.join("\n");
    if std::env::var_os("OCISEED_BLESS").is_some() {
        return fs::write(&path, found).expect("written");
    }
    for (expected, found) in expected.split("\n\n").zip(&answers) {
        assert_eq!(found.trim_end(), expected.trim_end());
    }
}

#[test]
fn paths_may_be_any_bytes() {
    let odd = |text: &[u8]| OsString::from_vec(text.to_vec());
    let dir = scratch("answers-bytes");
    let inside = dir.join(OsStr::from_bytes(b"sp \xff"));
    fs::create_dir_all(inside.join(OsStr::from_bytes(b"d\xfe"))).expect("made");
    fs::write(inside.join(OsStr::from_bytes(b"d\xfe/f \xfd\\")), "x").expect("written");
    let spec = "[layer.a]\nadd = [{ dir = \"in\", to = \"/i\" }, { file = \"one\", to = \"/one\" }]\n";
    fs::write(inside.join(OsStr::from_bytes(b"s\xfc.toml")), spec).expect("written");
    let inputs = [odd(b"in=sp \xff/d\xfe"), odd(b"one=sp \xff/d\xfe/f \xfd\\")];
    let run = |out: &[u8], inputs: &[OsString]| {
        let mut command = command(&dir);
        command.arg("build").arg(odd(b"sp \xff/s\xfc.toml")).arg("--out").arg(odd(out));
        command.args(inputs.iter().flat_map(|input| [OsStr::new("--input"), input]));
        command.output().expect("ociseed runs")
    };
    let output = run(b"o \xfb", &inputs);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for command_name in ["inspect", "verify"] {
        let output =
            command(&dir).arg(command_name).arg(odd(b"o \xfb/layer/a.tar.zst")).output().expect("runs");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(
            output.status.success()
                && text.contains(if command_name == "verify" { "a.tar.zst: good" } else { "i/f \\xfd\\\\" }),
            "{text}"
        );
    }
    let missing = [inputs[0].clone(), odd(b"one=sp \xff/gone\xfa")];
    let message = String::from_utf8(run(b"other", &missing).stderr).expect("names are escaped");
    assert!(message.contains("input `one`: `sp \\xff/gone\\xfa`: No such file"), "{message}");
    let message = command(&dir).arg("build").arg(odd(b"x\xff.toml")).output().expect("runs").stderr;
    assert_eq!(String::from_utf8_lossy(&message), "error: `x\\xff.toml`: No such file or directory\n");
    let message = command(&dir).args(["build", "x.toml"]).arg(odd(b"web\xff")).output().expect("runs").stderr;
    assert_eq!(String::from_utf8_lossy(&message), "error: `web\\xff` is no UTF-8, as only paths may be\n");
}

/// Runs a command with `--json`, which must print one JSON document or fail with `code` and print none.
fn json(dir: &Path, args: &[&str], code: i32) {
    let output = command(dir).args(args).arg("--json").output().expect("ociseed runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    if code == 0 {
        assert_eq!(stderr, "", "{args:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}"));
    } else {
        assert!(output.stdout.is_empty() && stderr.starts_with("error: "), "{args:?}: {stderr}");
    }
}

#[test]
fn every_command_that_reports_does_so_in_json() {
    let dir = project("answers-json");
    fs::write(dir.join("spec.toml"), GOOD).expect("written");
    json(&dir, &["build", "spec.toml"], 0);
    let (layer, bundle) = ("out/layer/site.tar.zst", "out/bundle/web.tar");
    for path in ["out", layer, "out/layer/site.json", "out/image/web.json", bundle] {
        json(&dir, &["inspect", path], 0);
        json(&dir, &["verify", path], 0);
        json(&dir, &["diff", path, path], 0);
    }
    json(&dir, &["inspect", bundle, "--largest", "1"], 0);
    json(&dir, &["cache", "status"], 0);
    json(&dir, &["build", "gone.toml"], 1);
    json(&dir, &["build", "spec.toml", "layer.gone"], 2);
    json(&dir, &["inspect", "file"], 1);
    json(&dir, &["inspect", bundle, "--image", "gone"], 2);
    json(&dir, &["verify", "public"], 1);
    json(&dir, &["diff", layer, bundle], 2);
    assert_eq!(good(&dir, &["build", "spec.toml", "--quiet"]), "");
    assert_eq!(good(&dir, &["verify", "out", "-q"]), "");
}
