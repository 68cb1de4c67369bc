"""EROFS images as kernels and erofs-utils see them: the golden images, which a test of the crate `media` compares with its own."""

import ctypes
import json
import os
import subprocess
import unittest
from pathlib import Path

import probe
import rig

GOLDEN = rig.SOURCE / "tests/golden/erofs"
IMAGES = sorted(path.stem for path in GOLDEN.glob("*.erofs"))
PROBE = rig.BINARIES / "ociseed-probe"
MS_RDONLY = 1


def mount_file(image, point):
    """Mounts an image without a loop device, which mount(8) may set up unasked."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(image), os.fsencode(point), b"erofs", MS_RDONLY, b""):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(image))


def mount_loop(image, point):
    rig.run(["mount", "-t", "erofs", "-o", "ro,loop", image, point])


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
        root, *entries = probe.parse(rig.run([PROBE, point]).stdout).entries
        self.assertEqual((root["path"], root["mode"], root["uid"], root["gid"], root["mtime"]), ("/", "0755", 0, 0, "0"))
        return entries

    def test_the_kernel_sees_what_the_listing_says(self):
        for name in IMAGES:
            expected = [json.loads(line) for line in (GOLDEN / f"{name}.listing").read_text().splitlines()]
            for mount in (mount_loop, mount_file):
                with self.subTest(image=name, mount=mount.__name__):
                    self.assertEqual(self.seen(name, mount), expected)

    def test_fsck_accepts_every_image(self):
        for name in IMAGES:
            with self.subTest(image=name):
                result = rig.run(["fsck.erofs", "--extract", self.image(name)], check=False)
                self.assertEqual((result.returncode, result.stderr.strip()), (0, ""), result.stdout)


if __name__ == "__main__":
    unittest.main()
