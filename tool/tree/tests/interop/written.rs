//! What other programs see in our tars.

use std::collections::BTreeMap;

use ociseed_spec::{Device, DeviceKind, FileMode, Owner, OwnerName, Timestamp, XattrName, XattrValue};
use ociseed_tree::{Builder, Claim, Content, Entry, Extent, Node, Precedence, Stat, Tree, tar as form};

use proptest::prelude::*;

use crate::SCRIPTS;
use crate::common::{directory, run};
use crate::generate;

/// Makes a tree that needs every form of header.
fn tree() -> Tree {
    let stat = |mode, uid, seconds, nanoseconds| {
        let owner = Owner { uid, gid: uid / 2 };
        let mut stat = Stat::new(FileMode::new(mode), owner, Timestamp::new(seconds, nanoseconds));
        stat.set_names(OwnerName::parse(b"web").ok(), OwnerName::parse("grüße".as_bytes()).ok());
        stat
    };
    let mut rich = stat(0o6755, 4_000_000_000, 1_700_000_000, 987_654_321);
    for (name, value) in
        [("user.a", &b"text"[..]), ("user.b", b"\0\n=\xff\n12 path=x\n"), ("security.capability", &[1; 20])]
    {
        rich.set_xattr(name.parse::<XattrName>().expect("good"), XattrValue::new(value).expect("short"));
    }
    let sparse: Content = [
        Extent::Zeros(5000),
        Extent::Bytes((*b"data").into()),
        Extent::Zeros(70_000),
        Extent::Bytes((*b"end").into()),
    ]
    .into_iter()
    .collect();
    let long = format!("/{}/{}", vec!["d".repeat(200); 30].join("/"), "f".repeat(255));
    let device = |kind, major, minor| Node::Device(Device { kind, major, minor });
    let mut builder = Builder::new();
    for (path, stat, node) in [
        ("/a", rich.clone(), Node::File(Content::bytes(*b"content"))),
        ("/b", rich, Node::Link("/a".parse().expect("path"))),
        ("/block", stat(0o600, 0, 0, 0), device(DeviceKind::Block, 259, 2_097_152)),
        ("/char", stat(0o666, 0, 0, 0), device(DeviceKind::Char, 1, 3)),
        ("/dir", stat(0o1777, 7, 1, 0), Node::Directory { opaque: true }),
        ("/fifo", stat(0o644, 7, 1, 0), Node::Fifo),
        ("/gone", Stat::FILE, Node::Whiteout),
        ("/link", stat(0o777, 7, 1, 1), Node::Symlink(b"\xff/target".as_slice().into())),
        ("/old", stat(0o644, 7, -2, 500_000_000), Node::File(Content::default())),
        ("/sparse", stat(0o644, 2_097_151, 1 << 33, 0), Node::File(sparse)),
        ("/ünï", stat(0o644, 7, 1, 0), Node::File(Content::default())),
        (&long, stat(0o644, 7, 1, 0), Node::File(Content::bytes(*b"far away"))),
    ] {
        builder.insert(
            path.parse().expect("path"),
            Entry { stat, node },
            Claim::new(0, Precedence::Explicit),
        );
    }
    builder.finish().expect("no conflict")
}

fn bytes(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    form::write(tree, &mut bytes).expect("memory takes all");
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Says of a path what `pytar.py show` says of it.
fn expected(path: &[u8], entry: &Entry) -> serde_json::Value {
    let Stat { mode, owner, mtime, .. } = entry.stat;
    let name = |name: Option<&OwnerName>| name.map(ToString::to_string).unwrap_or_default();
    let mut data = Vec::new();
    let mut device = None;
    let (kind, target): (_, &[u8]) = match &entry.node {
        Node::File(content) => {
            content.copy_to(&mut data).expect("in memory");
            ("0", b"")
        }
        Node::Whiteout => ("0", b""),
        Node::Link(target) => ("1", target.as_bytes()),
        Node::Symlink(target) => ("2", target),
        Node::Device(found) => {
            device = Some([found.major, found.minor]);
            (if found.kind == DeviceKind::Char { "3" } else { "4" }, b"")
        }
        Node::Directory { .. } => ("5", b""),
        Node::Fifo => ("6", b""),
    };
    let xattrs: BTreeMap<String, String> =
        entry.stat.xattrs().iter().map(|(name, value)| (name.to_string(), hex(value.as_bytes()))).collect();
    serde_json::json!({
        "path": hex(path), "type": kind, "mode": mode.bits(), "mtime": mtime.seconds(), "target": hex(target),
        "owner": [owner.uid, owner.gid, name(entry.stat.user()), name(entry.stat.group())],
        "device": device, "data": hex(&data), "xattrs": xattrs,
    })
}

/// Sees that Python finds in a tree's tar what is in the tree.
fn check_with_python(tree: &Tree) {
    let mut all = Vec::new();
    for (path, entry) in tree {
        match &entry.node {
            Node::Whiteout => {
                let parent = path.as_bytes().strip_suffix(path.name()).expect("a path ends with its name");
                all.push(expected(&[parent, b".wh.", path.name()].concat(), entry));
            }
            Node::Directory { opaque: true } => {
                all.push(expected(path.as_bytes(), entry));
                let marker = Entry { stat: Stat::FILE, node: Node::Whiteout };
                all.push(expected(&[path.as_bytes(), b"/.wh..wh..opq"].concat(), &marker));
            }
            _ => all.push(expected(path.as_bytes(), entry)),
        }
    }
    let shown = run("python3", &[&format!("{SCRIPTS}/pytar.py"), "show"], &bytes(tree));
    let shown = String::from_utf8(shown).expect("ASCII");
    let found: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(found.len(), all.len());
    for (found, expected) in found.iter().zip(&all) {
        assert_eq!(found, expected);
    }
}

#[test]
fn python_sees_all_of_it() {
    check_with_python(&tree());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20) })]

    #[test]
    fn python_sees_all_of_any_tree(tree in generate::tree(true)) {
        check_with_python(&tree);
    }
}

