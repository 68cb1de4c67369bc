//! Debian packages: those that dpkg-deb makes are read as dpkg-deb reads them, and those that lie are refused.

mod common;

use std::path::Path;

use cap_std::fs::Dir;
use common::{Raw, chain, directory, file, lines, read, run, scratch};
use ociseed_tree::deb::{self, Deb};
use ociseed_tree::{Content, Node};

const CONTROL: &str = "Package: sample\nVersion: 1:2.0-3\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n\
    Description: a sample\n with more lines\n";
const MD5SUMS: &str = "d41d8cd98f00b204e9800998ecf8427e  usr/share/sample/empty\n";

/// Makes the directory that dpkg-deb packs.
fn sources(dir: &Dir) {
    use cap_std::fs::{Permissions, PermissionsExt as _};
    let mode = |path: &str, mode| dir.set_permissions(path, Permissions::from_mode(mode)).expect(path);
    for path in ["DEBIAN", "usr/bin", "usr/share/sample", "var/spool/sample"] {
        dir.create_dir_all(path).expect(path);
    }
    for (path, text, bits) in [
        ("DEBIAN/control", CONTROL, 0o644),
        ("DEBIAN/md5sums", MD5SUMS, 0o644),
        ("DEBIAN/postinst", "#!/bin/sh\n", 0o755),
        ("DEBIAN/config", "#!/bin/sh\n", 0o755),
        ("usr/bin/sample", "#!/bin/sh\nexit 0\n", 0o4755),
        ("usr/share/sample/empty", "", 0o644),
        ("usr/share/sample/ünï", "text", 0o600),
        (&format!("usr/share/sample/{}", "n".repeat(200)), "long", 0o644),
    ] {
        dir.write(path, text).expect(path);
        mode(path, bits);
    }
    for path in ["DEBIAN", "usr", "usr/bin", "usr/share", "usr/share/sample", "var", "var/spool", "."] {
        mode(path, 0o755);
    }
    mode("var/spool/sample", 0o1733);
    dir.symlink("../bin/sample", "usr/share/sample/link").expect("link");
    dir.hard_link("usr/bin/sample", dir, "usr/bin/sample2").expect("link");
}

/// Makes a package, compressed as `-Z` says.
fn package(name: &str, compression: &str) -> (Vec<u8>, String) {
    let (path, dir) = directory(name);
    dir.create_dir("root").expect("new");
    sources(&dir.open_dir("root").expect("made just now"));
    let deb = format!("{path}/sample.deb");
    let find = ["-h", "-d", "@1700000000"];
    let paths = run("find", &[&format!("{path}/root")], b"");
    let paths = String::from_utf8(paths).expect("UTF-8");
    let all: Vec<&str> = find.into_iter().chain(paths.lines()).collect();
    run("touch", &all, b"");
    run("dpkg-deb", &["--root-owner-group", compression, "-b", &format!("{path}/root"), &deb], b"");
    (run("cat", &[&deb], b""), deb)
}

fn read_deb(bytes: &[u8]) -> Result<Deb, deb::DebError> {
    deb::read(file(bytes), Path::new("in.deb").into(), &mut scratch)
}

/// Sees that a package's tree is what dpkg-deb makes of the package.
fn same_as_dpkg_deb(deb: &Deb, path: &str, scratch: &str) {
    let tar = run("dpkg-deb", &["--fsys-tarfile", path], b"");
    assert_eq!(lines(&deb.tree), lines(&read(&tar).expect("a tar")), "{path}");
    let (root, _) = directory(scratch);
    run("dpkg-deb", &["-x", path, &root], b"");
    for (path, entry) in &deb.tree {
        let at = format!("{root}{path}");
        let (kind, size) = match &entry.node {
            // dpkg-deb puts links last, which changes the times of their directories.
            Node::Directory { .. } => {
                run("touch", &["-d", &format!("@{}", entry.stat.mtime.seconds()), &at], b"");
                (0o040_000, None)
            }
            Node::Symlink(target) => (0o120_000, Some(target.len() as u64)),
            Node::File(content) => {
                let mut bytes = Vec::new();
                content.copy_to(&mut bytes).expect("the archive is there");
                assert!(bytes == run("cat", &[&at], b""), "{path}");
                (0o100_000, Some(content.size()))
            }
            Node::Link(target) => {
                run("test", &[&at, "-ef", &format!("{root}{target}")], b"");
                (0o100_000, None)
            }
            other => panic!("{path}: {other:?}"),
        };
        let found = String::from_utf8(run("stat", &["-c", "%f %Y %s %N", &at], b"")).expect("UTF-8");
        let expected =
            format!("{:x} {} ", kind | u32::from(entry.stat.mode.bits()), entry.stat.mtime.seconds());
        assert!(found.starts_with(&expected), "{path}: {expected} {found}");
        let size = size.map(|size| format!("{expected}{size} "));
        assert!(size.is_none_or(|size| found.starts_with(&size)), "{path}: {found}");
    }
}

