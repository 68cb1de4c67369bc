//! Archives that lie: each has the exact error that it should, or the meaning that docs/format.md gives it.

#[path = "../common/mod.rs"]
mod common;
mod entries;
mod headers;

use common::{Raw, error, paths, read};
use entries::refused;

#[test]
fn every_lie_is_named() {
    let cases = refused();
    assert!(cases.len() > 80, "{}", cases.len());
    let mut wrong = Vec::new();
    for (name, tar, expected) in cases {
        let found = error(&tar);
        if found != format!("`in.tar`: {expected}") {
            wrong.push(format!("{name}:\n  found {found}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_looks_strange_and_is_allowed_means_what_the_format_says() {
    let raw = Raw::default;
    let deep: Vec<String> = (1..=1000).map(|depth| vec!["d"; depth].join("/")).collect();
    let mut deep_tar = raw();
    for path in &deep {
        deep_tar = deep_tar.pax(b'x', &[("path", path.as_bytes())]).directory("d");
    }
    let cases: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        ("absolute", raw().file("/a", "x").file("//b//./c", "y").end(), vec!["a: x", "b/", "b/c: y"]),
        ("root", raw().directory("./").directory("/").directory(".").file("./a", "x").end(), vec!["a: x"]),
        ("duplicate", raw().file("a", "1").file("./a", "2").end(), vec!["a: 2"]),
        (
            "duplicate of another kind",
            raw().file("a", "1").link(b'2', "a", "t").entry(b'6', "a", b"").end(),
            vec!["a fifo"],
        ),
        (
            "directory twice",
            raw().directory("d/").file("d/a", "x").directory("d").end(),
            vec!["d/", "d/a: x"],
        ),
        ("parent later", raw().file("d/a", "x").directory("d/").end(), vec!["d/", "d/a: x"]),
        (
            "hard link keeps what it named",
            raw().file("a", "1").link(b'1', "b", "a").file("a", "2").end(),
            vec!["a: 2", "b: 1"],
        ),
        (
            "hard link to a hard link",
            raw().file("c", "1").link(b'1', "b", "c").link(b'1', "a", "./b").end(),
            vec!["a: 1", "b = a", "c = a"],
        ),
        (
            "hard link over a hard link",
            raw().file("a", "1").link(b'1', "b", "a").file("c", "2").link(b'1', "b", "c").end(),
            vec!["a: 1", "b: 2", "c = b"],
        ),
        (
            "hard link to itself, which is there",
            raw().file("a", "1").link(b'1', "a", "a").end(),
            vec!["a: 1"],
        ),
        (
            "hard link with a size",
            raw()
                .file("a", "1")
                .header(b'1', b"b", b"", |block| {
                    block[124..136].copy_from_slice(b"00000010000\0");
                    block[157] = b'a';
                })
                .end(),
            vec!["a: 1", "b = a"],
        ),
        (
            "hard link to a link",
            raw().link(b'2', "a", "t").link(b'1', "b", "a").end(),
            vec!["a -> t", "b = a"],
        ),
        (
            "symbolic links lead anywhere",
            raw().link(b'2', "a", "../../etc/shadow").link(b'2', "b", "b").end(),
            vec!["a -> ../../etc/shadow", "b -> b"],
        ),
        (
            "newline",
            raw().file("a\nb", "x").pax(b'x', &[("path", b"c\n9 path=d\n")]).file("e", "y").end(),
            vec!["a\\nb: x", "c\\n9 path=d\\n: y"],
        ),
        (
            "not UTF-8",
            raw().pax(b'x', &[("path", b"\xff\xfe"), ("hdrcharset", b"BINARY")]).file("e", "y").end(),
            vec!["\\xff\\xfe: y"],
        ),
        (
            "devices",
            raw()
                .header(b'3', b"c", b"", |block| block[329..337].copy_from_slice(b"0000001\0"))
                .header(b'4', b"b", b"", |block| {
                    block[337..345].copy_from_slice(b"\x80\0\0\0\xff\xff\xff\xff")
                })
                .end(),
            vec!["b b 0:4294967295", "c c 1:0"],
        ),
        ("overlay's own whiteout stays a device", raw().entry(b'3', "w", b"").end(), vec!["w c 0:0"]),
        (
            "whiteouts",
            raw()
                .file("d/.wh.a", "")
                .directory("e/")
                .file("e/.wh..wh..opq", "")
                .file("f/.wh..wh..opq", "")
                .link(b'1', ".wh.h", ".wh..wh.aufs")
                .end(),
            vec!["d/", "d/a gone", "e/ opaque", "f/ opaque", "h gone"],
        ),
        (
            "opaque stays",
            raw().directory("e/").file("e/.wh..wh..opq", "").directory("e/").file("e/x", "").end(),
            vec!["e/ opaque", "e/x"],
        ),
        (
            "whiteouts of what their own tar has",
            raw()
                .file("a", "x")
                .file(".wh.a", "")
                .file(".wh.b", "")
                .file("b", "x")
                .file("d/.wh.e", "")
                .directory("d/e/")
                .directory("f/")
                .file(".wh.f", "")
                .file(".wh.g", "")
                .file("g/x", "")
                .end(),
            vec!["a: x", "b: x", "d/", "d/e/ opaque", "f/ opaque", "g/ opaque", "g/x"],
        ),
        ("whiteout twice", raw().file(".wh.a", "").file(".wh.a", "").end(), vec!["a gone"]),
        (
            "AUFS's own",
            raw()
                .file(".wh..wh.aufs", "")
                .directory(".wh..wh.plnk/")
                .file(".wh..wh.plnk/1.2", "x")
                .directory("d/.wh..wh.orph")
                .end(),
            vec![],
        ),
        (
            "record that takes itself back",
            raw().pax(b'g', &[("uid", b"7")]).pax(b'x', &[("path", b"b"), ("path", b"")]).file("a", "").end(),
            vec!["a"],
        ),
        (
            "unknown records",
            raw().pax(b'x', &[("VENDOR.x", b"\xff"), ("comment", b""), ("atime", b"x")]).file("a", "").end(),
            vec!["a"],
        ),
        ("zeros alone", vec![0; 1024], vec![]),
        ("anything behind the end", [raw().file("a", "").end(), vec![b'x'; 700]].concat(), vec!["a"]),
        (
            "old directory",
            raw().entry(0, "d/", b"").entry(b'0', "e/", b"").entry(b'7', "f", b"x").end(),
            vec!["d/", "e/", "f: x"],
        ),
        (
            "size of more digits",
            raw().header(b'0', b"a", b"x", |block| block[124..136].copy_from_slice(b"      1     ")).end(),
            vec!["a: x"],
        ),
    ];
    for (name, tar, expected) in cases {
        match read(&tar) {
            Ok(tree) => assert_eq!(paths(&tree), expected, "{name}"),
            Err(error) => panic!("{name}: {}", common::chain(&error)),
        }
    }
    let tree = read(&deep_tar.end()).expect("1,000 levels");
    assert_eq!(tree.len(), 1000);
}

#[test]
fn the_last_name_of_a_file_says_its_metadata_for_all_names() {
    let owned = |block: &mut [u8], uid: u8, mode: u8| {
        block[106] = mode;
        block[114] = uid;
        block[146] = uid;
        block[157] = b'b';
    };
    let tar = Raw::default()
        .pax(b'x', &[("SCHILY.xattr.user.first", b"1")])
        .header(b'0', b"b", b"data", |block| owned(block, b'1', b'0'))
        .pax(b'x', &[("SCHILY.xattr.user.second", b"2"), ("uname", b"web")])
        .header(b'1', b"a", b"", |block| owned(block, b'2', b'5'))
        .header(b'1', b"c", b"", |block| owned(block, b'3', b'4'))
        .end();
    let tree = read(&tar).expect("three names");
    assert_eq!(paths(&tree), ["a: data", "b = a", "c = a"]);
    for (path, entry) in &tree {
        let stat = &entry.stat;
        let xattrs: Vec<String> = stat.xattrs().keys().map(ToString::to_string).collect();
        assert_eq!(xattrs, ["user.first", "user.second"], "{path}");
        assert_eq!((stat.mode.bits(), stat.owner.uid, stat.mtime.seconds()), (0o644, 3, 3), "{path}");
        assert_eq!(stat.user(), None, "{path}");
    }
}

#[test]
fn deep_paths_that_nobody_listed_have_a_limit() {
    let path = vec!["dd"; 100_000].join("/");
    let tar = Raw::default().pax(b'x', &[("path", path.as_bytes())]).file("a", "").end();
    let found = error(&tar);
    assert!(found.starts_with("`in.tar`: entry `dd/dd/"), "{found}");
    assert!(
        found.contains("bytes of paths, links and attributes: found 67")
            && found.ends_with("at most 67109864 allowed"),
        "{found}"
    );
}

#[test]
fn three_thousand_levels_are_fine() {
    let path = vec!["d"; 3000].join("/");
    let tar = Raw::default().pax(b'x', &[("path", path.as_bytes())]).file("a", "").end();
    assert_eq!(read(&tar).expect("3,000 levels").len(), 3000);
}

#[test]
fn a_tar_that_was_cut_anywhere_is_refused() {
    let records: Vec<(&str, &[u8])> =
        vec![("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"600")];
    let whole = Raw::default()
        .pax(b'g', &[("uname", b"web")])
        .directory("d/")
        .pax(b'x', &[("path", "p".repeat(200).as_bytes()), ("SCHILY.xattr.user.a", b"\n\0")])
        .file("a", &"x".repeat(700))
        .entry(b'L', "long", "l".repeat(255).as_bytes())
        .link(b'2', "l", "t")
        .pax(b'x', &records)
        .entry(b'0', "s", &[b"1\n500\n100\n".as_slice(), &[0; 502], &[b'z'; 100]].concat())
        .link(b'1', "h", "s")
        .end();
    assert_eq!(read(&whole).expect("whole").len(), 5);
    for length in (0..whole.len()).filter(|length| length % 512 == 0 || length % 7 == 1) {
        let found = error(&whole[..length]);
        let cut = found.ends_with("the tar ends without two zero blocks: it was cut")
            || found.ends_with(" before the end of the archive");
        assert!(cut, "{length}: {found}");
    }
}

#[test]
fn no_byte_of_a_header_makes_it_panic() {
    let whole = Raw::default()
        .pax(b'g', &[("uname", b"web")])
        .pax(b'x', &[("path", b"long"), ("SCHILY.xattr.user.a", b"\n\0"), ("mtime", b"1.5")])
        .file("a", "some")
        .pax(b'x', &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1,5,1")])
        .file("s", "ab")
        .link(b'1', "h", "s");
    for at in 0..whole.0.len() {
        for byte in [b'9', 0xff] {
            let mut changed = whole.0.clone();
            changed[at] = byte;
            // Right checksums, so that the change gets past the first check.
            for block in changed.chunks_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let mut header = tar::Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
            drop(read(&Raw(changed).end()));
        }
    }
}
