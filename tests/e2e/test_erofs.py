"""EROFS images as kernels and erofs-utils see them: the golden images, which a test of the crate `media` compares with its own."""

import ctypes
import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

import guest
import guest_base
import probe
import rig

GOLDEN = rig.SOURCE / "tests/golden/erofs"
IMAGES = sorted(path.stem for path in GOLDEN.glob("*.erofs"))
PROBE = rig.BINARIES / "ociseed-probe"
MS_RDONLY = 1
# What is in the names of images that Linux 6.1 cannot read, and why it cannot.
NEWER = {"zstd": "Linux reads zstd since 6.10"}


def expected(name):
    """The listing of a golden image, which has no root."""
    return [json.loads(line) for line in (GOLDEN / f"{name}.listing").read_text().splitlines()]


def lacks_zstd(name):
    """Says why this kernel cannot mount an image, of which the name says that it has zstd; nothing where it can."""
    version = tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
    if not name.startswith("zstd") or version >= (6, 10):
        return None
    return f"Linux {os.uname().release} reads no zstd in EROFS: 6.10 is the first that does"


def mount_file(image, point):
    """Mounts an image without a loop device, which mount(8) may set up unasked."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(image), os.fsencode(point), b"erofs", MS_RDONLY, b""):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(image))


def mount_loop(image, point):
    rig.run(["mount", "-t", "erofs", "-o", "ro,loop", image, point])


def below_root(case, found):
    """What was found below the root, which is the same in all images."""
    root, *entries = found.entries
    case.assertEqual((root["path"], root["mode"], root["uid"], root["gid"], root["mtime"]), ("/", "0755", 0, 0, "0"))
    return entries


class Images(unittest.TestCase):
    def setUp(self):
        self.directory = rig.scratch_directory()
        self.assertIn("everything", IMAGES)

    def image(self, name):
        """A copy on a file system that loop devices and mounts of files can use."""
        copy = self.directory / f"{name}.erofs"
        copy.write_bytes((GOLDEN / f"{name}.erofs").read_bytes())
        return copy

    def seen(self, name, mount):
        point = self.directory / f"{name}-{mount.__name__}"
        point.mkdir()
        mount(self.image(name), point)
        self.addCleanup(subprocess.run, ["umount", point], check=True)
        return below_root(self, probe.parse(rig.run([PROBE, point]).stdout))

    def test_the_kernel_sees_what_the_listing_says(self):
        for name in IMAGES:
            for mount in (mount_loop, mount_file):
                with self.subTest(image=name, mount=mount.__name__):
                    if reason := lacks_zstd(name):
                        self.skipTest(reason)
                    self.assertEqual(self.seen(name, mount), expected(name))

    def test_fsck_accepts_every_image(self):
        for name in IMAGES:
            with self.subTest(image=name):
                result = rig.run(["fsck.erofs", "--extract", self.image(name)], check=False)
                if name.startswith("zstd") and "zstd" not in rig.run(["fsck.erofs", "-V"], check=False).stdout:
                    # 1.5, of bookworm: it says so itself, and nothing else.
                    self.assertIn("unknown compression format 3", result.stderr)
                    continue
                self.assertEqual((result.returncode, result.stderr.strip()), (0, ""), result.stdout)


@guest_base.needs_machine
class Linux61(unittest.TestCase):
    """The oldest kernel that images are for; the kernel of the machine that runs the tests is newer, and reads more."""

    def test_it_sees_what_the_listing_says(self):
        self.assertRegex(guest_base.kernel(), r"^6\.1\.")
        names = [name for name in IMAGES if not self.needs_newer(name)]
        self.assertIn("everything", names)
        for image, found in guest.listings([GOLDEN / f"{name}.erofs" for name in names]).items():
            with self.subTest(image=image.stem):
                self.assertEqual(probe.compare(expected(image.stem), below_root(self, found)), [])

    def needs_newer(self, name):
        reasons = [reason for word, reason in NEWER.items() if word in name]
        if reasons:
            print(f"{name}.erofs: not shown to Linux {guest_base.kernel()}: {', '.join(reasons)}", file=sys.stderr)
        return bool(reasons)


if not guest_base.IN_THIS_SUITE:
    del Linux61


if __name__ == "__main__":
    unittest.main()
