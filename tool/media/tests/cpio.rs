//! cpio archives: what is written is read back, by us and by the tools that others have.

mod common;

use std::path::Path;
use std::sync::Arc;

use ociseed_media::cpio::{self, ReadCpioError};
use ociseed_spec::{Timestamp, TreePath, XattrValue};
use ociseed_tree::testing::{built, device, file, link, listed, path, tree, with};
use ociseed_tree::{Content, Entry, Extent, Node, Tree};
use proptest::prelude::*;

use crate::common::{
    any_content, any_files, any_links, any_node, assert_golden, entries_of, golden, scratch,
};

fn archive_of(tree: &Tree) -> Vec<u8> {
    let content: Content = cpio::extents(tree).expect("can be written").collect();
    let (mut bytes, mut written) = (Vec::new(), Vec::new());
    content.copy_to(&mut bytes).expect("can be written");
    let content: Content = cpio::extents(tree).expect("can be written").collect();
    content.copy_to(&mut written).expect("in memory");
    assert!(bytes == written, "extents and bytes are the same archive");
    bytes
}

/// Reads an archive, which lies in a file of this name meanwhile.
fn read_bytes(name: &str, bytes: &[u8]) -> Result<Tree, ReadCpioError> {
    let (dir, name) = (scratch(), format!("{name}.cpio"));
    dir.write(&name, bytes).expect("can be written");
    cpio::read(Arc::new(dir.open(&name).expect("is there")), Path::new(&name))
}

fn read_back(name: &str, tree: &Tree) -> Tree {
    read_bytes(name, &archive_of(tree)).expect("is an archive")
}

/// A tree with everything that the format has and whoever unpacks it makes again.
fn everything() -> Tree {
    let at = |seconds| Timestamp::new(seconds, 0);
    let mut entries: Vec<(TreePath, Entry)> = vec![
        (path("/empty"), file(*b"")),
        (path("/a-first"), with(file(*b"one file\n"), 0o6755, (4_000_000_000, 70_000), at(1_700_000_000))),
        (path("/d"), with(Entry::directory(), 0o2750, (0, 4_294_967_294), at(4_294_967_295))),
        (path("/d/further"), link("/a-first")),
        (path("/z-further"), link("/a-first")),
        (path("/empty-further"), link("/empty")),
        (path("/tmp"), with(Entry::directory(), 0o1777, (0, 0), at(5))),
        (path("/d/null"), with(device("c 1:3"), 0o666, (0, 0), at(1))),
        (path("/d/null-further"), link("/d/null")),
        (path("/d/disk"), with(device("b 259:1048575"), 0o660, (0, 6), at(2))),
        (path("/d/fifo"), with(Entry::fifo(), 0o600, (1, 2), at(3))),
        (path("/symlink"), with(Entry::symlink(*b"d/../\xffa-first"), 0o777, (1, 2), at(7))),
        (path("/read-only"), with(file(*b"1234"), 0o400, (3, 3), at(0))),
        (path("/TRAILER!!!"), file(*b"no end")),
        (path("/d/TRAILER!!!"), Entry::directory()),
        (path("/gr\u{fc}n/\u{65e5}\u{672c}"), file(*b"12345")),
        (path("/new\nline and blank"), file(*b"123456")),
    ];
    entries.push((TreePath::parse(b"/no UTF-8 \xff\xfe").expect("a path"), file(*b"1234567")));
    let holes = [Extent::Bytes((*b"x").into()), Extent::Zeros(5000), Extent::Bytes((*b"y").into())];
    entries.push((path("/holes"), Entry::file(holes.into_iter().collect())));
    built(entries)
}

#[test]
fn archives_are_those_that_judges_saw() {
    // tests/e2e/test_cpio.py unpacks the golden archives.
    let tree = everything();
    assert_golden("cpio", "everything.listing", listed(&tree).as_bytes());
    assert_golden("cpio", "everything.cpio", &archive_of(&tree));
    assert_golden("cpio", "empty.listing", b"");
    assert_golden("cpio", "empty.cpio", &archive_of(&Tree::default()));
}

#[test]
fn what_is_written_is_read_back() {
    let tree = everything();
    assert_eq!(listed(&read_back("everything", &tree)), listed(&tree));
    assert_eq!(listed(&read_back("empty", &Tree::default())), "");
}

