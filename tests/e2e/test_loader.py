"""The loader against a real containerd: what it makes, what it leaves alone, what a second run does."""

import json
import re
import unittest

import loader_seed as seed
import rig
from loader_case import ADOPTED, MANAGED, OWNER, PINNED, LoaderCase, image

GOLDEN = rig.SOURCE / "tests/golden/loader/report.json"


class Loads(LoaderCase):
    def test_images_are_complete_pinned_and_run(self):
        web = image(["docker.io/library/web:1", "docker.io/library/web:stable"], "web\n", data=seed.noise(3 << 20, 1))
        db = image("registry.example/db:1", "db\n", critical=False, pin=False)
        seed.write_seed(self.seed, [web, db])
        run = self.load()
        for one in (web, db):
            self.assertEqual(run.outcome(one.name), "added")
            self.assert_right(one)
            self.assert_runs(one)
        records = self.engine.images()
        for name in web.records:
            self.assertEqual(records[name].digest, web.digest)
            self.assertEqual(records[name].media_type, seed.MANIFEST)
            expected = {OWNER: seed.seed_id([web, db]), MANAGED: "managed", PINNED: "pinned"}
            self.assertEqual(records[name].labels, expected)
        for name in db.records:
            self.assertEqual(records[name].labels, {OWNER: seed.seed_id([web, db]), MANAGED: "managed"})
        self.assertEqual(set(records), {*web.records, *db.records})
        self.assert_nothing_left()
        # A blob that two images share is sent once.
        self.assertEqual(run.report["copied"], sum(blob.size for blob in {*web.blobs, *db.blobs}))

    def test_a_second_run_sends_nothing_and_writes_nothing(self):
        images = [image(f"docker.io/library/web:{n}", f"{n}\n", data=seed.noise(1 << 20, n)) for n in range(5)]
        seed.write_seed(self.seed, images)
        self.load()
        before = self.engine.come_to_rest().write_bytes
        run = self.load()
        self.assertEqual({run.outcome(one.name) for one in images}, {"settled"})
        self.assertEqual(run.writes, {})
        self.assertEqual(run.report["copied"], 0)
        self.assertEqual(run.report["read-back"], 0)
        # Only the first run of a later boot hashes what is there, unless the system went down in good order.
        everything = sum(blob.size for blob in {b for one in images for b in one.blobs})
        for cut, hashed in ((True, everything), (False, 0)):
            if cut:
                self.cut_power()
            run = self.load()
            self.assertEqual((run.report["read-back"], run.writes), (hashed, {}))
        self.assertEqual(self.load("--read-back").report["read-back"], everything)
        self.assertEqual(self.engine.rest().write_bytes - before, 0)

    def test_labels_let_garbage_collection_follow(self):
        web = image("docker.io/library/web:1", data=b"x" * 1000)
        seed.write_seed(self.seed, [web])
        self.load()
        references = {"config": web.config.digest}
        references |= {f"l.{n}": blob.digest for n, blob in enumerate(web.layer_blobs)}
        expected = {f"containerd.io/gc.ref.content.{key}": digest for key, digest in references.items()}
        self.assertEqual(self.content_labels(web.manifest), expected)
        compressed, plain = web.layer_blobs[0], web.layer_blobs[2]
        self.assertEqual(self.content_labels(compressed), {"containerd.io/uncompressed": web.layers[0].diff_id})
        self.assertEqual(self.content_labels(plain), {})
        # A deletion of something else makes the engine collect; nothing of the image may go.
        self.engine.ctr("images", "tag", web.name, "registry.example/other:1")
        self.engine.ctr("images", "remove", "--sync", "registry.example/other:1")
        self.assert_right(web)

    def test_a_lost_label_comes_back(self):
        web = image("docker.io/library/web:1")
        seed.write_seed(self.seed, [web])
        self.load()
        # Not one that garbage collection follows: the engine would be free to delete the layer at any time.
        key, layer = "containerd.io/uncompressed", web.layer_blobs[0]
        self.engine.ctr("content", "label", layer.digest, f"{key}=", "user.example/note=mine")
        self.assertNotIn(key, self.content_labels(layer))
        run = self.load()
        self.assertEqual(run.outcome(web.name), "updated")
        self.assertEqual(self.content_labels(layer), {key: web.layers[0].diff_id, "user.example/note": "mine"})

    def test_a_second_namespace_costs_no_bytes(self):
        web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1), namespaces=("k8s.io", "moby"))
        seed.write_seed(self.seed, [web])
        run = self.load()
        size = sum(blob.size for blob in web.blobs)
        copied = [run.image(web.name, namespace)["copied"] for namespace in ("k8s.io", "moby")]
        self.assertEqual(sorted(copied), [0, size])
        for namespace in ("k8s.io", "moby"):
            self.assert_right(web, namespace)
            self.assert_runs(web, namespace)
        # Only CRI's namespace has CRI's labels and names.
        moby = self.engine.images("moby")
        self.assertEqual(set(moby), {web.name})
        self.assertEqual(moby[web.name].labels, {OWNER: seed.seed_id([web])})

    def test_what_a_user_removes_comes_back(self):
        web = image("docker.io/library/web:1")
        seed.write_seed(self.seed, [web])
        self.load()
        for name in self.engine.images():
            self.engine.ctr("images", "remove", "--sync", name)
        self.assertFalse(self.store_file(web.manifest).exists())
        run = self.load()
        self.assertEqual(run.outcome(web.name), "added")
        self.assert_right(web)

    def test_the_report_has_the_documented_keys(self):
        web = image("docker.io/library/web:1")
        seed.write_seed(self.seed, [web])
        run = self.load()
        golden = json.loads(GOLDEN.read_text())
        self.assertEqual(list(run.report), list(golden))
        self.assertEqual(list(run.report["images"][0]), list(golden["images"][0]))
        self.assertEqual(list(run.report["outcomes"]), list(golden["outcomes"]))
        self.assertEqual(run.report["engine"]["name"], "containerd")
        found = tuple(map(int, re.match(r"v?(\d+)\.(\d+)\.(\d+)", run.report["engine"]["version"]).groups()))
        self.assertEqual(found, self.engine.version)
        size = sum(blob.size for blob in web.blobs)
        lines = [line for line in run.log.splitlines() if not line.startswith("step ")]
        bytes_moved = f"linked=0 copied={size} present=0"
        reason = "the seed is in host form, which has no stores"
        self.assertEqual(run.report["copies"], reason)
        self.assertEqual(lines.pop(0), f"warning: nothing can be linked, so blobs are copied: {reason}")
        self.assertEqual(lines[0], f"added name={web.name} namespace=k8s.io digest={web.digest} {bytes_moved}")
        outcomes = "settled=0 updated=0 repaired=0 added=1 conflict=0 failed=0 removed=0"
        self.assertRegex(lines[1], rf"^done {outcomes} {bytes_moved} seconds=\d+\.\d\d\d$")
        self.assertEqual(len(lines), 2)


