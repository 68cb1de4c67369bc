//! What the tests of media share: scratch space, golden files, and trees at random.

use std::collections::BTreeMap;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use ociseed_spec::TreePath;
use ociseed_tree::testing::{device, link, path};
use ociseed_tree::{Content, Entry, Extent};
use proptest::prelude::*;
use proptest::sample::Index;

pub(crate) fn scratch() -> Dir {
    Dir::open_ambient_dir(env!("CARGO_TARGET_TMPDIR"), ambient_authority()).expect("cargo made it")
}

/// Opens a directory of golden files.
pub(crate) fn golden(medium: &str) -> Dir {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    let all = Dir::open_ambient_dir(place, ambient_authority()).expect("is there");
    all.open_dir(medium).expect("is there")
}

/// Compares with a golden file.
pub(crate) fn assert_golden(medium: &str, name: &str, found: &[u8]) {
    scratch().write(name, found).expect("can be written");
    let hint = "if the change is meant: copy it from target/tmp, and a CHANGELOG line under Digest-changing";
    let is_same = golden(medium).read(name).is_ok_and(|expected| expected == found);
    assert!(is_same, "{name} is another one; {hint}");
}

/// Contents of few bytes, and of parts with holes of at most `hole` bytes and others of at most `size`.
pub(crate) fn any_content(hole: u64, size: usize) -> impl Strategy<Value = Content> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(Content::bytes),
        proptest::collection::vec((0..=hole, 0..=size, any::<u8>()), 1..4).prop_map(|parts| {
            let extents = parts
                .into_iter()
                .flat_map(|(hole, size, byte)| [Extent::Zeros(hole), Extent::Bytes(vec![byte; size].into())]);
            extents.filter(|extent| extent.size() > 0).collect()
        }),
    ]
}

/// Entries of every kind but further names, with metadata of their kind.
pub(crate) fn any_node(content: impl Strategy<Value = Content>) -> impl Strategy<Value = Entry> {
    prop_oneof![
        4 => content.prop_map(Entry::file),
        1 => Just(Entry::directory()),
        1 => proptest::collection::vec(1u8..=255, 1..4096).prop_map(Entry::symlink),
        1 => Just(Entry::fifo()),
        1 => (0u32..4096, 0u32..1 << 20).prop_map(|(major, minor)| device(&format!("b {major}:{minor}"))),
    ]
}

/// Entries under names of every length; some can be none, or lie below what is no directory.
pub(crate) fn any_files(
    entry: impl Strategy<Value = Entry>,
) -> impl Strategy<Value = BTreeMap<String, Entry>> {
    proptest::collection::btree_map("([a-c]|[!-~&&[^/]]{1,80}){1}(/[ab]){0,2}", entry, 0..40)
}

/// Further names, of whatever has one.
pub(crate) fn any_links(name: &'static str) -> impl Strategy<Value = Vec<(Index, String)>> {
    proptest::collection::vec((any::<Index>(), name), 0..5)
}

/// Leaves out what contradicts, and puts links below a directory of their own.
pub(crate) fn entries_of(
    files: BTreeMap<String, Entry>,
    links: Vec<(Index, String)>,
    directory: &str,
) -> Vec<(TreePath, Entry)> {
    let mut entries: Vec<(TreePath, Entry)> = Vec::new();
    let mut named: Vec<TreePath> = Vec::new();
    for (name, entry) in files {
        let Ok(at) = TreePath::parse(name.as_bytes()) else { continue };
        let taken = |other: &TreePath| *other == at || at.is_below(other) || other.is_below(&at);
        let there = |(other, _): &(TreePath, Entry)| {
            // By its text `./b/a` comes before `b`.
            *other == at || !entry.is_directory() && other.is_below(&at)
        };
        if at.is_root() || named.iter().any(taken) || entries.iter().any(there) {
            continue;
        }
        if !entry.is_directory() {
            named.push(at.clone());
        }
        entries.push((at, entry));
    }
    for (index, name) in links {
        let at = path(&format!("{directory}/{name}"));
        if !named.is_empty() && !named.contains(&at) {
            entries.push((at.clone(), link(&index.get(&named).to_string())));
            named.push(at);
        }
    }
    entries
}
