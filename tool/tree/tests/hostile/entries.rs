//! Entries that no layer can hold, or that contradict each other.

use crate::common::Raw;
use crate::headers::{headers, pax_headers, sparse_files};

/// An archive that must be refused, and what the message says behind its name.
pub(crate) fn refused() -> Vec<(&'static str, Vec<u8>, String)> {
    let raw = Raw::default;
    let long = "n".repeat(256);
    let at = |name: &str, at: u64, text: &str| format!("entry `{name}` at byte {at}: {text}");
    let mut cases = paths_and_links();
    cases.extend(headers());
    cases.extend(pax_headers());
    cases.extend(sparse_files());
    cases.extend([
        (
            "unknown type",
            raw().entry(b'Z', "a", b"").end(),
            at("a", 0, "type `Z`, expected one of `0` to `7`, `g`, `x`, `K`, `L`, `S`"),
        ),
        (
            "socket of star",
            raw().entry(b's', "a", b"").end(),
            at("a", 0, "type `s`, expected one of `0` to `7`, `g`, `x`, `K`, `L`, `S`"),
        ),
        (
            "directory over file",
            raw().file("a", "x").directory("a").end(),
            at("a", 1024, "a directory, but a file or the like with this path came before"),
        ),
        (
            "file over directory",
            raw().directory("a/").file("a", "x").end(),
            at("a", 512, "a file or the like, but a directory with this path came before"),
        ),
        (
            "below a file",
            raw().file("a", "x").file("a/b", "x").end(),
            "entry `a/b`: is below `/a`, which is no directory".to_owned(),
        ),
        (
            "far below a file",
            raw().file("a/b/c", "x").file("a", "x").end(),
            "entry `a/b/c`: is below `/a`, which is no directory".to_owned(),
        ),
        (
            "below a symbolic link",
            raw().link(b'2', "a", "/etc").file("a/b", "x").end(),
            "entry `a/b`: is below `/a`, which is no directory".to_owned(),
        ),
        (
            "opaque file",
            raw().file("a", "").file("a/.wh..wh..opq", "").end(),
            "entry `a/.wh..wh..opq`: is below `/a`, which is no directory".to_owned(),
        ),
        (
            "whiteout of nothing",
            raw().file("d/.wh.", "").end(),
            at("d/.wh.", 0, "a whiteout of ``, expected a name behind `.wh.`"),
        ),
        (
            "whiteout of itself",
            raw().file("d/.wh..", "").end(),
            at("d/.wh..", 0, "a whiteout of `.`, expected a name behind `.wh.`"),
        ),
        (
            "whiteout of the parent",
            raw().file("d/.wh...", "").end(),
            at("d/.wh...", 0, "a whiteout of `..`, expected a name behind `.wh.`"),
        ),
        (
            "whiteout that is a directory",
            raw().directory(".wh.a/").end(),
            at(".wh.a/", 0, "a directory with a name that means a whiteout: `.wh.a`"),
        ),
        (
            "below a whiteout's name",
            raw().file(".wh.a/b", "").end(),
            at(".wh.a/b", 0, "a directory with a name that means a whiteout: `.wh.a`"),
        ),
        (
            "opaque root",
            raw().file("./.wh..wh..opq", "").end(),
            at("./.wh..wh..opq", 0, "makes the root opaque, which no layer can say"),
        ),
        (
            "long name in a whiteout",
            raw().pax(b'x', &[("path", format!(".wh.{long}").as_bytes())]).file("a", "").end(),
            at(
                &format!(".wh.{}…", &long[..116]),
                1024,
                "the path has a part of 256 bytes, at most 255 are possible",
            ),
        ),
    ]);
    cases
}

