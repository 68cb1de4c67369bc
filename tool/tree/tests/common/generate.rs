//! Trees that hold anything that trees can hold.

use std::collections::BTreeMap;

use ociseed_spec::{
    Device, DeviceKind, FileMode, Owner, OwnerName, Timestamp, TreePath, XattrName, XattrValue,
};
use ociseed_tree::{Builder, Claim, Content, Entry, Extent, Node, Precedence, Stat, Tree};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn path() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        // Few words, so that paths meet.
        8 => vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'-')], 1..3),
        1 => vec(b'a'..=b'z', 90..=255),
        1 => Just("ünïcode".as_bytes().to_vec()),
        1 => vec(any::<u8>().prop_filter("no part of a name", |byte| !matches!(byte, 0 | b'/' | b'.')), 1..12),
    ];
    vec(word, 1..6).prop_map(|parts| parts.join(&b'/'))
}

fn content() -> impl Strategy<Value = Content> {
    let data = vec(any::<u8>(), 1..700).prop_map(|bytes| Extent::Bytes(bytes.into()));
    let hole = (1..5000u64).prop_map(Extent::Zeros);
    vec(prop_oneof![4 => data, 1 => hole], 0..3).prop_map(|extents| extents.into_iter().collect())
}

fn node() -> impl Strategy<Value = Node> {
    let device = (any::<bool>(), any::<u32>(), 0..3_000_000u32).prop_map(|(char, major, minor)| {
        let kind = if char { DeviceKind::Char } else { DeviceKind::Block };
        Node::Device(Device { kind, major, minor })
    });
    let target = vec(1..=255u8, 1..300).prop_map(|target| Node::Symlink(target.into()));
    prop_oneof![
        4 => content().prop_map(Node::File),
        2 => any::<bool>().prop_map(|opaque| Node::Directory { opaque }),
        1 => target,
        1 => device,
        1 => Just(Node::Fifo),
        1 => Just(Node::Whiteout),
    ]
}

fn owner_name() -> impl Strategy<Value = Option<OwnerName>> {
    let text = prop_oneof![Just("root".to_owned()), "[a-zü]{1,40}"];
    proptest::option::of(text.prop_map(|text| OwnerName::parse(text.as_bytes()).expect("short letters")))
}

fn stat() -> impl Strategy<Value = Stat> {
    let id = || prop_oneof![Just(0u32), 1..3_000_000u32, Just(u32::MAX - 1)];
    let seconds = prop_oneof![Just(0i64), 0..2_000_000_000i64, -(1i64 << 34)..1 << 34];
    let nanoseconds = prop_oneof![Just(0u32), 1..999_000_000u32];
    let xattr_name = "(user|trusted|security)\\.[ -<>-~]{1,20}"
        .prop_filter("the kernel's own", |name| !name.starts_with("trusted.overlay."));
    let xattrs = btree_map(xattr_name, vec(any::<u8>(), 0..50), 0..3);
    let times =
        (seconds, nanoseconds).prop_map(|(seconds, nanoseconds)| Timestamp::new(seconds, nanoseconds));
    (0..=0o7777u16, id(), id(), times, owner_name(), owner_name(), xattrs).prop_map(
        |(mode, uid, gid, mtime, user, group, xattrs)| {
            let mut stat = Stat::new(FileMode::new(mode), Owner { uid, gid }, mtime);
            stat.set_names(user, group);
            for (name, value) in xattrs {
                let name = XattrName::parse(name.as_bytes()).expect("generated names are good");
                stat.set_xattr(name, XattrValue::new(&value).expect("short"));
            }
            stat
        },
    )
}

/// Makes trees of up to some 30 paths, with hard links or without.
pub(crate) fn tree(links: bool) -> impl Strategy<Value = Tree> {
    let entries = btree_map(path(), (stat(), node()), 0..10);
    let links = btree_map(path(), any::<prop::sample::Index>(), 0..if links { 5 } else { 1 });
    (entries, links).prop_map(|(entries, links)| build(entries, &links))
}

fn build(entries: BTreeMap<Vec<u8>, (Stat, Node)>, links: &BTreeMap<Vec<u8>, prop::sample::Index>) -> Tree {
    let below =
        |path: &[u8], all: &[&Vec<u8>]| all.iter().any(|other| other.starts_with(&[path, b"/"].concat()));
    let paths: Vec<&Vec<u8>> = entries.keys().chain(links.keys()).collect();
    let mut builder = Builder::new();
    let claim = Claim::new(0, Precedence::Explicit);
    let mut files = Vec::new();
    for (path, (stat, node)) in &entries {
        let leaf = !matches!(node, Node::Directory { .. });
        if leaf && below(path, &paths) {
            continue;
        }
        // Whiteouts have no metadata of their own.
        let stat = if matches!(node, Node::Whiteout) { Stat::FILE } else { stat.clone() };
        let at = TreePath::parse(path).expect("generated paths are good");
        if leaf && !matches!(node, Node::Whiteout) {
            files.push((at.clone(), stat.clone()));
        }
        builder.insert(at, Entry { stat, node: node.clone() }, claim);
    }
    for (path, index) in links {
        if files.is_empty() || entries.contains_key(path) || below(path, &paths) {
            continue;
        }
        let (target, stat) = index.get(&files).clone();
        let at = TreePath::parse(path).expect("generated paths are good");
        builder.insert(at, Entry { stat, node: Node::Link(target) }, claim);
    }
    builder.finish().expect("nothing contradicts anything")
}
