"""What tests of `ociseed-loader place` have in common: seeds, running it, and looking at what it left."""

import contextlib
import hashlib
import json
import os
import stat
import subprocess
import time
import unittest
from pathlib import Path
from typing import NamedTuple

import loader_seed as seed
import rig

LOADER = rig.BINARIES / "ociseed-loader"
DATABASE = "io.containerd.metadata.v1.bolt"
CONTENT = "io.containerd.content.v1.content"
SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
STAGE = ".ociseed-place"


class Placed(NamedTuple):
    code: int
    report: dict
    log: str
    seconds: float

    @property
    def engine(self):
        (engine,) = self.report["engines"]
        return engine


def everything(layer):
    """Makes one of each kind of path in an unpacked layer."""
    all_but_whiteouts(layer)
    os.mknod(layer / "gone", stat.S_IFCHR, 0)


def all_but_whiteouts(layer):
    (layer / "dir").mkdir(mode=0o1777)
    os.chmod(layer / "dir", 0o1777)
    (layer / "dir/file").write_text("x" * 100_000)
    os.chown(layer / "dir/file", 33, 44)
    os.chmod(layer / "dir/file", 0o4755)
    os.link(layer / "dir/file", layer / "another")
    (layer / "link").symlink_to("dir/file")
    os.mkfifo(layer / "fifo", 0o600)
    os.setxattr(layer / "dir", "trusted.overlay.opaque", b"y")
    os.setxattr(layer / "dir/file", "user.comment", b"\x00\xff")
    (layer / "dir-2").write_text("behind what is in dir")
    (layer / "name with a blank, \u00e4").write_text("")


def images(extra=everything):
    """Two images that share a layer, in two namespaces."""
    base = seed.files({"/etc/motd": "hello\n", "/etc/base": seed.noise(5000, 1)})
    rich = seed.Layer(seed.tar_of([]), extra=extra)
    web = seed.Image(["docker.io/library/web:1", "docker.io/library/web:stable"], [base, rich])
    tool = seed.Image("example.org/tool:1", [base, seed.files({"/bin/tool": "#!"})], namespaces=["default", "k8s.io"])
    return [web, tool]


class PlaceCase(unittest.TestCase):
    """A test with a seed in medium form and a place for a root."""

    maxDiff = None
    # What makes the paths of a layer.
    extra = staticmethod(everything)

    def setUp(self):
        self.directory = rig.scratch_directory("p")
        self.addCleanup(self.remove)
        self.seed = self.directory / "seed"
        self.run_dir, self.state = self.directory / "run", self.directory / "state"
        self.parent = self.directory / "var"
        self.parent.mkdir()
        self.root = self.parent / "containerd"
        self.images = images(self.extra)
        self.digest = seed.write_medium(self.seed, self.images)
        self.seed_id = seed.seed_id(self.images)

    def remove(self):
        rig.unmount_below(self.directory)
        rig.run(["rm", "-rf", "--", self.directory])

    # Running it

    def command(self, *arguments, source=None):
        places = ["--root", self.root, "--run-dir", self.run_dir, "--state-dir", self.state]
        return [LOADER, "place", "--seed", source or self.seed, *places, "--wait", "0", "--json", *arguments]

    def place(self, *arguments, source=None, expect=0, tracer=()):
        start = time.monotonic()
        result = rig.run([*tracer, *self.command(*arguments, source=source)], check=False)
        seconds = time.monotonic() - start
        self.assertEqual(result.returncode, expect, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["exit-code"], expect)
        return Placed(expect, report, result.stderr, seconds)

    def status(self, *arguments):
        return rig.run([LOADER, "status", "--run-dir", self.run_dir, *arguments]).stdout

    def mount(self, point, kind="tmpfs", options="size=64m", source="tmpfs"):
        Path(point).mkdir(parents=True, exist_ok=True)
        rig.run(["mount", "-t", kind, "-o", options, source, point])
        return Path(point)

    # Looking at what it left

    @property
    def expected(self):
        return tree_of(self.seed / seed.ROOT_STORE)

    @property
    def link(self):
        return self.run_dir / "seeds" / self.seed_id[7:]

    def assert_placed(self, placed=None, root=None):
        if placed:
            self.assertEqual(placed.engine["outcome"], "placed", placed.log)
            copied = sum(len(data) for data, _ in seed.DATABASES.values())
            found = {key: placed.engine[key] for key in ("images", "layers", "copied", "reason")}
            # Two names in one namespace and one in two; three chain ids in k8s.io and two in default.
            self.assertEqual(found, {"images": 4, "layers": 5, "copied": copied, "reason": None})
        self.assertEqual(tree_of(root or self.root), self.expected)
        self.assertEqual(os.readlink(self.link), str(self.seed))
        self.assert_nothing_left()

    def assert_nothing_left(self):
        left = [path for path in self.directory.rglob(f"{STAGE}*")]
        self.assertEqual(left, [])
        self.assertEqual([path for path in self.run_dir.rglob(".*")], [])

    def assert_untouched(self):
        """Nothing but the report of it was written."""
        self.assertEqual(sorted(os.listdir(self.parent)), [])
        self.assertFalse(self.state.exists())
        left = sorted(os.listdir(self.run_dir)) if self.run_dir.exists() else []
        self.assertLessEqual(set(left), {"lock", "place.json", "run.json", "media"})
        if "media" in left:
            self.assertEqual(os.listdir(self.run_dir / "media"), [])

    @contextlib.contextmanager
    def loop_device(self, file, *options):
        device = rig.run(["losetup", "--find", "--show", *options, file]).stdout.strip()
        try:
            yield device
        finally:
            subprocess.run(["losetup", "--detach", device], check=False)


def erofs(directory, file, label=""):
    """An EROFS image of a directory, by a writer that is not ours."""
    # Debian 12's has no option for the label; without a checksum it can be written afterwards (erofs_fs.h: volume_name).
    rig.run(["mkfs.erofs", "--quiet", "-Enosbcrc", file, directory])
    with open(file, "r+b") as image:
        image.seek(1024 + 64)
        image.write(label.encode().ljust(16, b"\0"))
    return file


def tree_of(directory):
    """What is below a directory, by path: type, mode, owner and content, but no times."""
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        status = path.lstat()
        content = os.readlink(path) if path.is_symlink() else None
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        owner = (status.st_uid, status.st_gid)
        found[str(path.relative_to(directory))] = (oct(status.st_mode), owner, content)
    return found
