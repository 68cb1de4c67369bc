"""Boots of an appliance, whose containers run from the disk of a seed: placed before containerd starts, and nothing imported."""

import shutil
import unittest

import appliance
import guest_base
import loader_case
import rig
from appliance import SeedDisk
from appliance_case import (
    JOB,
    NAMESPACE,
    NEXT,
    ONLY_LINKS,
    RUN_BOTH,
    SAY_INIT,
    STATUS,
    TEXTS,
    WEB,
    ApplianceCase,
    count_files,
    make_medium,
    seed_line,
)
from partitions import partitioned

UNITS = rig.SOURCE / "systemd"
PLACE = "ociseed-loader place --seed {} --trust {}\n"
# As docs/loader.md has it.
PLACE_OR_SAY = 'ociseed-loader place --seed {} --trust {} || echo "images of the OS are not available: exit code $?"\n'
COUNT_IMAGES = f'{NAMESPACE}echo "images: $(ctr images list -q | grep -vc sha256:)"\n'
COUNT_FILES = count_files()
SAY_DEVICE = (
    "device=$(awk '$5 ~ \"^/run/ociseed/media/\" { print $3 }' /proc/self/mountinfo)\n"
    'echo "the seed is on $(cat "/sys/dev/block/$device/dm/uuid")"\n'
)
# On a terminal it would be in colours, and as wide as that.
SAY_UNIT = (
    "journalctl --output cat --unit ociseed-place.service | cat\n"
    "systemctl status --lines 0 ociseed-place.service | cat\n"
    "systemctl show --property After ociseed-place.service | cat\n"
)
READ_ALL = f"find {appliance.SEED_MOUNT} -type f -exec cat {{}} + >/dev/null\nmark read\n"
CORRUPTED = "(?s)Input/output error.*the appliance failed with 1.*Power down"


