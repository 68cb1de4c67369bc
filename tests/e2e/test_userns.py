"""Containers in user namespaces: what they see of their image's owners, and what it costs, over layers of each kind.

docs/engines.md, "User namespaces", says it in words. The images' files have owners from 0 to 65535, and the namespaces map
65536 ids: a container should see each file as it is in the image.
"""

import contextlib
import random
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import engine_cri
import placed
import probe
import probe_image
import rig
import test_probe
from engine_cri import FOREVER
from probe_image import directory, file, symlink, whiteout

REPOSITORY = "docker.io/library/"
FIRST_ID, IDS = 100_000, 65_536
NOBODY = 65_534
LARGE = 3 << 20
# What a container writes by itself, and its directories.
LITTLE = 256 << 10
# A list that names a user, and what the user's name becomes where nobody maps it.
ACL, ACL_OF_NOBODY = (
    test_probe.acl(
        (test_probe.USER_OBJ, 6, test_probe.NOBODY), (test_probe.USER, 4, user), (test_probe.GROUP_OBJ, 4, test_probe.NOBODY),
        (test_probe.MASK, 6, test_probe.NOBODY), (test_probe.OTHER, 4, test_probe.NOBODY),
    )
    for user in (1234, test_probe.NOBODY)
)  # fmt: skip


def base():
    # Busybox, that is; it is what it is called.
    return [test_probe.program(), directory(b"bin"), engine_cri.sleep(), symlink(b"bin/touch", b"sleep")]


def owners():
    """Files that everybody may read, of many owners, and all that hangs on owners."""
    return [
        [
            *base(),
            directory(b"d", 0o755, uid=33, gid=34),
            file(b"d/acl", b"x", mode=0o664, xattrs={"system.posix_acl_access": ACL}),
            file(b"d/capable", b"c", mode=0o755, xattrs={"security.capability": test_probe.capability(13)}),
            file(b"d/gone", b"1"),
            file(b"d/setgid", b"s", mode=0o2755, uid=7, gid=8),
            file(b"d/setuid", b"s", mode=0o4755, uid=7, gid=8),
            symlink(b"d/symlink", b"user", uid=5, gid=6),
            file(b"d/user", b"u", mode=0o644, uid=1000, gid=1001),
            file(b"large", random.Random(1).randbytes(LARGE)),
        ],
        [directory(b"d", 0o755, uid=33, gid=34), file(b"second", b"2", uid=65_535, gid=65_535), whiteout(b"d/gone")],
    ]


IMAGES = {
    "owners": owners(),
    # One layer only: the container has no overlay of several.
    "single": [[*base(), file(b"user", b"u", uid=1000, gid=1001)]],
    # What only its owner may read, who is the container's root.
    "private": [[*base(), directory(b"private", 0o700), file(b"private/key", b"k", mode=0o600)], [file(b"second")]],
    # An owner that the namespace does not have.
    "outside": [[*base(), file(b"outside", b"o", uid=70_000, gid=70_000)], [file(b"second")]],
}


def name_of(key):
    return f"{REPOSITORY}{key}:1"


class Container(NamedTuple):
    pid: int
    execute: Callable  # gets an argv, returns stdout; an error where the command fails


class Seen(NamedTuple):
    """What came of a container in a user namespace."""

    id_map: list  # first id inside, first id outside, how many
    listed: probe.Found
    snapshots: int  # how many there are more for good, beside the container's own
    bytes: int  # how much more there is in the snapshots


# What a container sees, in the words of the tests below.


def as_in_the_image(entry):
    pass


def copied(entry):
    """Each file is copied and gets the owner that it should have; what the kernel takes away when owners change is lost."""
    if entry["path"] == "/d/capable":
        del entry["xattrs"]
    unmapped_acl(entry)


def copied_without_setuid(entry):
    copied(entry)
    if entry["path"] in ("/d/setgid", "/d/setuid"):
        entry["mode"] = "0755"


def of_nobody(entry):
    """All files belong to nobody; none but those that the engine makes is the container's root's."""
    if entry["path"] != "/":
        entry["uid"] = entry["gid"] = NOBODY
    unmapped_acl(entry)


def nobody_outside(entry):
    if entry["path"] == "/outside":
        entry["uid"] = entry["gid"] = NOBODY


def unmapped_acl(entry):
    if entry["path"] == "/d/acl":
        entry["xattrs"] = {"system.posix_acl_access": ACL_OF_NOBODY.hex()}


class Row(NamedTuple):
    """What is to be expected of a way to run a container, with some versions."""

    way: str
    since: tuple  # the versions of containerd
    before: tuple
    change: Callable = None  # of what is in the image to what is seen
    copies: bool = False  # all files of the image, into a snapshot of its own
    mapped: bool = True  # it has a user namespace
    refused: str = None  # with this message


