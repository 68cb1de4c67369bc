"""How the loader ends: exit codes, waiting, signals, a full disk, and what it says meanwhile."""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import time
import unittest
from pathlib import Path

import loader_seed as seed
import rig
from loader_case import LOADER, LoaderCase, flip, image, wait_until

DELAY = 20_000  # microseconds
# Seconds within which a loader ends that has nothing to wait for: many on a busy machine, but fewer than the minute that
# it waits for an engine to come or to answer.
SOON = 20


def slowed(command, delay=DELAY):
    """The command with each write to the engine taking its time, so that a test can act in the middle of a run."""
    return [*rig.traced("-e", "trace=writev", "-e", f"inject=writev:delay_enter={delay}"), *command]


def started(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def loader_under(strace):
    """The process that strace runs."""
    children = Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split()
    if not children:
        raise ProcessLookupError("strace has no child")
    return int(children[0])


class SeedIsInvalid(LoaderCase):
    def refused(self, *arguments):
        run = self.load(*arguments, expect=3)
        # Nothing is written but the report.
        written = {path.name for path in self.directory.rglob("*") if self.seed not in path.parents}
        self.assertEqual(written - {"seed"}, {"run", "lock", "run.json"})
        self.assertEqual(json.loads((self.directory / "run/run.json").read_text()), run.report)
        self.assertEqual((run.report["images"], run.report["engine"], run.report["calls"]), ([], None, {}))
        self.assertTrue(run.log.startswith("error: "), run.log)
        self.assertEqual(len(run.report["errors"]), 1)
        return run.report["errors"][0]

    def write(self):
        return seed.write_seed(self.seed, [image("docker.io/library/web:1")])

    def test_it_is_not_there(self):
        self.assertIn(str(self.seed), self.refused("--wait", "0"))

    def test_its_lock_is_no_json(self):
        self.write()
        for content in (b"", b"{", b"\0" * 100, b'{"version": 1, "content": {"images": [], "more": 1}}'):
            (self.seed / "seed.json").write_bytes(content)
            self.assertIn("seed.json", self.refused())

    def test_its_version_is_newer(self):
        self.write()
        (self.seed / "seed.json").write_bytes(b'{"version":2,"content":{}}')
        error = self.refused()
        self.assertIn("version 2", error)
        self.assertIn("version 1", error)

    def test_it_is_another_than_expected(self):
        digest = self.write()
        error = self.refused("--expect-seed", seed.sha256(b"other"))
        self.assertIn(f"expected {seed.sha256(b'other')}, found {digest}", error)
        self.load("--expect-seed", digest)

    def test_its_layout_is_broken(self):
        self.write()
        (self.seed / "index.json").unlink()
        self.assertIn("index.json", self.refused())


class Usage(unittest.TestCase):
    def test_wrong_usage_is_2(self):
        for arguments in ([], ["run"], ["run", "--seed", "a", "--archives", "b"], ["run", "--seed", "a", "--fast"]):
            result = rig.run([LOADER, *arguments], check=False)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertTrue(result.stderr.startswith("error: "))

    def test_help_and_version_are_data(self):
        self.assertIn("--expect-seed", rig.run([LOADER, "--help"]).stdout)
        self.assertRegex(rig.run([LOADER, "--version"]).stdout, r"^ociseed-loader \d+\.\d+\.\d+\n$")


class EngineIsNotReady(LoaderCase):
    def setUp(self):
        super().setUp()
        seed.write_seed(self.seed, [image("docker.io/library/web:1")])

    def refused(self, wait):
        run = self.load("--wait", str(wait), expect=4)
        self.assertIn("did not answer within", run.report["errors"][0])
        self.assertIn("hint: ", run.log)
        return run

    def test_there_is_no_socket(self):
        self.engine.kill()
        self.assertLess(self.refused(1).seconds, SOON)
        self.assertLess(self.refused(0).seconds, SOON)

    def test_nobody_is_behind_the_socket(self):
        self.engine.process.send_signal(signal.SIGKILL)
        self.engine.process.wait()
        self.assertTrue(self.engine.socket.exists())
        self.refused(1)

    def test_it_hangs(self):
        self.suspend()
        self.assertLess(self.refused(2).seconds, SOON)

    def test_it_comes_late(self):
        self.engine.stop()
        with self.loading("--wait", "20") as process:
            time.sleep(1)
            self.assertIsNone(process.poll())
            self.engine.start()
            self.assertEqual(process.wait(timeout=SOON), 0)

    def test_a_signal_ends_the_waiting(self):
        self.engine.kill()
        with self.loading("--wait", "60") as process:
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(timeout=SOON), 143)


