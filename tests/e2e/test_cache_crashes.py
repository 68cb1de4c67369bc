"""Builds with a cache that are killed, meet each other, or run out of space: the next one is right, and nothing is left."""

import collections
import itertools
import os
import signal
import subprocess
import unittest

from build_case import PLAIN, RANDOM, STRACE, VARIANTS, CacheCase, assert_full, calls_of, content_of, differences, remove

# How many kills there are at least, and how many are tried; with OCISEED_SOAK set there is one at every call that changes
# something.
LEAST, TRIED = 200, 264
# How often two builds meet in each way.
MEETINGS = 200 if os.environ.get("OCISEED_SOAK") else 20
# Calls that change a file system, or are there only for those that do. Those that open count where they may create.
OPENING = ("open", "openat", "openat2", "creat")
CHANGING = (
    *("write", "writev", "pwrite64", "copy_file_range", "sendfile", "ftruncate", "fallocate", "ioctl", "flock"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat", "utimensat", "fsync", "fdatasync", "sync_file_range"),
)
# What a build finds: nothing; what it made of other inputs; that, and in the cache all that it is to make.
STATES = {"empty": 0, "older": 1, "cached": 0}


def spread(items, count):
    """So many of the items, as far apart as can be, the first and the last among them."""
    if len(items) <= count or count < 2:
        return items[:count] if count < 2 else items
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


class Kills(CacheCase):
    """A build that is killed at any call that changes something."""

    def setUp(self):
        super().setUp()
        self.out, self.cache = self.memory / "out", self.memory / "cache"
        self.problems = []

    def test_the_build_after_a_kill_is_right(self):
        points = self.points()
        hit = collections.Counter()
        for several in itertools.zip_longest(*points.values()):
            remove(self.out, self.cache)
            for (state, variant), point in zip(STATES.items(), several, strict=True):
                self.project.become(variant)
                if point and self.kill(point, state, variant):
                    hit[point[1]] += 1
                self.recover(point, state, variant)
        called = collections.Counter(name for of_state in points.values() for _, name, _ in of_state)
        shown = ", ".join(f"{name} {hit[name]} of {tried}" for name, tried in sorted(called.items()))
        print(f"\ncache: {hit.total()} builds killed: {shown}", flush=True)
        self.assertEqual(self.problems, [])
        self.assertEqual([name for name in called if hit[name] == 0], [])
        self.assertGreaterEqual(hit.total(), LEAST)

    def points(self):
        """Where to kill, by state: (whether by counts of the main thread alone, call, which one of that thread).

        strace counts for each thread, so the main thread, which puts everything in its place in the end, is traced alone:
        it would never be the first that gets to a number.
        """
        points, trace = {}, self.memory / "trace"
        remove(self.out, self.cache)
        for state, variant in STATES.items():
            self.project.become(variant)
            tracer = [*STRACE, "-f", "-o", trace, "-e", f"trace={','.join((*CHANGING, *OPENING))},exit_group"]
            self.build(self.out, self.cache, variant, tracer=["taskset", "-c", "0", *tracer])
            # /proc/self/exe and the like are opened by the main thread, which also is the one that ends.
            calls = calls_of(trace)
            changing = [call for call in calls if call.name in CHANGING or (call.name in OPENING and call.creates())]
            main = str(calls[0].thread)
            found = collections.defaultdict(set)
            for call in changing:
                found[call.name].add((call.thread == main, call.name, call.number))
            points[state] = self.chosen({name: sorted(of_call) for name, of_call in found.items()})
        return points

    def chosen(self, found):
        if os.environ.get("OCISEED_SOAK"):
            return [point for of_call in found.values() for point in of_call]
        total, wanted = sum(map(len, found.values())), TRIED / len(STATES)
        chosen = [spread(of_call, max(4, round(len(of_call) / total * wanted))) for of_call in found.values()]
        return [point for of_call in chosen for point in of_call]

    def kill(self, point, state, variant):
        """Kills a build; tells whether that came to be."""
        alone, name, number = point
        tracer = [*STRACE, *([] if alone else ["-f"]), "-o", "/dev/null"]
        tracer += ["-e", f"trace={name}", "-e", f"inject={name}:signal=KILL:when={number}"]
        # On one processor, so that threads make about as many calls as when they were counted.
        result = self.run_build(self.out, self.cache, tracer=["taskset", "-c", "0", *tracer])
        if result.returncode not in (0, -signal.SIGKILL):
            self.problems.append((state, point, result.returncode, result.stderr))
        self.assert_whole(point, state, variant)
        return result.returncode == -signal.SIGKILL

    def assert_whole(self, point, state, variant):
        """Each file of `out`, and each directory that is a target, is what it was or what it is to be."""
        may_be = [self.project.references[variant], {} if state == "empty" else self.project.references[1 - variant]]
        found = content_of(self.out) or {}
        for kind in (name for name in may_be[0] if name != "report.json"):
            in_kind = [out.get(kind, {}) for out in (found, *may_be)]
            for name in set().union(*in_kind):
                is_there, *allowed = [targets.get(name) for targets in in_kind]
                if is_there not in allowed:
                    self.problems.append((state, point, f"{kind}/{name} is neither old nor new"))

    def recover(self, point, state, variant):
        result = self.run_build(self.out, self.cache)
        if result.returncode != 0 or result.stderr:
            self.problems.append((state, point, result.returncode, result.stderr))
        left = os.listdir(self.cache / "v1" / "tmp")
        wrong = differences(self.project.references[variant], content_of(self.out))
        if left or wrong:
            self.problems.append((state, point, "left in the cache", left, "wrong", wrong))


class Meetings(CacheCase):
    """Two builds at once."""

    def meet(self, outs, state):
        cache = self.memory / "cache"
        for meeting in range(MEETINGS):
            variant = 0 if state == "empty" else 1
            if state == "empty" or meeting % 4 == 0:
                remove(cache, *outs)
            if state == "older":
                self.project.become(1 - variant)
                for out in set(outs):
                    self.build(out, cache, 1 - variant)
            self.project.become(variant)
            commands = [self.project.command(out, cache) for out in outs]
            builds = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands]
            said = [build.communicate(timeout=60)[1] for build in builds]
            with self.subTest(state=state, meeting=meeting):
                self.assertEqual([build.returncode for build in builds], [0, 0], said)
                self.assertEqual(said, ["", ""])
                for out in set(outs):
                    self.assert_right(out, cache, variant)

    def test_same_cache_same_output(self):
        for state in ("empty", "older"):
            self.meet([self.memory / "out", self.memory / "out"], state)

    def test_same_cache_other_output(self):
        for state in ("empty", "older"):
            self.meet([self.memory / "out", self.memory / "other"], state)


