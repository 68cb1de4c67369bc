"""Boots of an appliance, whose containers come from a disk that is attached: by import, the way that others go."""

import shutil
import unittest

import appliance
import guest_base
import loader_case
import loader_seed as seed
import rig
import test_torture
from appliance import Appliance, SeedDisk

NAMES = {"web": "docker.io/library/web:1", "job": "docker.io/library/job:1"}
SPEC = """
[layer.archives]
add = [{ dir = "archives", to = "/" }]
[disk.archives]
medium = "erofs"
layer = "archives"
"""
IMPORT = {key: f"ctr images import {appliance.SEED_MOUNT}/{key}.tar\nmark {key}-imported\n" for key in NAMES}
RUN = {key: f"ctr run --rm {name} {key} cat /etc/motd\nmark {key}-ran\n" for key, name in NAMES.items()}
IMPORT_ALL, RUN_ALL = "".join(IMPORT.values()), "".join(RUN.values())
READ_ALL = f"cat {appliance.SEED_MOUNT}/*.tar >/dev/null\nmark read\n"
SAY_INIT = 'echo "init is $(cat /proc/1/comm)"\n'
SAY_DEVICE = (
    f"device=$(awk '$5 == \"{appliance.SEED_MOUNT}\" {{ print $3 }}' /proc/self/mountinfo)\n"
    'echo "the seed is on $(cat "/sys/dev/block/$device/dm/uuid")"\n'
)
CORRUPTED = "(?s)Input/output error.*the appliance failed with 1.*Power down"
# What is asked of a guest that is killed at its end: a mark, and time to be killed.
CUT = "mark cut\nsleep 600\n"


def text_of(key):
    return f"this is {key}\n"


@guest_base.needs_machine
class Imported(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory("g")
        cls.addClassCleanup(rig.run, ["rm", "-rf", "--", cls.directory])
        for key, name in NAMES.items():
            seed.write_archive(cls.directory / "archives" / f"{key}.tar", [loader_case.image(name, text_of(key))])
        cls.image = test_torture.build(cls.directory, SPEC) / "disk" / "archives.erofs"

    def appliance(self, **options):
        directory = self.directory / self.id().rpartition(".")[2]
        directory.mkdir()
        return Appliance(directory, **options)

    def assert_ran(self, console, keys=NAMES):
        for key in NAMES:
            self.assertEqual(console.lines.count(text_of(key).rstrip()), int(key in keys), console.text)

    def assert_marks(self, console, *between):
        self.assertEqual(list(console.marks), ["init", "containerd-answers", *between, "script-ended", "powered-off"])

    def test_two_boots_by_a_plain_init(self):
        guest = self.appliance(seed=SeedDisk(self.image))
        first = guest.boot(SAY_INIT + IMPORT_ALL + RUN_ALL)
        self.assertIn("init is plain-init", first.lines)
        self.assert_ran(first)
        self.assert_marks(first, "web-imported", "job-imported", "web-ran", "job-ran")
        self.assertLess(first.said_at(text_of("web").rstrip()), first.marks["web-ran"].host)
        self.assertFalse(guest.has_unwritten_journal())
        # The disk of the seed is not there: what runs now is what the first boot left in /var.
        guest.seed = None
        second = guest.boot(RUN_ALL)
        self.assert_ran(second)
        self.assert_marks(second, "web-ran", "job-ran")
        self.assertFalse(guest.has_unwritten_journal())

    def test_a_boot_by_systemd_with_dm_verity(self):
        guest = self.appliance(seed=appliance.verity_disk(self.image), init="systemd")
        console = guest.boot(SAY_INIT + SAY_DEVICE + IMPORT["web"] + RUN["web"])
        self.assertIn("init is systemd", console.lines)
        self.assertRegex(console.text, "the seed is on CRYPT-VERITY-")
        self.assert_ran(console, ["web"])
        self.assert_marks(console, "web-imported", "web-ran")
        self.assertFalse(guest.has_unwritten_journal())

    def test_a_changed_byte_under_dm_verity_is_not_read(self):
        image = self.directory / "changed.erofs"
        shutil.copyfile(self.image, image)
        disk = appliance.verity_disk(image)
        loader_case.flip(image)
        with self.assertRaisesRegex(AssertionError, CORRUPTED) as caught:
            self.appliance(seed=disk).boot("", before=READ_ALL)
        self.assertNotIn("@mark read", str(caught.exception))

    def test_a_power_cut_leaves_what_was_synced(self):
        guest = self.appliance()
        write = "mkdir /var/cut\necho 1 >/var/cut/synced\nsync\necho 2 >/var/cut/not-synced\n"
        console = guest.boot("", before=write + CUT, kill_at="@mark cut")
        self.assertTrue(console.killed)
        self.assertFalse(console.powered_off)
        self.assertTrue(guest.has_unwritten_journal())
        console = guest.boot("", before=f'echo "there is" $(ls /var/cut)\n{CUT}', kill_at="@mark cut")
        self.assertIn("there is synced", console.lines)


if not guest_base.IN_THIS_SUITE:
    del Imported


if __name__ == "__main__":
    unittest.main()