class TwoLoaders(LoaderCase):
    def test_the_second_is_told_to_come_again(self):
        seed.write_seed(self.seed, [image("docker.io/library/web:1")])
        (self.directory / "run").mkdir()
        with open(self.directory / "run/lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run = self.load(expect=75)
            self.assertIn("another loader holds", run.log)
            self.assertEqual(run.report["calls"], {})
        self.load()

    def test_one_that_runs_holds_the_lock(self):
        seed.write_seed(self.seed, [image("docker.io/library/web:1", data=seed.noise(1 << 20, 1))])
        with started(slowed(self.command())) as process:
            wait_until(self.ingests)
            self.load(expect=75)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, 0)


class Signals(LoaderCase):
    def test_a_signal_leaves_nothing_half_done(self):
        web = image("docker.io/library/web:1", data=seed.noise(16 << 20, 1))
        seed.write_seed(self.seed, [web])
        for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            with self.subTest(number):
                with started(slowed(self.command())) as process:
                    wait_until(self.ingests)
                    os.kill(loader_under(process), number)
                    out, log = process.communicate(timeout=SOON)
                self.assertEqual(process.returncode, code, log)
                self.assertEqual(json.loads(out)["exit-code"], code)
                self.assertEqual(self.engine.images(), {})
                self.assert_nothing_left()
        self.load()
        self.assert_right(web)

    def test_a_hung_engine_does_not_hold_up_the_end(self):
        web = image("docker.io/library/web:1", data=seed.noise(16 << 20, 1))
        seed.write_seed(self.seed, [web])
        with started(slowed(self.command())) as process:
            wait_until(self.ingests)
            self.suspend()
            os.kill(loader_under(process), signal.SIGTERM)
            _, log = process.communicate(timeout=SOON)
        self.assertEqual(process.returncode, 143, log)
        self.engine.process.send_signal(signal.SIGCONT)
        self.load()
        self.assert_right(web)
        self.assert_nothing_left()


