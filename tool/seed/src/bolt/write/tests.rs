//! What is written: its bytes, bbolt's own demands on pages, and that reading gives it back.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::super::bucket::MAX_KEY;
use super::super::page::{u16_at, u32_at, u64_at};
use super::super::read::{Use, read};
use super::*;

/// Bytes as text: 16 a line, those of zeros left out, `*` in place of further equal ones.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut last, mut starred) = (&[0; 16][..], true);
    for (line, bytes) in bytes.chunks(16).enumerate() {
        if bytes != last {
            starred = bytes == [0; 16];
        } else if !std::mem::replace(&mut starred, true) {
            text.push_str("*\n");
        }
        if bytes != std::mem::replace(&mut last, bytes) && bytes != [0; 16] {
            let hex: Vec<_> = bytes.chunks(4).map(ociseed_spec::hex).collect();
            let shown = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
            let shown: String = bytes.iter().map(shown).collect();
            let _ = writeln!(text, "{:06x} {} |{shown}|", line * 16, hex.join(" "));
        }
    }
    text
}

fn small() -> Bucket {
    let mut root = Bucket::new();
    let v1 = root.bucket("v1");
    v1.put("version", [6]);
    v1.set_sequence(0x1234);
    let inline = v1.bucket("inline");
    inline.put("a key", "a value");
    inline.put("empty", "");
    inline.set_sequence(7);
    v1.bucket("nothing");
    v1.bucket("outer").bucket("inner").put("x", "y");
    v1.put("large", [b'L'; 5000]);
    root
}

#[test]
fn a_small_file_has_these_bytes() {
    let bytes = encode(&small());
    // Pages: 0 and 1 meta, 2 freelist, 3 `outer`, 4 `v1` before `large`, 5 and 6 `large`, 7 `v1` behind it, 8 its branch, 9 root.
    assert_eq!(bytes.len(), 10 * PAGE);
    let (found, expected) = (dump(&bytes), include_str!("../../../../../tests/golden/bolt/small.txt"));
    assert!(found == expected, "tests/golden/bolt/small.txt should be:\n{found}");
}

/// Goes through the pages as they lie and checks what bbolt needs of them; returns how many are leaves and branches.
fn check(bytes: &[u8], page_size: usize) -> (usize, usize) {
    let page = |id: u64| &bytes[id as usize * page_size..];
    let first_key = |page: &[u8]| {
        let (position, size) = if u16_at(page, 8) == LEAF { (4, 8) } else { (0, 4) };
        page[HEADER + u32_at(page, HEADER + position) as usize..][..u32_at(page, HEADER + size) as usize]
            .to_vec()
    };
    let (mut leaves, mut branches, mut id) = (0, 0, FIRST_PAGE);
    while id < (bytes.len() / page_size) as u64 {
        let page_of = page(id);
        let (kind, count, overflow) = (u16_at(page_of, 8), u16_at(page_of, 10), u32_at(page_of, 12));
        assert_eq!(u64_at(page_of, 0), id);
        match kind {
            LEAF => {
                leaves += 1;
                assert!(overflow == 0 || count == 1, "page {id}: {count} elements in {overflow} more pages");
            }
            BRANCH => {
                branches += 1;
                assert!(count >= 2, "page {id}: {count} page below it");
                assert!(overflow == 0 || count <= 3, "page {id}: {count} elements in {overflow} more pages");
                for index in 0..usize::from(count) {
                    let at = element_at(index);
                    let (position, size) = (u32_at(page_of, at) as usize, u32_at(page_of, at + 4) as usize);
                    let key = &page_of[at + position..][..size];
                    assert_eq!(first_key(page(u64_at(page_of, at + 8))), key, "page {id}, element {index}");
                }
            }
            kind => panic!("page {id}: kind {kind}"),
        }
        id += 1 + u64::from(overflow);
    }
    (leaves, branches)
}

/// Writes buckets, checks the pages, that no page is left over, and that reading gives the same.
fn round(root: &Bucket, page_size: usize) -> (usize, usize) {
    let bytes = encode_in_pages(root, page_size);
    let (found, uses) = read(&bytes).expect("what we write can be read");
    assert!(found == *root, "written and read again it is something else");
    assert!(uses.iter().all(|page| *page == Use::Used), "a page is left over");
    check(&bytes, page_size)
}

/// More of them than a page can count (16 bits).
const MANY_KEYS: u32 = 70_000;

#[test]
fn many_keys_have_many_leaves() {
    let mut root = Bucket::new();
    let bucket = root.bucket("many");
    (0..MANY_KEYS).for_each(|key| bucket.put(format!("sha256:{key:064}"), key.to_le_bytes()));
    // 16 bytes of numbers, 71 of key and 4 of value: 44 in a leaf; 87 in a branch: 46, and one more branch above.
    let leaves = 70_000_usize.div_ceil(44);
    assert_eq!(round(&root, PAGE), (leaves + 1, leaves.div_ceil(46) + 1));
}

#[test]
fn many_buckets_are_written() {
    let mut root = Bucket::new();
    for key in 0..MANY_KEYS {
        let bucket = root.bucket(key.to_be_bytes());
        bucket.put("name", format!("k8s.io/{key}"));
        bucket.set_sequence(key.into());
    }
    for key in 0..2000 {
        root.bucket(format!("with another {key}")).bucket("labels").put("a", "b");
    }
    let (leaves, branches) = round(&root, PAGE);
    assert!(leaves > 3000 && branches > 8, "{leaves} leaves, {branches} branches");
}

