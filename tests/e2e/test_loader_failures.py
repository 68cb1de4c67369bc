"""The rows of tests/failures.tsv for the loader: each is made to happen, and what came of it is observed.

An observation is made of facts alone (exit codes, records, bytes in the store, what a container prints), in the words
of the table; that it is the expected one is decided by the last test.
"""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import unittest

import loader_seed as seed
import rig
from loader_case import OWNER, PINNED, LoaderCase, flip, image, overwrite, wait_until
from loader_failures import Observations

OBSERVED = Observations("containerd", rig.installed_containerd())


class Rows(LoaderCase):
    def images(self, size=2 << 20):
        self.bad = image("docker.io/library/bad:1", "bad\n", data=seed.noise(size, 1))
        self.good = image("docker.io/library/good:1", "good\n", critical=False)
        return [self.bad, self.good]

    # Facts

    def record(self, one):
        return "record" if one.name in self.engine.images() else "no record"

    def good_runs(self):
        return "others run" if self.output(self.good, "cat /etc/motd") == "good\n" else "others broken"

    def named(self, run, *words):
        """Whether one error names all of it."""
        errors = [error for one in run.report["images"] for error in one["errors"]]
        return "named" if any(all(word in error for word in words) for error in errors) else f"not named: {errors}"

    def left(self):
        left = self.leases() + self.ingests()
        return "nothing left" if not left else f"left {left}"

    def bytes_in_store(self, one):
        wrong = [blob for blob in one.blobs if seed.sha256(self.store_file(blob).read_bytes()) != blob.digest]
        return "bytes right" if not wrong else f"{len(wrong)} blobs wrong"

    def runs(self, one):
        with contextlib.suppress(AssertionError):
            self.assert_runs(one)
            return "runs"
        return "does not run"

    # Damaged sources

    def damaged_source(self, row, damage, *words, archives=False):
        images = self.images()
        if archives:
            for one in images:
                seed.write_archive(self.archives / f"k8s.io/{one.name.split('/')[-1].split(':')[0]}.tar", [one])
            damage(self.archives / "k8s.io/bad.tar")
            run = self.load_archives(expect=None)
        else:
            seed.write_seed(self.seed, images)
            damage(seed.blob_file(self.seed, self.bad.layer_blobs[2]))
            run = self.load(expect=None)
        facts = [f"exit {run.code}", self.record(self.bad), self.named(run, *words), self.good_runs(), self.left()]
        OBSERVED.add(row, "; ".join(facts))

    def test_e1_truncated_blob(self):
        digest = self.layer()
        self.damaged_source("E1", lambda file: os.truncate(file, 1 << 20), digest, "expected", f"found {1 << 20}")

    def test_e1_truncated_tar(self):
        words = ["k8s.io/bad.tar", "no whole tar"]
        self.damaged_source("E1t", lambda file: os.truncate(file, 2 << 20), *words, archives=True)

    def test_e1c_flipped_byte(self):
        self.damaged_source("E1c", flip, self.layer(), "expected this digest, found sha256:")

    def test_e1c_flipped_byte_in_tar(self):
        def flip_layer(file):
            offset = file.read_bytes().index(seed.noise(2 << 20, 1)[:512])
            flip(file, offset + 4096)

        self.damaged_source("E1ct", flip_layer, "k8s.io/bad.tar", self.layer(), "found sha256:", archives=True)

    def test_e6b_absent_layer(self):
        self.damaged_source("E6b", os.unlink, self.layer(), "is not in")

    def test_e6b_absent_layer_in_tar(self):
        def write_without(file):
            seed.write_archive(file, [self.bad], without=[self.bad.layer_blobs[2]])

        self.damaged_source("E6bt", write_without, "k8s.io/bad.tar", self.layer(), archives=True)

    def test_e1d_not_a_tar(self):
        contents = {
            "E1d-empty": (lambda data: b"", "empty"),
            "E1d-random": (lambda data: seed.noise(100_000, 3), "no whole tar"),
            "E1d-gzip": (lambda data: gzip.compress(data, 1), "compressed with gzip"),
            # Raw blocks: real zstd without a compressor, which these roots do not have.
            "E1d-zstd": (zstd_frame, "compressed with zstd"),
        }
        for row, (content, word) in contents.items():
            with self.subTest(row):
                rig.run(["rm", "-rf", self.archives])

                def replace(file, content=content):
                    file.write_bytes(content(file.read_bytes()))

                with self.new_engine() as self.engine:
                    self.damaged_source(row, replace, "k8s.io/bad.tar", word, archives=True)

    def layer(self):
        self.images()
        return self.bad.layer_blobs[2].digest

    # Damaged stores

    def damaged_store(self, row, damage):
        images = self.images()
        seed.write_seed(self.seed, images)
        self.load()
        damage(self.store_file(self.bad.layer_blobs[2]))
        run = self.load(expect=None)
        again = self.load(expect=None)
        facts = [f"exit {run.code}", run.outcome(self.bad.name), run.outcome(self.good.name)]
        facts += [self.bytes_in_store(self.bad), self.runs(self.bad), self.good_runs(), self.left()]
        facts += [f"then {again.outcome(self.bad.name)}"]
        OBSERVED.add(row, "; ".join(facts))

    def test_e1e_flipped_byte_in_the_store(self):
        self.damaged_store("E1e", flip)

    def test_e1f_truncated_in_the_store(self):
        self.damaged_store("E1f", lambda file: overwrite(file, b""))

    def test_e1g_deleted_from_the_store(self):
        self.damaged_store("E1g", os.unlink)

    # Kills

    def settles(self):
        """What the next run makes of it."""
        run = self.load(expect=None)
        again = self.load(expect=None)
        facts = [f"rerun exit {run.code}", self.bytes_in_store(self.bad), self.runs(self.bad)]
        return [*facts, self.good_runs(), self.left(), f"then {again.outcome(self.bad.name)}"]

    def test_e2_loader_killed(self):
        """At writes to the engine spread over the run; all must come to the same."""
        # Small, so that the calls after the streaming get their share of the points.
        seed.write_seed(self.seed, self.images(64 << 10))
        counted = self.directory / "counted"
        rig.run([*rig.traced("-e", "trace=writev", output=counted), *self.command()])
        # Writes come together in one call or in two as it happens, so the last few may not be there again.
        total = len(counted.read_text().splitlines()) * 95 // 100
        observed, points = set(), sorted({1 + (total - 1) * n // 11 for n in range(12)})
        for point in points:
            with self.new_engine() as self.engine:
                kill = rig.traced("-e", "trace=writev", "-e", f"inject=writev:signal=KILL:when={point}")
                result = rig.run([*kill, *self.command()], check=False)
                # strace ends as what it traced.
                self.assertEqual(result.returncode, -signal.SIGKILL, f"point {point} of {total}: {result.stderr}")
                observed.add("; ".join(self.settles()))
        print(f"\nE2: killed at {len(points)} of {total} writes to the engine", flush=True)
        OBSERVED.add("E2", " | ".join(sorted(observed)))

    def test_e3_engine_killed(self):
        seed.write_seed(self.seed, self.images())
        slow = rig.traced("-e", "trace=writev", "-e", "inject=writev:delay_enter=20000")
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*slow, *self.command()], text=True, **pipes) as process:
            wait_until(self.ingests)
            self.engine.kill()
            out, _ = process.communicate(timeout=60)
        lost = "lost" if "connection to the engine lost" in json.loads(out)["errors"][0] else out
        self.engine.start()
        OBSERVED.add("E3", "; ".join([f"exit {process.returncode}", lost, *self.settles()]))

    # Labels

    def test_e7_pin_survives(self):
        seed.write_seed(self.seed, self.images())
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
        OBSERVED.add("E7", " | ".join(sorted(facts)))


def zstd_frame(data):
    """A zstd frame of uncompressed blocks (RFC 8878): magic, a header with a window of 1 MiB, blocks of 64 KiB."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + b"\x50"
    for start in range(0, len(data), 1 << 16):
        block = data[start : start + (1 << 16)]
        last = start + len(block) == len(data)
        frame += (len(block) << 3 | last).to_bytes(3, "little") + block
    return frame


class ZTable(unittest.TestCase):
    """Runs after the rows: unittest takes classes and modules in the order of their names."""

    def test_table_is_as_observed(self):
        if not OBSERVED.seen:
            self.skipTest("no row was run")
        problems = OBSERVED.compare()
        self.assertEqual(problems, [], "\n".join(problems))


if __name__ == "__main__":
    unittest.main()