#[test]
fn packages_in_every_compression_are_what_dpkg_deb_says() {
    for compression in ["-Znone", "-Zgzip", "-Zxz", "-Zzstd"] {
        let (bytes, path) = package(&format!("deb{compression}"), compression);
        let deb = read_deb(&bytes).unwrap_or_else(|error| panic!("{compression}: {}", chain(&error)));
        same_as_dpkg_deb(&deb, &path, &format!("deb-root{compression}"));
        let package = &deb.package;
        let said = [&package.name, &package.version, &package.architecture].map(String::as_str);
        assert_eq!(said, ["sample", "1:2.0-3", "all"], "{compression}");
        assert_eq!(package.scripts, ["config", "postinst"], "{compression}");
        let status: Vec<_> = deb
            .status_files()
            .into_iter()
            .map(|(path, entry)| (path.to_string(), text(&entry.node)))
            .collect();
        let expected =
            [("/var/lib/dpkg/status.d/sample", CONTROL), ("/var/lib/dpkg/status.d/sample.md5sums", MD5SUMS)];
        assert_eq!(status, expected.map(|(path, text)| (path.to_owned(), text.to_owned())), "{compression}");
    }
}

fn text(node: &Node) -> String {
    let Node::File(content) = node else { panic!("{node:?}") };
    text_of(content)
}

fn text_of(content: &Content) -> String {
    let mut bytes = Vec::new();
    content.copy_to(&mut bytes).expect("in memory");
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn old_compressions_are_read_too() {
    let (bytes, path) = package("deb-old", "-Znone");
    let plain = lines(&read_deb(&bytes).expect("plain").tree);
    let part = |name: &str| run("ar", &["p", &path, name], b"");
    for (program, end) in [("bzip2", "bz2"), ("lzma", "lzma")] {
        // dpkg takes these for data only.
        let data = (format!("data.tar.{end}"), run(program, &["-c"], &part("data.tar")));
        let control = (format!("control.tar.{end}"), run(program, &["-c"], &part("control.tar")));
        let both = ar(&[("debian-binary", b"2.0\n"), (&control.0, &control.1), (&data.0, &data.1)]);
        let both = read_deb(&both).unwrap_or_else(|error| panic!("{end}: {}", chain(&error)));
        assert_eq!((lines(&both.tree), both.package.name.as_str()), (plain.clone(), "sample"), "{end}");

        let one =
            ar(&[("debian-binary", b"2.0\n"), ("control.tar", &part("control.tar")), (&data.0, &data.1)]);
        let (dir, ambient) = directory(&format!("deb-{end}"));
        ambient.write("one.deb", &one).expect("new");
        let read = read_deb(&one).unwrap_or_else(|error| panic!("{end}: {}", chain(&error)));
        same_as_dpkg_deb(&read, &format!("{dir}/one.deb"), &format!("deb-root-{end}"));
    }
}

/// An `ar` archive made member by member.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, data) in members {
        bytes.extend(
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).bytes(),
        );
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

fn control_tar(control: &str) -> Vec<u8> {
    Raw::default().directory("./").file("./control", control).end()
}

