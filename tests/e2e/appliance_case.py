"""What tests of an appliance with a seed of two images have in common: the seed, its disk, and what containers must see."""

import unittest

import guest_base
import loader_case
import loader_seed as seed
import placed
import rig
from appliance import Appliance, SeedDisk
from partitions import partitioned

WEB, JOB, NEXT = (f"docker.io/library/{name}" for name in ("web:1", "job:1", "web:2"))
TEXTS = {WEB: "this is web", JOB: "this is job", NEXT: "this is the next web"}
NAMESPACE = "export CONTAINERD_NAMESPACE=k8s.io\n"
RUN = {name: f"ctr run --rm {name} c{number} cat /etc/motd\n" for number, name in enumerate((WEB, JOB))}
RUN_BOTH = f"{NAMESPACE}{RUN[WEB]}mark first-output\n{RUN[JOB]}"
STATUS = "ociseed-loader status\n"
SAY_INIT = 'echo "init is $(cat /proc/1/comm)"\n'
ROOT = "/var/lib/containerd"
# Three layers, one of them in both images; two configurations and two manifests.
ONLY_LINKS = "blobs and layers: 10 links, 0 files"


def count_files(root=ROOT):
    """Before anything ran: what an import or unpacking has made."""
    below = f"{root}/*.content.*/blobs {root}/*.overlayfs/snapshots"
    return f'echo "blobs and layers: $(find {below} -type l | wc -l) links, $(find {below} -type f | wc -l) files"\n'


def seed_line(medium, trust, checked):
    return f"seed id={medium.seed_id} lock={medium.lock} trust={trust} checked={checked} bytes="


def make_medium(directory, names):
    directory.mkdir()
    archives = {}
    for number, name in enumerate(names):
        archive = directory / f"{number}.tar"
        seed.write_archive(archive, [loader_case.image(name, f"{TEXTS[name]}\n")])
        archives[name] = archive
    return placed.of_archives(directory, archives)


@guest_base.needs_machine
class ApplianceCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory("g")
        cls.addClassCleanup(rig.run, ["rm", "-rf", "--", cls.directory])
        cls.medium = make_medium(cls.directory / "a", (WEB, JOB))
        cls.slots = partitioned(cls.directory / "slots", {"seed-a": cls.medium.image})

    def appliance(self, image=None, **options):
        directory = self.directory / self.id().rpartition(".")[2]
        directory.mkdir()
        self.addCleanup(rig.run, ["rm", "-rf", "--", directory])
        disk = SeedDisk(image, mount="") if image else None
        return Appliance(directory, **{"seed": disk, **options})

    def assert_ran(self, console, names=(WEB, JOB)):
        for name, text in TEXTS.items():
            self.assertEqual(console.lines.count(text), int(name in names), console.text)

    def assert_said(self, console, *lines):
        """The guest said lines that begin so, in this order."""
        at = 0
        for line in lines:
            found = [number for number, said in enumerate(console.lines) if number >= at and said.startswith(line)]
            self.assertTrue(found, f"`{line}` was not said, or not there:\n{console.text}")
            at = found[0]

    def seed_line(self, trust, checked):
        return seed_line(self.medium, trust, checked)
