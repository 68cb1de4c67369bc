"""`ociseed-loader place`: which seeds are refused, what of them is trusted, and the seed of the other slot."""

import contextlib
import json
import os
import unittest
from pathlib import Path

import loader_seed as seed
import rig
from place_case import DATABASE, LOADER, SNAPSHOTTER, PlaceCase


class Seeds(PlaceCase):
    """Seeds that are refused before anything is written."""

    def refused(self, words, *arguments, expect=3, **options):
        placed = self.place(*arguments, expect=expect, **options)
        self.assertIn(words, placed.log)
        self.assertTrue(any(words in error for error in placed.report["errors"]), placed.report)
        self.assert_untouched()
        return placed

    def test_locks(self):
        (self.seed / "seed.json").write_text("{}")
        self.refused("seed.json")
        (self.seed / "seed.json").unlink()
        self.refused("No such file")

    def test_another_digest_than_expected(self):
        other = seed.sha256(b"other")
        self.refused(f"expected {other}, found {self.digest}", "--expect-seed", other)
        self.assert_placed(self.place("--expect-seed", self.digest))

    def test_the_kernel_command_line(self):
        other, line = seed.sha256(b"other"), self.directory / "cmdline"
        cases = {
            f"quiet ociseed.expect-seed={other}\n": f"expected {other}, found {self.digest}",
            f"ociseed.expect-seed={self.digest} ociseed.expect-seed={other}\n": f"expected {other}",
            "ociseed.expect-seed=sha256:12\n": "not `sha256:`",
        }
        for text, words in cases.items():
            with self.subTest(text), self.command_line(line, text):
                self.refused(words)
                result = rig.run([LOADER, "run", "--seed", self.seed, "--run-dir", self.run_dir, "--wait", "0"], check=False)
                self.assertEqual(result.returncode, 3, result.stderr)
        with self.command_line(line, f"ociseed.expect-seed={self.digest}\n"):
            self.refused(f"expected {other}", "--expect-seed", other)
            self.assert_placed(self.place("--expect-seed", self.digest))

    @contextlib.contextmanager
    def command_line(self, file, text):
        file.write_text(text)
        rig.run(["mount", "--bind", file, "/proc/cmdline"])
        try:
            yield
        finally:
            rig.run(["umount", "/proc/cmdline"])

    def test_host_form_and_a_seed_without_the_store(self):
        rig.run(["rm", "-r", self.seed])
        seed.write_seed(self.seed, self.images)
        self.refused("the seed is in host form")
        rig.run(["rm", "-r", self.seed])
        seed.write_medium(self.seed, self.images, stores=False)
        self.refused("the seed has no store `containerd`")

    def test_seeds_that_are_none(self):
        for source, words in {"/nonexistent": "is not there", "LABEL=nonexistent": "is not there", "/dev/null": "is neither"}.items():
            with self.subTest(source):
                self.refused(words, source=source)
        (self.directory / "file").write_bytes(bytes(8192))
        self.refused("is neither a directory nor", source=self.directory / "file")

    def test_without_a_root_the_lock_says_it(self):
        rig.run(["rm", "-r", self.seed])
        self.root = self.parent / "other"
        seed.write_medium(self.seed, self.images, root=str(self.root))
        command = [word for word in self.command() if word not in ("--root", self.root)]
        report = json.loads(rig.run(command).stdout)
        self.assertEqual(report["engines"][0]["root"], str(self.root))
        self.assert_placed()


