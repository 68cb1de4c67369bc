//! What is refused, and that nothing makes the reader panic, run for long or hold what the file does not.

use proptest::prelude::*;

use super::super::page::ELEMENT;
use super::super::write::encode;
use super::*;

const PAGE: usize = 4096;

/// Pages: 3 to 5 leaves of `branchy`, 6 its branch, 7 the root with `a`, `branchy` and `inline`.
fn sample() -> Vec<u8> {
    let mut root = Bucket::new();
    root.put("a", "1");
    (0..300_u32).for_each(|key| root.bucket("branchy").put(key.to_be_bytes(), [0; 16]));
    root.bucket("inline").put("x", "y");
    let bytes = encode(&root);
    assert_eq!(bytes.len(), 8 * PAGE);
    bytes
}

/// Changes bytes of both meta pages, and makes their checksums right again.
fn with_meta(bytes: &mut [u8], at: usize, change: &[u8]) {
    for page in [0, PAGE] {
        let meta = &mut bytes[page + HEADER..][..CHECKED + 8];
        meta[at..at + change.len()].copy_from_slice(change);
        let sum = checksum(&meta[..CHECKED]);
        meta[CHECKED..].copy_from_slice(&sum.to_le_bytes());
    }
}

const fn at(page: usize, offset: usize) -> usize {
    page * PAGE + offset
}

/// Where number `number` of an element is.
const fn element(page: usize, index: usize, number: usize) -> usize {
    at(page, HEADER + index * ELEMENT + number * 4)
}

