//! The program, run on directories that hold what it must tell apart.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, makedev, mknodat, utimensat,
};
use serde_json::{Value, json};

const PROBE: &str = env!("CARGO_BIN_EXE_ociseed-probe");
/// `printf hello | sha256sum`.
const HELLO: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// A directory of one test, gone when the test ends.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ociseed-probe-{}-{name}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file");
        path
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir(&path).expect("a directory");
        path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("a time");
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// What the probe lists of a directory: the mounts, then the entries.
fn probe(directory: &Path) -> (Value, Vec<Value>) {
    let mut lines = lines(&Command::new(PROBE).arg(directory).output().expect("the probe runs"));
    (lines.remove(0), lines)
}

fn entry<'a>(entries: &'a [Value], path: &str) -> &'a Value {
    entries.iter().find(|entry| entry["path"] == path).unwrap_or_else(|| panic!("{path} in {entries:#?}"))
}

fn paths(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["path"].as_str().expect("text")).collect()
}

#[test]
fn a_file_is_listed_with_all_that_it_has() {
    let temporary = Temporary::new("file");
    let path = temporary.file("motd", "hello");
    if is_root() {
        chown(&path, Some(4_000_000), Some(12)).expect("an owner");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751)).expect("a mode");
    rustix::fs::setxattr(&path, "user.b", b"\x00\xff", XattrFlags::empty()).expect("a value");
    rustix::fs::setxattr(&path, "user.a", b"hello", XattrFlags::empty()).expect("a value");
    set_time(&path, 1_700_000_000, 123_456_789);
    let owner = fs::metadata(&path).expect("status");
    let (mounts, entries) = probe(&temporary.0);
    assert_eq!(mounts, json!({ "mounts": [] }));
    let expected = json!({
        "digest": HELLO, "gid": owner.gid(), "kind": "file", "mode": "4751", "mtime": "1700000000.123456789",
        "path": "/motd", "size": 5, "uid": owner.uid(), "xattrs": { "user.a": "68656c6c6f", "user.b": "00ff" },
    });
    assert_eq!(entry(&entries, "/motd"), &expected);
    assert_eq!(owner.uid(), if is_root() { 4_000_000 } else { rustix::process::geteuid().as_raw() });
}

