"""`ociseed-loader place` killed at every call that changes something: the engine finds nothing or all, and the next one ends right."""

import collections
import os
import signal
import unittest

import loader_seed as seed
import rig
from build_case import calls_of
from place_case import DATABASE, PlaceCase, all_but_whiteouts, erofs, tree_of

OPENING = ("open", "openat", "openat2", "creat")
CHANGING = (
    *("write", "writev", "pwrite64", "copy_file_range", "sendfile", "ftruncate", "fallocate", "ioctl", "flock"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "chown", "fchown", "fchownat", "utimensat"),
    *("fsync", "fdatasync", "syncfs", "mount", "umount2"),
)


class Kills(PlaceCase):
    """Each kind of root that is placed, and of what a killed one can leave."""

    # As in test_place_media.py.
    extra = staticmethod(all_but_whiteouts)

    def setUp(self):
        super().setUp()
        self.hit = collections.Counter()
        # What strace makes the kernel refuse besides.
        self.faults = []

    def reset(self, kind):
        """Makes everything as it was before the first `place`."""
        rig.unmount_below(self.directory)
        rig.run(["rm", "-rf", "--", self.parent, self.run_dir, self.state])
        self.parent.mkdir()
        if kind == "empty":
            self.root.mkdir(mode=0o750)
            os.chown(self.root, 7, 8)
        elif kind == "mount point":
            self.mount(self.root)
        elif kind == "foreign":
            (self.root / "lost+found").mkdir(parents=True)

    def points(self, source):
        """Where to kill: (call, which one of its thread)."""
        trace = self.directory / "trace"
        tracer = ["strace", "-qq", "-f", "-o", trace, "-e", f"trace={','.join((*CHANGING, *OPENING))}", *self.faults]
        self.place(source=source, tracer=tracer)
        calls = [call for call in calls_of(trace) if call.name in CHANGING or call.creates()]
        return sorted({(call.name, call.number) for call in calls})

    def kill_everywhere(self, kind, source=None, but=()):
        self.reset(kind)
        points = [point for point in self.points(source) if point not in but]
        undisturbed = tree_of(self.root)
        self.assertLessEqual(self.expected.items(), undisturbed.items())
        for point in points:
            with self.subTest(kind=kind, point=point):
                self.reset(kind)
                self.kill(point, source)
                # The engine goes by its database; where that is there, all that it names is.
                if (self.root / DATABASE / "meta.db").exists():
                    found = tree_of(self.root)
                    self.assertLessEqual(self.expected.items(), found.items())
                self.place(source=source)
                self.assertEqual(tree_of(self.root), undisturbed)
                self.assert_nothing_left()
                self.assertTrue((self.link / "seed.json").exists())
        print(f"\nplace, {kind}: {self.hit.total()} of {len(points)} killed: {dict(sorted(self.hit.items()))}", flush=True)
        self.assertEqual(self.hit.total(), len(points))

    def kill(self, point, source):
        name, number = point
        tracer = ["strace", "-qq", "-f", "-o", "/dev/null", *(self.faults if name != "mount" else [])]
        tracer += ["-e", f"inject={name}:signal=KILL:when={number}"]
        result = rig.run([*tracer, *self.command(source=source)], check=False)
        if result.returncode == -signal.SIGKILL or result.returncode == 128 + signal.SIGKILL:
            self.hit[name] += 1

    def test_a_root_that_is_not_there(self):
        self.kill_everywhere("absent")

    def test_an_empty_root(self):
        self.kill_everywhere("empty")

    def test_a_mount_point(self):
        self.kill_everywhere("mount point")

    def test_a_root_with_foreign_files(self):
        self.kill_everywhere("foreign")

    def test_from_an_image_file(self):
        self.kill_everywhere("absent", erofs(self.seed, self.directory / "seed.erofs"))

    def test_a_link_that_leads_elsewhere_is_replaced_at_once(self):
        other = self.directory / "other"
        self.place()
        rig.run(["cp", "-a", self.seed, other])

        def prepare():
            rig.run(["rm", "-rf", "--", self.run_dir, self.state])
            self.link.parent.mkdir(parents=True)
            self.link.symlink_to(self.seed)

        prepare()
        points = self.points(other)
        for point in points:
            with self.subTest(point=point):
                prepare()
                self.kill(point, other)
                self.assertIn(os.readlink(self.link), [str(self.seed), str(other)])
                self.place(source=other)
                self.assertEqual(os.readlink(self.link), str(other))
                self.assert_nothing_left()
        print(f"\nplace, another link: {self.hit.total()} of {len(points)} killed: {dict(sorted(self.hit.items()))}", flush=True)
        self.assertEqual(self.hit.total(), len(points))

    def test_from_an_image_file_by_a_loop_device(self):
        # As a kernel does that mounts no files; where a mount is killed, only the first, which then needs no device.
        self.faults = ["-e", "inject=mount:error=ENOTBLK:when=1"]
        self.kill_everywhere("absent", erofs(self.seed, self.directory / "seed.erofs"), but=[("mount", 2)])

    def test_another_seed_is_placed_by_the_next_one(self):
        """As after an update of the OS: what the killed one placed does not fit beside the other seed's store."""
        other = self.directory / "other seed"
        seed.write_medium(other, self.images[:1])
        self.reset("foreign")
        self.place(source=other)
        undisturbed = tree_of(self.root)
        self.assertLessEqual(tree_of(other / seed.ROOT_STORE).items(), undisturbed.items())
        self.assertFalse(self.expected.items() <= undisturbed.items())
        self.reset("foreign")
        points = self.points(None)
        for point in points:
            with self.subTest(point=point):
                self.reset("foreign")
                self.kill(point, None)
                complete = (self.root / DATABASE / "meta.db").exists()
                found = self.place(source=other).engine
                self.assertEqual((found["outcome"], found["reason"] is None), ("kept", False) if complete else ("placed", True))
                if complete:
                    self.assertLessEqual(self.expected.items(), tree_of(self.root).items())
                else:
                    self.assertEqual(tree_of(self.root), undisturbed)
                self.assert_nothing_left()
        print(f"\nplace, another seed: {self.hit.total()} of {len(points)} killed: {dict(sorted(self.hit.items()))}", flush=True)
        self.assertEqual(self.hit.total(), len(points))

    def test_another_seed_is_placed_after_one_that_was_killed_taking_back(self):
        other = self.directory / "other seed"
        seed.write_medium(other, self.images[:1])
        self.reset("foreign")
        self.place(source=other)
        undisturbed = tree_of(self.root)
        self.reset("foreign")
        last = max(point for point in self.points(None) if point[0] in ("renameat", "renameat2"))
        self.reset("foreign")
        self.kill(last, None)
        again = rig.scratch_directory("again") / "var"
        self.addCleanup(rig.run, ["rm", "-rf", "--", again.parent])
        rig.run(["cp", "-a", self.parent, again])
        points = self.points(other)
        self.assertGreater(len([point for point in points if point[0] == last[0]]), last[1])
        self.hit.clear()
        for point in points:
            with self.subTest(point=point):
                rig.run(["rm", "-rf", self.parent, self.run_dir, self.state])
                rig.run(["cp", "-a", again, self.parent])
                self.kill(point, other)
                self.place(source=other)
                self.assertEqual(tree_of(self.root), undisturbed)
                self.assert_nothing_left()
        print(f"\nplace, another seed again: {self.hit.total()} of {len(points)} killed: {dict(sorted(self.hit.items()))}", flush=True)
        self.assertEqual(self.hit.total(), len(points))

    def test_what_a_killed_one_left_is_killed_again(self):
        """A `place` that tidies up and goes on is killed as well."""
        self.reset("foreign")
        points = self.points(None)
        undisturbed = tree_of(self.root)
        rename = max(number for name, number in points if name in ("renameat", "renameat2"))
        name = next(name for name, number in points if name in ("renameat", "renameat2") and number == rename)
        self.reset("foreign")
        self.kill((name, rename), None)
        again = rig.scratch_directory("again") / "var"
        self.addCleanup(rig.run, ["rm", "-rf", "--", again.parent])
        rig.run(["cp", "-a", self.parent, again])
        seconds = self.points(None)
        self.hit.clear()
        for point in seconds:
            with self.subTest(point=point):
                rig.run(["rm", "-rf", self.parent, self.run_dir, self.state])
                rig.run(["cp", "-a", again, self.parent])
                self.kill(point, None)
                self.place()
                self.assertEqual(tree_of(self.root), undisturbed)
                self.assert_nothing_left()
        print(f"\nplace, after a kill: {self.hit.total()} of {len(seconds)} killed: {dict(sorted(self.hit.items()))}", flush=True)
        self.assertEqual(self.hit.total(), len(seconds))


def load_tests(loader, tests, pattern):
    """The loader is the same program in every suite."""
    return tests if rig.IS_NEWEST else unittest.TestSuite()


if __name__ == "__main__":
    unittest.main()
