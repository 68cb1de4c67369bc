//! What archives take of memory: what the tree needs, and never what headers claim.
#![expect(unsafe_code, reason = "only an allocator can count")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Raw, record, scratch};
use ociseed_tree::{Tree, read_archive, spool};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on as it came; only numbers are kept.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns what a call took at most beside what was there before, and what it made.
fn peak<T>(call: impl FnOnce() -> T) -> (usize, T) {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let made = call();
    (PEAK.load(Ordering::Relaxed) - before, made)
}

const MIB: usize = 1024 * 1024;

/// A tar that is made while it is read, entry by entry.
struct Generated<F> {
    entry: F,
    number: usize,
    count: usize,
    rest: io::Cursor<Vec<u8>>,
}

impl<F: FnMut(usize) -> Vec<u8>> Read for Generated<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.rest.read(buffer)?;
            if count > 0 || self.number > self.count {
                return Ok(count);
            }
            let next = if self.number < self.count { (self.entry)(self.number) } else { vec![0; 1024] };
            self.rest = io::Cursor::new(next);
            self.number += 1;
        }
    }
}

fn read(count: usize, entry: impl FnMut(usize) -> Vec<u8>) -> Result<Tree, String> {
    let generated = Generated { entry, number: 0, count, rest: io::Cursor::default() };
    let plain = spool(generated, 1, &mut scratch).map_err(|error| error.to_string())?;
    read_archive(plain, Path::new("in.tar").into(), &mut scratch).map_err(|error| common::chain(&error))
}

// One test, so that nothing else allocates meanwhile.
#[test]
fn memory_is_bounded_by_entries_and_by_nothing_that_they_claim() {
    let limit = |count: usize| MIB + 400 * count;

    let files = |number| Raw::default().file(&format!("usr/share/{}/file-{number}", number % 100), "x").0;
    let (took, tree) = peak(|| read(200_000, files));
    assert_eq!(tree.expect("files").len(), 200_102);
    assert!(took < limit(200_000), "files: {took}");

    let links = |number: usize| match number {
        0 => Raw::default().file("first", "x").0,
        _ => Raw::default().link(b'1', &format!("usr/link-{number}"), "first").0,
    };
    let (took, tree) = peak(|| read(50_000, links));
    assert_eq!(tree.expect("links").len(), 50_001);
    assert!(took < limit(50_000), "links: {took}");

    let duplicates = |_| Raw::default().pax(b'x', &[("SCHILY.xattr.user.a", &[b'x'; 900])]).file("a", "x").0;
    let (took, tree) = peak(|| read(5000, duplicates));
    assert_eq!(tree.expect("duplicates").len(), 1);
    assert!(took < MIB, "duplicates: {took}");

    let large = |number: usize| {
        let data = vec![1; 10 * MIB];
        Raw::default().entry(b'0', &format!("large-{number}"), &data).0
    };
    let (took, tree) = peak(|| read(8, large));
    assert_eq!(tree.expect("large").len(), 8);
    assert!(took < 40 * MIB, "large (three buffers of the generator itself): {took}");

    let claims = |_: usize| {
        let body: Vec<u8> =
            (0..16).flat_map(|index| record(&format!("SCHILY.xattr.user.{index}"), &[0; 60_000])).collect();
        Raw::default().entry(b'x', "pax", &body).file("a", "").0
    };
    let (took, error) = peak(|| read(100, claims));
    assert!(error.expect_err("too much").contains("bytes of paths, links and attributes: found"));
    assert!(took < 64 * MIB, "xattrs: {took}");

    let globals =
        |number: usize| Raw::default().pax(b'g', &[(&format!("SCHILY.xattr.user.{number}"), &[b'x'; 300])]).0;
    let (took, error) = peak(|| read(10_000, globals));
    assert!(error.expect_err("too much").contains("bytes of PAX headers for all entries: found"));
    assert!(took < 8 * MIB, "global headers: {took}");

    let pieces = |_: usize| {
        let map: String = (0..400_000).map(|index| format!("{}\n1\n", index * 2)).collect();
        let map = format!("400000\n{map}");
        let records: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"800000")];
        let mut data = map.into_bytes();
        data.resize(data.len().next_multiple_of(512) + 400_000, b'x');
        Raw::default().pax(b'x', &records).entry(b'0', "a", &data).0
    };
    let (took, error) = peak(|| read(1, pieces));
    assert_eq!(
        error.expect_err("too many"),
        "`in.tar`: entry `a` at byte 1024: pieces of a sparse file: found 335545, at most 335544 allowed"
    );
    assert!(took < 40 * MIB, "pieces: {took}");
}
