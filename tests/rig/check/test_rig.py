"""Checks of the rig itself, run inside each root: does the engine work here, and does nothing stay behind?"""

import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "e2e")]

import rig  # noqa: E402
import tiny_image  # noqa: E402

NAME = "docker.io/library/tiny:1"
VERSIONS = {"bookworm": (1, 6), "trixie": (1, 7)}


class Root(unittest.TestCase):
    def test_writes_go_to_an_overlay_and_scratch_is_not_one(self):
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        types = {line.split()[4]: line.split(" - ")[1].split()[0] for line in mounts}
        self.assertEqual(types["/"], "overlay")
        self.assertNotIn(types["/scratch"], ("overlay", "tmpfs"))

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

    def test_it_is_of_the_generation_that_the_suite_stands_for(self):
        expected = VERSIONS.get(os.environ["OCISEED_SUITE"], (2,))
        self.assertEqual(self.containerd.version[: len(expected)], expected)

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
            other.ctr("run", "--detach", NAME, "sleeper", "/bin/sleep", "98765")
            other.kill()
            self.assertIn(b"98765", all_command_lines())
            self.assertTrue(rig.mounts_below(other.directory) or rig.mounts_below("/run/containerd"))
        self.assertNotIn(b"98765", all_command_lines())
        self.assertFalse(other.directory.exists())


def all_command_lines():
    return subprocess.run(["ps", "-eww", "-o", "args="], stdout=subprocess.PIPE, check=True).stdout


if __name__ == "__main__":
    unittest.main(verbosity=2)
