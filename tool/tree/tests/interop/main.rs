//! Archives of other programs: what GNU tar and Python write is read with all of its metadata, and they read what is written here.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/generate.rs"]
mod generate;
mod written;

use common::{directory, lines, paths, read, run};
use ociseed_tree::{Node, Tree};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop");

/// Makes the fixture, and returns where it is.
fn fixture(name: &str, long: bool) -> String {
    let (path, _) = directory(name);
    let script = format!("{SCRIPTS}/fixture.py");
    let args = [script.as_str(), &path, "long"];
    run("python3", if long { &args } else { &args[..2] }, b"");
    path
}

/// Archives a directory with GNU tar.
fn gnu_tar(directory: &str, args: &[&str]) -> Vec<u8> {
    let mut all = vec!["--owner=web:1000", "--group=www:2000", "-C", directory, "-cf", "-"];
    all.extend(args);
    all.push(".");
    run("tar", &all, b"")
}

fn stat(tree: &Tree, path: &str) -> ociseed_tree::Stat {
    tree.get(&path.parse().expect("absolute"))
        .unwrap_or_else(|| panic!("{path}: {:?}", paths(tree)))
        .stat
        .clone()
}

#[test]
fn gnu_tar_in_every_format() {
    let directory = fixture("gnu-formats", false);
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        for sparse in [false, true] {
            let format_arg = format!("--format={format}");
            let mut args = vec![format_arg.as_str()];
            if sparse && matches!(format, "v7" | "ustar") {
                continue;
            }
            args.extend(sparse.then_some("--sparse"));
            // Version 7 has no fifos.
            args.extend((format == "v7").then_some("--exclude=./fifo"));
            let tree = read(&gnu_tar(&directory, &args)).unwrap_or_else(|error| panic!("{format}: {error}"));
            let expected = [
                "dir/",
                "dir/setuid: 700 bytes",
                "dir/symlink -> ../plain",
                "fifo fifo",
                "plain: some text\\n",
                "sparse: 6000000 bytes",
                "zlink = plain",
            ];
            let expected: Vec<&str> =
                expected.into_iter().filter(|path| format != "v7" || *path != "fifo fifo").collect();
            assert_eq!(paths(&tree), expected, "{format}");
            let setuid = stat(&tree, "/dir/setuid");
            assert_eq!(
                (setuid.mode.bits(), setuid.owner.uid, setuid.owner.gid),
                (0o4711, 1000, 2000),
                "{format}"
            );
            let names = setuid.user().zip(setuid.group()).map(|(user, group)| format!("{user} {group}"));
            assert_eq!(names, (format != "v7").then(|| "web www".to_owned()), "{format}");
            let nanoseconds = if format == "posix" { 123_456_789 } else { 0 };
            let expected = ociseed_spec::Timestamp::new(1_700_000_000, nanoseconds);
            assert_eq!((setuid.mtime, stat(&tree, "/plain").mtime), (expected, expected), "{format}");
            check_sparse(&tree, &directory, sparse, format);
        }
    }
}

/// Sees that a sparse file is what it was, and that its holes are not in the archive.
fn check_sparse(tree: &Tree, directory: &str, sparse: bool, format: &str) {
    let entry = tree.get(&"/sparse".parse().expect("absolute")).expect("there");
    let Node::File(content) = &entry.node else { panic!("{format}: {entry:?}") };
    let mut found = Vec::new();
    content.copy_to(&mut found).expect("the archive is there");
    let expected = run("cat", &[&format!("{directory}/sparse")], b"");
    assert!(found == expected, "{format}");
    let holes = content.extents().iter().filter(|extent| matches!(extent, ociseed_tree::Extent::Zeros(_)));
    assert_eq!(holes.count() >= 30, sparse, "{format}: {:?}", content.extents());
}

#[test]
fn gnu_tar_with_every_sparse_format() {
    let directory = fixture("gnu-sparse", false);
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        let tree = read(&gnu_tar(&directory, &["--format=posix", "--sparse", &version])).expect(&version);
        assert_eq!(tree.len(), 7, "{:?}", paths(&tree));
        check_sparse(&tree, &directory, true, &version);
        assert_eq!(stat(&tree, "/sparse").mtime.nanoseconds(), 123_456_789, "{version}");
    }
}