#[test]
fn names_of_members_are_gnus_or_bsds() {
    let (control, data) = (control_tar(CONTROL), Raw::default().file("./a", "x").end());
    let bsd = [b"data.tar\0\0\0\0", &data[..]].concat();
    let extra = &b"odd"[..];
    for members in [
        [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar", &data), ("_more", extra)],
        [
            ("debian-binary/", b"2.1\nmore\n"),
            ("_gpgbuilder", extra),
            ("control.tar/", &control),
            ("data.tar/", &data),
        ],
        [("debian-binary", b"2.0\n"), ("control.tar", &control), ("#1/12", &bsd), ("later", extra)],
    ] {
        let deb = read_deb(&ar(&members)).unwrap_or_else(|error| panic!("{members:?}: {}", chain(&error)));
        assert_eq!(common::paths(&deb.tree), ["a: x"]);
        assert_eq!((deb.md5sums, deb.package.scripts), (None, Vec::new()));
    }
}

#[test]
fn packages_that_lie_are_refused() {
    let (control, data) = (control_tar(CONTROL), Raw::default().file("./a", "x").end());
    let version = ("debian-binary", &b"2.0\n"[..]);
    let whole = ar(&[version, ("control.tar", &control), ("data.tar", &data)]);
    let patched = |at: usize, bytes: &[u8]| {
        let mut patched = whole.clone();
        patched[at..at + bytes.len()].copy_from_slice(bytes);
        patched
    };
    let escape = Raw::default().file("../a", "x").end();
    let bare = |member: (&str, &[u8])| ar(&[version, member, ("data.tar", &data)]);
    let at_data = 8 + 60 + 4 + 60 + control.len();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            b"PK\x03\x04".to_vec(),
            "`in.deb`: expected `!<arch>` and a newline, found `PK\\u{3}\\u{4}`: no Debian package",
        ),
        (Vec::new(), "`in.deb`: expected `!<arch>` and a newline, found ``: no Debian package"),
        (ar(&[]), "`in.deb`: no member `debian-binary`"),
        (ar(&[version]), "`in.deb`: no member `control.tar`"),
        (ar(&[version, ("control.tar", &control)]), "`in.deb`: no member `data.tar`"),
        (ar(&[("control.tar", &control)]), "`in.deb`: member `control.tar`, expected `debian-binary`"),
        (ar(&[version, ("data.tar", &data)]), "`in.deb`: member `data.tar`, expected `control.tar`"),
        (
            ar(&[version, ("control.tar.Z", &control)]),
            "`in.deb`: member `control.tar.Z`, expected `control.tar`",
        ),
        (
            ar(&[version, ("control.tar", &control), ("data.tar", &data), ("data.tar.xz", b"")]),
            "`in.deb`: two members `data.tar`",
        ),
        (
            ar(&[version, ("control.tar", &control), ("data.tar", &data), ("control.tar", b"")]),
            "`in.deb`: two members `control.tar`",
        ),
        (ar(&[("debian-binary", b"3.0\n")]), "`in.deb`: `debian-binary` says `3.0`, expected 2.0"),
        (ar(&[("debian-binary", b"2.0")]), "`in.deb`: `debian-binary` says `2.0`, expected 2.0"),
        (ar(&[("debian-binary", b"2.\n")]), "`in.deb`: `debian-binary` says `2.`, expected 2.0"),
        (
            bare(("control.tar.gz", &control)),
            "`in.deb`: member `control.tar.gz`: the data are not compressed",
        ),
        (
            bare(("control.tar", b"hello")),
            "`in.deb/control.tar`: byte 0: the tar ends without two zero blocks: it was cut",
        ),
        (bare(("control.tar", &[0; 1024])), "`in.deb`: `control`: not in the control archive"),
        (
            bare(("control.tar", &Raw::default().directory("control/").end())),
            "`in.deb`: `control`: not a file",
        ),
        (
            bare(("control.tar", &control_tar("Package: ../x\nVersion: 1\nArchitecture: all\n"))),
            "`in.deb`: `control`: field `Package` is `../x`, expected a package's name",
        ),
        (
            bare(("control.tar", &control_tar(&"#\n".repeat(524_289)))),
            "`in.deb`: `control`: has 1048578 bytes, at most 1048576 allowed",
        ),
        (
            ar(&[version, ("control.tar", &control), ("data.tar", &escape)]),
            "`in.deb/data.tar`: entry `../a` at byte 0: the path `../a` has a `..` part",
        ),
        (
            patched(at_data + 48, b"2049      "),
            "`in.deb`: member `data.tar` has 2049 bytes, found 2048 before the end of the archive",
        ),
        (
            patched(at_data + 48, b"9999999999"),
            "`in.deb`: member `data.tar` has 9999999999 bytes, found 2048 before the end of the archive",
        ),
        (
            patched(at_data + 48, b"-1        "),
            "`in.deb`: expected the header of a member at byte AT, found `HEADER`",
        ),
        (
            patched(at_data + 58, b"xx"),
            "`in.deb`: expected the header of a member at byte AT, found `HEADER`",
        ),
        (patched(at_data, b"#1/256"), "`in.deb`: expected the header of a member at byte AT, found `HEADER`"),
        (
            whole[..at_data + 30].to_vec(),
            "`in.deb`: expected the header of a member at byte AT, found `HEADER`",
        ),
    ];
    for (bytes, expected) in cases {
        let found = read_deb(&bytes).map_or_else(|error| chain(&error), |_| "no error".to_owned());
        let header = bytes.get(at_data..bytes.len().min(at_data + 60)).unwrap_or_default();
        let header = String::from_utf8_lossy(header).replace('\n', "\\n");
        let expected = expected.replace("AT", &at_data.to_string()).replace("HEADER", &header);
        assert_eq!(found, expected);
    }
    assert!(read_deb(&whole).is_ok());
    for length in (0..whole.len()).step_by(13) {
        assert!(read_deb(&whole[..length]).is_err(), "{length}");
    }
}
