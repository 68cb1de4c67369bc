"""What the loader tells the service manager meanwhile, by sd_notify(3)."""

import contextlib
import os
import signal
import socket
import time
import unittest

import loader_seed as seed
import rig
from loader_case import LoaderCase, flip, image, wait_until
from place_case import PlaceCase

ALIVE = "EXTEND_TIMEOUT_USEC=30000000"
WEB, JOB = "docker.io/library/web:1", "docker.io/library/job:1"


@contextlib.contextmanager
def manager(directory):
    """Listens where the environment says, until it ends; returns what reads all that was said since the last time."""
    path = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listening:
        listening.bind(path)
        os.environ["NOTIFY_SOCKET"] = path

        def heard():
            messages = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    messages.append(listening.recv(4096).decode())
            return messages

        try:
            yield heard
        finally:
            del os.environ["NOTIFY_SOCKET"]


class RunTells(LoaderCase):
    def setUp(self):
        super().setUp()
        self.heard = self.enterContext(manager(self.directory))

    def write(self, **options):
        self.images = [image(WEB), image(JOB, "another\n", **options)]
        seed.write_seed(self.seed, self.images)

    def statuses(self, said):
        return [message.removeprefix("STATUS=") for message in said if message.startswith("STATUS=")]

    def test_how_far_it_is_and_when_all_is_done(self):
        self.write()
        run = self.load()
        said = self.heard()
        steps = ["waiting for containerd", *(f"{number} of 2 images" for number in range(3))]
        done = run.log.splitlines()[-1].replace("done ", "done: ", 1)
        self.assertEqual(self.statuses(said), [*steps, done])
        self.assertIn(ALIVE, said)
        # Last, as what waits for it starts then.
        self.assertEqual([number for number, message in enumerate(said) if message == "READY=1"], [len(said) - 1])
        self.assertNotIn("STOPPING=1", said)

    def test_background_images_that_failed_hold_up_nobody_and_critical_ones_do(self):
        for code, critical in ((7, False), (8, True)):
            with self.subTest(code):
                self.write(critical=critical)
                # Only the second one's.
                blob = self.images[1].config
                flip(seed.blob_file(self.seed, blob))
                self.load(expect=code)
                said = self.heard()
                self.assertEqual("READY=1" in said, code == 7)
                self.assertIn("failed=1", self.statuses(said)[-1])

    def test_a_bad_seed_is_never_ready(self):
        self.load("--wait", "0", expect=3)
        self.assertNotIn("READY=1", self.heard())

    def test_an_engine_that_does_not_come_is_waited_for(self):
        self.write()
        self.engine.stop()
        self.load("--wait", "3", expect=4)
        said = self.heard()
        self.assertEqual(self.statuses(said), ["waiting for containerd"])
        # No more than one a second.
        self.assertIn(said.count(ALIVE), (2, 3, 4))
        self.assertNotIn("READY=1", said)

    def test_it_lives_while_a_call_is_answered_slowly_and_not_when_it_hangs_itself(self):
        self.write(data=seed.noise(8 << 20, 3))
        self.suspend()
        with self.loading() as process:
            time.sleep(3.5)
            self.assertIn(self.heard().count(ALIVE), (2, 3, 4, 5))
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.2)
            self.heard()
            time.sleep(2.5)
            self.assertEqual(self.heard(), [])
            self.engine.process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGCONT)
            self.assertEqual(process.wait(timeout=60), 0, process.stderr.read())
        self.assertEqual(self.heard()[-1], "READY=1")

    def test_it_lives_while_it_reads_the_seed_alone(self):
        small, large = seed.files({"/a": "small"}), seed.files({"/b": seed.noise(3 << 20, 5)}, compressed=False)
        web = seed.Image(WEB, [small, large])
        seed.write_seed(self.seed, [web])
        # What comes behind a blob that is wrong is looked at and not sent.
        flip(seed.blob_file(self.seed, small.blob))
        slow = rig.traced("-e", "trace=read", "-e", "inject=read:delay_enter=150000")
        result = rig.run([*slow, *self.command()], check=False)
        self.assertEqual(result.returncode, 8, result.stderr)
        said = self.heard()
        self.assertGreaterEqual(said[said.index("STATUS=0 of 1 images") :].count(ALIVE), 4, said)

    def test_it_says_that_it_stops(self):
        # So much that it is not done at once.
        self.write(data=seed.noise(64 << 20, 4))
        with self.loading() as process:
            said = []
            wait_until(lambda: said.extend(self.heard()) or "STATUS=0 of 2 images" in said, interval=0)
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=20)
            said.extend(self.heard())
        self.assertEqual((code, "STOPPING=1" in said, "READY=1" in said), (143, True, False))


class PlaceTells(PlaceCase):
    def setUp(self):
        super().setUp()
        self.heard = self.enterContext(manager(self.directory))

    def test_what_it_does_and_when_all_is_done(self):
        placed = self.place()
        said = self.heard()
        done = placed.log.splitlines()[-1]
        expected = ["STATUS=hashing the seed", f"STATUS=done: {done}", "READY=1"]
        self.assertEqual([message for message in said if "EXTEND" not in message], expected)
        # Writing to a disk takes longer than it can be seen to go on.
        self.assertIn("EXTEND_TIMEOUT_USEC=600000000", said)

    def test_it_lives_while_it_hashes_and_waits(self):
        # Each piece of a file takes its time.
        slow = rig.traced("-f", "-e", "trace=read", "-e", "inject=read:delay_enter=100000")
        self.place(tracer=slow)
        said = self.heard()
        hashing = said[said.index("STATUS=hashing the seed") :]
        self.assertGreaterEqual(hashing.count(ALIVE), 2, said)
        self.place("--wait", "2", source=self.directory / "absent", expect=3)
        said = self.heard()
        self.assertIn(said.count(ALIVE), (2, 3))
        self.assertNotIn("READY=1", said)


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
