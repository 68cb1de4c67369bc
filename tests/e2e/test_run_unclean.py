"""`ociseed-loader run` after a stop that nobody knows the end of: what can have been cut off is hashed once and put right."""

import json
import os
import subprocess
import unittest

import engine_cri
import loader_seed as seed
import rig
from link_case import CONTENT, SNAPSHOTS, LinkCase
from loader_case import LOADER, flip, image, image_files, wait_until


class UncleanCase(LinkCase):
    def setUp(self):
        super().setUp()
        self.web = image("docker.io/library/web:1", "web\n", data=seed.noise(1 << 20, 1))
        self.app = image("docker.io/library/app:1", "app\n", critical=False)
        self.images = [self.web, self.app]
        self.file = self.state / "state.json"

    def saved(self):
        return json.loads(self.file.read_text())

    def reboot(self, standing="changed", **more):
        """Makes what was noted another boot's; the links to seeds are as `place` makes them, so nobody has to be told of them."""
        self.file.write_text(json.dumps({**self.saved(), "boot": "another", "state": standing, **more}))

    def size(self, *images):
        return sum({blob.digest: blob.size for one in images for blob in one.blobs}.values())

    def unpack(self, *images):
        """What the engine has when others imported images, and unpacked them."""
        for one in images:
            seed.write_archive(self.directory / "import.tar", [one])
            self.engine.ctr("images", "import", self.directory / "import.tar")

    def unpacked_files(self, name):
        """A file of layers that the engine unpacked, in every snapshot that has it."""
        places = (self.engine.root / SNAPSHOTS).glob(f"*/fs/{name}")
        return [place for place in places if not place.parents[len(name.split("/")) - 1].is_symlink()]


class Copies(UncleanCase):
    def setUp(self):
        super().setUp()
        seed.write_seed(self.seed, self.images)
        self.load()

    def assert_hashed(self, run, *images):
        self.assert_settled(run)
        self.assertEqual(run.report["read-back"], self.size(*images), run.log)

    def test_they_are_hashed_once(self):
        self.assert_hashed(self.load())
        self.reboot()
        self.assert_hashed(self.load(), *self.images)
        self.assertEqual(self.saved()["state"], "settled")
        self.assert_hashed(self.load())
        for blob in (self.web.layer_blobs[2], self.app.config):
            with self.subTest(blob.media_type):
                flip(self.store_file(blob))
                # In the boot in which it was changed nobody looks for it.
                self.assert_hashed(self.load())
                self.reboot()
                run = self.load()
                self.assertEqual([one["replaced"] for one in run.report["images"] if one["replaced"]], [[blob.digest]], run.log)
                self.assertEqual(self.saved()["state"], "changed")
                for one in self.images:
                    self.assert_right(one)
                self.assert_hashed(self.load())

    def test_a_boot_that_ended_in_good_order_is_not_looked_at(self):
        flip(self.store_file(self.web.config))
        self.reboot("settled")
        before = self.file.stat()
        self.assert_hashed(self.load())
        after = self.file.stat()
        self.assertEqual((after.st_ino, after.st_ctime_ns), (before.st_ino, before.st_ctime_ns))
        self.reboot()
        self.assertEqual(self.load().outcome(self.web.name), "repaired")

    def test_settle_says_that_it_ended_in_good_order(self):
        settle = [LOADER, "settle", "--state-dir", self.state]
        for standing in ("changed", "settled"):
            self.reboot(standing)
            before = self.file.read_bytes()
            rig.run(settle)
            self.assertEqual(self.file.read_bytes(), before, "another boot's stays as it is")
        flip(self.store_file(self.web.config))
        self.reboot()
        self.load()
        self.assertEqual(self.saved()["state"], "changed")
        places = ("io.containerd.content.v1.content", "io.containerd.snapshotter.v1.overlayfs")
        self.assertEqual(self.saved()["roots"], [str(self.engine.root / place) for place in places])
        synced = self.directory / "synced"
        rig.run([*rig.traced("-y", "-e", "trace=syncfs", output=synced), *settle])
        self.assertIn(str(self.engine.root), synced.read_text())
        saved = self.saved()
        self.assertEqual(saved["state"], "settled")
        self.file.write_text(json.dumps({**saved, "boot": "another"}))
        self.assert_hashed(self.load())

    def test_on_request_they_are_hashed_in_any_case(self):
        flip(self.store_file(self.web.config))
        self.assert_hashed(self.load())
        run = self.load("--read-back")
        self.assertEqual((run.outcome(self.web.name), run.image(self.web.name)["replaced"]), ("repaired", [self.web.config.digest]))
        self.assert_hashed(self.load("--read-back"), *self.images)

    def test_where_nobody_vouches_they_are_not(self):
        flip(self.store_file(self.web.config))
        self.reboot()
        self.assert_hashed(self.load("--trust", "unchecked"))
        self.assertEqual(self.saved()["boot"], "another")

    def test_what_cannot_be_read_is_another_boots(self):
        saved = self.file.read_text()
        newer = saved.replace('"version":1', '"version":2')
        self.assertNotEqual(saved, newer)
        more = saved.replace('"version":1', '"more":[],"version":2')
        for name, content in {"none": None, "empty": "", "cut": saved[:20], "newer": newer, "other": more, "zeros": "\0" * 99}.items():
            with self.subTest(name):
                self.file.unlink(missing_ok=True)
                if content is not None:
                    self.file.write_text(content)
                self.assert_hashed(self.load(), *self.images)
                self.assertEqual(self.saved()["version"], 1)

    def test_one_that_is_cut_off_is_found_in_every_run(self):
        for blob in self.web.blobs:
            for size in (0, blob.size - 1):
                with self.subTest(blob.media_type, size=size):
                    os.truncate(self.store_file(blob), size)
                    run = self.load()
                    self.assertEqual(run.image(self.web.name)["replaced"], [blob.digest], run.log)
                    self.assert_right(self.web)
        self.assert_settled(self.load())

    def test_each_class_hashes_its_own(self):
        for blob in (self.web.config, self.app.config):
            flip(self.store_file(blob))
        self.reboot()
        for kind, one in (("critical", self.web), ("background", self.app)):
            run = self.load("--class", kind)
            self.assertEqual([(i["name"], i["outcome"]) for i in run.report["images"]], [(one.name, "repaired")], run.log)
            self.assert_right(one)
        self.assert_hashed(self.load())

    def test_what_cannot_be_put_right_is_not_forgotten(self):
        flip(self.store_file(self.web.config))
        flip(seed.blob_file(self.seed, self.web.config))
        # Another change, so that there is something to note.
        self.engine.ctr("images", "remove", self.app.name)
        self.reboot()
        self.assertEqual(self.load(expect=8).outcome(self.app.name), "added")
        self.load(expect=8)
        flip(seed.blob_file(self.seed, self.web.config))
        self.assertEqual(self.load().outcome(self.web.name), "repaired")
        self.assert_hashed(self.load())

    def test_layers_that_nothing_runs_from_are_unpacked_again(self):
        for one in self.images:
            self.assert_runs(one)
        used = self.engine.start_container(self.app.name, ["/bin/sleep", "1000"])
        kept = self.snapshots().keys()
        for file in self.unpacked_files("etc/motd"):
            os.truncate(file, 0)
        self.assertEqual(self.output(self.web, "cat /etc/motd"), "")
        self.reboot()
        run = self.load()
        self.assertEqual(run.outcome(self.web.name), "repaired", run.log)
        self.assertLess(self.snapshots().keys(), kept)
        self.assertTrue(self.engine.ctr("tasks", "exec", "--exec-id", "e", used, "/bin/cat", "/bin/busybox").stdout)
        self.assert_runs(self.web)
        self.assert_settled(self.load())


