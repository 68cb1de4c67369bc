//! Headers, records and maps that lie.

use crate::common::{Raw, record};

const OVERLAY: &str =
    "xattr `trusted.overlay.opaque`: whiteouts and opaque directories alone make overlay metadata";

pub(crate) fn headers() -> Vec<(&'static str, Vec<u8>, String)> {
    let raw = Raw::default;
    let at = |name: &str, at: u64, text: &str| format!("entry `{name}` at byte {at}: {text}");
    let size = |field: &'static [u8]| {
        raw().header(b'0', b"a", b"", move |block| block[124..136].copy_from_slice(field)).end()
    };
    let id = |field: &'static [u8]| {
        raw().header(b'0', b"a", b"", move |block| block[108..116].copy_from_slice(field)).end()
    };
    let mut broken = raw().file("a", "x").file("b", "y").end();
    broken[1024 + 3] = 1;
    let mut lone = raw().file("a", "").end();
    lone[1024 + 9] = 1;
    vec![
        ("no tar", b"#!/bin/sh\n".repeat(200), "byte 0: expected a tar, plain or compressed with gzip, zstd, xz, lzma or bzip2, found `#!/bin/sh\\n#!/bin`".to_owned()),
        ("empty", Vec::new(), "byte 0: the tar ends without two zero blocks: it was cut".to_owned()),
        ("checksum", broken, "byte 1024: expected a tar header with checksum 3137, found `0006100`".to_owned()),
        ("one zero block", lone, "byte 1024: one zero block, expected two at the end of a tar".to_owned()),
        ("size past the end", size(b"00000010000\0"), at("a", 0, "has 4096 bytes, found 1024 before the end of the archive")),
        ("huge size", size(b"77777777777\0"), at("a", 0, "has 8589934591 bytes, found 1024 before the end of the archive")),
        ("larger than any file", size(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"), at("a", 0, "`size` is `18446744073709551615`, expected a smaller number")),
        ("negative size", size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\0"), at("a", 0, "`size` is `-512`, expected a number from 0 on")),
        ("size with a sign", size(b"-0000000001\0"), at("a", 0, "`size` is `-0000000001`, expected octal digits")),
        ("size in decimal", size(b"00000000009\0"), at("a", 0, "`size` is `00000000009`, expected octal digits")),
        ("no user", id(b"\x80\0\0\0\xff\xff\xff\xff"), at("a", 0, "`uid` is `4294967295`, expected at most 4294967294")),
        ("negative user", id(b"\xff\xff\xff\xff\xff\xff\xff\xff"), at("a", 0, "`uid` is `-1`, expected a number from 0 on")),
        ("large device", raw().header(b'3', b"a", b"", |block| block[329..337].copy_from_slice(b"\x80\0\0\x01\0\0\0\0")).end(), at("a", 0, "`devmajor` is `4294967296`, expected a smaller number")),
        ("directory with data", raw().entry(b'5', "d/", b"x").end(), at("d/", 0, "a directory has size 1, expected 0")),
        ("fifo with data", raw().entry(b'6', "f", b"x").end(), at("f", 0, "a fifo has size 1, expected 0")),
        ("owner's name", raw().header(b'0', b"a", b"", |block| block[265..268].copy_from_slice(b"a:b")).end(), at("a", 0, "name of a user or group `a:b` does not have 1 to 255 bytes without NUL, `:` and newline")),
        ("two long names", raw().entry(b'L', "l", b"a\0").entry(b'L', "l", b"b\0").file("a", "").end(), "byte 1024: two headers of type `L` for one entry".to_owned()),
        ("two long targets", raw().entry(b'K', "l", b"a\0").entry(b'K', "l", b"b\0").file("a", "").end(), "byte 1024: two headers of type `K` for one entry".to_owned()),
        ("long name of nothing", raw().entry(b'L', "l", b"a\0").end(), "byte 1024: a header of type `L` without the entry that it is for".to_owned()),
        ("long name too long", raw().header(b'L', b"l", b"", |block| block[124..136].copy_from_slice(b"00004000001\0")).end(), "byte 0: bytes of a long name: found 1048577, at most 1048576 allowed".to_owned()),
        ("long name past the end", raw().header(b'L', b"l", b"", |block| block[124..136].copy_from_slice(b"00000004000\0")).end(), "byte 0: has 2048 bytes, found 1024 before the end of the archive".to_owned()),
    ]
}

pub(crate) fn pax_headers() -> Vec<(&'static str, Vec<u8>, String)> {
    let raw = Raw::default;
    let at = |name: &str, at: u64, text: &str| format!("entry `{name}` at byte {at}: {text}");
    let body = |body: &str| raw().entry(b'x', "pax", body.as_bytes()).file("a", "").end();
    let bad = |record: &str| {
        format!("byte 0: PAX record `{record}` is not `LENGTH KEY=VALUE` and a newline with that length")
    };
    let one = |key: &'static str, value: &[u8]| raw().pax(b'x', &[(key, value)]).file("a", "").end();
    let huge = vec![b'x'; 65_537];
    let many: Vec<u8> =
        (0..20).flat_map(|index| record(&format!("SCHILY.xattr.user.{index}"), &[b'x'; 50_000])).collect();
    let mut bomb = raw();
    for _ in 0..70 {
        bomb = bomb.entry(b'x', "pax", &many).file("a", "");
    }
    let shared: Vec<u8> = record("SCHILY.xattr.user.a", &[b'x'; 60_000]);
    let mut amplified = raw().entry(b'g', "pax", &shared);
    for _ in 0..1200 {
        amplified = amplified.file("a", "");
    }
    let mut globals = raw();
    for index in 0..20 {
        globals = globals.pax(b'g', &[(&format!("SCHILY.xattr.user.{index}"), &[b'x'; 60_000])]);
    }
    vec![
        (
            "PAX header too long",
            raw().header(b'x', b"p", b"", |block| block[124..136].copy_from_slice(b"77777777777\0")).end(),
            "byte 0: bytes of a PAX header: found 8589934591, at most 1048576 allowed".to_owned(),
        ),
        (
            "PAX header past the end",
            raw().header(b'x', b"p", b"", |block| block[124..136].copy_from_slice(b"00000004000\0")).end(),
            "byte 0: has 2048 bytes, found 1024 before the end of the archive".to_owned(),
        ),
        ("record longer than the header", body("99 path=a\n"), bad("99 path=a\\n")),
        ("record shorter than it is", body("8 path=ab\n"), bad("8 path=ab\\n")),
        ("record without newline", body("9 path=abc"), bad("9 path=abc")),
        ("record without length", body("path=a\n"), bad("path=a\\n")),
        ("record with a negative length", body("-9 path=a\n"), bad("-9 path=a\\n")),
        ("record without key", body("5 =a\n"), bad("5 =a\\n")),
        ("NULs behind the records", body("9 path=a\n\0\0\0"), bad("\\u{0}\\u{0}\\u{0}")),
        (
            "two PAX headers",
            raw().pax(b'x', &[("uid", b"1")]).pax(b'x', &[("uid", b"2")]).file("a", "").end(),
            "byte 1024: two headers of type `x` for one entry".to_owned(),
        ),
        (
            "PAX header of nothing",
            raw().pax(b'x', &[("uid", b"1")]).end(),
            "byte 1024: a header of type `x` without the entry that it is for".to_owned(),
        ),
        (
            "path of all entries",
            raw().pax(b'g', &[("path", b"b")]).file("a", "").end(),
            "byte 0: PAX record `path` in a header for all entries".to_owned(),
        ),
        (
            "size of all entries",
            raw().pax(b'g', &[("size", b"0")]).file("a", "").end(),
            "byte 0: PAX record `size` in a header for all entries".to_owned(),
        ),
        (
            "sparse map of all entries",
            raw().pax(b'g', &[("GNU.sparse.offset", b"0")]).file("a", "").end(),
            "byte 0: PAX record `GNU.sparse.offset` in a header for all entries".to_owned(),
        ),
        (
            "size in a record",
            one("size", b"4096"),
            at("a", 1024, "has 4096 bytes, found 1024 before the end of the archive"),
        ),
        (
            "size that is no number",
            one("size", b"0x10"),
            at("a", 1024, "`size` is `0x10`, expected decimal digits"),
        ),
        (
            "size beyond 2^64",
            one("size", b"99999999999999999999"),
            at("a", 1024, "`size` is `99999999999999999999`, expected a smaller number"),
        ),
        (
            "time that is none",
            one("mtime", b"yesterday"),
            at("a", 1024, "`mtime` is `yesterday`, expected decimal seconds"),
        ),
        (
            "user beyond 2^32",
            one("uid", b"4294967295"),
            at("a", 1024, "`uid` is `4294967295`, expected at most 4294967294"),
        ),
        ("overlay's xattr", one("SCHILY.xattr.trusted.overlay.opaque", b"y"), at("a", 1024, OVERLAY)),
        (
            "overlay's xattr in base64",
            one("LIBARCHIVE.xattr.trusted.overlay%2eopaque", b"eQ"),
            at("a", 1024, OVERLAY),
        ),
        (
            "xattr of another system",
            one("SCHILY.xattr.com.apple.quarantine", b"y"),
            at(
                "a",
                1024,
                "xattr `com.apple.quarantine`: a name has a namespace (`user.`, `security.`, `system.`, `trusted.`) and at most 255 bytes",
            ),
        ),
        (
            "xattr without name",
            one("SCHILY.xattr.", b"y"),
            at(
                "a",
                1024,
                "xattr ``: a name has a namespace (`user.`, `security.`, `system.`, `trusted.`) and at most 255 bytes",
            ),
        ),
        (
            "huge xattr",
            one("SCHILY.xattr.user.a", &huge),
            at("a", 66_560, "an xattr has a value of 65537 bytes, at most 65536 are possible"),
        ),
        (
            "broken base64",
            one("LIBARCHIVE.xattr.user.a", b"!"),
            at(
                "a",
                1024,
                "PAX record `LIBARCHIVE.xattr.user.a` is not `LENGTH KEY=VALUE` and a newline with that length",
            ),
        ),
        (
            "ACL with names",
            one("SCHILY.acl.access", b"user::rw-,user:web:r--,group::r--,mask::r--,other::---"),
            at(
                "a",
                1024,
                "ACL entry `user:web:r--` is not `user:ID:rwx`, `group:ID:rwx`, `mask::rwx` or `other::rwx` (no ID for the owner)",
            ),
        ),
        (
            "many xattrs",
            bomb.end(),
            at(
                "a",
                68_134_400,
                "bytes of paths, links and attributes: found 68026588, at most 67176864 allowed",
            ),
        ),
        (
            "one xattr for very many",
            amplified.end(),
            at(
                "a",
                643_072,
                "bytes of paths, links and attributes: found 68302760, at most 68246864 allowed",
            ),
        ),
        (
            "many xattrs for all",
            globals.end(),
            "byte 1035776: bytes of PAX headers for all entries: found 1080350, at most 1048576 allowed"
                .to_owned(),
        ),
    ]
}

pub(crate) fn sparse_files() -> Vec<(&'static str, Vec<u8>, String)> {
    let raw = Raw::default;
    let at = |at: u64, text: &str| format!("entry `a` at byte {at}: sparse file: {text}");
    let mapped = |size: &'static [u8], map: &'static [u8], data: &[u8]| {
        raw().pax(b'x', &[("GNU.sparse.size", size), ("GNU.sparse.map", map)]).entry(b'0', "a", data).end()
    };
    let in_data = |realsize: &'static [u8], data: &[u8]| {
        let records: [(&str, &[u8]); 3] =
            [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", realsize)];
        raw().pax(b'x', &records).entry(b'0', "a", data).end()
    };
    let old = |pieces: &[(u64, u64)], size: u64, data: &[u8]| {
        let pieces = pieces.to_vec();
        raw()
            .header(b'S', b"a", data, |block| {
                block[257..265].copy_from_slice(b"ustar  \0");
                for ((at, length), field) in pieces.iter().zip(block[386..482].chunks_mut(24)) {
                    field.copy_from_slice(format!("{at:011o}\0{length:011o}\0").as_bytes());
                }
                block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
            })
            .end()
    };
    vec![
        ("pieces that overlap", mapped(b"100", b"0,10,5,10", b"01234567890123456789"), at(1024, "piece 2 begins at 5, expected 10 or more")),
        ("pieces that go back", mapped(b"100", b"50,1,0,1", b"ab"), at(1024, "piece 2 begins at 0, expected 51 or more")),
        ("piece past the size", mapped(b"9", b"0,10", b"0123456789"), at(1024, "the last piece ends at 10, past the size 9")),
        ("more pieces than data", mapped(b"99", b"0,10,20,10", b"0123456789"), at(1024, "the pieces have 20 bytes together, found 10 in the archive")),
        ("less pieces than data", mapped(b"99", b"0,5", b"0123456789"), at(1024, "the pieces have 5 bytes together, found 10 in the archive")),
        ("half a piece", mapped(b"99", b"0,10,20", b"0123456789"), at(1024, "the map has 3 numbers, expected pairs")),
        ("map that is none", mapped(b"99", b"0,ten", b"0123456789"), "entry `a` at byte 1024: `GNU.sparse.map` is `ten`, expected decimal digits".to_owned()),
        ("piece at the end of numbers", mapped(b"99", b"9223372036854775807,9223372036854775807", b""), at(1024, "the last piece ends at 18446744073709551614, past the size 99")),
        ("no size", raw().pax(b'x', &[("GNU.sparse.map", b"0,1")]).file("a", "x").end(), at(1024, "no record says the size of the file")),
        ("version from the future", raw().pax(b'x', &[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"1")]).file("a", "x").end(), at(1024, "format 2.1, expected 0.0, 0.1 or 1.0")),
        ("map longer than the data", in_data(b"10", b"99\n0\n1\n"), at(1024, "the map is longer than the data")),
        ("map without numbers", in_data(b"10", &[b'x'; 512]), at(1024, "the map is longer than the data")),
        ("map of blanks", in_data(b"10", &[b"\n".as_slice(), &[0; 511]].concat()), "entry `a` at byte 1024: `sparse map` is ``, expected decimal digits".to_owned()),
        ("endless hole", mapped(b"9223372036854775807", b"0,1", b"x"), "entry `a` at byte 1024: bytes of holes in sparse files: found 9223372036854775806, at most 17179869184 allowed".to_owned()),
        ("old pieces that overlap", old(&[(0, 10), (5, 10)], 100, b"01234567890123456789"), at(0, "piece 2 begins at 5, expected 10 or more")),
        ("old piece past the size", old(&[(0, 10)], 9, b"0123456789"), at(0, "the last piece ends at 10, past the size 9")),
        ("sparse without GNU's header", raw().entry(b'S', "a", b"").end(), "entry `a` at byte 0: type `S`, expected one of `0` to `7`, `g`, `x`, `K`, `L`, `S`".to_owned()),
    ]
}
