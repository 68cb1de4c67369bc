"""Power cuts in updates of an appliance at random, for tests/soak: OCISEED_SOAK says how many, OCISEED_SOAK_SEED which.

Each boot brings the engine to the seed of a slot and looks at all images, then goes on to another seed, until the power goes:
at one of the loader's steps, a bit later, or any time. The next boot is one of the new seed, or of the old one again.
"""

import collections
import os
import random
import re
import unittest

import guest_base
from updates import IMPORT, Boot, Cut
from updates_case import UpdatesCase

CUTS = int(os.environ.get("OCISEED_SOAK", 0))
SEED = os.environ.get("OCISEED_SOAK_SEED", "1")
STEPS = ("leases", "blobs", "snapshots", "records", "removals", "release")
# How long a run takes in the guest, and a bit more, in seconds of the host.
RUN = 3
SAID = re.compile(r"@mark \S+|step \S+|\S*")


class Journey:
    """Which seeds and cuts come one after another. `whole` are slots whose images are all there for certain."""

    def __init__(self, chance):
        self.chance = chance
        self.boot, self.whole = Boot("a"), set()

    def next_cut(self):
        """Where the next boot goes after it has settled, and where that ends."""
        then = Boot(self.chance.choice([letter for letter in "abc" if letter != self.boot.seed]), self.boot.seed)
        second, at_step = self.chance.random() < 0.75, self.chance.random() < 0.7
        if at_step:
            # A run that has no such step ends there.
            at = f"^step {self.chance.choice(STEPS)} |@mark {'changed' if second else 'settled'} "
            after = self.chance.choice([0, self.chance.uniform(0, 0.3)])
        else:
            at, after = None if second else "@mark containerd-answers", self.chance.uniform(0, RUN)
        return then, Cut(at, after, second)

    def settled(self):
        """The boot has settled: its own seed's images are there, the other's if they were."""
        self.whole = {self.boot.seed} | (self.whole & {self.boot.previous})

    def cut(self, then, cut):
        """The power went; the boot that is the next one goes on, or back."""
        if cut.second:
            # What belongs to neither may have been removed in part.
            self.whole &= {then.seed, then.previous}
            self.boot = then if self.chance.random() < 0.75 else Boot(self.boot.seed, then.seed)
        else:
            self.whole &= {self.boot.seed, self.boot.previous}


class Soak(UpdatesCase):
    def test_power_cuts_at_random(self):
        fleet = self.fleet(files=self.imported())
        journey = Journey(random.Random(SEED))
        where = collections.Counter()
        for number in range(CUTS):
            then, cut = journey.next_cut()
            fleet.appliance.writes_a_second = journey.chance.choice([None, None, 100])
            script = IMPORT if journey.chance.random() < 0.3 else ""
            # It is said beforehand, so that a failure shows what it is about.
            print(f"\ncut {number}: {journey.boot} {then if cut.second else ''} {cut} {script}", end="", flush=True)
            said = fleet.boot(journey.boot, then, cut=cut, script=script)
            last = SAID.match(said.console.lines[-1])[0]
            where[last] += 1
            print(f"after `{last}`", end="", flush=True)
            if cut.second:
                print(f", {said.counts.get('orphans')} orphans" if said.counts.get("orphans") else "", end="")
                self.assert_settled(fleet, said, journey.boot, whole=journey.boot.previous in journey.whole)
                journey.settled()
            journey.cut(then, cut)
        fleet.appliance.writes_a_second = None
        said = fleet.boot(journey.boot)
        self.assert_settled(fleet, said, journey.boot, whole=journey.boot.previous in journey.whole)
        points = ", ".join(f"{count} {name}" for name, count in sorted(where.items()))
        print(f"\nsoaked: {where.total()} of {CUTS} power cuts, each after the line: {points}", flush=True)


# Nobody waits for it in an ordinary run.
if not (guest_base.IN_THIS_SUITE and CUTS):
    del Soak


if __name__ == "__main__":
    unittest.main()