#[test]
fn small_buckets_are_inline() {
    // A quarter of a page, without its header, the element and one byte of key.
    let most = 1024 - 16 - 16 - 1;
    for (size, leaves) in [(0, 1), (most, 1), (most + 1, 2), (PAGE, 2)] {
        let mut root = Bucket::new();
        root.bucket("b").put("k", vec![1; size]);
        assert_eq!(round(&root, PAGE), (leaves, 0), "{size}");
    }
    let mut root = Bucket::new();
    root.bucket("outer").bucket("inner");
    assert_eq!(round(&root, PAGE), (2, 0), "a bucket with buckets has a page");
}

#[test]
fn pages_are_filled_and_overflow_for_one_element_alone() {
    let room = PAGE - HEADER;
    /// Sizes of elements, how many a page has at least, and the first and the one behind the last of each page.
    type Case<'a> = (&'a [usize], usize, &'a [(usize, usize)]);
    let cases: [Case<'_>; 12] = [
        (&[], 1, &[(0, 0)]),
        (&[room], 1, &[(0, 1)]),
        (&[room / 2, room / 2], 1, &[(0, 2)]),
        (&[room / 2, room / 2 + 1], 1, &[(0, 1), (1, 2)]),
        (&[20, room + 1, 20, 20], 1, &[(0, 1), (1, 2), (2, 4)]),
        (&[room * 9, room * 9], 1, &[(0, 1), (1, 2)]),
        (&[20, 20], 2, &[(0, 2)]),
        (&[room, room], 2, &[(0, 2)]),
        (&[room, room, room], 2, &[(0, 3)]),
        (&[room, room, room, room], 2, &[(0, 2), (2, 4)]),
        (&[room, room, room, room, room], 2, &[(0, 2), (2, 5)]),
        (&[room / 3, room / 3, room / 3, room / 3], 2, &[(0, 2), (2, 4)]),
    ];
    for (sizes, least, pages) in cases {
        let found = split(sizes.iter().copied(), PAGE, least);
        let found: Vec<_> = found.into_iter().map(|page| (page.start, page.end)).collect();
        assert_eq!(found, pages, "{sizes:?}, at least {least}");
    }
}

#[test]
fn keys_and_values_of_any_size_are_written() {
    let mut root = Bucket::new();
    for (index, size) in [1, 255, 4000, 4080, MAX_KEY, MAX_KEY].into_iter().enumerate() {
        let mut key = vec![b'a' + index as u8; size];
        root.put(key.clone(), vec![0; 70_000 * index]);
        (0..7).for_each(|last| {
            key[size - 1] = last;
            root.bucket(key.clone()).put("k", vec![last; 400 * usize::from(last)]);
        });
    }
    let (_, branches) = round(&root, PAGE);
    assert!(branches > 5, "{branches}: keys as large as those leave few to a branch");
}

#[test]
fn pages_of_other_sizes_are_read() {
    let mut root = small();
    (0..3000_u32).for_each(|key| root.bucket("many").put(key.to_be_bytes(), vec![0; 100]));
    for page_size in [4096, 8192, 16384, 32768, 65536] {
        let (_, branches) = round(&root, page_size);
        assert!(branches > 0, "{page_size}");
        // Without the first meta page the second is found.
        let mut bytes = encode_in_pages(&root, page_size);
        bytes[HEADER + CHECKED] ^= 1;
        assert_eq!(super::super::decode(&bytes), Ok(root.clone()), "{page_size}");
    }
}

fn deep(depth: usize) -> Bucket {
    let mut root = Bucket::new();
    (1..depth).fold(&mut root, |bucket, _| bucket.bucket("b"));
    root
}

#[test]
fn buckets_lie_in_one_another_up_to_a_limit() {
    round(&deep(MAX_DEPTH), PAGE);
    assert!(std::panic::catch_unwind(|| encode(&deep(MAX_DEPTH + 2))).is_err());
}

fn buckets() -> impl Strategy<Value = Bucket> {
    let key = || {
        let bytes = proptest::collection::vec(any::<u8>(), 1..20);
        prop_oneof![8 => bytes, 1 => (any::<u8>(), 1_usize..6000).prop_map(|(byte, size)| vec![byte; size])]
    };
    let value = prop_oneof![8 => 0_usize..60, 1 => 0_usize..9000];
    let value = (any::<u8>(), value).prop_map(|(byte, size)| Item::Value(vec![byte; size]));
    let item = value.prop_recursive(4, 400, 40, move |item| {
        let items = proptest::collection::vec((key(), item), 0..40);
        (items, any::<u64>()).prop_map(|(items, sequence)| Item::Bucket(Bucket::from_items(items, sequence)))
    });
    item.prop_map(|item| match item {
        Item::Bucket(bucket) => bucket,
        value => Bucket::from_items(vec![(b"value".to_vec(), value)], 0),
    })
}

/// Puts everything of one bucket into another, the last first.
fn put_reversed(from: &Bucket, to: &mut Bucket) {
    let mut items: Vec<_> = from.iter().collect();
    items.reverse();
    for (key, item) in items {
        match item {
            Item::Value(value) => to.put(key, value.as_slice()),
            Item::Bucket(bucket) => put_reversed(bucket, to.bucket(key)),
        }
    }
    to.set_sequence(from.sequence());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(root in buckets()) {
        round(&root, PAGE);
    }

    #[test]
    fn the_order_of_making_changes_nothing(root in buckets()) {
        let mut again = Bucket::new();
        put_reversed(&root, &mut again);
        prop_assert!(encode(&again) == encode(&root));
    }
}