#[test]
fn each_kind_has_its_own_members_and_no_others() {
    let temporary = Temporary::new("kinds");
    let _socket = UnixListener::bind(temporary.0.join("socket")).expect("a socket");
    symlink("../to/nowhere", temporary.0.join("symlink")).expect("a symlink");
    temporary.directory("directory");
    let mode = Mode::from_raw_mode(0o600);
    // Everybody may make this device, which overlay uses as a whiteout.
    mknodat(CWD, temporary.0.join("whiteout"), FileType::CharacterDevice, mode, 0).expect("a device");
    mknodat(CWD, temporary.0.join("fifo"), FileType::Fifo, mode, 0).expect("a fifo");
    if is_root() {
        let (char, block) = (FileType::CharacterDevice, FileType::BlockDevice);
        mknodat(CWD, temporary.0.join("char"), char, mode, makedev(1, 3)).expect("a device");
        mknodat(CWD, temporary.0.join("block"), block, mode, makedev(259, 70_000)).expect("a device");
    }
    for name in fs::read_dir(&temporary.0).expect("can be read") {
        let path = name.expect("a name").path();
        if !path.is_symlink() {
            let mode = if path.is_dir() { 0o2750 } else { 0o640 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        }
        set_time(&path, -2, 500_000_000);
    }
    set_time(&temporary.0, 0, 0);
    fs::set_permissions(&temporary.0, fs::Permissions::from_mode(0o1755)).expect("a mode");
    let status = fs::metadata(&temporary.0).expect("status");
    let (_, mut entries) = probe(&temporary.0);
    for entry in &mut entries {
        let entry = entry.as_object_mut().expect("an object");
        assert_eq!(entry.remove("uid"), Some(status.uid().into()));
        assert_eq!(entry.remove("gid"), Some(status.gid().into()));
    }
    let mut expected = vec![
        json!({ "path": "/", "kind": "directory", "mode": "1755", "mtime": "0" }),
        json!({ "path": "/block", "kind": "block", "mode": "0640", "mtime": "-1.5", "major": 259, "minor": 70_000 }),
        json!({ "path": "/char", "kind": "char", "mode": "0640", "mtime": "-1.5", "major": 1, "minor": 3 }),
        json!({ "path": "/directory", "kind": "directory", "mode": "2750", "mtime": "-1.5" }),
        json!({ "path": "/fifo", "kind": "fifo", "mode": "0640", "mtime": "-1.5" }),
        json!({ "path": "/socket", "kind": "socket", "mode": "0640", "mtime": "-1.5" }),
        json!({
            "path": "/symlink", "kind": "symlink", "mode": "0777", "mtime": "-1.5", "target": "../to/nowhere",
        }),
        json!({ "path": "/whiteout", "kind": "char", "mode": "0640", "mtime": "-1.5", "major": 0, "minor": 0 }),
    ];
    expected.retain(|entry| is_root() || (entry["path"] != "/block" && entry["path"] != "/char"));
    assert_eq!(entries, expected);
}

#[test]
fn names_of_one_inode_are_links_to_the_first() {
    let temporary = Temporary::new("links");
    // `a/z` comes before `a-b`: paths are sorted by parts, not as strings.
    temporary.directory("a");
    let first = temporary.file("a/z", "hello");
    fs::hard_link(&first, temporary.0.join("a-b")).expect("a link");
    fs::hard_link(&first, temporary.0.join("c")).expect("a link");
    symlink("gone", temporary.0.join("s")).expect("a symlink");
    fs::hard_link(temporary.0.join("s"), temporary.0.join("t")).expect("a link to a symlink");
    let outside = Temporary::new("links-outside");
    fs::hard_link(temporary.file("d", "hello"), outside.0.join("d")).expect("a link");
    let (_, entries) = probe(&temporary.0);
    assert_eq!(paths(&entries), ["/", "/a", "/a/z", "/a-b", "/c", "/d", "/s", "/t"]);
    assert_eq!(entry(&entries, "/a/z")["digest"], HELLO);
    assert_eq!(entry(&entries, "/a-b"), &json!({ "kind": "link", "link": "/a/z", "path": "/a-b" }));
    assert_eq!(entry(&entries, "/c"), &json!({ "kind": "link", "link": "/a/z", "path": "/c" }));
    // Its other name is not in the list.
    assert_eq!(entry(&entries, "/d")["kind"], "file");
    assert_eq!(entry(&entries, "/s")["kind"], "symlink");
    assert_eq!(entry(&entries, "/t"), &json!({ "kind": "link", "link": "/s", "path": "/t" }));
}

#[test]
fn symlinks_are_not_followed_and_names_need_not_be_utf8() {
    let temporary = Temporary::new("names");
    let outside = Temporary::new("names-outside");
    outside.file("secret", "hello");
    symlink(&outside.0, temporary.0.join("out")).expect("a symlink");
    let name = OsStr::from_bytes(b"caf\xe9\\x");
    symlink(name, temporary.0.join(name)).expect("a symlink");
    let (_, entries) = probe(&temporary.0);
    assert_eq!(paths(&entries), ["/", "/caf\\xe9\\\\x", "/out"]);
    assert_eq!(entry(&entries, "/caf\\xe9\\\\x")["target"], "caf\\xe9\\\\x");
}

#[test]
fn paths_longer_than_the_kernel_takes_are_listed() {
    let temporary = Temporary::new("long");
    let part = "d".repeat(250);
    let depth = 20;
    // Made from inside out, because no call takes a path of more than 4096 bytes.
    let mut inner = temporary.file("deepest", "hello");
    for level in 0..depth {
        let outer = temporary.directory(&format!("level-{level}"));
        let name = if level == 0 { "deepest" } else { &part };
        fs::rename(&inner, outer.join(name)).expect("moved");
        inner = outer;
    }
    let (_, entries) = probe(&temporary.0);
    let last = entries.last().expect("entries");
    let expected = format!("/level-{}{}/deepest", depth - 1, format!("/{part}").repeat(depth - 1));
    assert!(expected.len() > 4096);
    assert_eq!((last["path"].as_str(), last["digest"].as_str()), (Some(expected.as_str()), Some(HELLO)));
}

#[test]
fn mount_points_are_named_and_not_entered() {
    let temporary = Temporary::new("mounts");
    temporary.directory("kept");
    temporary.file("kept/file", "hello");
    for name in ["bound", "fresh"] {
        temporary.directory(name);
    }
    temporary.file("single", "");
    // A directory and a file bound from the same file system have the device number of what is around them.
    let script =
        "mount --bind kept bound; mount --bind kept/file single; mount -t tmpfs none fresh; exec \"$0\" .";
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    let output =
        unshare.args(["sh", "-ec", script, PROBE]).current_dir(&temporary.0).output().expect("unshare");
    let mut lines = lines(&output);
    assert_eq!(lines.remove(0), json!({ "mounts": ["/bound", "/fresh", "/single"] }));
    assert_eq!(paths(&lines), ["/", "/kept", "/kept/file"]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_it() {
    let temporary = Temporary::new("unreadable");
    temporary.directory("sub");
    let path = temporary.file("sub/locked", "hello");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("a mode");
    let mut command = Command::new(PROBE);
    command.arg(&temporary.0);
    if is_root() {
        // root reads everything, so the probe gives root up. The program itself may lie where nobody else may go.
        let copy = temporary.0.join("probe");
        fs::copy(PROBE, &copy).expect("a copy");
        command = Command::new(copy);
        command.arg(temporary.0.join("sub")).uid(65534).gid(65534);
    }
    let output = command.output().expect("the probe runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: `/") && message.contains("locked`: Permission denied"), "{message}");
    assert!(output.stdout.is_empty());
}
