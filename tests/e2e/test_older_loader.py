"""An older release of the loader meets what a newer one left, and the other way round: after a rollback of the OS image its
programs are the older ones, too. For tests/soak, which builds that release."""

import json
import shutil
import unittest
from pathlib import Path

import link_case
import loader_seed as seed
import rig
from link_case import LinkCase
from loader_case import image

# Where tests/soak binds it.
OLDER = Path("/opt/ociseed/older/ociseed-loader")
# Where both remember what outlives a boot; in this root alone, that is gone with the tests.
STATE = Path("/var/lib/ociseed")
WEB, JOB = (f"docker.io/library/{name}:1" for name in ("web", "job"))


class Older(LinkCase):
    def setUp(self):
        super().setUp()
        self.state = STATE
        self.addCleanup(shutil.rmtree, STATE, ignore_errors=True)
        data = seed.noise(1 << 20, 1)
        self.images = {
            letter: [image(WEB, f"web of {letter}\n", data=data), image(JOB, "job\n", data=seed.noise(1 << 18, 2))]
            for letter in "ab"
        }
        self.slots = {letter: self.medium(letter, images) for letter, images in self.images.items()}

    def run_with(self, loader, slot, *options):
        source = ["--seed", self.slots[slot], *options]
        # `run` of older ones has no --state-dir.
        command = [loader, "run", *source, "--address", self.engine.socket, "--json"]
        result = rig.run(command, check=False)
        self.assertEqual(result.returncode, 0, f"{command}\n{result.stderr}")
        self.assert_right_in(slot)
        return json.loads(result.stdout)

    def newer(self, slot, *options):
        return self.run_with(link_case.LOADER, slot, *options)

    def older(self, slot, *options):
        return self.run_with(OLDER, slot, *options)

    def place_with(self, loader, slot, *options):
        """A reboot, in which a loader places a seed before the engine starts; the root is kept."""
        self.engine.stop()
        self.forget()
        command = [loader, "place", "--seed", self.slots[slot], "--root", self.engine.root, *options, "--json"]
        result = rig.run(command, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["engines"][0]["outcome"], "kept", result.stderr)
        self.engine.start()

    def assert_right_in(self, slot):
        for one in self.images[slot]:
            self.assert_right(one)
            self.assert_runs(one)
        self.assert_nothing_left()

    def test_older_and_newer_by_turns(self):
        self.newer("a")
        self.older("a")
        self.newer("a")
        self.place_with(OLDER, "a")
        self.assert_right_in("a")
        self.older("a")
        self.place_with(link_case.LOADER, "a")
        self.newer("a")
        self.assert_linked(self.images["a"])

    def test_a_rollback_to_an_older_release_and_the_update_again(self):
        self.newer("a")
        self.place_with(link_case.LOADER, "b", "--previous-seed", self.slots["a"])
        self.newer("b", "--previous-seed", self.slots["a"])
        # Back: the older release knows nothing of two seeds but their links.
        self.place_with(OLDER, "a", "--previous-seed", self.slots["b"])
        self.older("a")
        self.place_with(link_case.LOADER, "b", "--previous-seed", self.slots["a"])
        self.newer("b", "--previous-seed", self.slots["a"])
        again = self.newer("b", "--previous-seed", self.slots["a"])
        self.assertEqual({one["outcome"] for one in again["images"]}, {"settled"})

    def test_what_the_older_release_copied_stays_right(self):
        self.older("a")
        self.newer("a")
        shutil.rmtree(self.state, ignore_errors=True)
        # As after an unclean stop: what was copied is hashed, and the engine's own layers give way to links.
        report = self.newer("a")
        self.assertGreater(report["read-back"], 0)
        self.place_with(OLDER, "b", "--previous-seed", self.slots["a"])
        self.older("b")
        self.newer("b", "--previous-seed", self.slots["a"])


if not OLDER.exists():
    del Older


if __name__ == "__main__":
    unittest.main()
