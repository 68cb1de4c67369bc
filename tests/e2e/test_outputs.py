"""Outputs on file systems that do not play along: full, read-only, without room for names."""

import os
import pathlib
import subprocess
import tempfile
import unittest

from build_case import OCISEED, SCRATCH, assert_full


class Outputs(unittest.TestCase):
    """One clear error, exit code 1, and nothing half-written."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(dir=SCRATCH)
        self.addCleanup(directory.cleanup)
        self.project = pathlib.Path(directory.name)
        # Random, so that compression does not make room.
        (self.project / "large").write_bytes(os.urandom(3 << 20))
        (self.project / "spec.toml").write_text(
            "[layer.large]\n"
            'add = [{ file = "large", to = "/large" }]\n'
            "[image.large]\n"
            'layers = ["large"]\n'
            "[bundle.large]\n"
            'format = "oci-archive"\n'
            'images = { "example.org/large:1" = "large" }\n'
            "[seed.large]\n"
            'stores = ["archives"]\n'
            'image = [{ image = "large", name = "example.org/large:1" }]\n'
        )

    def mount(self, *options):
        """Mounts a tmpfs as the output's parent and returns it."""
        point = self.project / "mounted"
        point.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", point], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", point], check=True)
        return point

    def build(self, out):
        command = [OCISEED, "build", self.project / "spec.toml", "--out", out, "--no-cache"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def files(self, directory):
        return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))

    def assert_one_error(self, result, *parts):
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stdout, "")
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, result.stderr)
        for part in parts:
            self.assertIn(part, result.stderr)

    def test_a_full_disk_keeps_what_was_there(self):
        # Room for the layer, not for all that follows; then for nothing at all.
        for number, size in enumerate(["8m", "4m", "1m"]):
            with self.subTest(size=size):
                point = self.project / f"full{number}"
                point.mkdir()
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", point], check=True)
                self.addCleanup(subprocess.run, ["umount", "-l", point], check=True)
                (point / "out").mkdir()
                (point / "out" / "report.json").write_text("mine")
                result = self.build(point / "out")
                assert_full(self, result)
                self.assertEqual(self.files(point), ["out", "out/report.json"])
                self.assertEqual((point / "out" / "report.json").read_text(), "mine")

    def test_it_fits_once_there_is_room(self):
        point = self.mount("-o", "size=64m")
        result = self.build(point / "out")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("out/seed/large/seed.json", self.files(point))

    def test_a_read_only_output(self):
        point = self.mount("-o", "size=64m")
        (point / "out").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", point], check=True)
        for out in [point / "out", point / "new"]:
            with self.subTest(out=out):
                self.assert_one_error(self.build(out), "cannot write", "Read-only file system", str(out))
        self.assertEqual(self.files(point), ["out"])

    def test_no_inodes_left(self):
        point = self.mount("-o", "size=64m,nr_inodes=6")
        self.assert_one_error(self.build(point / "out"), "No space left on device")
        # The output directory itself may stay; it is empty.
        self.assertLessEqual(set(self.files(point)), {"out"})


if __name__ == "__main__":
    unittest.main()