#[test]
fn gnu_tar_sees_all_of_it() {
    let listing = run("tar", &["--numeric-owner", "--full-time", "--xattrs", "-tvvf", "-"], &bytes(&tree()));
    let listing = String::from_utf8(listing).expect("UTF-8");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let deep = |line: &String| line.contains("/dddd") || line.ends_with("ddd/");
    let (deep, found): (Vec<String>, Vec<String>) = listing.lines().map(words).partition(deep);
    // GNU tar 1.34 shows times before 1970 with fractions one second late; what it extracts is right.
    let expected = [
        "-rwsr-sr-x* 4000000000/2000000000 7 2023-11-14 22:13:20.987654321 a",
        "x: 4 user.a",
        "x: 15 user.b",
        "hrwsr-sr-x* 4000000000/2000000000 0 2023-11-14 22:13:20.987654321 b link to a",
        "x: 4 user.a",
        "x: 15 user.b",
        "brw------- 0/0 259,2097152 1970-01-01 00:00:00 block",
        "crw-rw-rw- 0/0 1,3 1970-01-01 00:00:00 char",
        "drwxrwxrwt 7/3 0 1970-01-01 00:00:01 dir/",
        "-rw-r--r-- 0/0 0 1970-01-01 00:00:00 dir/.wh..wh..opq",
        "prw-r--r-- 7/3 0 1970-01-01 00:00:01 fifo",
        "-rw-r--r-- 0/0 0 1970-01-01 00:00:00 .wh.gone",
        "lrwxrwxrwx 7/3 0 1970-01-01 00:00:01.000000001 link -> \\377/target",
        "-rw-r--r-- 7/3 0 1969-12-31 23:59:59.5 old",
        "-rw-r--r-- 2097151/1048575 75007 2242-03-16 12:56:32 sparse",
        "-rw-r--r-- 7/3 0 1970-01-01 00:00:01 ünï",
    ];
    assert_eq!(found, expected);
    let long = format!("{}/{}", vec!["d".repeat(200); 30].join("/"), "f".repeat(255));
    assert_eq!(deep.len(), 31);
    assert_eq!(deep[30], format!("-rw-r--r-- 7/3 8 1970-01-01 00:00:01 {long}"));
}

#[test]
fn gnu_tar_extracts_it_with_its_content() {
    let (path, _) = directory("gnu-extracts");
    let tar = bytes(&tree());
    // Without what takes root, and with paths that Linux takes at once.
    let names = ["a", "b", "dir", "fifo", "link", "old", "sparse", "ünï"];
    let args = ["-C", &path, "--no-same-owner", "--warning=no-timestamp", "-xpf", "-"];
    run("tar", &[&args[..], &names].concat(), &tar);
    let shown = names.map(|name| format!("{path}/{name}"));
    let mut args = vec!["-c", "%F %a %.9Y %h"];
    args.extend(shown.iter().map(String::as_str));
    let found = String::from_utf8(run("stat", &args, b"")).expect("ASCII");
    let expected = [
        "regular file 6755 1700000000.987654321 2",
        "regular file 6755 1700000000.987654321 2",
        "directory 1777 1.000000000 2",
        "fifo 644 1.000000000 1",
        "symbolic link 777 1.000000001 1",
        "regular empty file 644 -1.500000000 1",
        "regular file 644 8589934592.000000000 1",
        "regular empty file 644 1.000000000 1",
    ];
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    let sparse = run("cat", &[&format!("{path}/sparse")], b"");
    assert_eq!(sparse.len(), 75_007);
    assert_eq!((&sparse[5000..5004], &sparse[75_004..]), (&b"data"[..], &b"end"[..]));
}