#[test]
fn damage_is_named() {
    let root = HEADER + 3 * ELEMENT;
    // Of the root: `a`, `1`, `branchy` and its 16 bytes, `inline` and its bucket.
    let (branchy, inline) = (at(7, root + 2 + 7), at(7, root + 2 + 23 + 6));
    let cases: &[(usize, &[u8], &str)] = &[
        (at(7, 0), &[9], "page 7: expected its own number, found 9"),
        (at(7, 8), &[0x10], "page 7: expected a leaf or a branch, found a page of kind 0x10"),
        (at(7, 8), &[0x03], "page 7: expected a leaf or a branch, found a page of kind 0x3"),
        (at(7, 10), &[0xff, 0xff], "page 7: expected at most 255 elements, found 65535"),
        (at(7, 12), &[1], "page 7: expected at most 0 pages that belong to it, found 1"),
        (at(3, 12), &[1], "page 4: expected one use, found another"),
        (element(7, 0, 0), &[2], "page 7: expected a value or a bucket, found element kind 0x2"),
        (element(7, 0, 0), &[1], "page 7: expected a bucket of 16 bytes or more, found 1"),
        (element(7, 0, 1), &[47], "page 7: expected element 0 to point to bytes 64 to 4096, found 63"),
        (element(7, 0, 1), &[0, 16], "page 7: expected element 0 to point to bytes 64 to 4096, found 4112"),
        (element(7, 1, 1), &[33], "page 7: expected element 1 to point to bytes 66 to 4096, found 65"),
        (
            element(7, 0, 1),
            &[0xff; 4],
            "page 7: expected element 0 to point to bytes 64 to 4096, found 4294967311",
        ),
        (element(7, 0, 2), &[0], "page 7: expected a key of 1 to 32768 bytes, found 0"),
        (element(7, 0, 2), &[1, 0x80], "page 7: expected a key of 1 to 32768 bytes, found 32769"),
        (
            element(7, 0, 2),
            &[0xc1, 0x0f],
            "page 7: expected at most 4032 bytes of a key or value, found 4033",
        ),
        (
            element(7, 0, 3),
            &[0xff; 4],
            "page 7: expected at most 4031 bytes of a key or value, found 4294967295",
        ),
        (at(7, root), b"c", "page 7: expected ascending keys, found element 1 out of order"),
        (at(7, root), b"z", "page 7: expected ascending keys, found element 1 out of order"),
        (branchy, &[7], "page 7: expected one use, found another"),
        (branchy, &[2], "page 2: expected one use, found another"),
        (branchy, &[0, 1], "page 256: expected one of 8 pages, found its number"),
        (element(7, 1, 3), &[17], "page 7: expected nothing behind a bucket's root page, found 1 bytes"),
        (inline, &[3], "page 7: expected nothing behind a bucket's root page, found 34 bytes"),
        (element(7, 2, 3), &[31], "page 7: expected an inline page of 16 bytes or more, found 15"),
        (inline + 24, &[1], "page 7: expected an inline leaf, found a page of kind 0x1"),
        (inline + 26, &[3], "page 7: expected at most 1 elements, found 3"),
        (inline + 32, &[1], "page 7: expected values alone in an inline bucket, found element kind 0x1"),
        (inline + 44, &[2], "page 7: expected at most 1 bytes of a key or value, found 2"),
        (at(6, 10), &[0], "page 6: expected a branch with pages below it, found none"),
        (element(6, 0, 2), &[6], "page 6: expected one use, found another"),
        (element(6, 2, 2), &[3], "page 3: expected one use, found another"),
        (element(6, 0, 2), &[8], "page 8: expected one of 8 pages, found its number"),
        (element(6, 0, 2), &[1; 8], "page 72340172838076673: expected one of 8 pages, found its number"),
        (
            at(6, HEADER + 3 * ELEMENT),
            &[0xff],
            "page 6: expected ascending keys, found element 1 out of order",
        ),
        (
            at(6, HEADER + 3 * ELEMENT + 3),
            &[1],
            "page 3: expected ascending keys, found element 0 out of order",
        ),
        (
            at(6, HEADER + 3 * ELEMENT + 7),
            &[9],
            "page 3: expected ascending keys, found element 9 out of order",
        ),
        (at(2, 8), &[2], "page 2: expected a freelist, found a page of kind 0x2"),
        (at(2, 10), &[1], "page 0: expected one use, found another"),
        (at(2, 10), &[1, 0, 0, 0, 0, 0, 7], "page 7: expected one use, found it among the free pages"),
        (at(2, 10), &[0xfe, 1], "page 0: expected one use, found another"),
        (at(2, 10), &[0xff, 1], "page 2: expected at most 510 free pages, found 511"),
        (at(2, 10), &[0xff, 0xff, 0, 0, 0, 0, 0xfe, 1], "page 2: expected at most 510 free pages, found 510"),
    ];
    assert!(decode(&sample()).is_ok());
    for (at, change, expected) in cases {
        let mut bytes = sample();
        bytes[*at..][..change.len()].copy_from_slice(change);
        assert_eq!(decode(&bytes).expect_err(expected).to_string(), *expected, "{at:#x}: {change:x?}");
    }
}

#[test]
fn meta_pages_are_checked() {
    let cases: &[(usize, &[u8], &str)] = &[
        (0, &[0], "page 0: magic: expected 0xed0cdaed, found 0xed0cda00"),
        (4, &[3], "page 0: version: expected 0x2, found 0x3"),
        (8, &[0, 8], "page 0: page size: expected a power of two from 4096 to 65536, found 2048"),
        (8, &[1, 16], "page 0: page size: expected a power of two from 4096 to 65536, found 4097"),
        (8, &[0, 0, 2], "page 0: page size: expected a power of two from 4096 to 65536, found 131072"),
        (16, &[8], "page 8: expected one of 8 pages, found its number"),
        (16, &[1], "page 1: expected one use, found another"),
        (32, &[8], "page 8: expected one of 8 pages, found its number"),
        (32, &[7], "page 7: expected a freelist, found a page of kind 0x2"),
        (40, &[9], "expected 9 pages of 4096 bytes, found 32768 bytes"),
        (40, &[0xff; 8], "expected 18446744073709551615 pages of 4096 bytes, found 32768 bytes"),
        (40, &[0], "page 2: expected one of 0 pages, found its number"),
    ];
    for (at, change, expected) in cases {
        let mut bytes = sample();
        with_meta(&mut bytes, *at, change);
        let found = decode(&bytes).expect_err(expected).to_string();
        assert!(found.contains(expected), "{at}: {found}");
    }
    let mut bytes = sample();
    bytes[HEADER + CHECKED] ^= 1;
    bytes[PAGE + HEADER + CHECKED] ^= 1;
    let found = decode(&bytes).expect_err("no checksum is right").to_string();
    assert!(found.contains("page 0: checksum: ") && found.contains("page 1: checksum: "), "{found}");
}

