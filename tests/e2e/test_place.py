"""`ociseed-loader place` and `status`: which roots are placed and how, and what is said of it."""

import fcntl
import json
import os
import threading
import unittest
from pathlib import Path

import loader_seed as seed
import rig
from place_case import LOADER, CONTENT, DATABASE, SNAPSHOTTER, STAGE, PlaceCase, tree_of


class Roots(PlaceCase):
    """Which roots are taken, and how."""

    def test_a_root_that_is_not_there(self):
        placed = self.place()
        self.assert_placed(placed)
        self.assertEqual(oct(self.root.stat().st_mode & 0o7777), "0o711")
        self.assertIn(f"seed id={self.seed_id} lock={self.digest} trust=sealed checked=hashed", placed.log)
        self.assertIn(f"placed engine=containerd root={self.root} images=4 layers=5 copied=", placed.log)
        # Each link of the root leads to what it is for, by the alias, once the link is where roots look for it.
        Path("/run/ociseed").symlink_to(self.run_dir)
        self.addCleanup(os.unlink, "/run/ociseed")
        for blob in self.images[0].blobs:
            self.assertEqual((self.root / CONTENT / "blobs/sha256" / blob.digest[7:]).read_bytes(), blob.data)
        snapshots = self.root / SNAPSHOTTER / "snapshots"
        self.assertEqual(sorted(os.listdir(snapshots)), ["1", "2", "3", "4", "5"])
        self.assertTrue(all((path / "fs").is_dir() for path in snapshots.iterdir()))

    def test_parents_that_are_not_there(self):
        self.root = self.parent / "a b" / "c" / "containerd"
        self.assert_placed(self.place())

    def test_an_empty_root_keeps_its_mode_and_owner(self):
        self.root.mkdir()
        os.chown(self.root, 5, 6)
        self.root.chmod(0o2750)
        self.assert_placed(self.place())
        found = self.root.stat()
        self.assertEqual((found.st_uid, found.st_gid, oct(found.st_mode & 0o7777)), (5, 6, "0o2750"))

    def test_a_mount_point(self):
        for kind in ("tmpfs", "bind"):
            with self.subTest(kind):
                if kind == "tmpfs":
                    self.mount(self.root)
                else:
                    (self.directory / "other").mkdir()
                    self.mount(self.root, "none", "bind", self.directory / "other")
                inode = self.root.stat().st_ino
                self.assert_placed(self.place())
                self.assertEqual(self.root.stat().st_ino, inode)
                rig.run(["umount", self.root])
                self.assertEqual(os.listdir(self.root), [])

    def test_a_root_with_foreign_files(self):
        (self.root / "lost+found").mkdir(parents=True)
        (self.root / "io.containerd.runtime.v2.task").mkdir()
        for piece in (CONTENT, DATABASE):
            (self.root / piece).mkdir(mode=0o700)
        placed = self.place()
        self.assertEqual(placed.engine["outcome"], "placed")
        expected = self.expected | {
            name: ("0o40755", (0, 0), None) for name in ("lost+found", "io.containerd.runtime.v2.task")
        }
        self.assertEqual(tree_of(self.root), expected)

    def test_a_link_is_followed_once(self):
        (self.directory / "data").mkdir()
        for target in (self.directory / "data/containerd", "../data/relative"):
            with self.subTest(target):
                self.root.symlink_to(target)
                self.assert_placed(self.place("--root", f"{self.root}/"))
                self.assertTrue(self.root.is_symlink())
                self.root.unlink()
        (self.parent / "second").symlink_to(self.directory / "data/other")
        self.root.symlink_to("second")
        self.assertIn("a symbolic link to a symbolic link", self.place(expect=6).log)
        self.assertFalse((self.directory / "data/other").exists())

    def test_a_used_root_is_kept(self):
        (self.root / DATABASE).mkdir(parents=True)
        (self.root / DATABASE / "meta.db").write_text("of somebody")
        before = tree_of(self.root)
        placed = self.place()
        self.assertEqual(placed.engine["outcome"], "kept")
        self.assertEqual(placed.engine["reason"], f"it has `{DATABASE}/meta.db`")
        self.assertIn(f"kept engine=containerd root={self.root} images=0 layers=0 copied=0", placed.log)
        # As at every boot but the first, so there is nothing to warn of.
        self.assertNotIn("warning", placed.log)
        self.assertEqual(tree_of(self.root), before)
        self.assertEqual(os.readlink(self.link), str(self.seed))

    def test_other_content_is_kept(self):
        cases = {
            f"{CONTENT}/blobs/sha256/{'0' * 64}": CONTENT,
            f"{SNAPSHOTTER}/snapshots/1": SNAPSHOTTER,
            f"{DATABASE}/other": DATABASE,
            self.alias: self.alias,
        }
        for path, piece in cases.items():
            with self.subTest(path):
                (self.root / path).parent.mkdir(parents=True)
                (self.root / path).write_text("of somebody")
                before = tree_of(self.root)
                placed = self.place()
                self.assertEqual(placed.engine["outcome"], "kept")
                self.assertIn(f"its `{piece}` is not the store's", placed.engine["reason"])
                self.assertIn(f"warning: `{self.root}` is kept", placed.log)
                self.assertEqual(tree_of(self.root), before)
                rig.run(["rm", "-r", self.root])

    def test_what_cannot_be_replaced_is_found_before_anything_is(self):
        elsewhere = self.directory / "elsewhere"
        elsewhere.mkdir()
        makers = {
            "a link to an empty directory": lambda path: path.symlink_to(elsewhere),
            "an empty file": lambda path: path.write_text(""),
            "another file system, empty": lambda path: self.mount(path, options="size=1m,mode=755"),
            "an empty directory of the same one, mounted": lambda path: self.mount(path, "none", "bind", elsewhere),
        }
        cases = [(piece, *case) for piece in (SNAPSHOTTER, DATABASE) for case in makers.items()]
        # The link to the seed is one and cannot replace even an empty directory.
        cases.append((self.alias, "an empty directory", Path.mkdir))
        for piece, what, make in cases:
            with self.subTest(piece, what=what):
                self.root.mkdir()
                make(self.root / piece)
                before = tree_of(self.root)
                placed = self.place()
                self.assertEqual(placed.engine["outcome"], "kept")
                self.assertIn(f"its `{piece}` is not the store's", placed.engine["reason"])
                self.assertEqual(tree_of(self.root), before)
                rig.unmount_below(self.directory)
                rig.run(["rm", "-r", self.root])

    @property
    def alias(self):
        return f"io.ociseed.seed.{self.seed_id[7:23]}"

    def test_pieces_of_one_that_was_killed_are_gone_on_from(self):
        for piece in (CONTENT, SNAPSHOTTER, self.alias):
            with self.subTest(piece):
                self.root.mkdir()
                (self.root / "foreign").write_text("")
                rig.run(["cp", "-a", self.seed / seed.ROOT_STORE / piece, self.root])
                stages = [self.root / STAGE, self.parent / f"{STAGE}-containerd"]
                for stage in stages:
                    (stage / "half").mkdir(parents=True)
                self.assertEqual(self.place().engine["outcome"], "placed")
                (self.root / "foreign").unlink()
                self.assert_placed()
                rig.run(["rm", "-r", self.root])

    def test_leftovers_go_also_where_the_root_is_kept(self):
        self.place()
        for stage in (self.root / STAGE, self.parent / f"{STAGE}-containerd"):
            (stage / "half").mkdir(parents=True)
        self.assertEqual(self.place().engine["outcome"], "kept")
        self.assert_placed()

    def test_leftovers_that_cannot_be_removed_matter_only_where_something_is_placed(self):
        def used():
            (self.root / DATABASE / "meta.db").write_text("of somebody")

        def foreign():
            (self.root / CONTENT / "blobs").mkdir(parents=True)

        cases = {"used": (used, 0), "foreign": (foreign, 0), "fresh": (lambda: None, 6)}
        for case, (make, code) in cases.items():
            with self.subTest(case):
                (self.root / DATABASE).mkdir(parents=True, exist_ok=True)
                make()
                for stage in (self.root / STAGE, self.parent / f"{STAGE}-containerd"):
                    (stage / "half").mkdir(parents=True)
                self.mount(self.parent, "none", "bind", self.parent)
                rig.run(["mount", "-o", "remount,bind,ro", self.parent])
                placed = self.place(expect=code)
                words = f"cannot tidy up `{self.root}`: Read-only file system"
                if code == 0:
                    self.assertEqual(placed.engine["outcome"], "kept")
                    self.assertIn(f"warning: {words}", placed.log)
                else:
                    self.assertIn(f"error: {words}", placed.log)
                rig.unmount_below(self.directory)
                rig.run(["rm", "-r", *self.parent.glob("*")])

    def test_a_note_of_a_newer_loader(self):
        stage = self.root / STAGE
        stage.mkdir(parents=True)
        (stage / "note.json").write_text('{"version": 2}')
        log = self.place(expect=6).log
        self.assertIn("`note.json` has version 2, this loader reads version 1", log)
        self.assertEqual(tree_of(self.root).keys(), {STAGE, f"{STAGE}/note.json"})

    def test_a_piece_that_cannot_take_its_place_takes_those_before_it_along(self):
        (self.root / "lost+found").mkdir(parents=True)
        before = tree_of(self.root)
        self.place(expect=6, tracer=["strace", "-f", "-o", "/dev/null", "-e", "inject=renameat,renameat2:error=EIO:when=3"])
        self.assertEqual(tree_of(self.root), before)
        self.assertEqual(self.place().engine["outcome"], "placed")
        self.assert_nothing_left()

    def test_a_parent_that_cannot_be_written(self):
        read_only = self.mount(self.directory / "ro", "none", "bind", self.parent)
        self.root.mkdir()
        other = self.directory / "other"
        other.mkdir()
        self.root = read_only / "containerd"
        self.mount(self.root, "none", "bind", other)
        rig.run(["mount", "-o", "remount,bind,ro", read_only])
        self.assert_placed(self.place())
        # With nothing mounted there is nowhere to write.
        rig.run(["umount", self.root])
        self.assertIn("Read-only file system", self.place(expect=6).log)

    def test_two_at_once(self):
        self.run_dir.mkdir()
        with open(self.run_dir / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            log = self.place(expect=75).log
        self.assertIn("another loader holds", log)
        self.assertEqual((os.listdir(self.parent), os.listdir(self.run_dir)), ([], ["lock"]))
        results = []
        threads = [threading.Thread(target=lambda: results.append(rig.run(self.command(), check=False))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertLessEqual({result.returncode for result in results}, {0, 75})
        self.assert_placed()

    def test_the_second_boot_writes_below_the_run_directory_alone(self):
        self.place()
        rig.run(["rm", "-r", self.run_dir])
        trace = self.directory / "trace"
        changing = "mkdir,mkdirat,rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat,openat,link,linkat,fchmod,syncfs"
        self.place(tracer=["strace", "-f", "-y", "-o", trace, "-e", f"trace={changing}"])
        calls = [line for line in trace.read_text().splitlines() if "openat" not in line or "O_CREAT" in line]
        calls = [line for line in calls if "(" in line and not line.endswith("exited with 0 +++")]
        self.assertTrue(calls)
        self.assertEqual([line for line in calls if str(self.run_dir) not in line], [])

    def test_no_space(self):
        cases = {"size=64m,nr_inodes=12": "inodes are needed", "size=40k": "and a reserve of 2048 are needed"}
        for options, words in cases.items():
            with self.subTest(options):
                small = self.mount(self.directory / "small", options=options)
                self.root = small / "containerd"
                log = self.place(expect=5).log
                self.assertIn(words, log)
                self.assertEqual(os.listdir(small), [])
                rig.run(["umount", small])


class Status(PlaceCase):
    """What `status` says of it; test_run_status.py has the rest."""

    def placed(self):
        return json.loads(self.status("--json"))["place"]

    def test_it_says_what_place_did(self):
        self.assertIsNone(self.placed())
        placed = self.place()
        self.assertEqual(self.placed(), placed.report)
        text = self.status()
        self.assertIn(f"seed id={self.seed_id}", text)
        self.assertIn("placed engine=containerd", text)
        refused = self.place("--expect-seed", seed.sha256(b""), expect=3).report
        self.assertIsNone(refused["seed"])
        self.assertIn("error: ", self.status())
        self.assertIn("exit code 3", self.status())
        # What was placed before is in force still.
        self.assertEqual(self.placed(), placed.report | {key: refused[key] for key in ("exit-code", "errors")})
        (self.run_dir / "place.json").write_text(json.dumps(self.placed() | {"version": 2}))
        self.assertIsNone(self.placed())
        said = rig.run([LOADER, "status", "--run-dir", self.run_dir]).stderr
        self.assertIn("it has version 2", said)


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
