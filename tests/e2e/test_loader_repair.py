"""Blobs that are wrong in the engine's store: put right for everybody who has them, whatever happens in between."""

import os
import signal
import unittest

import loader_seed as seed
import rig
from loader_case import LoaderCase, flip, image, overwrite

NOTE = "user.example/note"
# How many kills there are in a test run; with OCISEED_SOAK set there is one at every write to the engine.
POINTS = 14


class Repair(LoaderCase):
    def test_every_kind_of_blob_is_put_right(self):
        web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))
        seed.write_seed(self.seed, [web])
        self.load()
        kinds = {"flip": flip, "cut": lambda file: overwrite(file, file.read_bytes()[:-1]), "none": os.unlink}
        for kind, damage in kinds.items():
            for blob in web.blobs:
                with self.subTest(kind, media_type=blob.media_type):
                    labels = self.content_labels(blob)
                    damage(self.store_file(blob))
                    self.cut_power()
                    run = self.load()
                    one = run.image(web.name)
                    self.assertEqual((one["outcome"], one["replaced"]), ("repaired", [blob.digest]))
                    self.assertEqual(one["copied"], blob.size)
                    self.assertIn(f"warning: blob {blob.digest} in the engine's store is wrong", run.log)
                    self.assertEqual(self.content_labels(blob), labels)
                    self.assert_right(web)
                    self.assertEqual(self.load().writes, {})
        self.assert_runs(web)
        self.assert_nothing_left()

    def test_all_blobs_at_once(self):
        web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))
        seed.write_seed(self.seed, [web])
        self.load()
        for blob in web.blobs:
            flip(self.store_file(blob))
        # As long as nobody suspects anything, what has the right size is not read.
        self.assertEqual(self.load().outcome(web.name), "settled")
        run = self.load("--read-back")
        self.assertEqual(set(run.image(web.name)["replaced"]), {blob.digest for blob in web.blobs})
        self.assert_right(web)
        self.assert_runs(web)

    def test_nothing_is_taken_away_that_cannot_be_put_back(self):
        web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))
        seed.write_seed(self.seed, [web])
        self.load()
        blob = web.layer_blobs[2]
        flip(self.store_file(blob))
        damaged = self.store_file(blob).read_bytes()
        flip(seed.blob_file(self.seed, blob), 7)
        self.cut_power()
        # Nobody takes it for right the next time, either.
        for _ in range(2):
            run = self.load(expect=8)
            (error,) = run.image(web.name)["errors"]
            self.assertIn("cannot be replaced", error)
            self.assertIn(f"blob {blob.digest} in {self.seed}", error)
            self.assertEqual(run.writes, {})
        self.assertEqual(self.store_file(blob).read_bytes(), damaged)

    def test_a_file_without_a_record_is_not_believed(self):
        """What a power cut leaves: the file is there, the record of it is not."""
        web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))
        seed.write_seed(self.seed, [web])
        blob = web.layer_blobs[2]
        wrong = bytearray(blob.data)
        wrong[100] ^= 1
        contents = {"flipped": wrong, "cut": blob.data[:1000], "empty": b"", "right": blob.data}
        for name, data in contents.items():
            with self.subTest(name), self.new_engine() as self.engine:
                file = self.store_file(blob)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
                run = self.load()
                self.assertEqual(run.outcome(web.name), "added")
                self.assertEqual(run.image(web.name)["replaced"], [] if name == "right" else [blob.digest])
                self.assert_right(web)
                self.assert_runs(web)
                self.assert_nothing_left()
                self.assertEqual(self.load().writes, {})