#[test]
fn a_file_without_a_freelist_is_read() {
    let mut bytes = sample();
    let root = decode(&bytes);
    with_meta(&mut bytes, 32, &NO_FREELIST.to_le_bytes());
    assert_eq!(decode(&bytes), root);
}

/// What containerd itself wrote: 1.6 with a freelist, 2.1 without; pages in any order, some that are free.
#[test]
fn files_of_containerd_are_read() {
    fn path<'a>(root: &'a Bucket, path: &[&str]) -> Option<&'a Bucket> {
        path.iter().try_fold(root, |bucket, name| bucket.child(name.as_bytes()))
    }
    let cases: [(&str, &[u8]); 2] = [
        ("1.6", include_bytes!("../../../../../tests/fuzz/corpus/bolt/containerd-1.6.db")),
        ("2.1", include_bytes!("../../../../../tests/fuzz/corpus/bolt/containerd-2.1.db")),
    ];
    for (version, bytes) in cases {
        let (root, uses) = read(bytes).expect(version);
        assert!(uses.iter().any(|page| *page != Use::Used), "{version}: some pages are free");
        assert_eq!(
            path(&root, &["v1", "small", "labels"]).and_then(|labels| labels.value(b"about")),
            Some(&b"bolt"[..])
        );
        let blobs = path(&root, &["v1", "small", "content", "blob"]).expect(version);
        assert_eq!(blobs.len(), 5, "{version}");
        for (_, blob) in blobs.iter() {
            let Item::Bucket(blob) = blob else { panic!("{version}: {blob:?}") };
            assert_eq!(blob.value(b"size"), Some(&[14][..]), "{version}: 7 as a signed varint");
            assert_eq!(blob.child(b"labels").and_then(|labels| labels.value(b"n")).map(<[u8]>::len), Some(1));
        }
        let snapshots = path(&root, &["v1", "small", "snapshots", "overlayfs"]).expect(version);
        assert_eq!((snapshots.sequence(), snapshots.len()), (3, 2), "{version}");
        assert_eq!(
            snapshots.child(b"two").and_then(|two| two.value(b"parent")),
            Some(&b"base"[..]),
            "{version}"
        );
    }
    let bytes = include_bytes!("../../../../../tests/fuzz/corpus/bolt/overlayfs-2.1.db");
    let root = decode(bytes).expect("snapshots");
    let snapshots = path(&root, &["v1", "snapshots"]).expect("snapshots");
    assert_eq!((snapshots.sequence(), snapshots.len()), (2, 2));
}