fn paths_and_links() -> Vec<(&'static str, Vec<u8>, String)> {
    let raw = Raw::default;
    let at = |name: &str, at: u64, text: &str| format!("entry `{name}` at byte {at}: {text}");
    let no_link = |target: &str, found: &str| {
        format!(
            "a hard link to `{target}`, which is {found}, expected a file, link, device or fifo before it"
        )
    };
    let long = "n".repeat(256);
    vec![
        ("escape", raw().file("../a", "x").end(), at("../a", 0, "the path `../a` has a `..` part")),
        (
            "escape in the middle",
            raw().file("a/../../b", "x").end(),
            at("a/../../b", 0, "the path `a/../../b` has a `..` part"),
        ),
        (
            "absolute escape",
            raw().file("/../a", "x").end(),
            at("/../a", 0, "the path `/../a` has a `..` part"),
        ),
        ("escape of a directory", raw().directory("..").end(), at("..", 0, "the path `..` has a `..` part")),
        (
            "escape behind AUFS's name",
            raw().file(".wh..wh.x/../../a", "").end(),
            at(".wh..wh.x/../../a", 0, "the path `.wh..wh.x/../../a` has a `..` part"),
        ),
        (
            "whiteout outside",
            raw().file("../.wh.a", "").end(),
            at("../.wh.a", 0, "the path `..` has a `..` part"),
        ),
        (
            "hard link outside",
            raw().link(b'1', "a", "../etc/shadow").end(),
            at("a", 0, "the hard link's target `../etc/shadow` has a `..` part"),
        ),
        (
            "hard link to nothing",
            raw().link(b'1', "a", "/etc/shadow").end(),
            at("a", 0, &no_link("/etc/shadow", "not there")),
        ),
        ("hard link without target", raw().link(b'1', "a", "").end(), at("a", 0, &no_link("", "not there"))),
        ("hard link to itself", raw().link(b'1', "a", "a").end(), at("a", 0, &no_link("a", "not there"))),
        (
            "hard link to what is later",
            raw().link(b'1', "a", "b").file("b", "x").end(),
            at("a", 0, &no_link("b", "not there")),
        ),
        (
            "hard links in a circle",
            raw().link(b'1', "a", "b").link(b'1', "b", "a").end(),
            at("a", 0, &no_link("b", "not there")),
        ),
        (
            "hard link to a directory",
            raw().directory("d/").link(b'1', "a", "d").end(),
            at("a", 512, &no_link("d", "a directory")),
        ),
        ("hard link to the root", raw().link(b'1', "a", "./").end(), at("a", 0, &no_link("./", "not there"))),
        (
            "hard link to an implied directory",
            raw().file("d/f", "").link(b'1', "a", "d").end(),
            at("a", 512, &no_link("d", "not there")),
        ),
        (
            "hard link to a whiteout",
            raw().file(".wh.w", "").link(b'1', "a", "w").end(),
            at("a", 512, &no_link("w", "a whiteout")),
        ),
        (
            "hard link over a directory",
            raw().file("f", "").directory("a/").link(b'1', "a", "f").end(),
            at("a", 1024, "a file or the like, but a directory with this path came before"),
        ),
        (
            "symbolic link to nothing",
            raw().link(b'2', "a", "").end(),
            at("a", 0, "a symbolic link without a target"),
        ),
        (
            "NUL in a path",
            raw().pax(b'x', &[("path", b"a\0b")]).file("a", "").end(),
            at("a\\u{0}b", 1024, "the path `a\\u{0}b` holds a NUL byte"),
        ),
        (
            "NUL in a target",
            raw().pax(b'x', &[("linkpath", b"a\0b")]).link(b'2', "l", "t").end(),
            at("l", 1024, "the symbolic link's target `a\\u{0}b` holds a NUL byte"),
        ),
        (
            "NUL in a long name",
            raw().entry(b'L', "long", b"a\0b\0").file("a", "").end(),
            at("a\\u{0}b", 1024, "the path `a\\u{0}b` holds a NUL byte"),
        ),
        (
            "long name",
            raw().pax(b'x', &[("path", long.as_bytes())]).file("a", "").end(),
            at(
                &format!("{}…", &long[..120]),
                1024,
                "the path has a part of 256 bytes, at most 255 are possible",
            ),
        ),
        (
            "file at the root",
            raw().file("./", "").file("/.", "x").end(),
            at("/.", 512, "is at the root, expected a directory there"),
        ),
        (
            "no name",
            raw().file("", "x").end(),
            "byte 0: is at the root, expected a directory there".to_owned(),
        ),
    ]
}