class Store(PlaceCase):
    """A store that is not what the lock says is found in every mode, before anything takes its place."""

    def damage(self, path):
        """Ways in which a store can be wrong, with what is said of each."""
        store = self.seed / "stores/containerd"
        (link,) = [store / "blobs/0"]
        snapshots = store / "root" / SNAPSHOTTER / "snapshots"
        return {
            "file": (lambda: (store / "root" / DATABASE / "meta.db").write_bytes(b"x"), "meta.db`: expected"),
            "missing file": ((store / "root" / DATABASE / "meta.db").unlink, "meta.db` is not there"),
            "file too many": (lambda: (store / "root/more").write_bytes(b"x"), "root/more` is not in the lock"),
            "link": (lambda: (link.unlink(), link.symlink_to("/etc/passwd")), "expected the tree digest"),
            "missing link": ((snapshots / "1").unlink, "expected the tree digest"),
            "mode": (lambda: (store / "root" / SNAPSHOTTER).chmod(0o777), "expected the tree digest"),
            "owner": (lambda: os.chown(snapshots, 1, 1), "expected the tree digest"),
            "fifo": (lambda: os.mkfifo(store / "root/fifo"), "fifo` is neither"),
            "beside": (lambda: (store / "more").write_bytes(b""), "more` is a file beside the skeleton"),
        }

    def test_damage(self):
        for case in self.damage(None):
            for trust in ("unchecked", "sealed"):
                for kind in ("absent", "foreign"):
                    with self.subTest(case, trust=trust, root=kind):
                        rig.run(["rm", "-rf", self.seed, self.root, self.run_dir])
                        seed.write_medium(self.seed, self.images)
                        if kind == "foreign":
                            self.root.mkdir()
                            (self.root / "foreign").write_text("")
                        wrong, words = self.damage(None)[case]
                        wrong()
                        log = self.place("--trust", trust, expect=3).log
                        # These are found by the tree digest, and as a file that is not in the lock.
                        if trust == "unchecked" or case not in ("fifo", "beside"):
                            self.assertIn(words, log)
                        self.assertIn("stores/containerd", log)
                        self.assertEqual(self.root.exists() and os.listdir(self.root), ["foreign"] if kind == "foreign" else False)
                        self.assertEqual(len(os.listdir(self.parent)), int(kind == "foreign"))