#[test]
fn gnu_tar_with_long_names_xattrs_and_lists() {
    let directory = fixture("gnu-long", true);
    let deep = format!("deep/{}/{}", vec!["d".repeat(90); 4].join("/"), "f".repeat(200));
    for format in ["--format=gnu", "--format=posix"] {
        let tree = read(&gnu_tar(&directory, &[format])).unwrap_or_else(|error| panic!("{format}: {error}"));
        let found = paths(&tree);
        for expected in [
            format!("{deep}: far away"),
            format!("longlink -> {}", "t".repeat(300)),
            "n\\nl \\xc3\\xbcn\\xc3\\xafcode: named".to_owned(),
            "not\\xffutf8: bytes".to_owned(),
            format!("zz = {deep}"),
        ] {
            assert!(found.contains(&expected), "{format}: {expected} in {found:?}");
        }
    }
    let args = ["--format=posix", "--xattrs", "--acls", "--numeric-owner"];
    let tree = read(&gnu_tar(&directory, &args)).expect("with xattrs");
    let xattrs = |path: &str| {
        let stat = stat(&tree, path);
        let one = |(name, value): (&ociseed_spec::XattrName, &ociseed_spec::XattrValue)| {
            format!("{name}={}", value.as_bytes().escape_ascii())
        };
        stat.xattrs().iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(xattrs("/plain"), ["user.binary=\\x00\\n=\\xff\\n9 a=b\\n", "user.empty=", "user.text=value"]);
    let no = "\\xff\\xff\\xff\\xff";
    let list = format!(
        "\\x02\\x00\\x00\\x00\\x01\\x00\\x06\\x00{no}\\x02\\x00\\x04\\x001\\xd4\\x00\\x00\
         \\x04\\x00\\x04\\x00{no}\\x10\\x00\\x04\\x00{no} \\x00\\x00\\x00{no}"
    );
    assert_eq!(xattrs("/dir/setuid"), [format!("system.posix_acl_access={list}")]);
    assert_eq!(xattrs("/dir"), [format!("system.posix_acl_default={list}")]);
}

#[test]
fn python_in_every_format() {
    let script = format!("{SCRIPTS}/pytar.py");
    for format in ["ustar", "gnu", "pax"] {
        let tree = read(&run("python3", &[&script, format], b""))
            .unwrap_or_else(|error| panic!("{format}: {error}"));
        let mut expected = vec![
            "block b 259:300".to_owned(),
            "char c 1:3".to_owned(),
            "cont: contiguous".to_owned(),
            "dir/".to_owned(),
            "dir/file: 1000 bytes".to_owned(),
            "dir/hard = dir/file".to_owned(),
            "fifo fifo".to_owned(),
            "link -> ../else/where".to_owned(),
        ];
        let found = paths(&tree);
        if format != "ustar" {
            let deep = format!("/{}name", "p/".repeat(120));
            let owner = stat(&tree, &deep).owner;
            assert_eq!((owner.uid, owner.gid), (4_000_000_000, 3_000_000), "{format}");
            expected.extend((1..=120).map(|depth| "p/".repeat(depth)));
            expected.push(format!("{}: deep", &deep[1..]));
            expected.push(format!("\\xc3\\xbcn\\xc3\\xaf -> {}", "\\xc3\\xbc".repeat(100)));
        }
        assert_eq!(found, expected, "{format}");
        let file = stat(&tree, "/dir/hard");
        assert_eq!((file.mode.bits(), file.owner.uid, file.owner.gid), (0o4755, 5, 6), "{format}");
        assert_eq!(file.user().map(ToString::to_string), Some("web".to_owned()), "{format}");
        let half = if format == "pax" { "1700000000.5" } else { "1700000000" };
        assert_eq!(stat(&tree, "/link").mtime.to_string(), half, "{format}");
    }
}

#[test]
fn what_gnu_tar_adds_with_options_is_passed_over_or_read() {
    let directory = fixture("gnu-options", false);
    let plain = lines(&read(&gnu_tar(&directory, &["--format=posix", "--sort=name"])).expect("plain"));
    for args in [
        ["--format=posix", "--sort=name", "--pax-option=globexthdr.name=g,comment=hello"],
        ["--format=posix", "--sort=name", "--pax-option=exthdr.name=x"],
        ["--format=posix", "--sort=name", "--blocking-factor=1"],
        ["--format=posix", "--sort=name", "--atime-preserve"],
    ] {
        assert_eq!(lines(&read(&gnu_tar(&directory, &args)).expect(args[2])), plain, "{args:?}");
    }
    let shared = gnu_tar(&directory, &["--format=posix", "--pax-option=gid=77,uname=shared"]);
    let file = stat(&read(&shared).expect("a global header"), "/plain");
    assert_eq!((file.owner.gid, file.user().map(ToString::to_string)), (77, Some("shared".to_owned())));
}
