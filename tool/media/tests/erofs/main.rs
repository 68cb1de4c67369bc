//! EROFS images: what is written is read back, by us and by the tools that others have.

#[path = "../common/mod.rs"]
mod common;
mod compressed;
mod trees;

use ociseed_media::erofs::{Image, Options};
use ociseed_spec::Acl;
use ociseed_tree::testing::{built, file, listed, tree};
use ociseed_tree::{Entry, Extent, Tree};
use proptest::prelude::*;

use crate::common::{any_files, any_links, assert_golden, entries_of};
use crate::trees::{any_entry, everything, image_of, read_back, read_bytes, xattrs};

#[test]
fn images_are_those_that_kernels_and_judges_saw() {
    // tests/e2e/test_erofs.py mounts and checks the golden images.
    let tree = everything();
    assert_golden("erofs", "everything.erofs", &image_of(&tree, &Options::default()));
    assert_golden("erofs", "everything.listing", listed(&tree).as_bytes());
    assert_golden("erofs", "empty.erofs", &image_of(&Tree::default(), &Options::default()));
    assert_golden("erofs", "empty.listing", b"");
}

#[test]
fn what_is_written_is_read_back() {
    let tree = everything();
    assert_eq!(listed(&read_back("everything", &tree)), listed(&tree));
    let empty = Tree::default();
    assert_eq!(listed(&read_back("empty", &empty)), "");
}

#[test]
fn equal_files_share_blocks_and_what_is_small_lies_with_its_inode() {
    let size = |entries: Vec<(&str, Entry)>| image_of(&tree(entries), &Options::default()).len() / 4096;
    let block = |byte| file(vec![byte; 4096]);
    // The superblock, the inodes, and blocks of files.
    assert_eq!(size(vec![]), 2);
    assert_eq!(size(vec![("/small", file(*b"small"))]), 2);
    assert_eq!(size(vec![("/a", block(1)), ("/b", block(2))]), 4);
    assert_eq!(size(vec![("/a", block(1)), ("/b", block(1))]), 3);
    let holes =
        || Entry::file([Extent::Zeros(1 << 20), Extent::Bytes([1; 4096].into())].into_iter().collect());
    assert_eq!(size(vec![("/a", holes()), ("/b", holes()), ("/c", block(1))]), 4, "holes take no blocks");
}

#[test]
fn names_of_a_volume_are_given_or_follow_from_its_tree() {
    let named = |label: &str| Options {
        label: label.parse().expect("short"),
        uuid: "07070707-0707-0707-0707-070707070707".parse().ok(),
        ..Options::default()
    };
    let bytes = image_of(&tree(vec![]), &named("seed"));
    assert_eq!(bytes[1024 + 48..1024 + 80], [[7; 16], *b"seed\0\0\0\0\0\0\0\0\0\0\0\0"].concat());
    let uuid = |entries| image_of(&tree(entries), &Options::default())[1024 + 48..1024 + 64].to_vec();
    let one = uuid(vec![("/a", file(*b"1"))]);
    assert_eq!(one, uuid(vec![("/a", file(*b"1"))]));
    assert_ne!(one, uuid(vec![("/a", file(*b"2"))]), "of other content");
    assert_ne!(one, uuid(vec![("/b", file(*b"1"))]), "of other names");
    assert_eq!((one[6] >> 4, one[8] >> 6), (8, 2), "a UUID of version 8");
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let message = |entries| {
        Image::plan(&tree(entries), &|_| None, &Options::default()).expect_err("refused").to_string()
    };
    assert!(message(vec![("/w", Entry::whiteout())]).starts_with("`/w`: whiteouts and opaque directories"));
    let unknown = xattrs(file(*b""), &[("system.nfs4_acl", b"1")]);
    assert_eq!(message(vec![("/x", unknown)]), "`/x`: EROFS has no place for the xattr `system.nfs4_acl`");
    let broken = xattrs(file(*b""), &[("system.posix_acl_default", b"none")]);
    assert_eq!(
        message(vec![("/x", broken)]),
        "`/x`: the xattr `system.posix_acl_default` is no access control list"
    );
    // Linux takes a list without entries as none, but cannot read it here.
    let empty = xattrs(file(*b""), &[("system.posix_acl_access", Acl::EMPTY)]);
    assert_eq!(
        listed(&read_back("no-list", &tree(vec![("/x", empty)]))),
        listed(&tree(vec![("/x", file(*b""))]))
    );
    let device = Entry::device("c 4096:0".parse().expect("a device"));
    assert!(message(vec![("/c", device)]).starts_with("`/c`: EROFS has 12 bits for a device's major number"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let good = image_of(&everything(), &Options::default());
    let refused = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        read_bytes(&format!("bad-{name}"), &bytes).expect_err(name).to_string()
    };
    let cut = refused("cut", &|bytes| bytes.truncate(8192));
    assert!(
        cut.starts_with("`bad-cut.erofs`: superblock: expected ") && cut.ends_with("found 8192: it was cut"),
        "{cut}"
    );
    assert!(refused("magic", &|bytes| bytes[1024] = 0).contains("another magic number"));
    assert!(refused("label", &|bytes| bytes[1024 + 64] = 1).contains("expected the checksum"));
    assert!(refused("empty", &|bytes| bytes.clear()).contains("no EROFS image: it has 0 bytes"));
    // The root's inode is the second slot of the first block of inodes; its type is in its mode.
    let inodes =
        u32::from_le_bytes(good[1024 + 40..1024 + 44].try_into().expect("four bytes")) as usize * 4096;
    assert!(refused("type", &|bytes| bytes[inodes + 32 + 5] = 0x80).contains("/: it is no directory"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_is_read_back_and_written_the_same_again(
        files in any_files(any_entry()),
        links in any_links("[x-z]{1,2}"),
    ) {
        let tree = built(entries_of(files, links, "/links"));
        let again = read_back("any", &tree);
        prop_assert_eq!(listed(&again), listed(&tree));
        // Its content lies in the image, so it is read where it is written from.
        prop_assert_eq!(listed(&read_back("again", &again)), listed(&tree));
    }
}