class FileSystems(CacheCase):
    """A cache or outputs on a file system that is full, read-only, or another one."""

    def assert_one_note(self, lines):
        self.assertEqual(len(lines), 1, lines)
        for word in ("note: ", "No space left on device", "is not cached"):
            self.assertIn(word, lines[0])

    def test_a_full_cache(self):
        # From no room for anything over some for small files to enough for the blobs and not for what is written last.
        sizes = ["4k", "32k", f"{RANDOM // 1024 + 8}k", f"{(RANDOM + PLAIN) // 1024 + 32}k"]
        self.project.become(0)
        for size in sizes:
            with self.subTest(size=size):
                point, out = self.mount(self.memory / f"cache-{size}", f"size={size}"), self.memory / f"out-{size}"
                for _ in range(2):
                    self.assert_one_note(self.build(out, point, 0))
                    remove(out)
                self.remount(point, "size=64m")
                self.assertEqual(self.build(out, point, 0), [])
                self.assertEqual(self.build(out, point, 0), [])

    def test_a_full_output(self):
        cache, whole = self.memory / "cache", content_of(self.memory / "reference-0")
        for state, size in itertools.product(["empty", "cached"], ["4k", "96k", f"{(RANDOM + PLAIN) * 2 // 1024}k"]):
            with self.subTest(state=state, size=size):
                self.project.become(0)
                remove(cache)
                point = self.mount(self.memory / f"{state}-{size}", f"size={size}")
                if state == "cached":
                    self.build(self.memory / "out", cache, 0)
                result = self.run_build(point / "out", cache)
                assert_full(self, result)
                # The directory itself may stay; it is empty.
                self.assertIn(content_of(point), [{}, {"out": {}}])
                self.assertEqual(os.listdir(cache / "v1" / "tmp"), [])
                self.remount(point, "size=64m")
                self.assertEqual(self.build(point / "out", cache, 0), [])
                self.assertEqual(content_of(point / "out"), whole)

    def test_a_full_output_keeps_what_was_there(self):
        cache, point = self.memory / "cache", self.mount(self.memory / "small", "size=64m")
        self.project.become(0)
        self.build(point / "out", cache, 0)
        used = os.statvfs(point)
        self.remount(point, f"size={(used.f_blocks - used.f_bfree) * used.f_frsize + 8192}")
        self.project.become(1)
        result = self.run_build(point / "out", cache)
        assert_full(self, result)
        self.assert_right(point / "out", cache, 0)
        self.remount(point, "size=64m")
        self.assertEqual(self.build(point / "out", cache, 1), [])

    def test_a_cache_on_another_file_system(self):
        out, cache = self.directory("disk") / "out", self.memory / "cache"
        for variant in VARIANTS:
            self.project.become(variant)
            self.assertEqual(self.build(out, cache, variant), [])
            self.assertNotEqual(out.stat().st_dev, cache.stat().st_dev)
            self.assertEqual(set(self.explained(out, cache, variant)[0].values()), {"nothing changed"})
        remove(out)
        reasons, _ = self.explained(out, cache, variant)
        self.assertEqual(reasons["layer.random"], "its result was in the cache")
        self.assertEqual(set(self.explained(out, cache, variant)[0].values()), {"nothing changed"})

    def test_a_read_only_cache(self):
        cache, out = self.mount(self.memory / "cache"), self.memory / "out"
        self.project.become(0)
        self.build(self.memory / "first", cache, 0)
        self.remount(cache, "ro")
        before = content_of(cache)
        reasons, others = self.explained(out, cache, 0)
        steps = ("layer.random", "layer.plain", "image.web")
        self.assertEqual({reasons[step] for step in steps}, {"its result was in the cache"}, reasons)
        self.assertTrue(all("Read-only file system" in line for line in others), others)
        # What is made anew is right too, and takes what it can.
        self.project.become(1)
        reasons, _ = self.explained(out, cache, 1)
        self.assertEqual(reasons["layer.plain"], "its result was in the cache")
        self.assertIn("`random` changed", reasons["layer.random"])
        self.assertEqual(content_of(cache), before)
        self.remount(cache, "rw")
        self.assertEqual(self.build(out, cache, 1), [])