#[test]
fn what_gnu_cpio_writes_is_read() {
    // GNU cpio 2.13, of `find . -depth`: files before their directories, bytes with the last name of a file.
    let expected = golden("cpio").read_to_string("gnu.listing").expect("is there");
    for name in ["gnu-newc", "gnu-crc"] {
        let bytes = golden("cpio").read(format!("{name}.cpio")).expect("is there");
        assert_eq!(listed(&read_bytes(name, &bytes).expect(name)), expected, "{name}");
    }
}

/// One member's header by its fields' places, and its name.
fn members(bytes: &[u8]) -> Vec<(Vec<u32>, String)> {
    let (mut at, mut members) = (0, Vec::new());
    loop {
        let digits = bytes[at + 6..at + 110].chunks_exact(8);
        let fields: Vec<u32> = digits
            .map(|eight| u32::from_str_radix(std::str::from_utf8(eight).expect("ASCII"), 16).expect("hex"))
            .collect();
        let name = at + 110..at + 110 + fields[11] as usize - 1;
        let data = (name.end + 1).next_multiple_of(4);
        at = (data + fields[6] as usize).next_multiple_of(4);
        let name = String::from_utf8_lossy(&bytes[name]).into_owned();
        if name == "TRAILER!!!" {
            return members;
        }
        members.push((fields, name));
    }
}

#[test]
fn names_of_one_file_share_a_number_and_the_first_has_the_bytes() {
    let tree = tree(vec![
        ("/b", file(*b"12345")),
        ("/c/again", link("/b")),
        ("/d", Entry::symlink(*b"to")),
        ("/e", link("/d")),
        ("/f", file(*b"1")),
    ]);
    let bytes = archive_of(&tree);
    // Number, links, size; device numbers of the archive and what only other forms have are 0.
    let found: Vec<_> = members(&bytes)
        .into_iter()
        .map(|(fields, name)| (name, fields[0], fields[4], fields[6], fields[7] + fields[8] + fields[12]))
        .collect();
    let expected = [
        (".", 1, 2, 0),
        ("b", 2, 2, 5),
        ("c", 3, 2, 0),
        ("c/again", 2, 2, 0),
        ("d", 4, 2, 2),
        ("e", 4, 2, 2),
        ("f", 5, 1, 1),
    ];
    assert_eq!(found, expected.map(|(name, number, links, size)| (name.to_owned(), number, links, size, 0)));
    assert_eq!(bytes.len() % 512, 0);
    assert_eq!(listed(&read_bytes("links", &bytes).expect("an archive")), listed(&tree));
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let message = |entries| cpio::extents(&tree(entries)).err().expect("refused").to_string();
    assert!(message(vec![("/w", Entry::whiteout())]).starts_with("`/w`: whiteouts and opaque directories"));
    let opaque = Entry { node: Node::Directory { opaque: true }, ..Entry::directory() };
    assert!(message(vec![("/o", opaque)]).starts_with("`/o`: whiteouts and opaque directories"));
    let mut xattrs = file(*b"");
    for name in ["user.a", "security.capability"] {
        xattrs.stat.set_xattr(name.parse().expect("a name"), XattrValue::new(b"1").expect("short"));
    }
    assert_eq!(
        message(vec![("/x", xattrs.clone()), ("/y", xattrs)]),
        "`/x`: cpio has no place for xattrs, found `security.capability`, `user.a`"
    );
    let large = |size| Entry::file([Extent::Zeros(size)].into_iter().collect());
    assert_eq!(
        message(vec![("/large", large(1 << 32))]),
        "`/large`: cpio has files of at most 4294967295 bytes, found 4294967296"
    );
    assert!(cpio::extents(&tree(vec![("/large", large((1 << 32) - 1))])).is_ok());
    for seconds in [-1, 1 << 32] {
        let old = with(file(*b""), 0o644, (0, 0), Timestamp::new(seconds, 1));
        let expected = format!("`/t`: cpio has times from 0 to 4294967295, found {seconds}");
        assert_eq!(message(vec![("/t", old)]), expected);
    }
    let [longest, longer] = [7, 8].map(|last| "/abcdefg".repeat(511) + "/" + &"z".repeat(last));
    assert!(cpio::extents(&tree(vec![(longest.as_str(), file(*b""))])).is_ok());
    let long = cpio::extents(&tree(vec![(longer.as_str(), file(*b""))])).err().expect("refused").to_string();
    assert!(long.ends_with("Linux takes paths of at most 4095 bytes from an archive, found 4096"), "{long}");
    for target in [&b""[..], b"a\0b", &[b'x'; 4096]] {
        assert!(
            message(vec![("/s", Entry::symlink(target))]).starts_with("`/s`: a symbolic link leads over")
        );
    }
    for text in ["c 4096:0", "b 0:1048576"] {
        assert!(message(vec![("/c", device(text))]).starts_with("`/c`: Linux has 12 bits"));
    }
    for owner in [(u32::MAX, 0), (0, u32::MAX)] {
        let nobody = with(file(*b""), 0o644, owner, Timestamp::EPOCH);
        assert_eq!(message(vec![("/n", nobody)]), "`/n`: 4294967295 is no number of an owner");
    }
}

