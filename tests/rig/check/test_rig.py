"""Checks of the rig itself, run inside each root: does the engine work here, and does nothing stay behind?"""

import contextlib
import functools
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "e2e")]

import rig  # noqa: E402
import tiny_image  # noqa: E402

NAME = "docker.io/library/tiny:1"
VERSIONS = {
    "bookworm": {"containerd": (1, 6), "docker": (20, 10), "podman": (4,)},
    "trixie": {"containerd": (1, 7), "docker": (26,), "podman": (5,)},
}
LATER = {"containerd": (2,), "docker": (28,), "podman": (5,)}


class Root(unittest.TestCase):
    def test_writes_go_to_an_overlay_and_scratch_is_not_one(self):
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        types = {line.split()[4]: line.split(" - ")[1].split()[0] for line in mounts}
        self.assertEqual(types["/"], "overlay")
        self.assertNotIn(types["/scratch"], ("overlay", "tmpfs"))

    def test_reading_scratch_writes_nothing(self):
        path = rig.scratch_directory() / "file"
        path.write_text("x")
        # Written later than read, so the time of the read would count.
        os.utime(path, (1, 2))
        path.read_text()
        self.assertEqual(path.stat().st_atime, 1)

    def test_user_namespaces_with_a_proc_of_their_own_work(self):
        # What the sandboxes of Bazel and Nix need; in a chroot it fails.
        command = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc", "id", "-u"]
        self.assertEqual(rig.run(command).stdout, "0\n")

    def test_the_network_is_loopback_alone(self):
        links = rig.run(["ip", "-o", "link"]).stdout.splitlines()
        self.assertEqual([line.split(": ")[1] for line in links], ["lo"])
        self.assertIn("UP", links[0])


class ContainerdInstance(unittest.TestCase):
    def setUp(self):
        self.containerd = self.enterContext(rig.Containerd())
        self.archive = rig.scratch_directory() / "tiny.tar"
        self.digest = tiny_image.write_archive(self.archive, NAME)

    def test_cri_is_up(self):
        rows = [line.split() for line in self.containerd.ctr("plugins", "list").stdout.splitlines()]
        states = [row[-1] for row in rows if row[:2] == ["io.containerd.grpc.v1", "cri"]]
        self.assertEqual(states, ["ok"], rows)

    def test_a_container_runs_and_says_hello(self):
        before = self.containerd.write_bytes()
        self.containerd.ctr("images", "import", self.archive)
        self.assertGreater(self.containerd.write_bytes().wchar - before.wchar, self.archive.stat().st_size // 2)
        self.assertEqual(self.containerd.images()[NAME].digest, self.digest)
        for net_host in (False, True):
            result = self.containerd.run_container(NAME, ["/bin/echo", "hello"], net_host=net_host)
            self.assertEqual(result.stdout, "hello\n")

    def test_the_exit_code_of_a_container_is_the_result(self):
        self.containerd.ctr("images", "import", self.archive)
        result = self.containerd.run_container(NAME, ["sh", "-c", "exit 7"], check=False)
        self.assertEqual((result.returncode, result.stderr), (7, ""))

    def test_images_outlive_a_kill_and_a_restart(self):
        self.containerd.ctr("images", "import", self.archive, namespace="other")
        first = self.containerd.pid
        self.assertEqual(self.containerd.kill(), -9)
        self.containerd.start()
        self.assertNotEqual(self.containerd.pid, first)
        self.containerd.restart()
        self.assertEqual(list(self.containerd.images("other")), [NAME])
        self.assertEqual(self.containerd.images(), {})

    def test_closing_ends_containers_of_a_killed_daemon(self):
        with rig.Containerd() as other:
            other.ctr("images", "import", self.archive)
            other.start_container(NAME, ["/bin/sleep", "98765"])
            other.kill()
            self.assertIn(b"98765", all_command_lines())
            self.assertTrue(rig.mounts_below(other.directory) or rig.mounts_below("/run/containerd"))
        self.assertNotIn(b"98765", all_command_lines())
        self.assertFalse(other.directory.exists())


class EveryEngine(unittest.TestCase):
    """What tests count on with whatever engine they use."""

    @classmethod
    def setUpClass(cls):
        cls.archive = rig.scratch_directory() / "tiny.tar"
        tiny_image.write_archive(cls.archive, NAME)

    @contextlib.contextmanager
    def loaded(self, make):
        """An engine with the image."""
        with make() as engine, self.subTest(engine=str(engine)):
            (name,) = engine.load(self.archive)
            # docker leaves out what docker.io has in all names.
            self.assertIn(name, (NAME, "tiny:1"))
            self.assertEqual(list(engine.images()), [name])
            yield engine

    def test_they_are_of_the_generation_that_the_suite_stands_for(self):
        expected = VERSIONS.get(os.environ["OCISEED_SUITE"], LATER)
        names = set()
        for name, make in rig.engines().items():
            with self.subTest(engine=name), make() as engine:
                version = expected[engine.name]
                self.assertEqual(engine.version[: len(version)], version)
                names.add(name)
        stores = {"docker-overlay2", *(["docker-containerd"] if expected["docker"] >= (25,) else [])}
        self.assertEqual(names, {"containerd", "podman"} | stores)

    def test_docker_uses_the_store_that_was_asked_for(self):
        for store in rig.Docker.stores():
            with self.loaded(functools.partial(rig.Docker, store)) as docker:
                self.assertEqual(docker.driver(), {"overlay2": "overlay2", "containerd": "overlayfs"}[store])

    def test_a_container_prints_and_its_exit_code_is_the_result(self):
        for make in rig.engines().values():
            with self.loaded(make) as engine:
                self.assertEqual(engine.run_container(NAME, ["/bin/echo", "hello"]).stdout, "hello\n")
                result = engine.run_container(NAME, ["/bin/sh", "-c", "exit 7"], check=False)
                self.assertEqual((result.returncode, result.stdout), (7, ""))

    def test_podman_pulls_layouts_and_archives(self):
        layout = rig.scratch_directory()
        rig.run(["tar", "--directory", layout, "--extract", "--file", self.archive])
        for source in (f"oci:{layout}:{NAME}", f"oci-archive:{self.archive}", f"docker-archive:{self.archive}"):
            with self.subTest(source=source), rig.Podman() as podman:
                (identity,) = podman.pull(source)
                self.assertEqual(list(podman.images().values()), [f"sha256:{identity}"])
                self.assertEqual(podman.run_container(identity, ["/bin/echo", "hello"]).stdout, "hello\n")

    def test_nothing_is_left_of_an_engine_that_was_killed_with_a_container_running(self):
        for make in rig.engines().values():
            with self.loaded(make) as engine:
                engine.start_container(NAME, ["/bin/sleep", "98765"])
                if not isinstance(engine, rig.Podman):
                    engine.kill()
                # Without its supervisor a container is a child of none of the engine's processes.
                supervisors = ("shim", "conmon")
                pids = rig.processes_of(engine.directory)
                rig.kill_and_wait({pid for pid in pids if any(word in program(pid) for word in supervisors)})
                self.assertIn(b"98765", all_command_lines())
                self.assertTrue(rig.mounts_below(engine.directory))
                engine.close()
                self.assertNotIn(b"98765", all_command_lines())
                self.assertEqual(rig.processes_of(engine.directory), set())
                self.assertEqual(rig.mounts_below(engine.directory), [])
                self.assertFalse(engine.directory.exists())


def program(pid):
    return Path(f"/proc/{pid}/comm").read_text()


def all_command_lines():
    return subprocess.run(["ps", "-eww", "-o", "args="], stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    unittest.main(verbosity=2)
