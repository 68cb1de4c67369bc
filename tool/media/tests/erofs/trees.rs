//! Trees that are written, and what all tests do with them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};
use ociseed_media::erofs::{self, Image, Options, ReadErofsError};
use ociseed_spec::{Acl, Digest, FileMode, Owner, Timestamp, TreePath, XattrName, XattrValue};
use ociseed_tree::{Builder, Claim, Content, Entry, Extent, Node, Precedence, Tree, listing};
use proptest::prelude::*;

pub(crate) fn path(text: &str) -> TreePath {
    text.parse().expect(text)
}

pub(crate) fn tree(entries: Vec<(&str, Entry)>) -> Tree {
    let mut builder = Builder::new();
    for (at, entry) in entries {
        builder.insert(path(at), entry, Claim::new(0, Precedence::Explicit));
    }
    builder.finish().expect("no conflict")
}

pub(crate) fn file(bytes: impl Into<Arc<[u8]>>) -> Entry {
    Entry::file(Content::bytes(bytes))
}

/// Returns every path's line of the canonical listing.
pub(crate) fn listed(tree: &Tree) -> String {
    let mut bytes = Vec::new();
    listing::write(tree, &mut bytes).expect("all is there");
    String::from_utf8(bytes).expect("UTF-8")
}

/// Says of files what they hold, to find equal ones.
pub(crate) fn digest_of(tree: &Tree) -> impl Fn(&TreePath) -> Option<Digest> {
    |path| match &tree.get(path)?.node {
        Node::File(content) => {
            let mut bytes = Vec::new();
            content.copy_to(&mut bytes).ok()?;
            Some(Digest::of(&bytes))
        }
        _ => None,
    }
}

pub(crate) fn image_of(tree: &Tree, options: &Options) -> Vec<u8> {
    let image = Image::plan(tree, &digest_of(tree), options).expect("can be planned");
    let mut bytes = Vec::new();
    image.content().copy_to(&mut bytes).expect("can be written");
    assert_eq!(bytes.len() as u64, image.size());
    bytes
}

pub(crate) fn scratch() -> Dir {
    Dir::open_ambient_dir(env!("CARGO_TARGET_TMPDIR"), ambient_authority()).expect("cargo made it")
}

/// Reads an image, which lies in a file of this name meanwhile.
pub(crate) fn read_bytes(name: &str, bytes: &[u8]) -> Result<Tree, ReadErofsError> {
    let (dir, name) = (scratch(), format!("{name}.erofs"));
    dir.write(&name, bytes).expect("can be written");
    erofs::read(Arc::new(dir.open(&name).expect("is there")), Path::new(&name), &mut scratch_file)
}