class Links(UncleanCase):
    def setUp(self):
        super().setUp()
        self.seed = self.medium("a", self.images)

    def test_they_are_never_hashed(self):
        self.load()
        flip(seed.blob_file(self.seed, self.web.layer_blobs[2]))
        for arguments, standing in (([], "changed"), (["--read-back"], "settled"), (["--trust", "unchecked"], "changed")):
            self.reboot(standing)
            run = self.load("--trust", "unchecked", *arguments) if not arguments else self.load(*arguments)
            self.assert_settled(run)
            self.assertEqual((run.report["read-back"], run.report["calls"].get("containerd.services.content.v1.Content/Read")), (0, None))

    def test_copies_that_a_stop_spoilt_become_links(self):
        self.unpack(self.web)
        self.load()
        copied = {blob.digest for blob in self.web.blobs if not self.store_file(blob).is_symlink()}
        self.assertEqual(copied, {blob.digest for blob in self.web.blobs})
        wrong = [self.web.layer_blobs[2], self.web.config]
        for blob in wrong:
            flip(self.store_file(blob))
        self.assert_settled(self.load())
        self.reboot()
        run = self.load()
        self.assertEqual(run.outcome(self.web.name), "repaired", run.log)
        self.assertEqual(set(run.image(self.web.name)["replaced"]), {blob.digest for blob in wrong})
        for blob in wrong:
            self.assertTrue(self.store_file(blob).is_symlink())
        self.assert_right(self.web)
        self.assert_settled(self.load())

    def spoil_layers(self):
        """The engine unpacked layers of an image, and the power went before they were on the disk."""
        self.unpack(self.web)
        self.load("--trust", "unchecked")
        files = self.unpacked_files("etc/motd")
        self.assertTrue(files)
        for file in files:
            os.truncate(file, 0)

    def test_layers_that_the_engine_unpacked_become_links(self):
        self.spoil_layers()
        # As if a run had looked at them before they were spoilt.
        self.reboot("settled", unread=[])
        self.assert_settled(self.load())
        self.reboot()
        self.assert_settled(self.load("--trust", "unchecked"))
        self.assertEqual(self.output(self.web, "cat /etc/motd"), "")
        run = self.load()
        self.assertEqual(run.outcome(self.web.name), "repaired", run.log)
        self.assert_runs(self.web)
        self.assertEqual(list((self.engine.root / SNAPSHOTS).glob("*/fs.*")), [])
        self.assert_settled(self.load())

    def test_layers_that_something_runs_from_stay(self):
        self.spoil_layers()
        used = self.engine.start_container(self.web.name, ["/bin/sleep", "1000"])
        self.reboot()
        run = self.load()
        self.assertIn("is in use, and not replaced by a link", run.log)
        self.assertEqual(self.engine.ctr("tasks", "exec", "--exec-id", "e", used, "/bin/cat", "/etc/motd").stdout, "")
        self.engine.ctr("tasks", "kill", "--signal", "9", used)
        wait_until(lambda: self.engine.ctr("containers", "delete", used, check=False).returncode == 0, interval=0.1)
        self.load()
        self.assert_runs(self.web)
        self.assert_settled(self.load())


