"""`ociseed-loader run` killed at every call that changes something: the next run settles everything, and all is as if nobody had
been killed. Some of the points in a test run; as many as OCISEED_SOAK says, or all, in tests/soak."""

import json
import os
import shutil
import unittest

import kill_points
import loader_seed as seed
import rig
from engine_state import differences, state
from link_case import CONTENT, RUN, SNAPSHOTS, LinkCase
from loader_case import OWNER, flip, image

# How many points of each kind of run are killed at in a test run, and every how many of them a container is run.
POINTS = 4 if rig.IS_NEWEST else 1
CONTAINERS = 25 if kill_points.SOAK else 4
# How often a call is waited for that a run may make or not.
TRIES = 3
NAMESPACES = ("k8s.io", "moby", "theirs")


class Crashes(LinkCase):
    """One engine for all points: before each, what is ours is taken away again."""

    def setUp(self):
        super().setUp()
        self.web = image("docker.io/library/web:1", "web\n")
        self.app = image("docker.io/library/app:1", "app\n", namespaces=["k8s.io", "moby"])
        self.newer = image("docker.io/library/web:1", "newer\n")
        self.a = self.medium("a", [self.web, self.app])
        self.b = self.medium("b", [self.newer, self.app])
        # Another's images: one in a namespace of ours; one elsewhere that shares a layer with ours.
        self.theirs = seed.Image("docker.io/library/theirs:1", [self.web.layers[0], seed.files({"/etc/motd": "theirs\n"})])
        self.other = seed.Image("docker.io/library/other:1", [seed.files({"/other": "other\n"})])
        for namespace, one in (("k8s.io", self.other), ("theirs", self.theirs)):
            archive = self.directory / f"{namespace}.tar"
            seed.write_archive(archive, [one])
            self.engine.ctr("images", "import", archive, namespace=namespace)
            self.engine.ctr("leases", "create", "--id", "theirs", "user.example/a=b", namespace=namespace)
        self.trace = self.directory / "trace"

    def wipe(self):
        """Takes away what is ours, as if no loader had ever run here."""
        for namespace in ("k8s.io", "moby"):
            names = [name for name in self.engine.images(namespace) if name != self.other.name]
            if names:
                self.engine.ctr("images", "remove", "--sync", *names, namespace=namespace)
        self.engine.collect_garbage()
        for link in self.engine.root.glob("*ociseed*"):
            link.unlink()
        self.reboot()
        shutil.rmtree(self.state, ignore_errors=True)

    def reboot(self):
        shutil.rmtree(RUN, ignore_errors=True)

    def boot_before(self):
        """Makes the state file that of another boot."""
        file = self.state / "state.json"
        saved = json.loads(file.read_text())
        file.write_text(json.dumps({**saved, "boot": "another", "state": "changed"}))

    def look(self):
        self.engine.collect_garbage()
        return state(self.engine, NAMESPACES)

    def kill_everywhere(self, what, prepare, source, images):
        prepare()
        command = self.command(source=source)
        found = kill_points.points(command, self.trace)
        self.assert_settled(self.load(source=source))
        undisturbed = self.look()
        points = kill_points.sample(found, POINTS)
        hit, absent = 0, []
        for number, point in enumerate(points):
            with self.subTest(run=what, point=str(point)):
                killed = self.kill(prepare, command, point)
                hit += killed is True
                absent += [str(point)] if killed is None else []
                self.assert_mended(source, undisturbed, images, in_containers=number % CONTAINERS == 0)
        absences = f", {len(absent)} were not made again" if absent else ""
        print(f"\nrun, {what}: hit {hit} of {len(points) - len(absent)}{absences} ({len(found)} in all)", flush=True)
        self.assertEqual(hit, len(points) - len(absent))
        self.assertLessEqual(len(absent), 1 + len(points) // 20, absent)

    def kill(self, prepare, command, point):
        killed = None
        for _ in range(TRIES):
            prepare()
            killed = kill_points.kill(command, point, self.trace)
            if killed is not None:
                break
        return killed

    def assert_mended(self, source, undisturbed, images, in_containers):
        run = self.load(source=source)
        self.assertEqual(run.report["errors"], [], run.log)
        # Before the engine collects what nothing holds any more.
        self.assertEqual(self.ingests(), [])
        self.assertEqual([one.name for one in self.snapshots().values() if one.kind == "Active" and one.name.startswith("ociseed")], [])
        self.assert_settled(self.load(source=source))
        self.assertEqual(differences(undisturbed, self.look()), [], run.log)
        for one in (*images, self.theirs, self.other):
            for blob in one.blobs:
                file = self.store_file(blob)
                self.assertEqual(seed.sha256(file.read_bytes()), blob.digest, f"{os.path.realpath(file)}\n{run.log}")
        # What another imported does not hang on our seed.
        self.assertFalse(any(self.store_file(blob).is_symlink() for blob in (*self.theirs.blobs, *self.other.blobs)))
        self.assert_layers()
        if in_containers:
            for one in images:
                self.assert_runs(one)
            self.assert_runs(self.theirs, "theirs")

    def assert_layers(self):
        """Every link in the place of a layer leads to a directory."""
        for place in (self.engine.root / SNAPSHOTS).glob("*/fs"):
            self.assertTrue(place.is_dir(), f"{place} -> {os.path.realpath(place)}")

    def test_a_first_run_by_links(self):
        self.kill_everywhere("first, by links", self.wipe, ["--seed", self.a], [self.web, self.app])

    def test_a_first_run_by_copying(self):
        host = self.directory / "host"
        seed.write_seed(host, [self.web, self.app])
        self.kill_everywhere("first, by copying", self.wipe, ["--seed", host], [self.web, self.app])

    def test_an_update_that_keeps_the_previous_seed(self):
        def prepare():
            self.wipe()
            self.load(source=["--seed", self.a])

        source = ["--seed", self.b, "--previous-seed", self.a]
        self.kill_everywhere("update", prepare, source, [self.newer, self.app])
        kept = self.engine.images()[self.web.by_digest]
        self.assertEqual(kept.digest, self.web.digest)

    def test_an_update_that_removes(self):
        def prepare():
            self.wipe()
            self.load(source=["--seed", self.a])

        self.kill_everywhere("update, removing", prepare, ["--seed", self.b], [self.newer, self.app])

    def test_a_repair_of_links(self):
        source = ["--seed", self.a]
        self.load(source=source)
        blobs = [self.engine.root / CONTENT / blob.digest[7:] for blob in (*self.web.blobs[1:], self.app.layer_blobs[1], self.app.manifest)]

        def prepare():
            """As many kinds of wrong links as there are."""
            for place, target in zip(blobs, (None, "nowhere", "/etc/passwd", "../x", None), strict=False):
                place.unlink()
                if target:
                    place.symlink_to(target)
            places = sorted(path for path in (self.engine.root / SNAPSHOTS).glob("*/fs") if path.is_symlink())
            for place, target in zip(places, (None, "nowhere", "/etc"), strict=False):
                place.unlink()
                if target:
                    place.symlink_to(target)
            for alias in self.engine.root.glob("io.ociseed.seed.*"):
                alias.unlink()
            self.reboot()

        self.kill_everywhere("repair", prepare, source, [self.web, self.app])

    def test_a_repair_after_an_unclean_stop(self):
        """Copies and layers that another imported, and a power cut spoilt: links take their place."""
        archive = self.directory / "web.tar"
        seed.write_archive(archive, [self.web])

        def prepare():
            self.wipe()
            self.engine.ctr("images", "import", archive)
            self.load("--trust", "unchecked", source=["--seed", self.a])
            for blob in (self.web.layer_blobs[1], self.web.config):
                flip(self.store_file(blob))
            self.boot_before()
            self.reboot()

        self.kill_everywhere("unclean", prepare, ["--seed", self.a], [self.web, self.app])

    def test_a_repair_of_copies_after_an_unclean_stop(self):
        host = self.directory / "host"
        seed.write_seed(host, [self.web, self.app])

        def prepare():
            self.wipe()
            self.load(source=["--seed", host])
            for blob in (self.web.layer_blobs[1], self.app.config):
                flip(self.store_file(blob))
            self.boot_before()
            self.reboot()

        self.kill_everywhere("unclean copies", prepare, ["--seed", host], [self.web, self.app])

    def disturb_everywhere(self, what, prepare, disturb):
        """Something happens while a run stands still at a call: it ends well, and the next one leaves nothing to be done."""
        images, source = [self.newer, self.app], ["--seed", self.b]
        prepare()
        command = self.command(source=source)
        found = kill_points.points(command, self.trace)
        self.assert_settled(self.load(source=source))
        undisturbed = self.look()
        points, missed = kill_points.sample(found, POINTS), 0
        for number, point in enumerate(points):
            with self.subTest(run=what, point=str(point)):
                prepare()
                try:
                    run = kill_points.stop(command, point, self.trace, disturb)
                except kill_points.Missed:
                    missed += 1
                    continue
                self.assertEqual((run.returncode, json.loads(run.stdout)["errors"]), (0, []), run.stderr)
                self.assert_mended(source, undisturbed, images, in_containers=number % CONTAINERS == 0)
        print(f"\nrun, {what}: {len(points) - missed} of {len(points)} ({len(found)} in all)", flush=True)
        self.assertLessEqual(missed, 1 + len(points) // 20)

    def remove_ours(self, *options):
        for namespace in ("k8s.io", "moby"):
            names = [name for name, image in self.engine.images(namespace).items() if OWNER in image.labels]
            if names:
                self.engine.ctr("images", "remove", *options, *names, namespace=namespace)

    def test_a_collection_in_the_middle(self):
        """Of what a user removed before a run that is to have it again: at every call, nothing that it found may be there any more."""
        def prepare():
            self.wipe()
            self.load(source=["--seed", self.a])
            self.remove_ours()

        self.disturb_everywhere("collected meanwhile", prepare, self.engine.collect_garbage)

    def test_a_removal_in_the_middle(self):
        """A user removes what is about to be updated."""
        def prepare():
            self.wipe()
            self.load(source=["--seed", self.a])

        self.disturb_everywhere("removed meanwhile", prepare, lambda: self.remove_ours("--sync"))


if __name__ == "__main__":
    unittest.main()
