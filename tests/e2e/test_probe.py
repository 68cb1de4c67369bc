"""What engines make of an image whose files have everything that a tar can say, seen from inside a container."""

import contextlib
import dataclasses
import struct
import types
import unittest

import probe
import probe_image
import rig
from probe_image import Entry, directory, file, link, opaque, symlink, whiteout

NANOSECONDS = 1_700_000_000_123_456_789


def program():
    return file(b"ociseed-probe", (rig.BINARIES / "ociseed-probe").read_bytes(), mode=0o755)


def capability(*bits):
    """The value of security.capability: version 2, effective, with these bits permitted."""
    low = sum(1 << bit for bit in bits)
    return struct.pack("<IIIII", 0x02000001, low, 0, 0, 0)


def acl(*entries):
    """The value of an ACL: its version, then tag, permissions and id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 16, 32
ACCESS = acl((USER_OBJ, 6, NOBODY), (USER, 4, 1234), (GROUP_OBJ, 4, NOBODY), (MASK, 6, NOBODY), (OTHER, 4, NOBODY))
DEFAULT = acl((USER_OBJ, 7, NOBODY), (USER, 7, 4321), (GROUP_OBJ, 5, NOBODY), (MASK, 7, NOBODY), (OTHER, 5, NOBODY))


def base():
    several = file(b"links/a/z", b"one file", mode=0o4751, uid=7, gid=8, mtime_ns=NANOSECONDS)
    capable = file(b"links/ping", b"ping", mode=0o755, xattrs={"security.capability": capability(13)})
    pointer = symlink(b"links/s", b"a/z", mtime_ns=NANOSECONDS)
    char = Entry("char", b"nodes/null", 0o666, 0, 5, device=(1, 3))
    return [
        program(),
        directory(b"etc"),
        file(b"etc/motd", b"hello\n"),
        directory(b"modes", mtime_ns=NANOSECONDS),
        directory(b"modes/sticky", 0o1777),
        directory(b"modes/setgid", 0o2775, gid=50),
        file(b"modes/setuid", b"#!", mode=0o4755),
        file(b"modes/setgid-file", b"#!", mode=0o2711, gid=50),
        file(b"modes/none", b"", mode=0o000),
        file(b"modes/large-owner", b"4", mode=0o4700, uid=4_000_000, gid=3_000_000),
        directory(b"times", mtime_ns=1),
        file(b"times/early", mtime_ns=-1_500_000_000),
        file(b"times/epoch", mtime_ns=0),
        file(b"times/late", mtime_ns=9_999_999_999_000_000_001),
        file(b"times/nanoseconds", mtime_ns=NANOSECONDS),
        symlink(b"times/symlink", b"epoch", mtime_ns=NANOSECONDS),
        symlink(b"times/early-symlink", b"epoch", mtime_ns=-1),
        symlink(b"times/late-symlink", b"epoch", mtime_ns=9_999_999_999_000_000_001),
        directory(b"links"),
        directory(b"links/a"),
        several,
        link(b"links/a-b", several),
        capable,
        link(b"links/ping-too", capable),
        pointer,
        link(b"links/s-too", pointer),
        directory(b"nodes"),
        char,
        link(b"nodes/null-too", char),
        Entry("char", b"nodes/large", 0o600, device=(511, 70_000)),
        Entry("block", b"nodes/loop", 0o660, 0, 6, device=(7, 200), mtime_ns=NANOSECONDS),
        Entry("fifo", b"nodes/fifo", 0o622, 9, 9, mtime_ns=NANOSECONDS),
        directory(b"names"),
        file(b"names/caf\xe9", b"latin-1"),
        file(b"names/back\\slash \xc3\xa9\n", b"odd"),
        file(b"names/" + b"n" * 255, b"long name"),
        directory(b"names/" + b"d" * 150),
        file(b"names/" + b"d" * 150 + b"/" + b"f\xff" * 75, b"long path"),
        symlink(b"names/target", b"../" + b"t\xfe" * 100),
        directory(b"xattrs", xattrs={"user.directory": b"yes"}),
        file(b"xattrs/capability", b"ping", mode=0o755, uid=3, xattrs={"security.capability": capability(10, 13)}),
        file(b"xattrs/empty", xattrs={"user.empty": b"", "user.full": b"1"}),
        file(b"xattrs/trusted", xattrs={"trusted.ociseed": b"1"}),
        file(b"xattrs/user", b"x", xattrs={"user.a": b"hello", "user.binary": b"\0\xff\n=", "user.long": b"v" * 1000}),
        directory(b"acl"),
        file(b"acl/access", b"x", mode=0o664, xattrs={"system.posix_acl_access": ACCESS}),
        directory(b"acl/default", xattrs={"system.posix_acl_default": DEFAULT}),
        # Made in a directory with a default ACL, it would get one of its own.
        file(b"acl/default/below", b"x", xattrs={"system.posix_acl_access": probe_image.NO_ACL}),
        directory(b"changes"),
        directory(b"changes/opaque"),
        file(b"changes/opaque/hidden", b"1"),
        directory(b"changes/opaque/both", 0o700),
        file(b"changes/opaque/both/hidden", b"1"),
        file(b"changes/removed", b"1"),
        directory(b"changes/removed-directory"),
        file(b"changes/removed-directory/below", b"1"),
        file(b"changes/file-to-directory", b"1"),
        directory(b"changes/directory-to-file"),
        file(b"changes/directory-to-file/below", b"1"),
        directory(b"changes/chmod", 0o755, xattrs={"user.old": b"1"}),
        file(b"changes/chmod/kept", b"kept", mtime_ns=NANOSECONDS),
        file(b"changes/replaced", b"old", mode=0o600, xattrs={"user.old": b"1"}),
    ]


def changes():
    return [
        directory(b"changes", mtime_ns=NANOSECONDS),
        directory(b"changes/opaque"),
        opaque(b"changes/opaque"),
        directory(b"changes/opaque/both", 0o750),
        file(b"changes/opaque/both/new", b"2"),
        whiteout(b"changes/removed"),
        whiteout(b"changes/removed-directory"),
        directory(b"changes/file-to-directory"),
        file(b"changes/file-to-directory/below", b"2"),
        file(b"changes/directory-to-file", b"2"),
        directory(b"changes/chmod", 0o700, uid=5, xattrs={"user.new": b"2"}),
        file(b"changes/replaced", b"new", mode=0o640, mtime_ns=NANOSECONDS),
    ]


def deep(count=120):
    """Layers that each add a file, replace one, and remove the file of the layer before but one."""
    layers = [[program(), directory(b"deep")]]
    for number in range(1, count):
        layer = [directory(b"deep", mtime_ns=number), file(b"deep/last", b"%d" % number)]
        layer.append(file(b"deep/%03d" % number, b"%d" % number, mtime_ns=NANOSECONDS + number))
        if number > 2:
            layer.append(whiteout(b"deep/%03d" % (number - 2)))
        layers.append(layer)
    return layers

KINDS = {"docker": ("docker",), "oci": ("oci",), "both": ("docker", "oci")}


def torture(kind):
    """The image that has everything; different for each kind of archive, so that no engine reuses what it unpacked."""
    root = directory(b"", 0o751, uid=7, gid=8, xattrs={"user.root": b"1"})
    return [[root, *base(), file(b"etc/kind", kind.encode())], changes()]


class Case(unittest.TestCase):
    """Images in archives of their own, and engines that load them: one of each for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory()
        cls.makers = rig.engines()
        cls.running = {}
        cls.addClassCleanup(cls.close_engines)

    @classmethod
    def close_engines(cls):
        while cls.running:
            cls.running.popitem()[1].close()

    def archive(self, name, layers, kinds=("docker", "oci")):
        """The archive of an image, and its name."""
        reference = f"docker.io/library/{name}:1"
        path = self.directory / f"{name}.tar"
        if not path.exists():
            probe_image.write_archive(path, probe_image.image_files(reference, layers, kinds))
        return path, reference

    @contextlib.contextmanager
    def engine(self, name):
        """An engine of the class, by its name in the rig, started when it is first asked for."""
        if name not in self.running:
            self.running[name] = self.makers[name]().__enter__()
        engine = self.running[name]
        with self.subTest(engine=str(engine)):
            try:
                yield engine
            except BaseException as error:
                error.add_note(f"--- end of the log of {engine}\n{engine.log_tail()}")
                # Nobody knows in what state it is now: the next test gets another.
                self.running.pop(name).close()
                raise

    def assert_sees(self, layers, engine, image):
        lines = probe.differences(probe_image.listing(layers), probe.inside(engine, image), engine)
        if lines:
            self.fail(f"{image}:\n{lines}")

    def assert_refuses(self, engine, path, message):
        with self.assertRaisesRegex(AssertionError, message):
            engine.load(path)
            # Docker's new store unpacks when the image is first used.
            engine.run_container(f"docker.io/library/{path.stem}:1", [probe.PROBE])