OLDEST, NEWEST = (1,), (3,)
# `ctr run --uidmap`, the same with `--remap-labels`, and a pod with `hostUsers: false`.
WAYS = ("ctr", "ctr-labels", "cri")


class Case(unittest.TestCase):
    """An engine with the images; `rows` says what is to be seen with it."""

    rows = ()

    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory()
        cls.archives = {engine_cri.PAUSE: engine_cri.pause_archive(cls.directory)}
        for key, layers in IMAGES.items():
            files = probe_image.image_files(name_of(key), layers, ("oci",))
            cls.archives[name_of(key)] = probe_image.write_archive(cls.directory / f"{key}.tar", files)
        cls.containerd = cls.engine()
        cls.cri = engine_cri.Cri(cls.containerd)

    @classmethod
    def engine(cls):
        """A containerd that runs, set up for pods, with the images of `archives` in k8s.io; it ends with the class."""
        raise NotImplementedError

    # Running containers

    @contextlib.contextmanager
    def container(self, way, image, first=FIRST_ID):
        """A container that waits, in a user namespace."""
        # containerd takes the mapped copy of a layer that an earlier container has left, though nothing refers to it any more: it
        # may be collected before this one does.
        self.containerd.collect_garbage()
        if way == "cri":
            with self.cri.pod(mapping=(first, IDS)) as pod:
                identity = self.cri.create_container(pod, name_of(image), ["/bin/sleep", FOREVER])
                self.cri.start(identity)
                yield self.running(identity)
            return
        mapping = f"0:{first}:{IDS}"
        labels = ["--remap-labels"] if way == "ctr-labels" else []
        options = ["--uidmap", mapping, "--gidmap", mapping, *labels]
        identity = self.containerd.start_container(name_of(image), ["/bin/sleep", FOREVER], options=options)
        try:
            yield self.running(identity)
        finally:
            self.containerd.ctr("tasks", "delete", "--force", identity)
            self.containerd.ctr("containers", "delete", identity)

    def running(self, identity):
        tasks = (line.split() for line in self.containerd.ctr("tasks", "list").stdout.splitlines())
        (pid,) = (int(pid) for task, pid, _ in tasks if task == identity)

        def execute(argv):
            return self.containerd.ctr("tasks", "exec", "--exec-id", "probe", identity, *argv).stdout

        return Container(pid, execute)

    def seen(self, way, image, **options):
        # What an earlier container has left would count.
        self.containerd.collect_garbage()
        snapshots, size = self.committed(), self.size()
        with self.container(way, image, **options) as container:
            listed = probe.parse(container.execute([probe.PROBE]))
            id_map = [int(number) for number in Path(f"/proc/{container.pid}/uid_map").read_text().split()]
            return Seen(id_map, listed, len(self.committed() - snapshots), self.size() - size)

    def committed(self):
        lines = self.containerd.ctr("snapshots", "list").stdout.splitlines()[1:]
        return {line.split()[0] for line in lines if line.split()[-1] == "Committed"}

    def size(self):
        """How much the snapshots take, without what links in them lead to."""
        snapshots = self.containerd.root / "io.containerd.snapshotter.v1.overlayfs/snapshots"
        return int(rig.run(["du", "-s", "--block-size=1", "--one-file-system", snapshots]).stdout.split()[0])

    # What is expected

    @contextlib.contextmanager
    def row(self, way):
        """What the table says of a way with this engine, for a subtest."""
        with self.subTest(way=way, engine=str(self.containerd)):
            (row,) = (row for row in self.rows if row.way == way and row.since <= self.containerd.version < row.before)
            yield row

    def expected(self, image, change):
        entries = [dict(entry) for entry in probe_image.listing(IMAGES[image])]
        for entry in entries:
            change(entry)
        return entries

    def assert_sees(self, image, change, found):
        self.assertEqual(probe.differences(self.expected(image, change), found.listed, self.cri), "")

    def assert_refused(self, way, image, message):
        with self.assertRaisesRegex(AssertionError, message):
            self.seen(way, image)


