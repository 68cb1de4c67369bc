"""`ociseed-loader place` killed at every call that changes something: the engine finds nothing or all, and the next one ends right."""

import os
import unittest

import kill_points
import loader_seed as seed
import rig
from place_case import DATABASE, PlaceCase, all_but_whiteouts, erofs, tree_of

RENAMES = ("renameat", "renameat2")


class Kills(PlaceCase):
    """Each kind of root that is placed, and of what a killed one can leave."""

    # As in test_place_media.py.
    extra = staticmethod(all_but_whiteouts)

    def setUp(self):
        super().setUp()
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
        found = kill_points.points(self.command(source=source), self.directory / "trace", tracer=self.faults)
        # strace does one thing only to each kind of call.
        return [point for point in found if not any(f"inject={point.call}:" in fault for fault in self.faults)]

    def kill(self, point, source):
        return kill_points.kill(self.command(source=source), point, self.directory / "trace", tracer=self.faults)

    def kill_at_each(self, kind, points, prepare, source, check):
        """Kills it at each of some points, and looks at what there is then and behind the next one."""
        missed = []
        for point in points:
            with self.subTest(kind=kind, point=str(point)):
                prepare()
                if not self.kill(point, source):
                    missed.append(str(point))
                check()
                self.assert_nothing_left()
        print(f"\nplace, {kind}: {len(points) - len(missed)} of {len(points)} killed", flush=True)
        self.assertEqual(missed, [])

    def kill_everywhere(self, kind, source=None):
        self.reset(kind)
        points = self.points(source)
        undisturbed = tree_of(self.root)
        self.assertLessEqual(self.expected.items(), undisturbed.items())

        def check():
            # The engine goes by its database; where that is there, all that it names is.
            if (self.root / DATABASE / "meta.db").exists():
                self.assertLessEqual(self.expected.items(), tree_of(self.root).items())
            self.place(source=source)
            self.assertEqual(tree_of(self.root), undisturbed)
            self.assertTrue((self.link / "seed.json").exists())

        self.kill_at_each(kind, points, lambda: self.reset(kind), source, check)

    def kill_again(self, source, undisturbed):
        """Kills the first one at its last rename, and then the next one, which tidies up and goes on, everywhere."""
        self.reset("foreign")
        last = [point for point in self.points(None) if point.call in RENAMES][-1]
        self.reset("foreign")
        self.assertTrue(self.kill(last, None))
        again = rig.scratch_directory("again") / "var"
        self.addCleanup(rig.run, ["rm", "-rf", "--", again.parent])
        rig.run(["cp", "-a", self.parent, again])

        def prepare():
            rig.run(["rm", "-rf", self.parent, self.run_dir, self.state])
            rig.run(["cp", "-a", again, self.parent])

        prepare()
        points = self.points(source)

        def check():
            self.place(source=source)
            self.assertEqual(tree_of(self.root), undisturbed)

        self.kill_at_each("after a kill", points, prepare, source, check)
        return last, points

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

        def check():
            self.assertIn(os.readlink(self.link), [str(self.seed), str(other)])
            self.place(source=other)
            self.assertEqual(os.readlink(self.link), str(other))

        prepare()
        self.kill_at_each("another link", self.points(other), prepare, other, check)

    def test_from_an_image_file_by_a_loop_device(self):
        # As a kernel does that mounts no files.
        self.faults = ["-e", "inject=mount:error=ENOTBLK:when=1"]
        self.kill_everywhere("absent", erofs(self.seed, self.directory / "seed.erofs"))

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

        def check():
            complete = (self.root / DATABASE / "meta.db").exists()
            found = self.place(source=other).engine
            self.assertEqual((found["outcome"], found["reason"] is None), ("kept", False) if complete else ("placed", True))
            if complete:
                self.assertLessEqual(self.expected.items(), tree_of(self.root).items())
            else:
                self.assertEqual(tree_of(self.root), undisturbed)

        self.kill_at_each("another seed", points, lambda: self.reset("foreign"), None, check)

    def test_another_seed_is_placed_after_one_that_was_killed_taking_back(self):
        other = self.directory / "other seed"
        seed.write_medium(other, self.images[:1])
        self.reset("foreign")
        self.place(source=other)
        last, points = self.kill_again(other, tree_of(self.root))
        # It takes back what the first one moved in.
        self.assertGreater(len([point for point in points if point.call == last.call]), last.number)

    def test_what_a_killed_one_left_is_killed_again(self):
        """A `place` that tidies up and goes on is killed as well."""
        self.reset("foreign")
        self.place()
        self.kill_again(None, tree_of(self.root))


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
