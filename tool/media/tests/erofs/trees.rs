//! Trees that are written, and what all tests do with them.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cap_std::fs::{File, OpenOptions};
use ociseed_media::erofs::{self, Image, Options, ReadErofsError};
use ociseed_spec::{Acl, Digest, Timestamp, TreePath, XattrName, XattrValue};
use ociseed_tree::testing::{device, file, link, tree, with};
use ociseed_tree::{Content, Entry, Extent, Node, Tree};
use proptest::prelude::*;

use crate::common::{any_content, any_node, scratch};

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
        ("/d/null", device("c 1:3")),
        ("/d/disk", with(device("b 259:300"), 0o660, (0, 6), Timestamp::EPOCH)),
        ("/d/white", device("c 0:0")),
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

pub(crate) fn any_entry() -> impl Strategy<Value = Entry> {
    let repeated = (0usize..20_000, any::<u8>()).prop_map(|(size, byte)| Content::bytes(vec![byte; size]));
    let node = any_node(prop_oneof![2 => any_content(40_000, 9000), 1 => repeated]);
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