class Tests:
    """The tests of each kind of layers."""

    def test_what_a_container_sees_and_what_it_costs(self):
        for way in WAYS:
            with self.row(way) as row:
                if row.refused:
                    self.assert_refused(way, "owners", row.refused)
                    continue
                found = self.seen(way, "owners")
                self.assertEqual(found.id_map, [0, FIRST_ID, IDS] if row.mapped else [0, 0, 2**32 - 1])
                self.assert_sees("owners", row.change, found)
                self.assert_costs(way, row, found)

    def assert_costs(self, way, row, found):
        # CRI has the image of the sandbox copied too.
        self.assertEqual(found.snapshots, (2 if way == "cri" else 1) if row.copies else 0)
        if row.copies:
            self.assertGreater(found.bytes, sum(len(entry.content) for layer in IMAGES["owners"] for entry in layer))
        else:
            self.assertLess(found.bytes, LITTLE)

    def test_an_image_of_one_layer(self):
        for way in WAYS:
            with self.row(way) as row:
                if row.refused:
                    self.assert_refused(way, "single", row.refused)
                else:
                    self.assert_sees("single", row.change, self.seen(way, "single"))

    def test_what_only_root_may_read(self):
        for way in WAYS:
            with self.row(way) as row:
                if row.refused:
                    self.assert_refused(way, "private", row.refused)
                elif row.change is of_nobody:
                    self.assert_refused(way, "private", "`/private`: Permission denied")
                else:
                    self.assert_sees("private", row.change, self.seen(way, "private"))

    def test_what_root_may_change(self):
        for way in WAYS:
            with self.row(way) as row:
                if row.refused:
                    continue
                with self.container(way, "private") as container:
                    if row.change is of_nobody:
                        with self.assertRaisesRegex(AssertionError, "/second: Permission denied"):
                            container.execute(["/bin/touch", "/second"])
                    else:
                        container.execute(["/bin/touch", "/second"])

    def test_an_owner_that_the_namespace_does_not_have(self):
        for way in WAYS:
            with self.row(way) as row:
                if row.refused:
                    self.assert_refused(way, "outside", row.refused)
                elif row.copies and self.containerd.version >= (2,):
                    self.assert_refused(way, "outside", "container ID 70000 cannot be mapped to a host ID")
                else:
                    change = nobody_outside if row.mapped and row.change is not of_nobody else row.change
                    self.assert_sees("outside", change, self.seen(way, "outside"))

    def test_copies_are_shared_by_containers_with_the_same_ids_only(self):
        self.containerd.collect_garbage()
        with self.container("ctr", "owners"):
            before = self.size()
            with self.container("ctr", "owners"):
                self.assertLess(self.size() - before, LITTLE)
            with self.container("ctr", "owners", first=FIRST_ID + IDS):
                self.assertGreater(self.size() - before, LARGE)
        # No container has them any more.
        self.containerd.collect_garbage()
        self.assertLess(self.size(), before - LARGE)


ROWS = [
    Row("ctr", OLDEST, (2,), copied_without_setuid, copies=True),
    Row("ctr", (2,), NEWEST, copied, copies=True),
    # The labels go to a snapshotter that does not know them.
    Row("ctr-labels", OLDEST, (1, 7), refused="rootfs/proc: permission denied"),
    Row("ctr-labels", (1, 7), (2,), copied_without_setuid, copies=True),
    # The field is newer than 1.6, which passes over it: the container's root is that of the host.
    Row("cri", OLDEST, (1, 7), as_in_the_image, mapped=False),
    Row("cri", (1, 7), (2,), copied_without_setuid, copies=True),
]


class Imported(Tests, Case):
    """Layers that containerd unpacked."""

    rows = [*ROWS, Row("ctr-labels", (2,), NEWEST, as_in_the_image), Row("cri", (2,), NEWEST, as_in_the_image)]

    @classmethod
    def engine(cls):
        containerd = cls.enterClassContext(engine_cri.Node())
        for archive in cls.archives.values():
            engine_cri.Cri(containerd).load(archive)
        return containerd


class Placed(Tests, Case):
    """A root that ociseed placed, whose layers are links into a medium.

    Since 2.1.5 containerd maps ids for the one directory that all snapshots lie in (containerd#12092), and what is linked from
    there lies elsewhere.
    """

    NOWHERE = "lowerdir=/tmp/ovl-idmapped.*no such file or directory"
    rows = [*ROWS, Row("ctr-labels", (2,), NEWEST, refused=NOWHERE), Row("cri", (2,), NEWEST, refused=NOWHERE)]

    @classmethod
    def engine(cls):
        medium = cls.enterClassContext(placed.of_archives(cls.directory, cls.archives))
        containerd = engine_cri.Node()
        medium.place(containerd.root)
        return cls.enterClassContext(containerd)

    def test_the_layers_lie_on_the_medium(self):
        self.containerd.collect_garbage()
        self.assertLess(self.size(), LITTLE)
        with self.container("ctr", "owners"):
            self.assertGreater(self.size(), LARGE)


if __name__ == "__main__":
    unittest.main()