/// A member's name, mode, inode number, links and bytes.
type ByHand<'a> = (&'a str, u32, u32, u32, &'a [u8]);

fn by_hand(members: &[ByHand<'_>]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, inode, links, bytes) in members.iter().chain(&[("TRAILER!!!", 0, 0, 1, &b""[..])]) {
        let fill = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend(b"070701");
        let (size, name_size) = (bytes.len() as u32, name.len() as u32 + 1);
        for number in [*inode, *mode, 0, 0, *links, 0, size, 0, 0, 0, 0, name_size, 0] {
            archive.extend(format!("{number:08x}").bytes());
        }
        archive.extend(name.bytes().chain([0]));
        fill(&mut archive);
        archive.extend(*bytes);
        fill(&mut archive);
    }
    archive
}

const FILE: u32 = 0o100_644;
const DIRECTORY: u32 = 0o40755;

#[test]
fn members_that_contradict_are_refused() {
    let long = "x".repeat(256);
    let cases: &[(&str, &[ByHand<'_>])] = &[
        ("path `a/../../b` has a `..` part", &[("a/../../b", FILE, 1, 1, b"")]),
        ("the path `/etc/passwd` is absolute", &[("/etc/passwd", FILE, 1, 1, b"")]),
        ("a member has no name", &[("", FILE, 1, 1, b"")]),
        ("has a name of 256 bytes", &[(&long, FILE, 1, 1, b"")]),
        ("the name `a\0b\0` has a NUL in it", &[("a\0b", FILE, 1, 1, b"")]),
        ("`/a` is there twice", &[("a", FILE, 1, 1, b""), ("./a", FILE, 2, 1, b"")]),
        ("`/a` is there twice", &[("a", DIRECTORY, 1, 2, b""), ("a", DIRECTORY, 1, 2, b"")]),
        ("`/a/b` is below `/a`, which is no directory", &[("a/b", FILE, 1, 1, b""), ("a", FILE, 2, 1, b"")]),
        ("the root is no directory", &[(".", FILE, 1, 1, b"")]),
        ("3 bytes are with what is no file", &[("a", DIRECTORY, 1, 2, b"abc")]),
        ("a symbolic link leads over 0 bytes", &[("a", 0o120_777, 1, 1, b"")]),
        ("a symbolic link leads over 4096 bytes", &[("a", 0o120_777, 1, 1, &[b'x'; 4096])]),
        ("a symbolic link leads over a NUL", &[("a", 0o120_777, 1, 1, b"x\0")]),
        ("it has a type that no tree has: 14", &[("a", 0o140_777, 1, 1, b"")]),
        ("it has a type that no tree has: 20", &[("a", 0o200_644, 1, 1, b"")]),
        ("`/a`, and both have bytes", &[("a", FILE, 1, 2, b"1"), ("b", FILE, 1, 2, b"1")]),
        ("`/a`, and another type, target, owner", &[("a", FILE, 1, 2, b""), ("b", 0o10644, 1, 2, b"")]),
        ("`/a`, and another type, target, owner", &[("a", FILE, 1, 2, b""), ("b", 0o100_600, 1, 2, b"")]),
    ];
    for (expected, members) in cases {
        let error = read_bytes("contradiction", &by_hand(members)).expect_err(expected).to_string();
        assert!(error.contains(expected), "expected {expected}, found {error}");
    }
}

#[test]
fn names_may_be_filled_up_and_numbers_shared_by_single_files() {
    // The kernel's gen_init_cpio fills up names with NULs; numbers say nothing of files with one name.
    let bytes = by_hand(&[("a\0\0\0\0", FILE, 7, 1, b"1"), ("b/c", FILE, 7, 1, b"2")]);
    let expected = tree(vec![("/a", file(*b"1")), ("/b/c", file(*b"2"))]);
    assert_eq!(listed(&read_bytes("filled", &bytes).expect("an archive")), listed(&expected));
}

#[test]
fn what_was_cut_or_is_something_else_is_refused() {
    let good = archive_of(&tree(vec![("/d/file", file(*b"12345")), ("/d/link", Entry::symlink(*b"file"))]));
    let refused = |name: &str, bytes: &[u8]| {
        let error = read_bytes(&format!("bad-{name}"), bytes).expect_err(name).to_string();
        error.strip_prefix(&format!("`bad-{name}.cpio`: at byte ")).expect("its place").to_owned()
    };
    let end = good.iter().rposition(|byte| *byte == b'!').expect("the end's name") + 2;
    for size in 0..end {
        refused("cut", &good[..size]);
    }
    assert!(read_bytes("uncut", &good[..end]).is_ok(), "what fills it up need not be there");
    assert_eq!(refused("empty", b""), "0: no cpio archive: expected `070701` or `070702`, found ``");
    assert_eq!(refused("header", &good[..100]), "0: the archive ends in a header: it was cut");
    assert_eq!(refused("name", &good[..111]), "0: the archive ends in a name: it was cut");
    let one = by_hand(&[("a", FILE, 1, 1, b"12345678")]);
    assert_eq!(refused("bytes", &one[..114]), "0: the archive ends in the bytes of `a`: it was cut");
    let text = "120: the archive ends without the member `TRAILER!!!`: it was cut";
    assert_eq!(refused("end", &one[..120]), text);
    assert!(refused("old", b"070707000000").contains("the old form of POSIX"));
    assert!(refused("binary", b"\xc7\x71\0\0\0\0").contains("the old binary form"));
    assert!(refused("gzip", b"\x1f\x8b\x08\0\0\0\0\0").contains("found `\\x1f\\x8b\\x08"));
    let twice = refused("twice", &[&good[..], &good[..]].concat());
    assert!(twice.contains("something follows the archive's end"), "{twice}");
    let digits = refused("digits", &[&good[..6], b"+0000001", &good[14..]].concat());
    assert_eq!(digits, "0: `+0000001` is no number of eight digits");
    let mut long = one.clone();
    long[94..102].copy_from_slice(b"00001001");
    assert_eq!(refused("long", &long), "0: a name has 4097 bytes, at most 4096 are possible");
    let mut huge = one.clone();
    huge[54..62].copy_from_slice(b"FFFFFFFF");
    assert_eq!(refused("huge", &huge), "0: the archive ends in the bytes of `a`: it was cut");
    let mut owner = one.clone();
    owner[22..30].copy_from_slice(b"ffffffff");
    assert_eq!(refused("owner", &owner), "0: `/a`: 4294967295 is no number of an owner");
    let mut device = by_hand(&[("a", 0o20644, 1, 1, b"")]);
    device[78..86].copy_from_slice(b"00001000");
    assert_eq!(refused("device", &device), "0: `/a`: Linux has no device 4096:0");
}

#[test]
fn directories_that_are_not_there_are_counted_before_they_are_made() {
    let names: Vec<String> = (0..8).map(|number| format!("{number}{}", "/a".repeat(1000))).collect();
    let members: Vec<_> = names.iter().map(|name| (name.as_str(), FILE, 1, 1, &b""[..])).collect();
    let error = read_bytes("implied", &by_hand(&members)).expect_err("too many").to_string();
    assert!(error.ends_with("directories that are not in the archive take more than it has"), "{error}");
    assert!(read_bytes("implied-few", &by_hand(&members[..1])).is_ok());
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let stat = (0u16..0o10000, (0..u32::MAX, 0..u32::MAX), any::<u32>(), 0u32..1_000_000_000);
    let node = any_node(any_content(5000, 3000));
    (node, stat).prop_map(|(entry, (mode, owner, seconds, nanoseconds))| {
        let mut entry = with(entry, mode, owner, Timestamp::new(seconds.into(), nanoseconds));
        entry.stat.set_names("somebody".parse().ok(), None);
        entry
    })
}

/// Returns what the format has of an entry.
fn kept(mut entry: Entry) -> Entry {
    entry.stat.mtime = Timestamp::new(entry.stat.mtime.seconds(), 0);
    entry.stat.set_names(None, None);
    entry
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_read_back_and_written_the_same_again(
        files in any_files(any_entry()),
        links in any_links("[!x-z]{1,2}"),
    ) {
        let entries = entries_of(files, links, "/!links");
        let tree = built(entries.clone());
        let expected = listed(&built(entries.into_iter().map(|(at, entry)| (at, kept(entry)))));
        let again = read_back("any", &tree);
        prop_assert_eq!(&listed(&again), &expected);
        // Its content lies in the archive, so it is read where it is written from.
        prop_assert!(archive_of(&again) == archive_of(&tree));
    }
}
