"""Where `ociseed-loader place` finds seeds: image files, devices, labels of file systems and of partitions, now or a little later."""

import contextlib
import json
import os
import subprocess
import threading
import time
import unittest
from pathlib import Path

import loader_seed as seed
import rig
from partitions import partitioned
from place_case import PlaceCase, all_but_whiteouts, erofs, tree_of

class Media(PlaceCase):
    """Every way to a seed gives the same root."""

    # mkfs.erofs marks directories with whiteouts by an xattr of its own, which no layer has.
    extra = staticmethod(all_but_whiteouts)

    def setUp(self):
        super().setUp()
        self.label = f"s{os.getpid()}{time.monotonic_ns() % 10**6}"
        self.image = erofs(self.seed, self.directory / "seed image.erofs", self.label)

    def assert_from(self, source, medium, *arguments):
        placed = self.place("--trust", "sealed", *arguments, source=source)
        found = placed.report["seed"]
        self.assertEqual((found["medium"], found["checked"]), (str(medium), "hashed"))
        self.assertEqual(placed.engine["outcome"], "placed")
        self.assertEqual(tree_of(self.root), self.expected)
        self.assertEqual(os.readlink(self.link), found["path"])
        self.assertEqual(Path(found["path"]).parent, self.run_dir / "media")
        self.assertTrue((self.link / "seed.json").exists())
        (line,) = [line for line in Path("/proc/self/mounts").read_text().splitlines() if f" {escaped(found['path'])} " in line]
        self.assertLessEqual({"ro", "nosuid", "nodev"}, set(line.split()[3].split(",")), line)
        return placed, line

    @contextlib.contextmanager
    def partition(self, disk):
        """The device of a disk's one partition; one that is left would stay for whoever has the loop device next."""
        with self.loop_device(disk) as device:
            rig.run(["partx", "--add", device])
            try:
                yield Path(f"{device}p1")
            finally:
                rig.unmount_below(self.directory)
                rig.run(["partx", "--delete", device])

    def test_an_image_file(self):
        placed, _ = self.assert_from(self.image, self.image)
        self.assertTrue(placed.report["seed"]["path"].endswith("seed%20image.erofs"), placed.report)
        # What is mounted already is used again, and what was found right is known again.
        again = self.place(source=self.image)
        self.assertEqual((again.report["seed"]["checked"], again.engine["outcome"]), ("noted", "kept"))
        self.assertEqual(len(rig.mounts_below(self.directory)), 1)

    def test_an_image_file_by_a_loop_device(self):
        # A kernel that mounts no files says so; strace lets this one say it at the first mount.
        trace = ["strace", "-f", "-o", self.directory / "trace", "-e", "trace=mount,ioctl", "-e", "inject=mount:error=ENOTBLK:when=1"]
        placed = self.place(source=self.image, tracer=trace)
        self.assertEqual(tree_of(self.root), self.expected)
        self.assertIn("LOOP_CONFIGURE", (self.directory / "trace").read_text())
        source = rig.run(["findmnt", "-n", "-o", "SOURCE", placed.report["seed"]["path"]]).stdout.strip()
        self.assertRegex(source, "^/dev/loop[0-9]+$")
        self.assertEqual(self.place(source=self.image).report["seed"]["checked"], "noted")
        # The device goes with the mount.
        rig.run(["umount", placed.report["seed"]["path"]])
        listed = rig.run(["losetup", "--noheadings", "--output", "BACK-FILE"]).stdout
        self.assertNotIn(str(self.image), listed)

    def test_the_file_of_a_loop_device_is_known_by_more_than_its_path(self):
        place = self.mount(self.directory / "mounted", "erofs", "loop,ro", self.image)
        other = self.directory / "other"
        rig.run(["cp", self.image, other])
        for checked in ("hashed", "noted"):
            self.assertEqual(self.place(source=place).report["seed"]["checked"], checked)
        # Another one is at its path for now, and then instead of it.
        rig.run(["mount", "--bind", other, self.image])
        for checked in ("hashed", "hashed"):
            self.assertEqual(self.place(source=place).report["seed"]["checked"], checked)
        rig.run(["umount", self.image])
        self.assertEqual(self.place(source=place).report["seed"]["checked"], "noted")
        other.rename(self.image)
        for checked in ("hashed", "hashed"):
            self.assertEqual(self.place(source=place).report["seed"]["checked"], checked)
        (notes,) = (self.state / "sealed").iterdir()
        self.assertEqual(len(notes.read_text().splitlines()), 1)

    def test_what_a_mount_says_of_its_source_is_no_file_of_it(self):
        """A tmpfs that says that it is an image: another one of the same file, device and inode is not noted for it."""
        places = []
        for number in range(2):
            place = self.mount(self.directory / f"mounted {number}", source=self.image)
            rig.run(["cp", "-a", f"{self.seed}/.", place])
            places.append(place)
        self.assertEqual(len({place.stat().st_ino for place in places}), 1)
        for place in places:
            self.assertEqual(self.place(source=place).report["seed"]["checked"], "hashed")

    def test_an_image_file_that_was_written_to_is_hashed_again(self):
        before = self.image.stat()
        self.place(source=self.image)
        rig.unmount_below(self.directory)
        at = self.image.read_bytes().index(b"behind what is in dir")
        with open(self.image, "r+b") as image:
            image.seek(at)
            image.write(b"B")
        # The time that a program can set says nothing; the one that the kernel sets does.
        os.utime(self.image, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertIn("expected the tree digest", self.place(source=self.image, expect=3).log)

    def test_another_file_system_on_a_device_is_hashed_again(self):
        # A partition's device, as that of a disk, stays what it is.
        again = erofs(self.seed, self.directory / "again.erofs", self.label)
        self.assertEqual(again.stat().st_size, self.image.stat().st_size)
        disk = partitioned(self.directory / "disk", {"seed": self.image})
        with self.partition(disk) as device:
            for checked in ("hashed", "noted"):
                self.assertEqual(self.place(source=device).report["seed"]["checked"], checked)
                rig.unmount_below(self.directory)
            rig.run(["dd", f"if={again}", f"of={device}", "bs=64k", "conv=fsync"])
            self.assertEqual(self.place(source=device).report["seed"]["checked"], "hashed")

    def test_what_was_mounted_for_a_seed_that_is_refused_is_unmounted(self):
        for arguments in (["--expect-seed", seed.sha256(b"")], ["--trust", "verity"]):
            self.place(*arguments, source=self.image, expect=3)
            self.assertEqual(rig.mounts_below(self.directory), [])
            self.assert_untouched()

    def test_something_else_is_mounted(self):
        self.place(source=self.image)
        (mounted,) = rig.mounts_below(self.directory)
        rig.run(["umount", mounted])
        self.mount(mounted)
        self.assertIn("something else than", self.place(source=self.image, expect=3).log)

    def test_a_mount_without_its_options_is_not_used(self):
        self.place(source=self.image)
        (mounted,) = rig.mounts_below(self.directory)
        for left, missing in {"nosuid,dev": "`nodev`", "suid,nodev": "`nosuid`", "suid,dev": "`nosuid`, `nodev`"}.items():
            with self.subTest(left):
                rig.run(["mount", "-o", f"remount,bind,ro,{left}", mounted])
                self.assertIn(f"without {missing}", self.place(source=self.image, expect=3).log)
        rig.run(["mount", "-o", "remount,bind,ro,nosuid,nodev", mounted])
        self.assertEqual(self.place(source=self.image).engine["outcome"], "kept")

    def test_a_device(self):
        with self.loop_device(self.image) as device:
            self.assert_from(device, device)
            rig.unmount_below(self.directory)

    def test_a_label(self):
        with self.loop_device(self.image) as device:
            self.assert_from(f"LABEL={self.label}", device)
            rig.unmount_below(self.directory)
            with self.loop_device(self.image) as other:
                log = self.place(source=f"LABEL={self.label}", expect=3).log
                self.assertIn(f"is the label of several devices: {', '.join(sorted([device, other]))}", log)

    def test_the_label_of_a_partition(self):
        name = f"the {self.label}"
        disk = partitioned(self.directory / "disk", {name: self.image})
        with self.partition(disk) as partition:
            uevent = Path("/sys/class/block", partition.name, "uevent")
            # Linux says the name of what it found in a table by itself; this partition it was told of by partx.
            said = self.directory / "uevent"
            said.write_text(uevent.read_text() + f"PARTNAME={name}\n")
            rig.run(["mount", "--bind", said, uevent.resolve()])
            for source in (f"PARTLABEL={name}", f"LABEL={self.label}"):
                with self.subTest(source):
                    self.assert_from(source, partition)
                    rig.unmount_below(self.directory)
                    rig.run(["rm", "-r", self.root, self.state])
            self.place(source=f"PARTLABEL={self.label}", expect=3)
            rig.run(["umount", uevent.resolve()])

    def test_a_medium_that_comes_late(self):
        late = self.directory / "late.erofs"
        timer = threading.Timer(1, lambda: os.rename(self.image, late))
        timer.start()
        placed, _ = self.assert_from(late, late, "--wait", "20")
        self.assertGreater(placed.seconds, 0.9)
        timer.join()
        rig.unmount_below(self.directory)
        rig.run(["rm", "-r", self.root, self.state])
        command = self.command("--wait", "20", source=f"LABEL={self.label}")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        with self.loop_device(late):
            report = json.loads(process.communicate(timeout=30)[0])
            self.assertEqual(report["exit-code"], 0)
            self.assertEqual(tree_of(self.root), self.expected)
            rig.unmount_below(self.directory)

    def test_it_is_waited_for_as_long_as_was_said(self):
        start = time.monotonic()
        self.place("--wait", "1", source="LABEL=nonexistent", expect=3)
        self.assertGreater(time.monotonic() - start, 1)


def escaped(path):
    return str(path).replace(" ", "\\040")


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
