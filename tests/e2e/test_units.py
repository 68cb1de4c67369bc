"""The units that are shipped, held against systemd's own opinion of them."""

import os
import shutil
import unittest
from pathlib import Path

import rig

UNITS = rig.SOURCE / "systemd"
LOADER = Path("/usr/bin/ociseed-loader")
DIRECTORIES = {"run/ociseed": 0o755, "run/ociseed/seeds": 0o755, "var/lib/ociseed": 0o755}


@unittest.skipUnless(shutil.which("systemd-analyze"), "there is no systemd in this root")
class Units(unittest.TestCase):
    def setUp(self):
        self.directory = rig.scratch_directory("u")
        self.addCleanup(rig.run, ["rm", "-rf", "--", self.directory])

    def verify(self, name, text):
        """Returns all that systemd says of a unit."""
        unit = self.directory / name
        unit.write_text(text)
        result = rig.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit], check=False)
        return result.returncode, result.stdout + result.stderr

    def test_units_are_right(self):
        # What they start is where packages put it.
        LOADER.symlink_to(rig.BINARIES / "ociseed-loader")
        self.addCleanup(LOADER.unlink)
        units = sorted(UNITS.glob("*.service"))
        self.assertTrue(units)
        for unit in units:
            with self.subTest(unit.name):
                text = unit.read_text()
                self.assertEqual(self.verify(unit.name, text), (0, ""))
                # That it looks at all.
                for right, wrong in (("Type=", "Typ="), ("/usr/bin/", "/usr/nowhere/")):
                    self.assertNotEqual(self.verify(unit.name, text.replace(right, wrong)), (0, ""))

    def test_rules_make_the_directories(self):
        root = self.directory / "root"
        root.mkdir()
        result = rig.run(["systemd-tmpfiles", f"--root={root}", "--create", *sorted(UNITS.glob("*.conf"))])
        self.assertEqual(result.stdout + result.stderr, "")
        paths = [path for path in root.rglob("*") if path.name not in ("run", "var", "lib")]
        found = {str(path.relative_to(root)): path.stat().st_mode & 0o7777 for path in paths}
        self.assertEqual(found, DIRECTORIES)
        self.assertEqual({os.stat(path).st_uid for path in paths}, {0})


# The suite whose root has systemd because its recipe says so.
if rig.SUITE != "bookworm":
    del Units


if __name__ == "__main__":
    unittest.main()