class Placed(ApplianceCase):
    # A plain init

    def test_by_a_plain_init_and_the_next_version_in_the_other_slot(self):
        guest = self.appliance(self.slots)
        place = PLACE.format("LABEL=seed", "sealed")
        first = guest.boot(SAY_INIT + COUNT_FILES + RUN_BOTH, before=place)
        self.assert_said(first, "init is plain-init")
        self.assert_said(first, self.seed_line("sealed", "hashed"), "placed engine=containerd root=/var/lib/containerd images=")
        self.assert_said(first, "placed ", "@mark containerd-answers", ONLY_LINKS, TEXTS[WEB], TEXTS[JOB], "@mark script-ended")
        self.assert_ran(first)
        self.assertFalse(guest.has_unwritten_journal())
        second = guest.boot(STATUS + COUNT_FILES + RUN_BOTH, before=place)
        noted = f"{self.seed_line('sealed', 'noted')}0 "
        self.assert_said(second, noted, "kept ", "@mark containerd-answers", noted, "kept ", "exit code 0", ONLY_LINKS)
        self.assert_ran(second)
        self.the_next_version(guest)

    def the_next_version(self, guest):
        """What was placed from the other slot's seed runs on; what is new is for `run`."""
        other = make_medium(self.directory / "b", (NEXT,))
        slots = partitioned(self.directory / "both", {"seed-a": self.medium.image, "seed-b": other.image})
        guest.seed = SeedDisk(slots, mount="")
        place = "ociseed-loader place --seed PARTLABEL=seed-b --previous-seed PARTLABEL=seed-a\n"
        run = f"ociseed-loader run --seed /run/ociseed/seeds/{other.seed_id.removeprefix('sha256:')}\n"
        update = f"{run}ctr run --rm {NEXT} c2 cat /etc/motd\n"
        console = guest.boot(COUNT_FILES + RUN_BOTH + update, before=place)
        self.assert_said(console, seed_line(other, "sealed", "hashed"), "kept ", ONLY_LINKS, TEXTS[JOB], f"added name={NEXT} ")
        self.assert_ran(console, (WEB, JOB, NEXT))

    # systemd

    def test_by_systemd_with_the_shipped_units(self):
        files = {
            "/etc/default/ociseed": "SEED=PARTLABEL=seed-a\nPLACE=--trust sealed --wait 30\n",
            "/usr/lib/tmpfiles.d/ociseed.conf": (UNITS / "ociseed.conf").read_bytes(),
        }
        guest = self.appliance(self.slots, init="systemd", units=[UNITS / "ociseed-place.service"], files=files)
        first = guest.boot(SAY_INIT + SAY_UNIT + COUNT_FILES + RUN_BOTH)
        self.assert_said(first, "init is systemd", self.seed_line("sealed", "hashed"), "placed ", ONLY_LINKS)
        self.assertRegex(first.text, r"Active: active \(exited\)")
        (after,) = [line for line in first.lines if line.startswith("After=")]
        needed = {"local-fs.target", "systemd-tmpfiles-setup.service", "veritysetup.target"}
        self.assertLessEqual(needed, set(after.removeprefix("After=").split()))
        self.assert_ran(first)
        second = guest.boot(SAY_UNIT + STATUS + RUN_BOTH)
        self.assert_said(second, self.seed_line("sealed", "noted"), "kept ", self.seed_line("sealed", "noted"), "exit code 0")
        self.assert_ran(second)
        self.assertFalse(guest.has_unwritten_journal())

    def test_the_store_as_a_tar_needs_no_loader(self):
        store = self.medium.directory / "out/store/all.containerd.tar"
        rules = {"/usr/lib/tmpfiles.d/ociseed.conf": (UNITS / "ociseed.conf").read_bytes()}
        guest = self.appliance(init="systemd", seed=SeedDisk(self.medium.image), archives=[store], files=rules)
        console = guest.boot(f'echo "by the loader: $(ls /run/ociseed)"\n{COUNT_FILES}{RUN_BOTH}')
        self.assert_said(console, "by the loader: seeds", ONLY_LINKS)
        self.assert_ran(console)

    # dm-verity

    def test_with_dm_verity(self):
        disk = appliance.verity_disk(self.medium.image, mount="")
        guest = self.appliance(seed=disk)
        # Both devices bear the label.
        place = PLACE.format("LABEL=seed", "verity")
        console = guest.boot(STATUS + SAY_DEVICE + COUNT_FILES + RUN_BOTH, before=place)
        checked = f"{self.seed_line('verity', 'kernel')}0 "
        self.assert_said(console, checked, "placed ", "@mark containerd-answers", checked, "placed ", "exit code 0")
        self.assert_said(console, "the seed is on CRYPT-VERITY-", ONLY_LINKS)
        self.assert_ran(console)

    def test_what_nobody_verifies_is_not_placed(self):
        guest = self.appliance(self.medium.image)
        console = guest.boot(STATUS + COUNT_IMAGES, before=PLACE_OR_SAY.format("LABEL=seed", "verity"))
        problem = "error: `/run/ociseed/media/LABEL=seed`: nothing verifies it"
        lines = [problem, "images of the OS are not available: exit code 3", "@mark containerd-answers"]
        self.assert_said(console, *lines, "exit code 3", "images: 0", "@mark script-ended")
        self.assertNotRegex(console.text, "(?m)^(placed|kept) ")

    def test_a_changed_byte_under_dm_verity_is_not_read(self):
        image = self.directory / "changed.erofs"
        shutil.copyfile(self.medium.image, image)
        disk = appliance.verity_disk(image)
        loader_case.flip(image)
        with self.assertRaisesRegex(AssertionError, CORRUPTED) as caught:
            self.appliance(seed=disk).boot("", before=READ_ALL)
        self.assertNotIn("@mark read", str(caught.exception))

    # Power cuts

    def test_power_cuts_while_and_after_it_is_placed(self):
        guest = self.appliance(self.medium.image)
        place = f"{PLACE.format('LABEL=seed', 'sealed')}sleep 600\n"
        # So slow that the disk has not taken what is placed when the guest is gone.
        guest.writes_a_second = 8
        cut = guest.boot("", before=place, kill_at="^seed id=")
        self.assertTrue(cut.killed)
        self.assertNotRegex(cut.text, "(?m)^placed ")
        self.assertTrue(guest.has_unwritten_journal())
        cut = guest.boot("", before=place, kill_at="^placed ")
        self.assert_said(cut, self.seed_line("sealed", "noted"), "placed ")
        guest.writes_a_second = None
        place = f"ls -1a /var/lib\n{PLACE.format('LABEL=seed', 'sealed')}"
        console = guest.boot(COUNT_FILES + RUN_BOTH, before=place)
        self.assert_said(console, "containerd", self.seed_line("sealed", "noted"), "kept ", ONLY_LINKS)
        self.assertNotIn(".ociseed-place", console.text)
        self.assert_ran(console)


if not guest_base.IN_THIS_SUITE:
    del Placed


if __name__ == "__main__":
    unittest.main()
