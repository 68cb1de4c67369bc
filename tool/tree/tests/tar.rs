//! The tar form of trees: whatever a tree holds comes back out of its tar, for readers other than ours too.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use ociseed_spec::{FileMode, Owner, Timestamp, TreePath};
use ociseed_tree::{Builder, Claim, Content, Entry, Node, Precedence, Stat, Tree, tar as form};
use proptest::prelude::*;

/// What a path is, as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    kind: u8,
    mode: u32,
    uid: u64,
    gid: u64,
    data: Vec<u8>,
}

fn entry(kind: u8, mode: u16, owner: Owner, data: &[u8]) -> Entry {
    let stat = Stat::new(FileMode::new(mode), owner, Timestamp::EPOCH);
    let node = match kind {
        b'5' => Node::Directory { opaque: false },
        b'2' => Node::Symlink(data.into()),
        _ => Node::File(Content::bytes(data)),
    };
    Entry { stat, node }
}

fn tree(entries: &BTreeMap<Vec<u8>, Seen>) -> Tree {
    let mut builder = Builder::new();
    for (number, (path, seen)) in (0..).zip(entries) {
        let owner = Owner { uid: seen.uid as u32, gid: seen.gid as u32 };
        let path = TreePath::parse(path).expect("generated paths are good");
        builder.insert(
            path,
            entry(seen.kind, seen.mode as u16, owner, &seen.data),
            Claim::new(number, Precedence::Explicit),
        );
    }
    builder.finish().expect("generated paths do not contradict each other")
}

fn bytes(tree: &Tree) -> Vec<u8> {
    let mut out = Vec::new();
    form::write(tree, &mut out).expect("memory takes all");
    out
}

/// Reads a tar with tar-rs, PAX records applied.
fn read(tar: &[u8]) -> Vec<(Vec<u8>, Seen)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar");
    let one = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("a whole entry");
        let header = entry.header();
        let (mut uid, mut gid) = (header.uid().expect("uid"), header.gid().expect("gid"));
        let (kind, mode) = (header.entry_type().as_byte(), header.mode().expect("mode"));
        assert_eq!(header.mtime().expect("mtime"), 0);
        for record in entry.pax_extensions().expect("records").into_iter().flatten() {
            let record = record.expect("a record");
            match record.key().expect("a key") {
                "uid" => uid = record.value().expect("text").parse().expect("a number"),
                "gid" => gid = record.value().expect("text").parse().expect("a number"),
                _ => {}
            }
        }
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("content");
        if kind == b'2' {
            data = entry.link_name_bytes().expect("a target").into_owned();
        }
        let path = entry.path_bytes().trim_ascii_end().to_vec();
        (path.strip_suffix(b"/").unwrap_or(&path).to_vec(), Seen { kind, mode, uid, gid, data })
    };
    entries.map(one).collect()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => proptest::collection::vec(proptest::char::range('a', 'z').prop_map(|c| c as u8), 1..12),
        1 => proptest::collection::vec(b'a'..=b'z', 90..255),
        1 => Just("ünïcode".as_bytes().to_vec()),
        1 => Just(b"not\xffutf8".to_vec()),
    ];
    proptest::collection::vec(word, 1..6).prop_map(|parts| parts.join(&b'/'))
}

fn seen() -> impl Strategy<Value = Seen> {
    let id = || prop_oneof![Just(0u64), 1..3_000_000u64, Just(u64::from(u32::MAX) - 1)];
    let kind = prop_oneof![Just(b'0'), Just(b'2')];
    let data = proptest::collection::vec(1..=255u8, 1..700);
    (kind, 0..=0o7777u32, id(), id(), data).prop_map(|(kind, mode, uid, gid, data)| {
        // A reader that stops at a newline would cut a target; trailing blanks are content.
        let data = if kind == b'2' { data.into_iter().map(|byte| byte | 0x40).collect() } else { data };
        Seen { kind, mode, uid, gid, data }
    })
}

proptest! {
    #[test]
    fn what_goes_in_comes_out_in_order(given in proptest::collection::btree_map(name(), seen(), 0..12)) {
        // Leaves only: a path below another would be a contradiction.
        let inside = |path: &Vec<u8>| given.keys().any(|other| other.starts_with(&[path.as_slice(), b"/"].concat()));
        let leaves: BTreeMap<_, _> = given.iter().filter(|(path, _)| !inside(path)).map(|(p, s)| (p.clone(), s.clone())).collect();
        let tree = tree(&leaves);
        let tar = bytes(&tree);
        prop_assert_eq!(tar.len() % 512, 0);
        prop_assert_eq!(form::extents(&tree).map(|extent| extent.size()).sum::<u64>(), tar.len() as u64);
        let size = tar.len() as u64;
        let below = [0, 1, size - 1, size, size + 1].map(|most| form::Form(&tree).is_below(most));
        prop_assert_eq!(below, [false, false, false, false, true]);
        let found = read(&tar);
        let paths: Vec<TreePath> = found.iter().map(|(path, _)| TreePath::parse(path).expect("good")).collect();
        prop_assert!(paths.is_sorted());
        for path in &paths {
            let parent = path.parent().expect("not the root");
            prop_assert!(parent.is_root() || paths.contains(&parent), "{:?} has no parent before it", path);
        }
        let files: BTreeMap<_, _> = found.into_iter().filter(|(_, seen)| seen.kind != b'5').collect();
        prop_assert_eq!(files, leaves);
    }
}

