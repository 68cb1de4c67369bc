"""What tests of updates of an appliance have in common: slots, and what must be right once a boot has settled."""

import unittest

import guest_base
import rig
import updates
from updates import Fleet, make_slots

LEFT = ("leases", "ingests", "active", "dangling", "superfluous")


@guest_base.needs_machine
class UpdatesCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory("u")
        cls.addClassCleanup(rig.run, ["rm", "-rf", "--", cls.directory])
        cls.slots = make_slots(cls.directory)

    def fleet(self, **options):
        directory = self.directory / self.id().rpartition(".")[2]
        self.addCleanup(rig.run, ["rm", "-rf", "--", directory])
        return Fleet(directory, self.slots, **options)

    def imported(self):
        """The file that a user imports."""
        return {updates.ARCHIVE: self.slots["b"].archive("new").read_bytes()}

    def assert_settled(self, fleet, said, boot, whole=True):
        """All of the seed's images run, those of the other slot as well (unless not all of them need be there), and nothing is
        left of a run."""
        current, others = fleet.expected(fleet.current(boot)), fleet.expected(fleet.previous(boot))
        if not whole:
            others = {name: digest for name, digest in others.items() if name in said.saw}
        self.assertEqual(said.saw, current | others, said.console.text)
        left = {name: said.counts[name] for name in LEFT}
        self.assertEqual(left, dict.fromkeys(LEFT, 0), said.console.text)
