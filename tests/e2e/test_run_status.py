"""`status`, `settle` and `reset`: what was done and what there is, a boot that ends in good order, and nothing of ours any more."""

import json
import unittest

import loader_seed as seed
import placed
import rig
from link_case import RUN, LinkCase
from loader_case import ADOPTED, LOADER, image
from loader_rows import flipped, killed, replaced, writes_to_engine

A, B = "docker.io/library/a:1", "docker.io/library/b:1"


class Status(LinkCase):
    def status(self, *arguments):
        command = [LOADER, "status", "--address", self.engine.socket, *arguments]
        result = rig.run(command, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def said(self):
        said = json.loads(self.status("--json").stdout)
        self.assertEqual((list(said), said["version"]), (["version", "place", "run", "images"], 2))
        return said

    def of(self, name):
        (found,) = [one for one in self.said()["images"] if one["name"] == name]
        return found

    def test_nothing_was_done(self):
        said = self.said()
        self.assertEqual((said["place"], said["run"], said["images"]), (None, None, None))
        self.assertIn("no `run` in this boot", self.status().stdout)

    def test_what_the_engine_has_of_each_image(self):
        a, b = image(A, "a\n"), image(B, "b\n", critical=False, pin=False)
        source = ["--seed", self.medium("a", [a, b])]
        run = self.load(source=source)
        self.assertEqual(self.said()["run"], run.report)
        right = {"name": A, "namespace": "k8s.io", "desired": a.digest, "actual": a.digest, "pinned": True, "unpacked": True}
        right |= {"source": "links", "error": None}
        self.assertEqual(self.of(A), right)
        self.assertEqual(self.of(B), right | {"name": B, "desired": b.digest, "actual": b.digest, "pinned": False})
        text = self.status().stdout
        self.assertIn(f"there name={A} namespace=k8s.io digest={a.digest} pinned=true unpacked=true source=links\n", text)
        # A run that finds all right is not worth being kept.
        self.load(source=source)
        self.assertEqual(self.said()["run"], run.report)
        self.engine.ctr("images", "remove", B)
        self.engine.ctr("images", "tag", A, B)
        self.assertEqual(self.of(B)["actual"], a.digest)
        self.assertIn(f"other name={B} ", self.status().stdout)
        self.engine.ctr("images", "remove", A)
        self.assertEqual((self.of(A)["actual"], self.of(A)["pinned"]), (None, False))
        self.assertIn(f"absent name={A} ", self.status().stdout)
        self.engine.kill()
        said = self.said()
        self.assertEqual((said["run"], said["images"]), (run.report, None))
        self.assertIn(f"added name={A} namespace=k8s.io\n", self.status().stdout)

    def test_copies_are_unpacked_when_they_run(self):
        a = image(A, "a\n")
        seed.write_seed(self.seed, [a])
        self.load()
        self.assertEqual((self.of(A)["source"], self.of(A)["unpacked"]), ("copies", False))
        self.assert_runs(a)
        self.assertEqual((self.of(A)["source"], self.of(A)["unpacked"]), ("copies", True))

    def test_what_failed(self):
        a = image(A, "a\n")
        source = self.medium("a", [a])
        replaced(seed.blob_file(source, a.layer_blobs[1]), flipped)
        run = self.load(source=["--seed", source], expect=8)
        found = self.of(A)
        self.assertEqual((found["actual"], found["error"]), (None, run.image(A)["errors"][-1]))
        self.assertIn(a.layer_blobs[1].digest[7:], found["error"])
        # A seed that is refused as a whole is known as well.
        (source / "seed.json").write_bytes(b"")
        run = self.load(source=["--seed", source], expect=3)
        self.assertEqual(self.said()["run"], run.report)

    def test_what_place_did(self):
        archive = self.directory / "a.tar"
        seed.write_archive(archive, [image(A, "a\n")])
        with placed.of_archives(self.directory, {A: archive}) as medium:
            report = medium.place(self.directory / "placed").report
            self.assertEqual(self.said()["place"], report)
            self.load(source=["--seed", medium.image])
            self.assertEqual((self.said()["place"], self.of(A)["source"]), (report, "links"))


class Settle(LinkCase):
    def settle(self):
        rig.run([LOADER, "settle", "--state-dir", self.state])

    def next_boot(self):
        """Nothing else is known of the boot before."""
        file = self.state / "state.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"boot": "an earlier one"}))

    def test_nothing_was_changed(self):
        self.settle()
        self.assertFalse(self.state.exists())

    def test_nothing_is_hashed_after_a_good_end(self):
        a = image(A, "a\n")
        seed.write_seed(self.seed, [a])
        self.load()
        self.next_boot()
        size = sum(blob.size for blob in a.blobs)
        self.assertEqual(self.load().report["read-back"], size)
        self.engine.ctr("images", "remove", A)
        self.load()
        self.engine.kill()
        self.settle()
        before = (self.state / "state.json").read_text()
        self.assertEqual(json.loads(before)["state"], "settled")
        # Not written where there is nothing new.
        stamp = (self.state / "state.json").stat().st_mtime_ns
        self.settle()
        self.assertEqual((self.state / "state.json").stat().st_mtime_ns, stamp)
        self.engine.start()
        self.next_boot()
        self.assertEqual(self.load().report["read-back"], 0)
        self.next_boot()
        self.settle()
        # One that did not end so is not what the next boot settles.
        self.cut_power()
        self.settle()
        self.assertEqual(self.load().report["read-back"], size)

    def test_the_engine_s_root_is_synced(self):
        seed.write_seed(self.seed, [image(A, "a\n")])
        self.load()
        trace = self.directory / "trace"
        rig.run([*rig.traced("-e", "trace=syncfs,openat", output=trace), LOADER, "settle", "--state-dir", self.state])
        lines = trace.read_text().splitlines()
        synced = [line.split("syncfs(")[1].split(")")[0] for line in lines if "syncfs(" in line]
        opened = [line for line in lines if str(self.engine.root) in line and line.split("= ")[-1] in synced]
        # The directories of content and snapshots may lie on two file systems.
        self.assertEqual((len(synced), len(opened)), (2, 2), lines)


class Reset(LinkCase):
    def reset(self, expect=0):
        command = [LOADER, "reset", "--address", self.engine.socket, "--state-dir", self.state, "--json", "--wait", "1"]
        result = rig.run(command, check=False)
        self.assertEqual(result.returncode, expect, result.stderr)
        return json.loads(result.stdout), result.stderr

    def test_nothing_of_ours_is_left(self):
        """By links and by copies, beside what others have."""
        a, b = image(A, "a\n"), image(B, "b\n", namespaces=["k8s.io", "moby"])
        theirs = image("docker.io/library/t:1", "theirs\n")
        for one in (theirs, a):
            seed.write_archive(self.directory / "theirs.tar", [one])
            self.engine.ctr("images", "import", self.directory / "theirs.tar")
        before = self.engine.images()
        # Else what the engine unpacked of theirs may be cut off, and ours is not built on it.
        self.know_boot()
        self.engine.ctr("leases", "create", "--id", "theirs")
        source = ["--seed", self.medium("a", [a, b])]
        self.load(source=source)
        # What others brought stays theirs, and theirs would break with our seed.
        for blob in {*theirs.blobs, *a.blobs}:
            self.assertFalse(self.store_file(blob).is_symlink(), blob.media_type)
        self.assertEqual(self.engine.images()[A].labels[ADOPTED], "true")
        container = self.engine.start_container(B, ["/bin/sleep", "1000"])
        report, log = self.reset()
        # Nobody can tell who made the record of the id, which CRI has for its own use.
        before.pop(a.config.digest, None)
        self.assertEqual(self.engine.images(), before)
        self.assertEqual(self.engine.images("moby"), {})
        removed = {(one["name"], one["namespace"]) for one in report["removed"]}
        self.assertLessEqual({(A, "k8s.io"), (B, "k8s.io"), (B, "moby")}, removed)
        self.assertIn(f"removed name={B} namespace=moby digest={b.digest}\n", log)
        self.assert_nothing_left()
        self.assertIn("theirs", self.engine.ctr("leases", "list", "--quiet").stdout.split())
        self.assertFalse(self.state.exists())
        self.assertFalse((RUN / "run.json").exists())
        # A container that runs keeps its files, and the links to them.
        shown = self.engine.ctr("tasks", "exec", "--exec-id", "e", container, "/bin/cat", "/etc/motd").stdout
        self.assertEqual(shown, "b\n")
        self.assertFalse(self.store_file(b.manifest).exists())
        self.engine.ctr("tasks", "kill", "--signal", "KILL", container)
        self.engine.ctr("tasks", "delete", "--force", container)
        self.engine.ctr("containers", "delete", container)
        self.engine.collect_garbage()
        self.reset()
        self.assertEqual(self.links(), {})
        self.assert_runs(theirs)
        # From nothing.
        run = self.load(source=source)
        self.assertEqual((run.outcome(B), run.outcome(B, "moby")), ("added", "added"))
        self.assert_runs(b)
        self.assert_settled(self.load(source=source))

    def test_what_a_killed_run_left_goes(self):
        seed.write_seed(self.seed, [image(A, "a\n", data=seed.noise(1 << 20, 1))])
        total = writes_to_engine(self)
        with self.new_engine() as self.engine:
            self.assertEqual(killed(self, total // 2), -9)
            self.assertNotEqual(self.leases() + self.ingests(), [])
            self.reset()
            self.assert_nothing_left()
            self.assertEqual(self.engine.images(), {})
            self.assertEqual(self.reset()[0]["removed"], [])

    def test_there_is_no_engine(self):
        seed.write_seed(self.seed, [image(A, "a\n")])
        self.load()
        self.engine.kill()
        report, log = self.reset(expect=4)
        self.assertIn("did not answer within", log)
        self.assertTrue((self.state / "state.json").exists())


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