class Shared(LoaderCase):
    """Images of one seed that could have one record: it is the first one's in the lock, and a second run agrees."""

    def assert_agreed(self, record, expected, owner):
        for attempt in range(2):
            found = self.engine.images()[record]
            self.assertEqual(found.digest, expected.digest)
            pin = {PINNED: "pinned"} if expected.pin else {}
            self.assertEqual(found.labels, {OWNER: owner, MANAGED: "managed", **pin})
            self.assertEqual(self.load().writes, {}, attempt)

    def test_a_configuration_of_two_manifests(self):
        compressed = image("docker.io/library/a:1", critical=False)
        plain_layers = [seed.Layer(layer.tar, compressed=False) for layer in compressed.layers]
        plain = seed.Image("docker.io/library/b:1", plain_layers, pin=False)
        self.assertEqual(compressed.config.digest, plain.config.digest)
        seed.write_seed(self.seed, [plain, compressed])
        # The second in the lock is critical, so it is loaded first.
        run = self.load()
        self.assertEqual([one["name"] for one in run.report["images"]], [plain.name, compressed.name])
        self.assert_agreed(plain.config.digest, compressed, seed.seed_id([plain, compressed]))
        self.assertEqual(set(self.engine.images()), {*plain.records, *compressed.records})
        for one in (plain, compressed):
            self.assert_runs(one)

    def test_a_manifest_with_and_without_a_pin(self):
        pinned = image("docker.io/library/web:1")
        free = image("docker.io/library/web:2", pin=False)
        seed.write_seed(self.seed, [free, pinned])
        self.load()
        for record in (pinned.config.digest, pinned.by_digest):
            self.assert_agreed(record, pinned, seed.seed_id([free, pinned]))
        self.assertNotIn(PINNED, self.engine.images()[free.name].labels)


class Updates(LoaderCase):
    def test_a_name_follows_the_current_seed(self):
        old, new = image("docker.io/library/web:1", "old\n"), image("docker.io/library/web:1", "new\n", pin=False)
        seed.write_seed(self.seed, [old])
        self.load()
        rig.run(["rm", "-r", self.seed])
        seed.write_seed(self.seed, [new])
        run = self.load()
        # The record by digest is a new one.
        self.assertEqual(run.outcome(new.name), "added")
        self.assertEqual(self.output(new, "cat /etc/motd"), "new\n")
        record = self.engine.images()[new.name]
        self.assertEqual(record.labels, {OWNER: seed.seed_id([new]), MANAGED: "managed"})
        # Only what differs is sent.
        self.assertEqual(run.report["copied"], sum(blob.size for blob in {*new.blobs} - {*old.blobs}))

    def test_a_record_that_is_ours_is_put_back(self):
        web, other = image("docker.io/library/web:1", "web\n"), image("docker.io/library/other:1", "other\n")
        seed.write_seed(self.seed, [web, other])
        self.load()
        # What CRI does when somebody pulls a tag anew: the target changes, our label stays.
        self.engine.ctr("images", "remove", web.name)
        self.engine.ctr("images", "tag", other.name, web.name)
        self.engine.ctr("images", "label", web.name, f"{OWNER}={seed.seed_id([web, other])}")
        run = self.load()
        self.assertEqual(run.outcome(web.name), "updated")
        self.assertEqual(self.output(web, "cat /etc/motd"), "web\n")