class Containers(Case):
    """What a container sees is what was put in."""

    def test_every_file_of_every_kind_of_archive(self):
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                for kind, kinds in KINDS.items():
                    path, image = self.archive(f"torture-{kind}", torture(kind), kinds)
                    if kind == "oci" and is_graph_driver(engine):
                        self.assert_refuses(engine, path, r"no such file or directory")
                    else:
                        engine.load(path)
                        self.assert_sees(torture(kind), engine, image)

    def test_every_file_of_a_layout_that_podman_pulls(self):
        image = "docker.io/library/torture-layout:1"
        files = probe_image.image_files(image, torture("layout"), ("oci",))
        layout = probe_image.write_directory(self.directory / "layout", files)
        with self.engine("podman") as podman:
            (identity,) = podman.pull(f"oci:{layout}:{image}")
            self.assert_sees(torture("layout"), podman, identity)


class Unsaid(Case):
    """What engines make of what a layer does not say, and what they refuse: why the builder writes what it does."""

    def test_what_is_left_out_differs(self):
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                path, image = self.archive("unsaid", [unsaid(), [file(b"private/new", b"2"), whiteout(b"secret/gone")]])
                engine.load(path)
                found = {entry["path"]: entry for entry in probe.inside(engine, image).entries}
                self.assert_parents(found, keeps_parents=not (is_graph_driver(engine) or engine.name == "podman"))
                self.assert_links(found, engine)
                self.assert_inherits(found)

    def assert_parents(self, found, keeps_parents):
        """A directory that no entry names is root's with 0755; containerd keeps what a lower layer says of it."""
        self.assertEqual(owner_and_mode(found["/implied"]), (0, 0, "0755"))
        self.assertEqual(owner_and_mode(found["/implied/parent"]), (0, 0, "0755"))
        for path in ("/private", "/secret"):
            self.assertEqual(owner_and_mode(found[path]), (5, 6, "0700") if keeps_parents else (0, 0, "0755"))
            self.assertEqual(found[path].get("xattrs"), {"user.a": "31"} if keeps_parents else None)
            # Not what the image says either way.
            self.assertGreater(float(found[path]["mtime"]), 1_700_000_000)

    def assert_links(self, found, engine):
        """A link's own owner, mode and time become those of the file, and chown takes its capabilities off."""
        self.assertEqual(owner_and_mode(found["/links/bare"]), (0, 0, "0644"))
        self.assertEqual(found["/links/bare"]["mtime"], "1600000000")
        self.assertEqual(found["/links/bare"]["xattrs"], {"user.a": "31"})
        # With all but the xattrs repeated, podman leaves them alone.
        kept = {"user.a": "31"} | ({"security.capability": capability(13).hex()} if engine.name == "podman" else {})
        self.assertEqual(found["/links/other"]["xattrs"], kept)

    def assert_inherits(self, found):
        """What lies in a directory with a default ACL gets an ACL, unless its entry has one, be it an empty one."""
        for path in ("/inherited/file", "/inherited/directory", "/inherited/fifo"):
            self.assertIn("system.posix_acl_access", found[path]["xattrs"], path)
        self.assertIn("system.posix_acl_default", found["/inherited/directory"]["xattrs"])
        for path in ("/inherited/file-without", "/inherited/directory-without"):
            self.assertNotIn("xattrs", found[path])

    def test_what_is_refused(self):
        below, first = file(b"below"), file(b"first")
        cases = {
            # name: layers, engines that refuse, with what words
            "user-xattr-of-fifo": (
                [[program(), Entry("fifo", b"fifo", xattrs={"user.a": b"1"})]],
                "podman",
                "operation not permitted",
            ),
            "path-twice": ([[program(), first, first]], "docker-overlay2 podman", "duplicates of file paths"),
            "link-to-lower-layer": ([[program(), below], [link(b"link", below)]], probe.ALL, "no such file"),
            "link-before-file": ([[program(), link(b"early", first), first]], probe.ALL, "no such file"),
        }
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                for name, (layers, engines, message) in cases.items():
                    path, image = self.archive(name, layers)
                    with self.subTest(case=name):
                        if probe.concerns(engines, engine):
                            self.assert_refuses(engine, path, message)
                        else:
                            engine.load(path)
                            probe.inside(engine, image)

    def test_a_device_0_0_cannot_be_seen(self):
        """Overlay takes it for a whiteout; where nothing lies below, its name is listed but it is not there."""
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                path, image = self.archive("ghost", [[program(), Entry("char", b"d/ghost", device=(0, 0))]])
                engine.load(path)
                with self.assertRaisesRegex(AssertionError, r"`/d/ghost`: No such file"):
                    probe.inside(engine, image)


