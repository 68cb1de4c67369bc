//! A tree and its tar say the same, whatever is in the tree and however the tar comes in.

mod common;
#[path = "common/generate.rs"]
mod generate;

use std::io::{self, Read, Write};

use common::{lines, read};
use ociseed_spec::{Timestamp, TreePath};
use ociseed_tree::{Builder, Claim, Content, Entry, Precedence, Tree, spool, tar as form};
use proptest::prelude::*;

fn bytes(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::new();
    form::write(tree, &mut bytes).expect("memory takes all");
    bytes
}

/// Splits a tar into entries, each with its PAX header and data.
fn entries(tar: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < tar.len() - 1024 {
        let header = tar::Header::from_byte_slice(&tar[at..at + 512]);
        let size = usize::try_from(header.entry_size().expect("written here")).expect("small");
        at += 512 + size.next_multiple_of(512);
        if !header.entry_type().is_pax_local_extensions() {
            entries.push(tar[begin..at].to_vec());
            begin = at;
        }
    }
    entries
}

fn together(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// Takes at most so many bytes at once.
struct Narrow<T>(T, usize);

impl Write for Narrow<Vec<u8>> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..bytes.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Narrow<&[u8]> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn a_tree_comes_back_out_of_its_tar(tree in generate::tree(true)) {
        let tar = bytes(&tree);
        let back = read(&tar).map_err(|error| TestCaseError::fail(common::chain(&error)))?;
        prop_assert_eq!(lines(&back), lines(&tree));
        prop_assert_eq!(bytes(&back), tar);
    }

    #[test]
    fn the_order_of_entries_does_not_matter(
        (tree, shuffled) in generate::tree(false).prop_flat_map(|tree| {
            let entries = entries(&bytes(&tree));
            (Just(tree), Just(entries).prop_shuffle())
        })
    ) {
        let back = read(&together(&shuffled)).map_err(|error| TestCaseError::fail(common::chain(&error)))?;
        prop_assert_eq!(lines(&back), lines(&tree));
    }

    #[test]
    fn the_order_of_sources_does_not_matter(
        (tree, places, order) in (generate::tree(true), prop::collection::vec(0..4u32, 64)).prop_flat_map(
            |(tree, places)| (Just(tree), Just(places), Just(vec![0, 1, 2, 3]).prop_shuffle())
        )
    ) {
        // Each path comes from one of four sources; directories from two, of which one has an earlier time.
        let mut sources: [Vec<(TreePath, Entry)>; 4] = Default::default();
        for ((path, entry), place) in tree.iter().zip(places.iter().cycle()) {
            if entry.is_directory() {
                let mut earlier = entry.clone();
                earlier.stat.mtime = Timestamp::new(i64::MIN, 0);
                sources[(*place as usize + 1) % 4].push((path.clone(), earlier));
            }
            sources[*place as usize].push((path.clone(), entry.clone()));
        }
        let mut builder = Builder::new();
        for (number, source) in (0..).zip(order) {
            for (path, entry) in sources[source].drain(..) {
                builder.insert(path, entry, Claim::new(number, Precedence::Incidental));
            }
        }
        let merged = builder.finish().map_err(|errors| TestCaseError::fail(format!("{errors:?}")))?;
        prop_assert_eq!(lines(&merged), lines(&tree));
    }

    #[test]
    fn the_size_of_writes_and_reads_does_not_matter(tree in generate::tree(true), size in 1..600usize) {
        let tar = bytes(&tree);
        let mut narrow = Narrow(Vec::new(), size);
        form::write(&tree, &mut narrow).expect("memory takes all");
        prop_assert!(narrow.0 == tar);
        prop_assert_eq!(form::extents(&tree).map(|extent| extent.size()).sum::<u64>(), tar.len() as u64);
        let mut found = Vec::new();
        form::extents(&tree).collect::<Content>().copy_to(&mut found).expect("memory takes all");
        prop_assert!(found == tar);
        let file = spool(Narrow(&tar[..], size), 1, &mut common::scratch).expect("plain");
        let back = form::read(file, std::path::Path::new("in.tar").into()).expect("as it was written");
        prop_assert_eq!(lines(&back), lines(&tree));
    }

    #[test]
    fn people_see_each_entry(tree in generate::tree(true), size in 1..600usize) {
        let tar = bytes(&tree);
        let mut listed = Vec::new();
        form::list(Narrow(&tar[..], size), |entry| listed.push(entry)).expect("as it was written");
        prop_assert_eq!(listed.len(), entries(&tar).len());
        let files = listed.iter().filter(|entry| entry.kind == "file" && entry.size > 0).count();
        let expected = tree.iter().filter(|(_, entry)| match &entry.node {
            ociseed_tree::Node::File(content) => content.size() > 0,
            _ => false,
        });
        prop_assert_eq!(files, expected.count());
    }

    #[test]
    fn a_cut_is_always_seen(tree in generate::tree(true), cut in any::<prop::sample::Index>()) {
        let tar = bytes(&tree);
        let length = cut.index(tar.len());
        prop_assert!(read(&tar[..length]).is_err(), "{} of {}", length, tar.len());
        prop_assert!(form::list(&tar[..length], |_| {}).is_err(), "{} of {}", length, tar.len());
    }
}

#[test]
fn access_lists_that_are_none_for_linux_are_none() {
    let entry = |tag: u8, permissions: u8| [tag, 0, permissions, 0, 0xff, 0xff, 0xff, 0xff];
    let version = [2, 0, 0, 0];
    let mode_alone = [&version[..], &entry(1, 6), &entry(4, 4), &entry(32, 0)].concat();
    let more = [&version[..], &entry(1, 6), &entry(4, 4), &entry(16, 4), &entry(32, 0)].concat();
    let cases: [(&str, &str, &[u8], bool); 5] = [
        ("posix_acl_access", "file", &version, false),
        ("posix_acl_access", "file", &mode_alone, false),
        ("posix_acl_access", "file", &more, true),
        ("posix_acl_default", "d/", &version, false),
        ("posix_acl_default", "d/", &mode_alone, true),
    ];
    for (list, name, value, kept) in cases {
        let raw = common::Raw::default().pax(b'x', &[(&format!("SCHILY.xattr.system.{list}"), value)]);
        let raw = if name.ends_with('/') { raw.directory(name) } else { raw.file(name, "") };
        let tree = read(&raw.end()).expect("good");
        let (_, entry) = tree.iter().next().expect("one");
        assert_eq!(entry.stat.xattrs().len(), usize::from(kept), "{list} {value:?}");
        assert_eq!(lines(&read(&bytes(&tree)).expect("own")), lines(&tree));
    }
}