class Trust(PlaceCase):
    """`--trust`."""

    def damage(self):
        web = self.images[0]
        blob = self.seed / "blobs/sha256" / web.config.digest[7:]
        lock = json.loads((self.seed / "seed.json").read_text())
        trees = {chain: layer["tree"] for chain, layer in lock["layers"].items()}
        rich = self.seed / "layers/sha256" / trees[web.locked()["layers"][1]["chain-id"]][7:]
        of_layer = [f"layers/sha256/{rich.name}`: expected the tree digest sha256:{rich.name}"]

        def flip(file, at=50):
            data, status = bytearray(file.read_bytes()), file.stat()
            data[at] ^= 1
            file.write_bytes(data)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))

        def same_time(path, change):
            status = path.lstat()
            change()
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)

        def both():
            flip(blob)
            flip(rich / "dir/file")

        return {
            "blob flipped": (lambda: flip(blob), [f"blobs/sha256/{blob.name}`: expected {web.config.digest}, found sha256:"]),
            "blob longer": (lambda: blob.write_bytes(web.config.data + b" "), [f"blobs/sha256/{blob.name}`: expected"]),
            "blob missing": (blob.unlink, [f"blobs/sha256/{blob.name}` is not there"]),
            "blob a link": (lambda: (blob.rename(self.seed / "b"), blob.symlink_to("../../b")), [f"blobs/sha256/{blob.name}`"]),
            "blob too many": (lambda: (blob.parent / ("0" * 64)).write_text(""), ["0` is not in the lock"]),
            "layer missing": (lambda: rig.run(["rm", "-r", rich]), [f"layers/sha256/{rich.name}` is not there"]),
            "layer too many": (lambda: (rich.parent / "more").mkdir(), ["layers/sha256/more` is not in the lock"]),
            "layer's own mode": (lambda: rich.chmod(0o700), ["is not a plain 0755 directory of 0:0"]),
            "layer's own xattr": (lambda: os.setxattr(rich, "user.a", b""), ["is not a plain 0755 directory of 0:0"]),
            "file changed": (lambda: flip(rich / "dir/file"), of_layer),
            "file missing": (lambda: same_time(rich, (rich / "dir-2").unlink), of_layer),
            "file too many": (lambda: (rich / "more").write_text(""), of_layer),
            "mode": (lambda: (rich / "dir-2").chmod(0o600), of_layer),
            "setuid gone": (lambda: (rich / "dir/file").chmod(0o755), of_layer),
            "owner": (lambda: os.chown(rich / "dir-2", 0, 1), of_layer),
            "time": (lambda: os.utime(rich / "dir-2", ns=(0, 1)), of_layer),
            "xattr": (lambda: os.setxattr(rich / "dir/file", "user.comment", b"\x00"), of_layer),
            "xattr of a link": (lambda: os.setxattr(rich / "link", "trusted.a", b"", follow_symlinks=False), of_layer),
            "not opaque": (lambda: os.removexattr(rich / "dir", "trusted.overlay.opaque"), of_layer),
            "link": (lambda: same_time(rich / "link", lambda: self.relink(rich / "link")), of_layer),
            "hard link parted": (lambda: self.part(rich / "another"), of_layer),
            "device": (lambda: self.renumber(rich / "gone"), of_layer),
            "two at once": (both, [f"blobs/sha256/{blob.name}`: expected", *of_layer]),
            "store too many": (lambda: (self.seed / "stores/docker").mkdir(), ["stores/docker` is not in the lock"]),
        }

    def relink(self, path):
        path.unlink()
        path.symlink_to("dir/FILE")

    def part(self, path):
        other = path.with_name("new")
        rig.run(["cp", "-a", path, other])
        other.rename(path)
        os.utime(path.parent, ns=(0, 0))

    def renumber(self, path):
        path.unlink()
        os.mknod(path, 0o020000, os.makedev(0, 1))
        os.utime(path, ns=(0, 0))

    def test_sealed_finds_every_kind_of_damage(self):
        for case in self.damage():
            with self.subTest(case):
                rig.run(["rm", "-rf", self.seed, self.root, self.run_dir, self.state])
                seed.write_medium(self.seed, self.images)
                change, expected = self.damage()[case]
                change()
                placed = self.place(expect=3)
                self.assertEqual(len(placed.report["errors"]), len(expected), placed.log)
                for words in expected:
                    self.assertIn(words, placed.log)
                self.assert_untouched()

    def test_what_was_found_right_is_not_read_again(self):
        first = self.place()
        files = [path for path in self.seed.rglob("*") if path.is_file() and not path.is_symlink()]
        # The lock and what lies beside blobs, layers and stores is not hashed; names of one file are hashed once.
        inodes = {path.stat().st_ino: path.stat().st_size for path in files if len(path.relative_to(self.seed).parts) > 1}
        self.assertEqual(first.report["seed"]["bytes"], sum(inodes.values()))
        (notes,) = (self.state / "sealed").iterdir()
        self.assertEqual((notes.name, len(notes.read_text().splitlines())), (self.digest[7:], 1))
        trace = self.directory / "trace"
        second = self.place(tracer=["strace", "-f", "-y", "-o", trace, "-e", "trace=open,openat,openat2"])
        self.assertEqual((second.report["seed"]["checked"], second.report["seed"]["bytes"]), ("noted", 0))
        opened = [line for line in trace.read_text().splitlines() if f"<{self.seed}/" in line.split("=")[-1]]
        names = {line.rsplit("<", 1)[1].rstrip(">").removeprefix(str(self.seed)) for line in opened}
        self.assertEqual(names & {str(path).removeprefix(str(self.seed)) for path in files}, {"/seed.json"})
        # What was noted is that medium, not a copy of it elsewhere.
        rig.run(["cp", "-a", self.seed, self.directory / "copy"])
        self.assertEqual(self.place(source=self.directory / "copy").report["seed"]["checked"], "hashed")
        self.assertEqual(self.place().report["seed"]["checked"], "noted")

    def test_a_state_directory_that_cannot_be_written(self):
        (self.directory / "state").write_text("a file")
        placed = self.place()
        self.assertIn("will be hashed again", placed.log)
        self.assert_placed(placed)

    def test_unchecked_reads_the_store_alone(self):
        (self.seed / "blobs/sha256" / self.images[0].config.digest[7:]).write_text("wrong")
        placed = self.place("--trust", "unchecked")
        self.assert_placed(placed)
        self.assertEqual((placed.report["seed"]["checked"], placed.report["seed"]["bytes"]), ("no", 0))
        self.assertFalse(self.state.exists())

    def test_verity_is_the_kernels(self):
        self.assertIn("it is on no dm-verity device and in no file with fs-verity", self.place("--trust", "verity", expect=3).log)
        self.assert_untouched()

    def test_a_seed_of_metadata_alone(self):
        rig.run(["rm", "-r", self.seed])
        seed.write_medium(self.seed, self.images, blobs="metadata")
        self.assert_placed(self.place())
        rig.run(["rm", "-r", self.root, self.state])
        extra = self.images[0].layer_blobs[0]
        (self.seed / "blobs/sha256" / extra.digest[7:]).write_bytes(extra.data)
        self.assertIn("is not in the lock", self.place(expect=3).log)

    def test_a_layer_deeper_than_the_soft_limit_of_open_files(self):
        """Programs may open 1024 files unless they ask for more; the limits here are lower, and the layer is not as deep."""
        rig.run(["rm", "-r", self.seed])
        deep = seed.Layer(seed.tar_of([]), extra=lambda layer: (layer / "/".join(["d"] * 200)).mkdir(parents=True))
        seed.write_medium(self.seed, [seed.Image("example.org/deep:1", [deep])])
        log = self.place(tracer=["prlimit", "--nofile=128:128"], expect=3).log
        self.assertRegex(log, "cannot read `/(d/)+d`: 1[0-9]{2} directories are open on the way to it, and the limit of open files is 128")
        self.assertEqual(self.place(tracer=["prlimit", "--nofile=128:1024"]).engine["outcome"], "placed")

    def test_memory_stays_bounded(self):
        rig.run(["rm", "-r", self.seed])
        many = lambda layer: [(layer / f"{number:06}").write_text(str(number)) for number in range(3000)]
        big = seed.Layer(seed.tar_of([]), extra=lambda layer: (layer / "big").write_bytes(bytes(64 << 20)))
        image = seed.Image("example.org/big:1", [seed.Layer(seed.tar_of([]), extra=many), big])
        seed.write_medium(self.seed, [image])
        # GNU time is not there; the kernel keeps the most that a child had.
        script = "import resource,subprocess,sys; c = subprocess.call(sys.argv[1:], stdout=2); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(c)"
        result = rig.run(["python3", "-c", script, *self.command()])
        self.assertLess(int(result.stdout), 16 * 1024, "kilobytes")