class Changes(CacheCase):
    """An input that somebody changes while a build runs."""

    def meanwhile(self, stage, variant, *options):
        """Builds a layer, and changes its input once what it reads was looked at: as it makes its n-th directory to work in.

        Directories take their time then, so that the change comes before the first byte is read of what it is for.
        """
        out = self.memory / "out"
        slow = [*STRACE, "-f", "-o", "/dev/null", "-e", "trace=mkdirat", "-e", "inject=mkdirat:delay_exit=300000"]
        command = [*slow, *self.project.command(out, self.memory / "cache", *options, "layer.random")]
        build = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = set()
        while len(seen) < stage and build.poll() is None:
            seen |= {path.name for path in self.memory.glob("out/.ociseed-stage-*") if path.is_dir()}
        self.project.become(variant)
        said = build.communicate(timeout=60)[1]
        self.assertEqual(len(seen), stage, said)
        return build.returncode, said

    def test_what_was_read_is_not_kept_for_what_was_looked_at(self):
        self.project.become(0)
        self.assertEqual(self.meanwhile(1, 1), (0, ""))
        made = (self.memory / "out" / "layer" / "random.tar.zst").read_bytes()
        self.assertEqual(made, self.project.references[1]["layer"]["random.tar.zst"][1])
        self.project.become(0)
        self.build(self.memory / "out", self.memory / "cache", 0)

    def test_a_check_says_what_differs(self):
        self.project.become(0)
        code, said = self.meanwhile(2, 1, "--check")
        self.assertEqual(code, 1, said)
        self.assertIn("error: two builds differ in `layer/random.tar.zst`: sha256:", said)
        self.assertIn("hint: something it reads changed meanwhile", said)
        self.assertIsNone(content_of(self.memory / "out"))


class NothingChanged(CacheCase):
    """A build where nothing changed."""

    def test_it_opens_no_input_and_changes_nothing(self):
        out, cache, trace = self.memory / "out", self.memory / "cache", self.memory / "trace"
        # After a first build, after one that replaced things, and after one that took all from the cache.
        for variant in (0, 1, 0):
            self.project.become(variant)
            self.build(out, cache, variant)
            names = ",".join((*CHANGING, *OPENING, "getdents64", "fchmodat2"))
            self.build(out, cache, variant, tracer=[*STRACE, "-f", "-y", "-o", trace, "-e", f"trace={names}"])
            calls = calls_of(trace)
            inputs = [call for call in calls if str(self.project.inputs) in call.text]
            with self.subTest(variant=variant):
                # It saw the trace of a build that looked at its inputs.
                self.assertTrue(any("spec.toml" in call.text for call in inputs))
                self.assertTrue(any('"random"' in call.text for call in inputs), [call.text for call in inputs])
                read = [call.text for call in inputs if "O_PATH" not in call.text and "spec.toml" not in call.text]
                self.assertEqual(read, [])
                self.assertEqual([f"{call.name} {call.text}" for call in calls if self.changes(call)], [])

    def changes(self, call):
        """Tells whether a call changed a file, or would have if it had found something to change."""
        if call.name in OPENING:
            return call.creates() or "O_TRUNC" in call.text or "O_RDWR" in call.text or "O_WRONLY" in call.text
        printed = call.name in ("write", "writev") and call.text.startswith(("1<", "2<"))
        return call.name in (*CHANGING, "fchmodat2") and not call.failed and not printed


# The program is the same static one in all suites, and the kernel is the host's: once is enough.
if os.environ.get("OCISEED_SUITE", "trixie") != "trixie":
    del Kills, Meetings, FileSystems, Changes, NothingChanged


if __name__ == "__main__":
    unittest.main()
