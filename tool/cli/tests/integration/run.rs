//! Running the program in a scratch directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ociseed_spec::Digest;

/// The workspace's root.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../..").canonicalize().expect("the crate lies in tool/ of the workspace")
}

/// An empty directory for one test; its name says which.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir).expect("an old scratch directory can go");
    }
    fs::create_dir_all(&dir).expect("a scratch directory can be made");
    let _ = fs::remove_dir_all(dir.with_file_name(format!("{name}.cache")));
    dir
}

/// Runs `ociseed` in a directory.
pub(crate) fn ociseed(dir: &Path, args: &[&str]) -> Output {
    command(dir).args(args).output().expect("ociseed runs")
}

/// Prepares to run `ociseed` in a directory.
pub(crate) fn command(dir: &Path) -> Command {
    // Each test's own, beside the directory that the test works in: nothing of one run reaches another.
    let cache = dir.with_file_name(format!("{}.cache", dir.file_name().expect("a name").to_string_lossy()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ociseed"));
    command.current_dir(dir).env("XDG_CACHE_HOME", cache);
    command
}

/// Runs `ociseed`, which must succeed, and returns what it printed.
pub(crate) fn good(dir: &Path, args: &[&str]) -> String {
    let output = ociseed(dir, args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    assert_eq!(stderr, "", "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs `ociseed`, which must fail with `code`, and returns its messages.
pub(crate) fn bad(dir: &Path, args: &[&str], code: i32) -> String {
    let output = ociseed(dir, args);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{args:?}: messages go to standard error");
    stderr
}

/// Copies a directory with its links.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("can be made");
    for entry in fs::read_dir(from).expect("can be read") {
        let entry = entry.expect("can be read");
        let to = to.join(entry.file_name());
        let kind = entry.file_type().expect("has a type");
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).expect("a link"), &to)
                .expect("can be made");
        } else {
            fs::copy(entry.path(), &to).expect("can be copied");
        }
    }
}

/// Lists every file below a directory with its digest, sorted.
pub(crate) fn digests(dir: &Path) -> String {
    let mut lines = Vec::new();
    list(dir, Path::new(""), &mut lines);
    lines.sort();
    lines.concat()
}

fn list(root: &Path, below: &Path, lines: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).expect("can be read") {
        let entry = entry.expect("can be read");
        let path = below.join(entry.file_name());
        if entry.file_type().expect("has a type").is_dir() {
            list(root, &path, lines);
        } else {
            let bytes = fs::read(entry.path()).expect("can be read");
            lines.push(format!("{} {}\n", path.display(), Digest::of(&bytes)));
        }
    }
}

/// Compares with a golden file, or writes it when `OCISEED_BLESS` is set.
pub(crate) fn assert_golden(path: &Path, found: &str) {
    if std::env::var_os("OCISEED_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("can be made");
        fs::write(path, found).expect("a golden file can be written");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let hint =
        "if the change is meant: OCISEED_BLESS=1 cargo test, and a CHANGELOG line under Digest-changing";
    assert_eq!(found, expected, "{}: {hint}", path.display());
}