class Shared(LoaderCase):
    """A store keeps one file for all namespaces: replacing it concerns those of others too."""

    def setUp(self):
        super().setUp()
        self.web = image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))
        # Another's image in a namespace of its own: another configuration and manifest over the same layers.
        self.theirs = seed.Image("docker.io/library/theirs:1", self.web.layers, command=("/bin/cat",))
        seed.write_archive(self.directory / "theirs.tar", [self.theirs])
        self.engine.ctr("images", "import", self.directory / "theirs.tar", namespace="theirs")
        for blob in self.theirs.blobs:
            self.engine.ctr("content", "label", blob.digest, f"{NOTE}={blob.digest[7:19]}", namespace="theirs")
        seed.write_seed(self.seed, [self.web])
        self.load()

    def their_labels(self):
        return {blob.digest: self.content_labels(blob, "theirs") for blob in self.theirs.blobs}

    def their_snapshots(self):
        return self.engine.ctr("snapshots", "list", namespace="theirs").stdout

    def test_their_records_come_back_with_their_labels(self):
        labels, snapshots = self.their_labels(), self.their_snapshots()
        for blob in self.web.layer_blobs:
            flip(self.store_file(blob))
        self.cut_power()
        run = self.load()
        self.assertEqual(set(run.image(self.web.name)["replaced"]), {blob.digest for blob in self.web.layer_blobs})
        self.assertEqual(self.their_labels(), labels)
        self.assertEqual(self.their_snapshots(), snapshots)
        self.assert_right(self.theirs, "theirs")
        self.assert_runs(self.theirs, "theirs")
        self.assert_right(self.web)
        self.assert_nothing_left()

    def test_snapshots_outlive_their_configuration(self):
        """The engine unpacked our image: its snapshots hang on a label of the configuration that is replaced."""
        self.assert_runs(self.web)
        snapshots = self.engine.ctr("snapshots", "list").stdout
        labels = self.content_labels(self.web.config)
        self.assertTrue(any(key.startswith("containerd.io/gc.ref.snapshot.") for key in labels), labels)
        for blob in (self.web.config, self.web.manifest):
            flip(self.store_file(blob))
        self.load("--read-back")
        self.assertEqual(self.content_labels(self.web.config), labels)
        self.assertEqual(self.engine.ctr("snapshots", "list").stdout, snapshots)
        self.assert_runs(self.web)

    def test_killed_anywhere_nothing_is_lost(self):
        labels, snapshots = self.their_labels(), self.their_snapshots()
        ours = {blob.digest: self.content_labels(blob) for blob in self.web.blobs}
        damaged = [self.web.layer_blobs[1], self.web.config]
        for blob in damaged:
            flip(self.store_file(blob))
        self.cut_power()
        counted = self.directory / "counted"
        rig.run([*rig.traced("-e", "trace=writev", output=counted), *self.command()])
        # Writes come together in one call or in two as it happens, so the last few may not be there again.
        total = len(counted.read_text().splitlines()) * 95 // 100
        step = 1 if os.environ.get("OCISEED_SOAK") else max(1, total // POINTS)
        points = range(1, total + 1, step)
        for point in points:
            for blob in damaged:
                flip(self.store_file(blob))
            # The run after the one that is killed has to know of it as well.
            self.cut_power()
            kill = rig.traced("-e", "trace=writev", "-e", f"inject=writev:signal=KILL:when={point}")
            result = rig.run([*kill, *self.command()], check=False)
            self.assertEqual(result.returncode, -signal.SIGKILL, result.stderr)
            # An engine that was started anew does not know any more that something was deleted.
            if point % 2 == 0:
                self.engine.restart()
            self.load()
            with self.subTest(point=point):
                self.assertEqual(self.their_labels(), labels)
                self.assertEqual({blob.digest: self.content_labels(blob) for blob in self.web.blobs}, ours)
                self.assertEqual(self.their_snapshots(), snapshots)
                self.assert_right(self.web)
                self.assert_right(self.theirs, "theirs")
                self.assert_nothing_left()
        print(f"\nrepair: killed at {len(points)} of {total} writes to the engine", flush=True)
        self.assert_runs(self.web)
        self.assert_runs(self.theirs, "theirs")


if not rig.IS_NEWEST:
    del Shared


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
