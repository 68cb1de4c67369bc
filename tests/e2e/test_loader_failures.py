"""The rows E of tests/failures.tsv, measured failures of importers: each is made to happen, and what came of it is observed."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import unittest

import loader_seed as seed
import rig
from loader_case import OWNER, PINNED, wait_until
from loader_rows import RowCase, cut, emptied, flipped, gone, killed, replaced, slowed, writes_to_engine


class Rows:
    """Rows that there are by copies and by links."""

    # At how many writes of a run the loader is killed; with OCISEED_SOAK set at every one.
    points = 8

    def test_e0_again(self):
        self.write(self.images())
        first = self.load(expect=None)
        before = self.engine.come_to_rest().write_bytes
        again = self.load(expect=None)
        copied = "copied once" if first.report["copied"] else "copied never"
        idle = not again.writes and not again.report["copied"] and self.engine.rest().write_bytes == before
        facts = [f"exit {first.code}", copied, f"again exit {again.code}", again.outcome(self.bad.name)]
        self.observe("E0", *facts, "nothing written" if idle else f"wrote: {again.writes}", self.runs(self.bad))

    # Damaged seeds

    def damaged_seed(self, row, find, damage, *words):
        self.write(self.images())
        damage(find())
        run = self.load(expect=None)
        facts = [f"exit {run.code}", self.record(self.bad), self.named(run, *words), self.good_runs(), self.left()]
        self.observe(row, *facts)

    def layer(self):
        """The blob of the layer that only the bad image has."""
        return seed.blob_file(self.seed, self.bad.layer_blobs[2])

    def digits(self):
        self.images()
        return self.bad.layer_blobs[2].digest[7:]

    def test_e1_truncated_blob(self):
        # What is linked is hashed as a whole before, so that a size says no more.
        found = "found sha256:" if self.by_links else f"found {1 << 20}"
        self.damaged_seed("E1", self.layer, lambda file: os.truncate(file, 1 << 20), self.digits(), found)

    def test_e1c_flipped_byte(self):
        self.damaged_seed("E1c", self.layer, lambda file: replaced(file, flipped), self.digits(), "found sha256:")

    def test_e6b_absent_layer(self):
        absent = "is not there" if self.by_links else "is not in"
        self.damaged_seed("E6b", self.layer, os.unlink, self.digits(), absent)

    # Damaged stores

    def damaged_store(self, row, damage):
        self.write(self.images())
        self.load()
        replaced(self.store_file(self.bad.layer_blobs[2]), damage)
        self.cut_power()
        run = self.load(expect=None)
        again = self.load(expect=None)
        facts = [f"exit {run.code}", run.outcome(self.bad.name), run.outcome(self.good.name)]
        facts += [self.bytes_in_store(self.bad), self.runs(self.bad), self.good_runs(), self.left()]
        self.observe(row, *facts, f"then {again.outcome(self.bad.name)}")

    def test_e1e_flipped_byte_in_the_store(self):
        self.damaged_store("E1e", flipped)

    def test_e1f_truncated_in_the_store(self):
        self.damaged_store("E1f", emptied)

    def test_e1g_deleted_from_the_store(self):
        self.damaged_store("E1g", gone)

    # Kills

    def test_e2_loader_killed(self):
        """At writes to the engine spread over the run; all must come to the same."""
        # Small, so that the calls after the streaming get their share of the points.
        self.write(self.images(64 << 10))
        total = writes_to_engine(self)
        points = total if os.environ.get("OCISEED_SOAK") else self.points
        observed, points = set(), sorted({1 + (total - 1) * n // (points - 1) for n in range(points)})
        for point in points:
            shutil.rmtree(self.state)
            with self.new_engine() as self.engine:
                # strace ends as what it traced.
                self.assertEqual(killed(self, point), -signal.SIGKILL, f"point {point} of {total}")
                observed.add("; ".join(self.settles()))
        print(f"\nE2: killed at {len(points)} of {total} writes to the engine", flush=True)
        self.observe("E2", " | ".join(sorted(observed)))

    def engine_killed(self, step):
        """Kills the engine once the loader says that a step comes; what came of it."""
        with slowed(self.command()) as process:
            for line in process.stderr:
                if line.startswith(f"step {step} name={self.bad.name} "):
                    break
            self.before_kill(step)
            self.engine.kill()
            out, _ = process.communicate(timeout=60)
        report = json.loads(out)
        lost = "lost" if any("connection to the engine lost" in error for error in report["errors"]) else out
        self.engine.start()
        return [f"exit {process.returncode}", lost, *self.settles()]

    def before_kill(self, step):
        pass

    def test_e3_engine_killed(self):
        self.write(self.images())
        self.observe("E3", *self.engine_killed("blobs"))

    # Full disks

    def test_e4_full_disk(self):
        self.write(self.images(24 << 20))
        engine = rig.Containerd(namespace=self.namespace)
        engine.root.mkdir()
        rig.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", engine.root])
        with engine as self.engine:
            self.fill()
            before = self.free()
            run = self.load(expect=None)
            # A database grows by pages of its own accord.
            kept = "nothing written" if abs(self.free() - before) < 64 << 10 else f"wrote {before - self.free()}"
            facts = [f"exit {run.code}", self.record(self.bad), self.named(run, "bytes and a reserve of", "are free"), kept]
            rig.run(["mount", "-o", "remount,size=128m", self.engine.root])
            self.observe("E4", *facts, *self.settles())

    def fill(self):
        pass

    def free(self):
        found = os.statvfs(self.engine.root)
        return found.f_bavail * found.f_frsize

    # Labels

    def test_e7_pin_survives(self):
        self.write(self.images())
        archive = self.directory / "again.tar"
        seed.write_archive(archive, [self.bad])
        self.load()
        # What importing does to labels differs between versions; newer ones can be told to set some.
        ways = [[], ["--label", "user.example/b=c"], ["--local"]] if self.engine.version >= (2,) else [[]]
        facts = set()
        for options in ways:
            self.engine.ctr("images", "import", "--no-unpack", *options, archive)
            self.engine.ctr("images", "label", self.bad.name, "user.example/a=b")
            self.load()
            labels = self.engine.images()[self.bad.name].labels
            pinned = labels.get(PINNED) == "pinned" and OWNER in labels
            kept = labels.get("user.example/a") == "b"
            facts.add(f"{'pinned' if pinned else 'not pinned'}; foreign label {'kept' if kept else 'lost'}")
        links = sum(self.store_file(blob).is_symlink() for blob in self.bad.blobs)
        self.observe("E7", " | ".join(sorted(facts)), f"{links} links")


class Copies(Rows, RowCase):
    def before_kill(self, step):
        wait_until(self.ingests)

    def test_e8_engine_killed_while_it_unpacks(self):
        """By copies layers are unpacked by the engine, when something runs first."""
        self.write(self.images(8 << 20))
        self.load()
        snapshots = self.engine.root / "io.containerd.snapshotter.v1.overlayfs/snapshots"
        ctr = ["ctr", "--address", self.engine.socket, "--namespace", self.namespace]
        running = [*ctr, "run", "--rm", self.bad.name, "e8", "/bin/sh", "-c", ":"]
        with subprocess.Popen(running, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: any(snapshots.glob("*/fs/*")), interval=0.0005)
            self.engine.kill()
            process.wait(timeout=60)
        self.engine.start()
        kinds = [snapshot.kind for snapshot in self.snapshots().values()]
        unfinished = "not unpacked" if kinds.count("Committed") < 3 else "unpacked"
        self.observe("E8", unfinished, *self.settles())


class Links(Rows, RowCase):
    by_links = True
    points = 5

    def fill(self):
        """Links take next to nothing."""
        (self.engine.root / "filler").write_bytes(bytes(self.free() - (500 << 10)))

    def tree(self):
        """The file in the unpacked layer that only the bad image has."""
        (file,) = self.seed.glob("layers/sha256/*/data")
        return file

    def damaged_tree(self, row, damage):
        self.write(self.images())
        tree = self.tree().parent.name
        self.damaged_seed(row, self.tree, damage, f"layers/sha256/{tree}", f"expected the tree digest sha256:{tree}, found")

    def test_e1_truncated_file(self):
        self.damaged_tree("E1-tree", lambda file: os.truncate(file, 1 << 20))

    def test_e1c_flipped_byte_in_a_file(self):
        self.damaged_tree("E1c-tree", lambda file: replaced(file, flipped))

    def test_e6b_absent_file(self):
        self.damaged_tree("E6b-tree", os.unlink)

    def test_e8_engine_killed_while_snapshots_are_made(self):
        self.write(self.images())
        self.observe("E8", *self.engine_killed("snapshots"))


class Archives(RowCase):
    """Rows that only archives have."""

    def damaged_archive(self, row, damage, *words):
        for one in self.images():
            seed.write_archive(self.archives / f"k8s.io/{one.name.split('/')[-1].split(':')[0]}.tar", [one])
        replaced(self.archives / "k8s.io/bad.tar", damage)
        run = self.load_archives(expect=None)
        facts = [f"exit {run.code}", self.record(self.bad), self.named(run, "k8s.io/bad.tar", *words)]
        self.observe(row, *facts, self.good_runs(), self.left())

    def test_e1_truncated_tar(self):
        self.damaged_archive("E1t", cut, "no whole tar")

    def test_e1c_flipped_byte_in_tar(self):
        def flip_layer(data):
            offset = data.index(seed.noise(2 << 20, 1)[:512]) + 4096
            return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 :]

        self.images()
        self.damaged_archive("E1ct", flip_layer, self.bad.layer_blobs[2].digest, "found sha256:")

    def test_e6b_absent_layer_in_tar(self):
        self.images()
        absent = self.bad.layer_blobs[2]
        self.damaged_archive("E6bt", lambda _: seed.archive_bytes([self.bad], without=[absent]), absent.digest)

    def test_e1d_not_a_tar(self):
        contents = {
            "E1d-empty": (emptied, "empty"),
            "E1d-random": (lambda data: seed.noise(100_000, 3), "no whole tar"),
            "E1d-gzip": (lambda data: gzip.compress(data, 1), "compressed with gzip"),
            # Raw blocks: real zstd without a compressor, which these roots do not have.
            "E1d-zstd": (zstd_frame, "compressed with zstd"),
        }
        for row, (content, word) in contents.items():
            with self.subTest(row):
                rig.run(["rm", "-rf", self.archives])
                # Nothing of these is loaded, so one engine does.
                self.damaged_archive(row, content, word)


def zstd_frame(data):
    """A zstd frame of uncompressed blocks (RFC 8878): magic, a header with a window of 1 MiB, blocks of 64 KiB."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x50"
    for start in range(0, len(data), 1 << 16):
        block = data[start : start + (1 << 16)]
        last = start + len(block) == len(data)
        frame += (len(block) << 3 | last).to_bytes(3, "little") + block
    return frame


if __name__ == "__main__":
    unittest.main()