def unsaid():
    """A layer with an implied directory, links that do not repeat what their file says, and inherited ACLs."""
    xattrs = {"user.a": b"1", "security.capability": capability(13)}
    named = file(b"links/bare", b"x", mode=0o4755, uid=7, mtime_ns=NANOSECONDS, xattrs=xattrs)
    other = dataclasses.replace(named, path=b"links/other")
    none = probe_image.NO_ACL
    return [
        program(),
        file(b"implied/parent/file", uid=3),
        directory(b"private", 0o700, uid=5, gid=6, mtime_ns=5, xattrs={"user.a": b"1"}),
        directory(b"secret", 0o700, uid=5, gid=6, mtime_ns=5, xattrs={"user.a": b"1"}),
        file(b"secret/gone"),
        directory(b"links"),
        named,
        Entry("link", b"links/too", target=named.path),
        other,
        dataclasses.replace(link(b"links/too2", other), xattrs={}),
        directory(b"inherited", xattrs={"system.posix_acl_default": DEFAULT}),
        file(b"inherited/file"),
        Entry("fifo", b"inherited/fifo"),
        directory(b"inherited/directory"),
        file(b"inherited/file-without", xattrs={"system.posix_acl_access": none}),
        directory(
            b"inherited/directory-without",
            xattrs={"system.posix_acl_access": none, "system.posix_acl_default": none},
        ),
    ]