/// Of the last transactions `.0` and `.1`, and the pages that are whole, the file's page 3 or 4 is the root.
#[test]
fn the_later_valid_transaction_counts() {
    let cases = [
        ((4, 5), (true, true), Some("second")),
        ((6, 5), (true, true), Some("first")),
        ((5, 5), (true, true), Some("first")),
        ((4, 5), (true, false), Some("first")),
        ((6, 5), (false, true), Some("second")),
        ((6, 5), (false, false), None),
    ];
    for (transactions, whole, expected) in cases {
        let mut bytes = vec![0; 5 * PAGE];
        for (page, transaction, whole) in [(0, transactions.0, whole.0), (1, transactions.1, whole.1)] {
            let mut root = Bucket::new();
            root.put(["first", "second"][page], "");
            let other = encode(&root);
            bytes[(3 + page) * PAGE..][..PAGE].copy_from_slice(&other[3 * PAGE..]);
            bytes[(3 + page) * PAGE] = 3 + page as u8;
            bytes[page * PAGE..][..PAGE].copy_from_slice(&other[page * PAGE..][..PAGE]);
            let meta = &mut bytes[page * PAGE + HEADER..];
            for (at, number) in [(16, 3 + page as u64), (32, NO_FREELIST), (40, 5), (48, transaction)] {
                meta[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            let sum = checksum(&meta[..CHECKED]) ^ u64::from(!whole);
            meta[CHECKED..CHECKED + 8].copy_from_slice(&sum.to_le_bytes());
        }
        let found = decode(&bytes).ok();
        let found = found.as_ref().and_then(|root| root.iter().next()).map(|(key, _)| key);
        assert_eq!(found, expected.map(str::as_bytes), "{transactions:?} {whole:?}");
    }
}

#[test]
fn a_cut_file_is_refused() {
    let bytes = sample();
    (0..bytes.len()).for_each(|size| assert!(decode(&bytes[..size]).is_err(), "{size}"));
}

/// As many levels as pages, which bbolt would not make, take no stack.
#[test]
fn levels_have_no_limit() {
    const LEVELS: usize = 30_000;
    let mut root = Bucket::new();
    root.put("k", "v");
    let small = encode(&root);
    let mut bytes = small.clone();
    for id in 4..4 + LEVELS {
        let mut page = vec![0; PAGE];
        page[..8].copy_from_slice(&id.to_le_bytes());
        (page[8], page[10]) = (BRANCH as u8, 1);
        (page[HEADER], page[HEADER + 4]) = (ELEMENT as u8, 1);
        page[HEADER + 8..][..8].copy_from_slice(&(id - 1).to_le_bytes());
        page[HEADER + ELEMENT] = b'k';
        bytes.extend(page);
    }
    let last = 3 + LEVELS as u64;
    with_meta(&mut bytes, 16, &last.to_le_bytes());
    with_meta(&mut bytes, 40, &(last + 1).to_le_bytes());
    assert_eq!(decode(&bytes), Ok(root));
}

/// A bucket whose root page is the one before, deeper than may be.
#[test]
fn deep_buckets_are_refused() {
    let mut root = Bucket::new();
    (1..MAX_DEPTH - 1).fold(&mut root, |bucket, _| bucket.bucket("b")).bucket("c").put("d", "");
    let mut bytes = encode(&root);
    // What is deepest becomes a bucket where it was a value; what it says is never read.
    let deepest = at(3, HEADER + ELEMENT + 1 + BUCKET_HEADER + HEADER);
    bytes[deepest] = 1;
    let found = decode(&bytes).expect_err("an inline bucket holds no buckets").to_string();
    assert!(found.starts_with("page 3: expected values alone"), "{found}");
    // Each bucket has a page, whose element points to the page before.
    let mut pages = encode(&Bucket::new());
    for id in 4_u64..=3 + MAX_DEPTH as u64 {
        let mut page = encode(&root)[at(4, 0)..at(5, 0)].to_vec();
        page[..8].copy_from_slice(&id.to_le_bytes());
        page[HEADER + ELEMENT + 1..][..8].copy_from_slice(&(id - 1).to_le_bytes());
        pages.extend(page);
    }
    for (root, taken) in [(MAX_DEPTH as u64 + 2, true), (MAX_DEPTH as u64 + 3, false)] {
        with_meta(&mut pages, 16, &root.to_le_bytes());
        with_meta(&mut pages, 40, &(MAX_DEPTH as u64 + 4).to_le_bytes());
        let found = decode(&pages);
        assert_eq!(found.is_ok(), taken, "{root}: {found:?}");
        let Err(error) = found else { continue };
        assert_eq!(error.to_string(), "page 4: expected buckets at most 64 deep, found deeper ones");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_are_read_or_refused(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4)) {
        thread_local!(static SAMPLE: Vec<u8> = sample());
        let mut bytes = SAMPLE.with(Clone::clone);
        for (at, byte) in changes {
            // Most of a page is keys and values; what is before them matters more.
            let at = if at % 2 == 0 { (at / 16 % 8) * PAGE + at / 128 % 128 } else { at % bytes.len() };
            bytes[at] = byte;
        }
        if let Ok(root) = decode(&bytes) {
            prop_assert!(decode(&encode(&root)) == Ok(root), "what was read can be written");
        }
    }
}
