"""What users, CRI and newer releases do to records, snapshots and state: the next run finds it, and leaves alone what is not ours."""

import json
import unittest
from pathlib import Path

import engine_cri
import loader_seed as seed
from engine_cri import FOREVER, PAUSE
from link_case import CONTENT, RUN, LinkCase
from loader_case import OWNER, PINNED, image

FUTURE = "io.ociseed.future"


class Case(LinkCase):
    """An engine with a seed's images."""

    def setUp(self):
        super().setUp()
        self.web = image(["r.io/web:1", "r.io/web:stable"], "web\n", data=b"data", namespaces=("k8s.io", "moby"))
        self.tool = image("r.io/tool:1", "tool\n", pin=False)
        self.images = (self.web, self.tool)
        self.seed = self.medium("a", self.images)
        self.load()
        self.records = self.engine.images()
        self.engine.collect_garbage()

    def assert_healed(self, outcome, *, runs=(), arguments=()):
        """A run makes everything as it was, and the next one finds nothing to do."""
        run = self.load(*arguments)
        self.assertEqual({one["outcome"] for one in run.report["images"]} - {"settled"}, {outcome}, run.log)
        self.assertEqual(run.report["copied"], 0, run.log)
        found = self.engine.images()
        self.assertEqual({name: found.get(name) for name in self.records}, self.records)
        self.assert_linked(self.images)
        for one in runs:
            self.assert_runs(one)
        self.assert_nothing_left()
        self.assert_settled(self.load(*arguments))
        return run


class Users(Case):
    """What users do."""

    def test_what_is_removed_comes_back(self):
        self.engine.ctr("images", "remove", "--sync", self.web.name, self.tool.config.digest)
        run = self.assert_healed("added")
        self.assertEqual(run.report["linked"], 0)
        # With everything that it stood for.
        for namespace in ("k8s.io", "moby"):
            self.engine.ctr("images", "remove", "--sync", *self.engine.images(namespace), namespace=namespace)
            self.assertEqual(self.snapshots(namespace), {})
        self.assertEqual(list((self.engine.root / CONTENT).iterdir()), [])
        run = self.assert_healed("added", runs=self.images)
        self.assertGreater(run.report["linked"], 0)
        self.assert_runs(self.web, "moby")

    def test_labels_and_pins_come_back(self):
        for name in self.web.records:
            self.engine.ctr("images", "label", name, f"{PINNED}=")
        self.assert_healed("updated")
        # An import by others replaces all labels: the record is theirs, and what the seed wants.
        seed.write_archive(self.directory / "web.tar", [self.web])
        self.engine.ctr("images", "import", "--no-unpack", self.directory / "web.tar")
        self.load()
        labels = self.engine.images()[self.web.name].labels
        self.assertEqual((labels[OWNER], labels[PINNED]), (seed.seed_id(self.images), "pinned"))
        self.assert_linked(self.images)
        self.assert_settled(self.load())

    def test_names_of_other_images(self):
        # Whose label is ours goes back; CRI's pull keeps labels.
        self.engine.ctr("images", "tag", "--force", self.tool.name, self.web.name)
        self.engine.ctr("images", "label", self.web.name, f"{OWNER}={seed.seed_id(self.images)}")
        run = self.load()
        self.assertEqual(run.outcome(self.web.name), "updated", run.log)
        self.assert_runs(self.web)
        # Another's stays, until it is taken over.
        self.engine.ctr("images", "remove", self.web.name)
        self.engine.ctr("images", "tag", self.tool.name, self.web.name)
        self.engine.ctr("images", "label", self.web.name, f"{OWNER}=", f"{PINNED}=", "user.example/note=mine")
        theirs = self.engine.images()[self.web.name]
        for writes in range(2):
            run = self.load()
            self.assertEqual((run.outcome(self.web.name), run.writes), ("conflict", {}), run.log)
            self.assertEqual(self.engine.images()[self.web.name], theirs, writes)
        run = self.load("--take-over")
        self.assertEqual(run.outcome(self.web.name), "updated", run.log)
        found = self.engine.images()[self.web.name]
        self.assertEqual(found.labels, self.records[self.web.name].labels | {"user.example/note": "mine"})
        self.assert_runs(self.web)
        self.assert_settled(self.load())

    def test_single_blobs_and_snapshots_come_back(self):
        top = self.web.locked()["layers"][-1]["chain-id"]
        for namespace in ("k8s.io", "moby"):
            self.engine.ctr("snapshots", "remove", top, namespace=namespace)
            self.engine.ctr("content", "remove", self.web.config.digest, self.web.layer_blobs[-1].digest, namespace=namespace)
        self.engine.collect_garbage()
        self.assert_healed("repaired", runs=[self.web])
        self.assert_runs(self.web, "moby")