class Foreign(LoaderCase):
    def import_foreign(self, images, namespace=None, name="foreign.tar"):
        seed.write_archive(self.directory / name, images)
        self.engine.ctr("images", "import", "--no-unpack", self.directory / name, namespace=namespace)

    def test_a_foreign_record_stays_and_is_reported(self):
        theirs, ours = image("docker.io/library/web:1", "theirs\n"), image("docker.io/library/web:1", "ours\n")
        self.import_foreign([theirs])
        self.engine.ctr("images", "label", theirs.name, "user.example/note=mine")
        seed.write_seed(self.seed, [ours])
        run = self.load()
        self.assertEqual(run.outcome(ours.name), "conflict")
        digests = f"expected {ours.digest}, found {theirs.digest}"
        where = f"warning: `{ours.name}` in `k8s.io`: "
        self.assertIn(f"{where}`{ours.name}` is not ours and stays: {digests}\n", run.log)
        record = self.engine.images()[ours.name]
        self.assertEqual((record.digest, record.labels["user.example/note"]), (theirs.digest, "mine"))
        self.assertNotIn(OWNER, record.labels)
        # By digest the seed's image is there all the same.
        for name in ours.records[1:]:
            self.assertEqual(self.engine.images()[name].digest, ours.digest)
        again = self.load()
        self.assertEqual((again.outcome(ours.name), again.writes), ("conflict", {}))

        run = self.load("--take-over")
        self.assertEqual(run.outcome(ours.name), "updated")
        record = self.engine.images()[ours.name]
        self.assertEqual((record.digest, record.labels["user.example/note"]), (ours.digest, "mine"))
        self.assertEqual(record.labels[PINNED], "pinned")
        self.assert_runs(ours)

    def test_a_conflict_alone_sends_nothing(self):
        theirs = image("docker.io/library/web:1", "theirs\n", namespaces=["moby"])
        ours = image("docker.io/library/web:1", "ours\n", namespaces=["moby"])
        self.import_foreign([theirs], "moby")
        seed.write_seed(self.seed, [ours])
        run = self.load()
        self.assertEqual((run.outcome(ours.name, "moby"), run.report["copied"], run.writes), ("conflict", 0, {}))

    def test_the_same_image_by_others_gets_our_labels(self):
        web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))
        self.import_foreign([web])
        self.engine.ctr("images", "label", web.name, "user.example/note=mine")
        seed.write_seed(self.seed, [web])
        run = self.load()
        self.assertEqual(run.report["copied"], 0)
        labels = self.engine.images()[web.name].labels
        self.assertEqual((labels["user.example/note"], labels[PINNED]), ("mine", "pinned"))
        self.assertEqual((labels[OWNER], labels[ADOPTED]), (seed.seed_id([web]), "true"))
        self.assertNotIn(ADOPTED, self.engine.images()[web.by_digest].labels)

    def test_nothing_of_others_changes(self):
        # No blob in common: one that is ours too gets our labels.
        theirs = seed.Image("docker.io/library/theirs:1", [seed.files({"/data": seed.noise(1 << 20, 2)})])
        self.import_foreign([theirs], "default")
        self.import_foreign([theirs], "k8s.io")
        for namespace in ("default", "k8s.io"):
            self.engine.ctr("leases", "create", "--id", "theirs", "user.example/a=b", namespace=namespace)
        # What an import leaves unreferenced goes at the engine's next collection; it shall not be ours.
        self.engine.collect_garbage()
        before = self.snapshot()
        ours = image("docker.io/library/ours:1", "ours\n", namespaces=["k8s.io", "new"])
        seed.write_seed(self.seed, [ours])
        self.load()
        self.assertEqual({key: value for key, value in self.snapshot().items() if key in before}, before)

    def snapshot(self):
        """Everything that namespaces record."""
        found = {}
        for namespace in self.engine.ctr("namespaces", "list", "--quiet").stdout.split():
            for kind in (["images", "list"], ["content", "list"], ["leases", "list"]):
                for line in self.engine.ctr(*kind, namespace=namespace).stdout.splitlines()[1:]:
                    # The age that some columns show goes on, and labels come in any order.
                    line = re.sub(r"\b\d+ (seconds?|minutes?)\b|\bLess than a second\b|\bAbout a minute\b", "AGE", line)
                    name, *words = line.split()
                    found[namespace, kind[0], name] = [sorted(word.split(",")) for word in words]
        return found


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
