"""`ociseed-loader run` on file systems that are too small, and on those that others fill meanwhile."""

import errno
import os
import shutil
import unittest

import loader_seed as seed
import rig
from engine_state import differences, state
from link_case import RUN, LinkCase
from loader_case import image
from test_run_engine import Proxy

MIB = 1 << 20
# By how much it is too small, at most: the loader counts what databases grow by generously.
MARGIN = MIB
WORDS = r"too little space on the file system of `.*`: (\d+) bytes and a reserve of (\d+) are needed, (\d+) are free"


class SpaceCase(LinkCase):
    size = "size=64m"

    def setUp(self):
        super().setUp()
        self.web = image("docker.io/library/web:1", "web\n", data=seed.noise(8 * MIB, 1))
        self.fill = self.engine.root / "fill"

    def new_engine(self):
        engine = rig.Containerd(namespace=self.namespace)
        engine.root.mkdir()
        rig.run(["mount", "-t", "tmpfs", "-o", self.size, "tmpfs", engine.root])
        return engine

    def source(self, form):
        if form == "links":
            return ["--seed", self.medium("a", [self.web])]
        seed.write_seed(self.directory / "host", [self.web])
        return ["--seed", self.directory / "host"]

    def free(self):
        free = os.statvfs(self.engine.root)
        return free.f_bavail * free.f_frsize

    def leave(self, size):
        """Fills the engine's file system until so many bytes are free."""
        with self.fill.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free() - size)

    def leave_nothing(self):
        """Fills the engine's file system while the engine may take of what is free, too."""
        with self.fill.open("wb") as file:
            while free := self.free():
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def wipe(self):
        self.fill.unlink(missing_ok=True)
        if names := list(self.engine.images()):
            self.engine.ctr("images", "remove", "--sync", *names)
        self.engine.collect_garbage()
        for link in self.engine.root.glob("*ociseed*"):
            link.unlink()
        shutil.rmtree(RUN, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def look(self):
        return state(self.engine, ("k8s.io",))

    def needed(self, source):
        """What the loader says that it needs, where there is next to nothing."""
        self.leave(64 << 10)
        run = self.load(source=source, expect=5)
        self.fill.unlink()
        self.assertRegex(run.report["errors"][0], WORDS)
        words = run.report["errors"][0].split()
        return int(words[words.index("bytes") - 1]) + int(words[words.index("are") - 1])

    def assert_refused(self, source):
        before, free = self.look(), self.free()
        run = self.load(source=source, expect=5)
        self.assertEqual(differences(before, self.look()), [])
        self.assertLess(abs(self.free() - free), MIB)
        self.assertFalse((self.state / "state.json").exists())
        self.assertEqual(run.writes, {})
        return run


class TooSmall(SpaceCase):
    def too_small(self, form):
        source = self.source(form)
        needed = self.needed(source)
        written = sum(blob.size for blob in self.web.blobs) if form == "copies" else 0
        self.assertLess(written, needed)
        # The reserve of a file system of 64 MiB is a twentieth of it.
        self.assertLess(needed, written + 64 * MIB // 20 + 2 * MIB)
        self.leave(needed - MARGIN)
        self.assert_refused(source)
        # There is room for others yet.
        other = seed.Image("docker.io/library/other:1", [seed.files({"/data": seed.noise(MIB, 2)}, compressed=False)])
        seed.write_archive(self.directory / "other.tar", [other])
        self.engine.ctr("images", "import", "--no-unpack", self.directory / "other.tar")
        self.assertTrue(self.is_complete(other.name))
        self.engine.ctr("images", "remove", "--sync", other.name)
        self.fill.unlink()
        self.leave(needed + MIB)
        self.assertEqual(self.load(source=source).outcome(self.web.name), "added")
        self.assert_right(self.web)
        self.assert_nothing_left()
        # What was asked for sufficed: the reserve is still there.
        self.assertGreater(self.free(), 64 * MIB // 20)
        self.fill.unlink()
        self.assert_runs(self.web)
        self.assert_settled(self.load(source=source))

    def test_by_links(self):
        self.too_small("links")

    def test_by_copies(self):
        self.too_small("copies")


class Inodes(SpaceCase):
    size = "size=64m,nr_inodes=200"

    def leave_inodes(self, count):
        self.fill.mkdir()
        for number in range(os.statvfs(self.engine.root).f_favail - count):
            (self.fill / str(number)).touch()

    def test_too_few(self):
        for form in ("links", "copies"):
            with self.subTest(form):
                source = self.source(form)
                self.leave_inodes(1)
                run = self.assert_refused(source)
                self.assertRegex(run.report["errors"][0], r"too little space .*: \d+ inodes are needed, 1 are free")
                needed = int(run.report["errors"][0].split(" inodes")[0].split()[-1])
                shutil.rmtree(self.fill)
                self.leave_inodes(needed - 1)
                self.assert_refused(source)
                (self.fill / "0").unlink()
                self.assertEqual(self.load(source=source).outcome(self.web.name), "added")
                shutil.rmtree(self.fill)
                self.assert_runs(self.web)
                self.wipe()


class FilledMeanwhile(SpaceCase):
    """Somebody else writes while the loader does."""

    def filled(self, form):
        source = self.source(form)
        with Proxy(self.directory, self.engine) as proxy:
            self.load("--address", proxy.path, source=source)
        full = 0
        for share in (2, 4, 6, 8):
            with self.subTest(form, share=share):
                self.wipe()
                with Proxy(self.directory, self.engine, proxy.sent * share // 10, self.leave_nothing) as filling:
                    run = self.load("--address", filling.path, source=source, expect=None)
                self.assertTrue(filling.done.is_set())
                # The engine's databases may have had room for the little that was left to do; before anything was written, the
                # loader may have found it.
                self.assertIn(run.code, (0, 6) if run.writes else (5, 6), run.log)
                full += run.code == 6
                self.fill.unlink(missing_ok=True)
                self.engine.collect_garbage()
                self.assert_nothing_left()
                self.assertEqual([s for s in self.snapshots().values() if s.kind == "Active"], [])
                # Its records come last, one by one: where there is one, everything else is there.
                if self.web.name in self.engine.images():
                    self.assert_right(self.web)
                self.load(source=source)
                self.assert_right(self.web)
                self.assert_settled(self.load(source=source))
        # Links take no room but in databases, which have some.
        self.assertTrue(full or form == "links")
        self.assert_runs(self.web)

    def test_by_links(self):
        self.filled("links")

    def test_by_copies(self):
        self.filled("copies")


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
