"""What `ociseed-loader run` costs at a boot that finds everything right, and how much memory it takes at any."""

import os
import statistics
import subprocess
import time
import unittest

import kill_points
import loader_seed as seed
import rig
import test_loader_ends
from build_case import calls_of
from link_case import RUN, LinkCase
from loader_case import READS, image

IMAGES = 20
MANY = 100
MEMORY = 16 << 10  # KiB
NAMESPACES = ("k8s.io", "moby")
# Once in each namespace.
LISTS = [method for method in READS if method.endswith(("Images/List", "Content/List", "Content/ListStatuses", "Snapshots/List", "Leases/List"))]
# Once in a run; namespaces are asked for to see whether the engine answers, too.
ONCE = {"containerd.services.introspection.v1.Introspection/Plugins": 1, "containerd.services.namespaces.v1.Namespaces/List": 2}
RUNS = 10


class Settled(LinkCase):
    def settle(self, form):
        images = [image(f"docker.io/library/i{n}:1", f"{n}\n", namespaces=NAMESPACES) for n in range(IMAGES)]
        if form == "links":
            self.seed = self.medium("a", images)
        else:
            seed.write_seed(self.seed, images)
        self.load()
        self.load()

    def costs_nothing(self, form):
        self.settle(form)
        self.assert_no_file_is_changed()
        self.assert_each_list_is_asked_for_once()
        self.assert_nothing_reaches_the_disk(form)

    def assert_no_file_is_changed(self):
        trace = self.directory / "trace"
        names = ",".join((*kill_points.CHANGING, *kill_points.OPENING))
        rig.run(["strace", "-qq", "-f", "-y", "-o", trace, "-e", f"trace={names}", *self.command()])
        calls = [call for call in calls_of(trace) if kill_points.is_change(call) and call.name not in kill_points.ASKING]
        # The lock file is opened as if to be made, and held.
        changes = [f"{call.name} {call.text}" for call in calls if str(RUN / "lock") not in call.text]
        self.assertEqual(changes, [])
        self.assertTrue(any(call.name == "flock" for call in calls))

    def assert_each_list_is_asked_for_once(self):
        run = self.load()
        self.assert_settled(run)
        for method in LISTS:
            self.assertEqual(run.report["calls"].get(method), len(NAMESPACES), method)
        for method, count in ONCE.items():
            self.assertEqual(run.report["calls"].get(method), count, method)
        others = run.report["calls"].keys() - ONCE.keys() - set(LISTS)
        self.assertEqual(others, {"containerd.services.version.v1.Version/Version"})

    def assert_nothing_reaches_the_disk(self, form):
        # It would collect later what was changed before, and write that then.
        self.engine.come_to_rest()
        seconds, written = self.written()
        self.assertEqual(written, (0, 0))
        middle, least = 1000 * statistics.median(seconds), 1000 * min(seconds)
        images = IMAGES * len(NAMESPACES)
        print(f"\nrun, settled, {images} images by {form}: {middle:.0f} ms, at least {least:.0f} ms", flush=True)

    def written(self):
        """How long some runs took, and what they and the engine sent to storage: blocks, and bytes."""
        engine = self.engine.rest().write_bytes
        seconds, loader = [], 0
        for _ in range(RUNS):
            start = time.monotonic()
            process = subprocess.Popen(self.command(json_report=False), stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            seconds.append(time.monotonic() - start)
            self.assertEqual(process.returncode, 0)
            loader += usage.ru_oublock
        return seconds, (loader, self.engine.rest().write_bytes - engine)

    def test_by_links(self):
        self.costs_nothing("links")

    def test_by_copies(self):
        self.costs_nothing("copies")


class Memory(LinkCase):
    def test_it_stays_small_with_many_images(self):
        images = [image(f"docker.io/library/i{n}:1", f"{n}\n") for n in range(MANY)]
        self.seed = self.medium("a", images)
        for expected in ("added", "settled"):
            report, kilobytes = test_loader_ends.Memory.peak(self)
            self.assertEqual([one["outcome"] for one in report["images"]], [expected] * MANY)
            print(f"\nrun, {expected}, {MANY} images by links: {kilobytes} KiB resident at most", flush=True)
            self.assertLess(kilobytes, MEMORY)


def load_tests(loader, tests, pattern):
    """What the loader takes of memory is the same with every engine."""
    kinds = (Settled, Memory) if rig.IS_NEWEST else (Settled,)
    return unittest.TestSuite(loader.loadTestsFromTestCase(kind) for kind in kinds)


if __name__ == "__main__":
    unittest.main()
