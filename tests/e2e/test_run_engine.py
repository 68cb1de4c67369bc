"""`ociseed-loader run` with an engine that is killed, or hangs, in the middle: what is said, and that the next run ends right."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import threading
import time
import unittest

import kill_points
import loader_seed as seed
import rig
from engine_state import differences, state
from link_case import RUN, LinkCase
from loader_case import image, wait_until

# How many requests of a run are the last that the engine gets. The engine is killed at once, or has some time to work on it.
POINTS = 3 if rig.IS_NEWEST else 1
DELAYS = (0, 0.001, 0.003, 0.01)  # seconds


class Proxy:
    """Stands between a loader and its engine, and does something right after the request with a number was passed on.

    The headers of a request count as one, and its message, or the first of several, as another.
    """

    def __init__(self, directory, engine, last=None, action=None):
        self.path = directory / "proxy"
        self.path.unlink(missing_ok=True)
        self.engine, self.last, self.action = engine, last, action
        self.sent, self.error = 0, None
        self.done = threading.Event()
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.path))
        self.listening.listen()

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listening.close()
        if self.error:
            raise self.error

    def accept(self):
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.engine.socket))
            except OSError:
                client.close()
                continue
            for pair in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.pass_on, args=pair, daemon=True).start()

    def pass_on(self, source, target, asking):
        frames = Frames()
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
                for _ in range(frames.requests(data) if asking else 0):
                    self.sent += 1
                    if self.sent == self.last:
                        self.act()
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def act(self):
        try:
            self.action()
        except Exception as error:
            # Raised where the block ends.
            self.error = error
        self.done.set()


class Frames:
    """Counts requests in what a client of HTTP/2 sends, which comes in pieces of any size."""

    PREFACE, HEADER = 24, 9
    DATA, HEADERS = 0, 1

    def __init__(self):
        self.skip, self.rest, self.asked = self.PREFACE, b"", set()

    def requests(self, data):
        found = 0
        while data:
            skipped = min(self.skip, len(data))
            self.skip, data = self.skip - skipped, data[skipped:]
            wanted = self.HEADER - len(self.rest)
            self.rest, data = self.rest + data[:wanted], data[wanted:]
            if len(self.rest) == self.HEADER:
                kind, stream = self.rest[3], self.rest[5:]
                new = (kind, stream) not in self.asked
                found += kind in (self.DATA, self.HEADERS) and new
                self.asked.add((kind, stream))
                self.skip, self.rest = int.from_bytes(self.rest[:3], "big"), b""
        return found


class EngineCase(LinkCase):
    def setUp(self):
        super().setUp()
        self.web = image("docker.io/library/web:1", "web\n")
        self.app = image("docker.io/library/app:1", "app\n", namespaces=["k8s.io", "moby"])
        self.newer = image("docker.io/library/web:1", "newer\n")

    def seeds(self, form):
        """Two seeds, the second of which updates the first."""
        pairs = {"a": [self.web, self.app], "b": [self.newer, self.app]}
        if form == "links":
            return [self.medium(name, images) for name, images in pairs.items()]
        for name, images in pairs.items():
            seed.write_seed(self.directory / name, images)
        return [self.directory / name for name in pairs]

    def wipe(self):
        for namespace in ("k8s.io", "moby"):
            if names := list(self.engine.images(namespace)):
                self.engine.ctr("images", "remove", "--sync", *names, namespace=namespace)
        self.engine.collect_garbage()
        for link in self.engine.root.glob("*ociseed*"):
            link.unlink()
        shutil.rmtree(RUN, ignore_errors=True)
        shutil.rmtree(self.state, ignore_errors=True)

    def through(self, proxy, source):
        """Runs the loader, which asks the proxy instead of the engine."""
        return self.load("--address", proxy.path, source=source, expect=None)


class Killed(EngineCase):
    """The engine is killed by SIGKILL after a request, as at a power cut but for what the kernel has yet to write."""

    def kill_at_points(self, form):
        a, b = self.seeds(form)
        source = ["--seed", b, "--previous-seed", a]
        self.prepare(a)
        with Proxy(self.directory, self.engine) as proxy:
            self.assertEqual(self.through(proxy, source).code, 0)
        self.assert_settled(self.load(source=source))
        undisturbed = self.look()
        count = max(kill_points.SOAK, POINTS)
        numbers = sorted({1 + (2 * n + 1) * proxy.sent // (2 * count) for n in range(count)})
        hit, codes = 0, set()
        for number, delay in zip(numbers, itertools.cycle(DELAYS)):
            with self.subTest(form=form, request=number, delay=delay):
                self.prepare(a)
                killed, code = self.kill_after(number, delay, source)
                hit += killed
                codes.add(code)
                self.engine.start()
                self.load(source=source)
                self.assert_settled(self.load(source=source))
                self.assertEqual(differences(undisturbed, self.look()), [])
                for one in (self.newer, self.app):
                    self.assert_right(one)
                    self.assert_runs(one)
                self.assert_runs(self.app, "moby")
        print(f"\nrun, engine killed, {form}: hit {hit} of {len(numbers)} ({proxy.sent} requests), ended with {sorted(codes)}", flush=True)
        self.assertEqual(hit, len(numbers))
        # The last answers may come before the end; the loader waits for an engine that was killed before the first.
        self.assertLessEqual(codes, {0, 4, 6})

    def prepare(self, a):
        self.wipe()
        self.load(source=["--seed", a])

    def look(self):
        self.engine.collect_garbage()
        found = state(self.engine, ("k8s.io", "moby"))
        # An engine that is killed while it begins an ingest leaves a directory that it does not know any more.
        found["root"] = [path for path in found["root"] if "/ingest/" not in path[0]]
        return found

    def kill_after(self, number, delay, source):
        def kill():
            time.sleep(delay)
            self.engine.process.send_signal(signal.SIGKILL)

        with Proxy(self.directory, self.engine, number, kill) as proxy:
            run = self.load("--address", proxy.path, "--wait", "0", source=source, expect=None)
        killed = proxy.done.is_set()
        if not killed:
            kill()
        self.engine.process.wait()
        self.engine.socket.unlink(missing_ok=True)
        return killed, run.code

    def test_by_links(self):
        self.kill_at_points("links")

    def test_by_copies(self):
        self.kill_at_points("copies")


class Hung(EngineCase):
    """The engine stops answering, and the loader is asked to end: it does within 2 s."""

    def test_a_signal_ends_a_run_within_two_seconds(self):
        a, _ = self.seeds("links")
        source = ["--seed", a]
        with Proxy(self.directory, self.engine) as proxy:
            self.through(proxy, source)
        total = proxy.sent
        for hung, share in ((False, 2), (False, 5), (False, 8), (True, 3), (True, 7)):
            with self.subTest(hung=hung, share=share):
                self.wipe()
                code, seconds, log = self.terminate_after(total * share // 10, hung, source)
                self.engine.process.send_signal(signal.SIGCONT)
                self.assertEqual(code, 143, log)
                # What the machine is busy with otherwise counts, too.
                self.assertLess(seconds, 2 + (0 if os.getloadavg()[0] < 1 else 10))
                if not hung:
                    self.assert_nothing_left()
                    # A snapshot that was being made goes as nothing holds it any more.
                    self.engine.collect_garbage()
                    self.assertEqual([s for s in self.snapshots().values() if s.kind == "Active"], [])
                self.assertEqual(self.load(source=source).code, 0)
                self.assert_nothing_left()
                for one in (self.web, self.app):
                    self.assert_right(one)
        self.assert_runs(self.web)

    def terminate_after(self, number, hung, source):
        """Sends SIGTERM right after a request that the engine may not answer; returns the exit code, and how long the end took."""
        running, sent = [], []

        def act():
            if hung:
                self.engine.process.send_signal(signal.SIGSTOP)
            running[0].send_signal(signal.SIGTERM)
            sent.append(time.monotonic())

        self.addCleanup(self.engine.process.send_signal, signal.SIGCONT)
        with Proxy(self.directory, self.engine, number, act) as proxy:
            with self.loading("--address", proxy.path, source=source) as process:
                running.append(process)
                _, log = process.communicate(timeout=60)
                return process.returncode, time.monotonic() - sent[0], log


class Unanswered(EngineCase):
    """Takes the minute that a call is given, so with OCISEED_SOAK alone."""

    def test_a_call_that_is_not_answered_ends_the_run(self):
        a, _ = self.seeds("links")
        with Proxy(self.directory, self.engine) as proxy:
            self.through(proxy, ["--seed", a])
        self.wipe()
        self.addCleanup(self.engine.process.send_signal, signal.SIGCONT)
        with Proxy(self.directory, self.engine, proxy.sent // 2, lambda: self.engine.process.send_signal(signal.SIGSTOP)) as hanging:
            run = self.through(hanging, ["--seed", a])
        self.engine.process.send_signal(signal.SIGCONT)
        self.assertEqual(run.code, 6, run.log)
        self.assertLess(run.seconds, 100)
        self.load(source=["--seed", a])
        self.assert_right(self.web)
        self.assert_nothing_left()


class Two(EngineCase):
    def state_at_rest(self):
        """What there is once the engine has done what it was asked for."""
        seen = [state(self.engine, ("k8s.io", "moby"))]

        def unchanged():
            seen.append(state(self.engine, ("k8s.io", "moby")))
            return differences(*seen[-2:]) == []

        wait_until(unchanged, interval=0.2)
        return seen[-1]

    def test_the_second_is_told_to_come_again(self):
        a, _ = self.seeds("links")
        source = ["--seed", a]
        running, stopped = [], threading.Event()

        def stop():
            running[0].send_signal(signal.SIGSTOP)
            stopped.set()

        with Proxy(self.directory, self.engine, 30, stop) as proxy:
            with self.loading("--address", proxy.path, source=source) as first:
                running.append(first)
                self.assertTrue(stopped.wait(20))
                before = self.state_at_rest()
                second = self.load(source=source, expect=75)
                self.assertEqual((second.report["calls"], second.report["images"]), ({}, []))
                self.assertEqual(differences(before, state(self.engine, ("k8s.io", "moby"))), [])
                first.send_signal(signal.SIGCONT)
                out, log = first.communicate(timeout=60)
        self.assertEqual(first.returncode, 0, log)
        self.assertEqual(json.loads(out)["outcomes"]["added"], 3)
        self.assert_settled(self.load(source=source))


def load_tests(loader, tests, pattern):
    kinds = (Killed, Hung, Two, *([Unanswered] if kill_points.SOAK else []))
    return unittest.TestSuite(loader.loadTestsFromTestCase(kind) for kind in kinds)


if __name__ == "__main__":
    unittest.main()