class Newer(Case):
    """What a newer release left."""

    def test_what_nobody_knows_yet_is_left_alone(self):
        for path in (self.state / "state.json", RUN / "place.json", RUN / "run.json"):
            path.write_text(json.dumps({"version": 99, "boot": ["not", "a", "word"], "engines": 7}))
        label = f"{FUTURE}=yes"
        self.engine.ctr("images", "label", self.web.name, label)
        for blob in (self.web.config, self.web.manifest):
            self.engine.ctr("content", "label", blob.digest, label)
        top = self.web.locked()["layers"][-1]["chain-id"]
        self.engine.ctr("snapshots", "label", top, label)
        self.engine.ctr("leases", "create", "--id", "ociseed-future-1", f"{OWNER}=sha256:{'f' * 64}", label)
        self.engine.ctr("leases", "create", "--id", "theirs", label)
        # Links of a seed that nobody knows, to nowhere.
        (self.engine.root / "io.ociseed.seed.ffffffffffffffff").symlink_to("/run/ociseed/seeds/none/stores/containerd")
        # A snapshot that a killed run of it left.
        left = f"ociseed-{'f' * 16}-18a3f-sha256:{'f' * 64}"
        self.engine.ctr("snapshots", "prepare", left, top)
        # The container of somebody who likes the name.
        held = "ociseed-demo"
        self.engine.ctr("run", "--detach", self.tool.name, held, "/bin/sleep", "1000000")
        self.load()
        labels = self.engine.images()[self.web.name].labels
        self.assertEqual(labels, self.records[self.web.name].labels | {FUTURE: "yes"})
        self.assertEqual(self.content_labels(self.web.config)[FUTURE], "yes")
        self.assertEqual(self.snapshot_labels(top)[FUTURE], "yes")
        self.assertIn("theirs", self.engine.ctr("leases", "list", "--quiet").stdout.split())
        self.assert_nothing_left()
        self.assert_linked(self.images)
        self.assertEqual(self.link_names(), {seed.seed_id(self.images)[7:23]})
        for one in self.images:
            self.assert_runs(one)
        found = self.engine.ctr("tasks", "exec", "--exec-id", "e1", held, "/bin/cat", "/etc/motd").stdout
        self.assertEqual(found, "tool\n")
        self.assertIn(held, self.snapshots())
        self.assertNotIn(left, self.snapshots())
        self.assert_settled(self.load())
        state = json.loads((self.state / "state.json").read_text())
        self.assertEqual(state["version"], 1)


class Cri(LinkCase):
    """Beside CRI, which removes images by its own means."""

    def new_engine(self):
        return engine_cri.Node(self.namespace)

    def test_what_cri_removes_comes_back_and_pods_run(self):
        sleep = seed.files({"/bin/sleep": Path("/bin/busybox").read_bytes()})
        pause = seed.Image(PAUSE, [sleep], command=["/bin/sleep", FOREVER])
        web, tool = image("r.io/web:1", "web\n"), image("r.io/tool:1", "tool\n", pin=False)
        images = (pause, web, tool)
        self.seed = self.medium("a", images)
        cri = engine_cri.Cri(self.engine)
        self.load()
        records = self.engine.images()
        for removed in ((tool,), images):
            self.assert_known(cri, images)
            for one in removed:
                cri.remove_image(one.config.digest)
            self.engine.collect_garbage()
            self.assertEqual(set(self.engine.images()), {name for one in set(images) - set(removed) for name in one.records})
            run = self.load()
            self.assertEqual({run.outcome(one.name) for one in removed}, {"added"}, run.log)
            self.assertEqual(run.report["copied"], 0)
            self.assertEqual(self.engine.images(), records)
            self.assert_linked(images)
        self.assert_known(cri, images)
        with cri.pod() as pod:
            for one in (web, tool):
                container = cri.create_container(pod, one.config.digest, ["/bin/cat", "/etc/motd"])
                cri.start(container)
                self.assertEqual(cri.wait(container).exit_code, 0)
                self.assertEqual(cri.logged(container), one.name[5:-2] + "\n")
            # What a pod runs from may be removed as well; the pod goes on.
            container = cri.create_container(pod, web.name, ["/bin/sleep", "1000000"])
            cri.start(container)
            for one in images:
                cri.remove_image(one.config.digest)
            self.engine.collect_garbage()
            self.load()
            self.assertEqual(cri.exec_sync(container, ["/bin/cat", "/etc/motd"]).stdout, "web\n")
        self.assert_known(cri, images)
        self.assert_settled(self.load())
        self.assertEqual(self.engine.images(), records)

    def test_an_engine_that_started_before_its_links_were_there(self):
        web, tool = image("r.io/web:1", "web\n"), image("r.io/tool:1", "tool\n", pin=False, critical=False)
        self.seed = self.medium("a", [web, tool])
        cri = engine_cri.Cri(self.engine)
        self.load()
        self.assert_known(cri, (web, tool))
        self.engine.stop()
        self.forget()
        self.engine.start()
        self.assertEqual(cri.images(), {})
        # The second run finds the link, but nobody has told the engine of this image yet.
        for one, option, noted in ((web, "critical", ["untold-background"]), (tool, "background", [])):
            run = self.load("--class", option)
            self.assertEqual(run.outcome(one.name), "updated", run.log)
            self.assertEqual([path.name for path in RUN.glob("untold*")], noted)
            self.assert_settled(self.load("--class", option))
        self.assert_known(cri, (web, tool))
        self.assert_settled(self.load())

    def assert_known(self, cri, images):
        """CRI lists these images, each under its names and pinned as the seed says."""
        cri.wait_for_images(*(name for one in images for name in one.records))
        found = {one.id: one for one in cri.images().values()}
        self.assertEqual(set(found), {one.config.digest for one in images})
        for one in images:
            known = found[one.config.digest]
            self.assertEqual((known.repo_tags, known.repo_digests), (one.names, [one.by_digest]))
            # 1.6 says of no image that it is pinned.
            self.assertEqual(known.pinned, one.pin and self.engine.version >= (1, 7))


if __name__ == "__main__":
    unittest.main()