def owner_and_mode(entry):
    return entry["uid"], entry["gid"], entry["mode"]


def is_graph_driver(engine):
    return engine.name == "docker" and engine.store == "overlay2"


class Comparison(unittest.TestCase):
    """The comparison finds what differs, and overlooks what its table says and no more."""

    ENGINE = types.SimpleNamespace(name="docker", store="overlay2", version=(28, 5, 2))

    def listing(self, *paths):
        return [{"kind": "directory", "mode": "0755", "mtime": "5", "path": path, "uid": 0, "gid": 0} for path in paths]

    def differences(self, expected, found, mounts=(), engine=ENGINE, **options):
        return probe.differences(expected, probe.Found(list(mounts), found), engine, **options).splitlines()

    def test_each_difference_is_a_line(self):
        expected = self.listing("/", "/gone", "/same", "/z")
        found = self.listing("/", "/new", "/same", "/z")
        found[-1] |= {"mode": "0700", "xattrs": {"user.a": "31"}}
        lines = self.differences(expected, found)
        self.assertEqual([line.partition(":")[0] for line in lines], ["/gone", "/z", "/new"])
        self.assertRegex(lines[0], r"expected \{.*\}, found nothing$")
        self.assertEqual(lines[1], '/z: expected mode "0755", found "0700"; xattrs null, found {"user.a": "31"}')
        self.assertRegex(lines[2], r"expected nothing, found \{")
        self.assertEqual(self.differences(expected, found, limit=1), [lines[0], "and 2 more"])
        self.assertEqual(self.differences(expected, expected), [])

    def test_a_time_that_nobody_said_may_differ_and_nothing_else(self):
        expected, found = self.listing("/", "/a", "/b"), self.listing("/", "/a", "/b")
        found[1] |= {"mtime": "6", "uid": 7}
        found[2] |= {"mtime": "6"}
        self.assertEqual(probe.compare(expected, found, {"/a"}), ["/a: expected uid 0, found 7", '/b: expected mtime "5", found "6"'])
        self.assertEqual(probe.compare(expected, found, {"/a", "/b"}), ["/a: expected uid 0, found 7"])
        self.assertEqual(probe.compare(expected, expected), [])
        lines = probe.compare(expected[:1], found[1:2], {"/", "/a"})
        self.assertEqual([line.split(" ")[0] for line in lines], ["/:", "/a:"])
        self.assertRegex(lines[0], "found nothing$")
        self.assertRegex(lines[1], "expected nothing")

    def test_what_the_engine_made_and_mounted_is_set_aside(self):
        expected = self.listing("/", "/app", "/dev", "/dev/hidden", "/etc")
        found = self.listing("/", "/.dockerenv", "/app", "/etc", "/etc/mtab")
        for entry in found:
            entry["mtime"] = "5" if entry["path"] == "/app" else "99"
        mounts = ["/dev", "/etc/hosts", "/proc"]
        self.assertEqual(self.differences(expected, found, mounts), [])
        # Directories that only the engine needed are the engine's.
        self.assertEqual(self.differences(self.listing("/", "/app"), found, ["/etc/hosts", "/proc"]), [])
        # What the image has itself is compared, and its directory was not changed then.
        lines = self.differences([*expected, *self.listing("/etc/mtab")], found, ["/dev", "/proc"])
        self.assertEqual([line.partition(":")[0] for line in lines], ["/etc", "/etc/mtab"])
        self.assertEqual(
            self.differences(expected, [entry for entry in found if entry["path"] != "/app"], ["/app", *mounts]),
            ["/app: a mount that the exceptions do not know"],
        )
        # podman makes no /.dockerenv.
        podman = types.SimpleNamespace(name="podman", version=(5, 4, 2))
        lines = self.differences(expected, found, mounts, podman)
        self.assertEqual([line.partition(":")[0] for line in lines], ["/", "/.dockerenv"])

    def test_words_for_engines(self):
        for words, expected in (
            ("docker", True),
            ("podman docker", True),
            ("podman", False),
            ("docker-overlay2", True),
            ("docker-containerd containerd", False),
            ("docker<28", False),
            ("docker<28.6", True),
            ("docker>=28.5", True),
            ("docker-overlay2>=29", False),
        ):
            self.assertEqual(probe.concerns(words, self.ENGINE), expected, words)

    def test_text_is_written_as_the_probe_writes_it(self):
        self.assertEqual(probe.escape(b"caf\xe9\\ \xc3\xa9"), "caf\\xe9\\\\ é")
        self.assertEqual(probe.escape(b"\xed\xa0\x80"), "\\xed\\xa0\\x80")
        for nanoseconds, text in ((0, "0"), (-1_500_000_000, "-1.5"), (10**10 + 1, "10.000000001"), (10**10, "10")):
            self.assertEqual(probe.seconds(nanoseconds), text)
        self.assertEqual(probe.in_order([b"a-b", b"a/b", b"", b"a"]), [b"", b"a", b"a/b", b"a-b"])


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