#[test]
fn ustar_where_it_suffices_and_pax_where_not() {
    let pax = |path: &[u8], owner: Owner, target: Option<&[u8]>| {
        let mut builder = Builder::new();
        let data = target.unwrap_or(b"x");
        let kind = if target.is_some() { b'2' } else { b'0' };
        builder.insert(
            TreePath::parse(path).expect("good"),
            entry(kind, 0o644, owner, data),
            Claim::new(0, Precedence::Explicit),
        );
        bytes(&builder.finish().expect("one path"))
            .chunks(512)
            .any(|block| block[156] == b'x' && &block[257..262] == b"ustar")
    };
    let root = Owner::default();
    let deep = |parts: usize| vec!["d".repeat(49); parts].join("/");
    assert!(!pax("n".repeat(100).as_bytes(), root, None));
    assert!(pax("n".repeat(101).as_bytes(), root, None), "nowhere to split");
    assert!(!pax(deep(5).as_bytes(), root, None), "249 bytes split at a slash");
    assert!(pax(deep(6).as_bytes(), root, None), "299 bytes do not");
    assert!(pax("ü".as_bytes(), root, None));
    assert!(!pax(b"a", root, Some("t".repeat(100).as_bytes())));
    assert!(pax(b"a", root, Some("t".repeat(101).as_bytes())));
    assert!(!pax(b"a", Owner { uid: 2_097_151, gid: 0 }, None));
    assert!(pax(b"a", Owner { uid: 0, gid: 2_097_152 }, None));
}

#[test]
fn names_times_and_xattrs_have_records_only_where_the_header_cannot_say_them() {
    let records = |change: &dyn Fn(&mut Stat)| {
        let mut entry = entry(b'0', 0o644, Owner::default(), b"x");
        change(&mut entry.stat);
        let mut builder = Builder::new();
        builder.insert("/a".parse().expect("path"), entry, Claim::new(0, Precedence::Explicit));
        let tar = bytes(&builder.finish().expect("one path"));
        match tar[156] {
            b'x' => String::from_utf8_lossy(&tar[512..1024]).trim_end_matches('\0').to_owned(),
            _ => format!("none: {}", tar[265..329].escape_ascii().to_string().replace("\\x00", " ")),
        }
    };
    let named = |user: &str, group: &str| {
        let names = [user, group].map(|name| ociseed_spec::OwnerName::parse(name.as_bytes()).ok());
        records(&move |stat| stat.set_names(names[0].clone(), names[1].clone()))
    };
    let timed =
        |seconds, nanoseconds| records(&move |stat| stat.mtime = Timestamp::new(seconds, nanoseconds));
    let xattr = |name: &'static str| {
        records(&move |stat| {
            let value = ociseed_spec::XattrValue::new(b"\n").expect("short");
            stat.set_xattr(name.parse().expect("good"), value);
        })
    };
    let (most, more) = ("n".repeat(31), "n".repeat(32));
    assert_eq!(named(&most, "g").split_whitespace().collect::<Vec<_>>(), ["none:", &most, "g"]);
    assert_eq!(named(&more, "g"), format!("42 uname={more}\n"));
    assert_eq!(named("ü", "ü"), "12 gname=ü\n12 uname=ü\n");
    assert!(timed(0, 0).starts_with("none") && timed((1 << 33) - 1, 0).starts_with("none"));
    assert_eq!(timed(1 << 33, 0), "20 mtime=8589934592\n");
    assert_eq!(timed(-1, 0), "12 mtime=-1\n");
    assert_eq!(timed(1, 500_000_000), "13 mtime=1.5\n");
    assert_eq!(xattr("user.a"), "25 SCHILY.xattr.user.a=\n\n");
}

#[test]
fn gnu_tar_reads_it() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(130));
    let owner = Owner { uid: 4_000_000, gid: 5_000_000 };
    let mut builder = Builder::new();
    for (number, (path, kind, data)) in
        (0..).zip([(long.as_str(), b'0', "x"), ("link", b'2', &"t".repeat(300)), ("é", b'0', "")])
    {
        let path = TreePath::parse(path.as_bytes()).expect("good");
        builder.insert(
            path,
            entry(kind, 0o640, owner, data.as_bytes()),
            Claim::new(number, Precedence::Explicit),
        );
    }
    let tar = bytes(&builder.finish().expect("no contradiction"));
    let mut child = Command::new("tar")
        .args(["--numeric-owner", "-tvf", "-"])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("GNU tar is on every build machine");
    child.stdin.take().expect("piped").write_all(&tar).expect("tar reads all of it");
    let output = child.wait_with_output().expect("tar ends");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let listing = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [&long, &"t".repeat(300), "é", "4000000/5000000"] {
        assert!(listing.contains(part), "{part} in {listing}");
    }
}