class Wrong(UncleanCase):
    """Links are looked at in every run."""

    def setUp(self):
        super().setUp()
        self.seed = self.medium("a", self.images)
        self.other = self.medium("b", [image("docker.io/library/web:1", "other\n")])

    def new_engine(self):
        return engine_cri.Node(self.namespace)

    def replace(self, place, kind):
        if kind == "directory":
            place.unlink()
            (place / "below").mkdir(parents=True)
            return
        place.unlink()
        if kind == "file":
            place.write_bytes(b"short")
        elif kind != "none":
            place.symlink_to({"dangling": "nowhere", "other seed": self.other / "seed.json"}[kind])

    def test_blobs_and_layers(self):
        self.load()
        blobs = [(blob.media_type, self.engine.root / CONTENT / blob.digest[7:]) for blob in self.web.blobs[-3:]]
        places = sorted((self.engine.root / SNAPSHOTS).glob("*/fs"))
        self.assertEqual(len(places), 4)
        cases = [(*blob, kind) for blob in blobs for kind in ("none", "dangling", "other seed", "file")]
        cases += [("layer", places[1], kind) for kind in ("none", "dangling", "other seed", "directory")]
        undisturbed = self.links()
        for what, place, kind in cases:
            with self.subTest(what, kind=kind):
                self.replace(place, kind)
                run = self.load()
                (one,) = [one for one in run.report["images"] if one["outcome"] != "settled"]
                # One that leads somewhere is like one to another slot's seed.
                self.assertEqual(one["outcome"], "updated" if kind == "other seed" else "repaired", run.log)
                self.assertEqual((one["linked"], one["copied"]), (1, 0))
                self.assertEqual(self.links(), undisturbed)
        self.assert_settled(self.load())
        for one in self.images:
            self.assert_runs(one)

    def hears(self, said):
        """Whether what listens to events does so by now."""
        self.engine.ctr("images", "label", engine_cri.PAUSE, "user.example/heard=yes")
        return self.is_said(said, engine_cri.PAUSE)

    def is_said(self, said, name):
        """Whether an event says that a record of this name changed."""
        return any("/images/update" in line and name in line for line in said.read_text().splitlines())

    def test_pods_run_after_it(self):
        """An engine that starts with wrong links lists no such image, and has to be told that they are right again."""
        cri = engine_cri.Cri(self.engine)
        cri.load(engine_cri.pause_archive(self.directory))
        self.load()
        cri.wait_for_images(*self.web.records)
        self.engine.stop()
        for blob in (self.web.config, self.web.manifest):
            (self.engine.root / CONTENT / blob.digest[7:]).unlink()
        for place in (self.engine.root / SNAPSHOTS).glob("*/fs"):
            if place.is_symlink():
                place.unlink()
        self.reboot("settled")
        self.engine.start()
        self.assertIsNone(cri.image_status(self.web.name))
        said = self.directory / "events"
        with said.open("w") as out:
            events = subprocess.Popen(["ctr", "--address", self.engine.socket, "events"], stdout=out)
        self.addCleanup(events.wait)
        self.addCleanup(events.kill)
        wait_until(lambda: self.hears(said))
        self.assertEqual(self.load().outcome(self.web.name), "repaired")
        cri.wait_for_images(*self.web.records)
        for name in self.web.records:
            wait_until(lambda name=name: self.is_said(said, name))
        files = image_files(self.web)
        output = cri.run_container(self.web.name, ["/bin/sha256sum", *files]).stdout
        self.assertEqual(output, "".join(f"{seed.sha256(data)[7:]}  {path}\n" for path, data in files.items()))


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