class Slots(PlaceCase):
    """The seed of the other slot."""

    def setUp(self):
        super().setUp()
        self.other = self.directory / "other seed"
        self.others = [seed.Image("docker.io/library/web:0", [seed.files({"/etc/motd": "old\n"})])]
        self.other_digest = seed.write_medium(self.other, self.others)

    def test_its_link_is_made_too(self):
        placed = self.place("--previous-seed", self.other)
        self.assert_placed(placed)
        link = self.run_dir / "seeds" / seed.seed_id(self.others)[7:]
        self.assertEqual(os.readlink(link), str(self.other))
        expected = {"id": seed.seed_id(self.others), "lock": self.other_digest, "path": str(self.other)}
        found = placed.report["previous"]
        self.assertEqual({key: found[key] for key in expected}, expected)
        size = sum(path.stat().st_size for path in self.other.glob("*/**/*") if path.is_file() and not path.is_symlink())
        self.assertEqual((found["checked"], found["bytes"]), ("hashed", size))
        self.assertIn(f"previous seed id={found['id']} lock={self.other_digest} trust=sealed checked=hashed", placed.log)
        found = self.place("--previous-seed", self.other).report["previous"]
        self.assertEqual((found["checked"], found["bytes"]), ("noted", 0))
        # It was this slot's at an earlier boot.
        self.assertEqual(self.place(source=self.other).report["seed"]["checked"], "noted")
        found = self.place("--previous-seed", self.other, "--trust", "unchecked").report["previous"]
        self.assertEqual(found["checked"], "no")

    def test_a_wrong_one_is_not_linked(self):
        blob = self.other / "blobs/sha256" / self.others[0].config.digest[7:]
        blob.write_bytes(b"wrong")
        placed = self.place("--previous-seed", self.other)
        self.assertIn(f"warning: previous seed: `{self.other}`: `blobs/sha256/{blob.name}`: expected", placed.log)
        self.assertIsNone(placed.report["previous"])
        self.assert_placed(placed)
        self.assertEqual(os.listdir(self.run_dir / "seeds"), [self.seed_id[7:]])
        self.assertEqual(os.listdir(self.state / "sealed"), [self.digest[7:]])

    def test_a_bad_one_does_not_stop_this_one(self):
        cases = {"/nonexistent": "is not there", self.directory: "seed.json"}
        for source, words in cases.items():
            with self.subTest(source):
                placed = self.place("--previous-seed", source)
                self.assertIn("warning: previous seed: ", placed.log)
                self.assertIn(words, placed.log)
                self.assertIsNone(placed.report["previous"])
                self.assert_placed()

    def test_the_same_seed_in_both_slots(self):
        rig.run(["rm", "-r", self.other])
        rig.run(["cp", "-a", self.seed, self.other])
        placed = self.place("--previous-seed", self.other)
        self.assert_placed(placed)
        self.assertEqual(placed.report["previous"]["checked"], "no")

    def test_a_root_of_a_seed_that_is_gone(self):
        """An update without --previous-seed: the root is that of the other slot's seed."""
        self.led_here()
        first = self.place(source=self.other)
        self.assertEqual((first.engine["outcome"], first.engine["missing"]), ("placed", []))
        (alias,) = self.root.glob("io.ociseed.seed.*")
        short = seed.seed_id(self.others)[7:23]
        self.assertEqual(alias.name, f"io.ociseed.seed.{short}")
        rig.run(["rm", "-r", self.run_dir])
        alone = self.place()
        self.assertEqual((alone.engine["outcome"], alone.engine["missing"]), ("kept", [short]))
        self.assertIn(f"warning: `{alias}` leads nowhere", alone.log)
        self.assertRegex(alone.log, "hint: .*`--previous-seed`")
        self.assertNotIn("`--run-dir`", alone.log)
        both = self.place("--previous-seed", self.other)
        self.assertEqual((both.engine["outcome"], both.engine["missing"]), ("kept", []))
        self.assertNotIn("warning", both.log)
        # The link is there, and what it leads to is not.
        rig.run(["rm", "-r", self.other])
        self.assertEqual(self.place().engine["missing"], [short])

    def test_another_run_directory_than_roots_know(self):
        placed = self.place()
        self.assertEqual((placed.engine["outcome"], placed.engine["missing"]), ("placed", [self.seed_id[7:23]]))
        self.assertIn(f"warning: `{self.root}/io.ociseed.seed.{self.seed_id[7:23]}` leads nowhere", placed.log)
        self.assertRegex(placed.log, "hint: .*`/run/ociseed`")
        self.assertNotIn("--previous-seed", placed.log)

    def led_here(self):
        """Lets the links of roots lead through the run directory of the test."""
        Path("/run/ociseed").symlink_to(self.run_dir)
        self.addCleanup(os.unlink, "/run/ociseed")

    def test_a_link_that_leads_elsewhere_is_replaced(self):
        self.place(source=self.other)
        rig.run(["rm", "-r", self.root])
        self.link.symlink_to("/nonexistent")
        (self.run_dir / "seeds/.new").symlink_to("left by one that was killed")
        self.assert_placed(self.place())
        self.assertEqual(len(os.listdir(self.run_dir / "seeds")), 2)


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
