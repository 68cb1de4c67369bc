//! A layer of any size takes the same memory. Alone in its program, since it reads what the whole process used.

use std::io;
use std::sync::Arc;

use cap_std::fs::Dir;
use ociseed_image::write_layer;
use ociseed_spec::{Compression, TreePath};
use ociseed_tree::{Builder, Claim, Content, Entry, Extent, Precedence};

const MIB: u64 = 1 << 20;

/// The most memory that the process had so far, in bytes.
fn peak() -> u64 {
    let this = Dir::open_ambient_dir("/proc/self", cap_std::ambient_authority()).expect("Linux tells");
    let status = this.read_to_string("status").expect("Linux tells");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

#[test]
fn memory_does_not_grow_with_the_layer() {
    // 8 MiB that do not compress, again and again.
    let mut state = 1u64;
    let noise: Arc<[u8]> = (0..8 * MIB)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let content: Content = (0..10).map(|_| Extent::Bytes(Arc::clone(&noise))).collect();
    let mut builder = Builder::new();
    let path = TreePath::parse(b"large").expect("good");
    builder.insert(path, Entry::file(content), Claim::new(0, Precedence::Explicit));
    let tree = builder.finish().expect("no conflict");
    let before = peak();
    for compression in [Compression::None, Compression::Gzip(1), Compression::Zstd(1)] {
        write_layer(&tree, compression, 2, &|_| Ok(()), &mut io::sink()).expect("nothing fails");
        let grown = peak() - before;
        assert!(grown < 64 * MIB, "{compression:?}: {} MiB", grown / MIB);
    }
}