class FullDisk(LoaderCase):
    def new_engine(self):
        # The store on a file system of its own that is too small for the second image.
        engine = rig.Containerd(namespace=self.namespace)
        engine.root.mkdir()
        rig.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", engine.root])
        return engine

    def test_it_is_seen_beforehand(self):
        self.write()
        before = self.engine.write_bytes().wchar
        for command in ("plan", "run"):
            run = self.load(expect=5, command=command)
            self.assertRegex(run.report["errors"][0], r": \d+ bytes and a reserve of \d+ are needed, \d+ are free$")
            self.assertEqual(run.writes, {})
        self.assertEqual((self.engine.images(), self.state.exists()), ({}, False))
        self.assertLess(self.engine.write_bytes().wchar - before, 100_000)
        # What there is room for can be had.
        self.load("--class", "background")
        self.assert_right(self.small)

    def write(self):
        self.small = image("docker.io/library/a:1", "small\n", critical=False)
        self.large = image("docker.io/library/b:1", "large\n", data=seed.noise(24 << 20, 1))
        later = image("docker.io/library/c:1", "later\n", critical=False)
        seed.write_seed(self.seed, [self.small, self.large, later])

    def test_the_run_ends_and_gives_the_space_back(self):
        """Somebody else fills the disk meanwhile."""
        self.write()
        # Room for all of it, until the run has begun.
        rig.run(["mount", "-o", "remount,size=64m", self.engine.root])
        with started(slowed(self.command("--class", "critical"), DELAY // 10)) as process:
            wait_until(lambda: list(self.engine.root.glob("io.containerd.content.v1.content/ingest/*")))
            rig.run(["mount", "-o", "remount,size=16m", self.engine.root])
            out, log = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 6, log)
        report = json.loads(out)
        self.assertIn("no space left on device", report["errors"][0])
        self.assertEqual([i["outcome"] for i in report["images"]], ["failed"])
        self.assert_nothing_left()

        # What was written of the large image is gone once the engine has collected.
        def given_back():
            free = os.statvfs(self.engine.root)
            return free.f_bavail * free.f_frsize > 12 << 20

        wait_until(given_back, interval=0.2)


class Words(LoaderCase):
    def test_priorities_are_for_the_journal_alone(self):
        good, bad = image("docker.io/library/a:1"), image("docker.io/library/b:1", "bad\n")
        seed.write_seed(self.seed, [good, bad])
        flip(seed.blob_file(self.seed, bad.layer_blobs[1]))
        log = self.directory / "log"
        with log.open("wb") as stderr:
            status = os.fstat(stderr.fileno())
            named = f"{status.st_dev}:{status.st_ino}"
            command = self.command(json_report=False)
            self.assertEqual(subprocess.run(command, stderr=stderr, env={"JOURNAL_STREAM": named}).returncode, 8)
        lines = log.read_text().splitlines()
        steps = [line for line in lines if line.startswith("<7>step ")]
        self.assertEqual(len(steps), 4, lines)
        lines = [line for line in lines if line not in steps]
        self.assertEqual([line[:3] for line in lines], ["<4>", "<6>", "<3>", "<3>", "<5>"], lines)
        self.assertRegex(lines[3], "^<3>failed name=docker.io/library/b:1 ")
        for value in ("1:1", named):
            environment = {"JOURNAL_STREAM": value}
            command = self.command(json_report=False)
            result = subprocess.run(command, capture_output=True, text=True, env=environment)
            self.assertNotIn("<", result.stderr)
            self.assertEqual(result.stdout, "")


class Memory(LoaderCase):
    def test_it_does_not_grow_with_the_images(self):
        images = [image(f"docker.io/library/i{n}:1", f"{n}\n") for n in range(100)]
        images.append(image("docker.io/library/large:1", data=seed.noise(96 << 20, 1)))
        seed.write_seed(self.seed, images)
        for expected in ("added", "settled"):
            report, kilobytes = self.peak()
            self.assertEqual({one["outcome"] for one in report["images"]}, {expected})
            self.assertLess(kilobytes, 16 << 10)

    def peak(self):
        """The report of a run, and the most memory that it had resident.

        Read from the kernel while the loader is held up at its end: what wait4 reports of a child begins with the size
        of the Python that started it.
        """
        hold = ["-e", "trace=exit_group", "-e", "inject=exit_group:delay_enter=500000"]
        kilobytes = 0
        with (self.directory / "report").open("w+") as report:
            command = [*rig.traced(*hold), *self.command()]
            with subprocess.Popen(command, stdout=report) as process:
                while process.poll() is None:
                    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                        # strace has short-lived children of its own before.
                        status = Path(f"/proc/{loader_under(process)}/status").read_text()
                        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.M)
                        if "Name:\tociseed-loader\n" in status and found:
                            kilobytes = max(kilobytes, int(found[1]))
                    time.sleep(0.05)
            report.seek(0)
            self.assertGreater(kilobytes, 1000)
            return json.load(report), kilobytes


if not rig.IS_NEWEST:
    # Of these the loader alone has a part.
    del Memory, TwoLoaders, Usage, Words


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
