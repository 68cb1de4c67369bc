"""cpio archives as GNU cpio sees them: the golden archives, which a test of the crate `media` compares with its own."""

import json
import unittest

import probe
import rig

GOLDEN = rig.SOURCE / "tests/golden/cpio"
ARCHIVES = sorted(path.stem for path in GOLDEN.glob("*.cpio"))
OURS = ("empty", "everything")
PROBE = rig.BINARIES / "ociseed-probe"


def without_lost_times(entries):
    """GNU cpio sets no time of a symbolic link, and that of a directory before it makes what is in it. Linux sets all."""
    lost = ("directory", "symlink")
    return [{**entry, "mtime": None} if entry["kind"] in lost else entry for entry in entries]


class Archives(unittest.TestCase):
    def setUp(self):
        self.directory = rig.scratch_directory()
        self.assertLess(set(OURS), set(ARCHIVES))

    def unpacked(self, name):
        """What is there after GNU cpio unpacked an archive, which it does without a word."""
        place = self.directory / name
        place.mkdir()
        flags = ["--extract", "--make-directories", "--preserve-modification-time", "--no-absolute-filenames", "--quiet"]
        result = rig.run(["cpio", *flags, "--directory", place, "--file", GOLDEN / f"{name}.cpio"])
        self.assertEqual(result.stderr, "")
        root, *entries = probe.parse(rig.run([PROBE, place]).stdout).entries
        self.assertEqual((root["path"], root["mode"], root["uid"], root["gid"]), ("/", "0755", 0, 0))
        return entries

    def test_gnu_cpio_makes_what_the_listing_says(self):
        for name in ARCHIVES:
            listing = GOLDEN / f"{'gnu' if name.startswith('gnu-') else name}.listing"
            expected = [json.loads(line) for line in listing.read_text().splitlines()]
            with self.subTest(archive=name):
                self.assertEqual(without_lost_times(self.unpacked(name)), without_lost_times(expected))


if __name__ == "__main__":
    unittest.main()