/// Makes a file without a name.
pub(crate) fn scratch_file() -> io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (dir, name) = (scratch(), format!("scratch-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let file = dir.open_with(&name, OpenOptions::new().read(true).write(true).create_new(true))?;
    dir.remove_file(&name)?;
    Ok(file)
}

/// Writes the image of a tree and reads it back.
pub(crate) fn read_back(name: &str, tree: &Tree) -> Tree {
    read_bytes(name, &image_of(tree, &Options::default())).expect("is an image")
}

pub(crate) fn with(mut entry: Entry, mode: u16, owner: (u32, u32), mtime: Timestamp) -> Entry {
    entry.stat.mode = FileMode::new(mode);
    entry.stat.owner = Owner { uid: owner.0, gid: owner.1 };
    entry.stat.mtime = mtime;
    entry
}

pub(crate) fn xattrs(mut entry: Entry, all: &[(&str, &[u8])]) -> Entry {
    for (name, value) in all {
        entry.stat.set_xattr(name.parse().expect("a name"), XattrValue::new(value).expect("short"));
    }
    entry
}

/// cap_net_raw=ep (VFS_CAP_REVISION_2).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A tree with everything that the format has.
pub(crate) fn everything() -> Tree {
    let link = |first: &str| Entry { node: Node::Link(path(first)), ..file(*b"") };
    let noise = |size: usize| -> Vec<u8> { (0..size).map(|at| (at * at / 7 + at) as u8).collect() };
    let list: Acl = "u::rw-,u:1234:r--,g::r--,m::rw-,o::r--".parse().expect("a list");
    let list = list.xattr_value();
    let mut opaque = Entry::directory();
    opaque.stat.set_xattr(XattrName::overlay_opaque(), XattrValue::new(b"y").expect("short"));
    let holes = [Extent::Zeros(20_000), Extent::Bytes(noise(5000).into()), Extent::Zeros(1 << 20)];
    let mut entries = vec![
        ("/empty", file(*b"")),
        ("/small", with(file(*b"small\n"), 0o4755, (70_000, 5), Timestamp::new(-5, 999_999_999))),
        ("/block", file(noise(4096))),
        ("/copy", file(noise(4096))),
        ("/large", file(noise(10_000))),
        ("/tail", file(noise(8191))),
        ("/holes", Entry::file(holes.into_iter().collect())),
        ("/z-link", link("/small")),
        ("/d/link", link("/d/null")),
        ("/d/null", Entry::device("c 1:3".parse().expect("a device"))),
        (
            "/d/disk",
            with(Entry::device("b 259:300".parse().expect("a device")), 0o660, (0, 6), Timestamp::EPOCH),
        ),
        ("/d/white", Entry::device("c 0:0".parse().expect("a device"))),
        ("/d/fifo", Entry::fifo()),
        ("/link", with(Entry::symlink(*b"d/../small"), 0o777, (1, 2), Timestamp::new(7, 0))),
        ("/long", Entry::symlink(vec![b'x'; 4000])),
        ("/longest", Entry::symlink(vec![b'y'; 4095])),
        ("/opaque", with(opaque, 0o1777, (33, 33), Timestamp::EPOCH)),
        ("/!before-dots", file(*b"1")),
        (
            "/xattrs",
            xattrs(file(*b"x"), &[("user.own", b"only here"), ("user.shared", b"a value that several have")]),
        ),
        (
            "/shared",
            xattrs(Entry::directory(), &[("user.shared", b"a value that several have"), ("trusted.t", b"")]),
        ),
        (
            "/acl",
            xattrs(file(*b"x"), &[("system.posix_acl_access", &list), ("security.capability", CAPABILITY)]),
        ),
        ("/large-xattr", xattrs(file(noise(100)), &[("user.large", &[7; 9000])])),
    ];
    let names: Vec<String> =
        (0..150).map(|number| format!("/many/a name of some length {number:04}")).collect();
    entries.extend(names.iter().map(|name| (name.as_str(), file(name.as_bytes()))));
    tree(entries)
}

/// Compares with a golden file.
pub(crate) fn assert_golden(name: &str, found: &[u8]) {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/erofs");
    let golden = Dir::open_ambient_dir(place, ambient_authority()).expect("is there");
    scratch().write(name, found).expect("can be written");
    let hint = "if the change is meant: copy it from target/tmp, and a CHANGELOG line under Digest-changing";
    assert!(golden.read(name).is_ok_and(|expected| expected == found), "{name} is another one; {hint}");
}

pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(Content::bytes),
        (0usize..20_000, any::<u8>()).prop_map(|(size, byte)| Content::bytes(vec![byte; size])),
        proptest::collection::vec((0u64..40_000, 0usize..9000, any::<u8>()), 1..4).prop_map(|parts| {
            let extents = parts
                .into_iter()
                .flat_map(|(hole, size, byte)| [Extent::Zeros(hole), Extent::Bytes(vec![byte; size].into())]);
            extents.filter(|extent| extent.size() > 0).collect()
        }),
    ];
    let node = prop_oneof![
        4 => content.prop_map(Entry::file),
        1 => Just(Entry::directory()),
        1 => proptest::collection::vec(1u8..=255, 1..4096).prop_map(Entry::symlink),
        1 => Just(Entry::fifo()),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| {
            Entry::device(format!("b {major}:{minor}").parse().expect("a device"))
        }),
    ];
    let time = (any::<i64>(), 0u32..1_000_000_000)
        .prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds));
    let xattr = ("(user|trusted|security)\\.[a-c]{1,3}", proptest::collection::vec(any::<u8>(), 0..300));
    let stat = (0u16..0o10000, any::<[u32; 2]>(), prop_oneof![Just(Timestamp::EPOCH), time]);
    (node, stat, proptest::collection::vec(xattr, 0..3)).prop_map(
        |(entry, (mode, [uid, gid], mtime), all)| {
            let mut entry = with(entry, mode, (uid, gid), mtime);
            for (name, value) in all {
                entry.stat.set_xattr(name.parse().expect("a name"), XattrValue::new(&value).expect("short"));
            }
            entry
        },
    )
}
