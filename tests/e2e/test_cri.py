"""Images and pods as the kubelet sees them, of images that `ctr` imported."""

import json
import unittest

import engine_cri
import probe
import probe_image
import rig
import test_probe
from engine_cri import FOREVER, CriError, read_log
from protobuf import decode, encode

IMAGE = "docker.io/library/torture:1"
# What a container with nothing else to do runs.
WAIT = ["/bin/sleep", FOREVER]


def layers():
    """All that layers can hold, and a program that waits."""
    return [[*test_probe.base(), probe_image.directory(b"bin"), engine_cri.sleep()], test_probe.changes()]


class Pods(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory()
        cls.containerd = cls.enterClassContext(engine_cri.Node())
        cls.cri = engine_cri.Cri(cls.containerd)
        cls.layers = layers()
        cls.files = probe_image.image_files(IMAGE, cls.layers, ("oci",), command=[probe.PROBE, "/etc"])
        for archive in (engine_cri.pause_archive(cls.directory), cls.archive()):
            cls.cri.load(archive)

    @classmethod
    def archive(cls):
        return probe_image.write_archive(cls.directory / "torture.tar", cls.files)

    def assert_sees_all(self, found):
        lines = probe.differences(probe_image.listing(self.layers), found, self.cri)
        if lines:
            self.fail(f"{self.cri}:\n{lines}")

    def test_images_are_what_was_imported(self):
        status = self.cri.image_status(IMAGE)
        self.assertEqual(status.repo_tags, [IMAGE])
        self.assertEqual(status.id, self.config_digest())
        # No record names its digest.
        self.assertEqual(status.repo_digests, [])
        self.assertFalse(status.pinned)
        self.assertGreater(status.size, sum(len(probe_image.tar(layer)) for layer in self.layers))
        pause = self.cri.image_status(engine_cri.PAUSE)
        self.assertEqual(self.cri.images(), {status.id: status, pause.id: pause})
        # What sandboxes are made of is kept from the kubelet's garbage collection; 1.6 does not say so yet.
        self.assertEqual(pause.pinned, self.cri.version >= (1, 7))
        for name in (status.id, status.id.removeprefix("sha256:"), "torture:1"):
            self.assertEqual(self.cri.image_status(name), status, name)
        self.assertIsNone(self.cri.image_status("docker.io/library/torture:2"))

    def config_digest(self):
        index = json.loads(self.files["index.json"])
        return json.loads(self.blob(index["manifests"][0]["digest"]))["config"]["digest"]

    def blob(self, digest):
        return self.files["blobs/" + digest.replace(":", "/")]

    def test_a_container_sees_what_was_put_in(self):
        self.assert_sees_all(probe.inside(self.cri, IMAGE))

    def test_the_command_is_the_image_s_unless_said(self):
        found = probe.inside(self.cri, IMAGE, ())
        self.assertEqual([entry["path"] for entry in found.entries], ["/", "/motd"])

    def test_a_container_goes_on_while_containerd_restarts(self):
        with self.cri.pod() as pod:
            container = self.cri.create_container(pod, self.cri.image_status(IMAGE).id, WAIT)
            self.assertEqual(self.cri.status(container).state, "created")
            self.cri.start(container)
            for _ in range(2):
                self.assertEqual(self.cri.status(container).state, "running")
                self.assert_sees_all(probe.parse(self.cri.exec_sync(container, [probe.PROBE]).stdout))
                self.containerd.restart()
            self.cri.stop(container)
            status = self.cri.status(container)
            self.assertEqual((status.state, status.exit_code), ("exited", 137))
        with self.assertRaisesRegex(CriError, "NOT_FOUND"):
            self.cri.status(container)

    def test_a_command_s_output_and_code_come_back(self):
        with self.cri.pod() as pod:
            container = self.cri.create_container(pod, IMAGE, WAIT)
            self.cri.start(container)
            result = self.cri.exec_sync(container, [probe.PROBE, "/nowhere"])
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stdout, "")
            self.assertRegex(result.stderr, "^error: `/nowhere`: No such file")
            with self.assertRaisesRegex(CriError, "ExecSync: .*/none"):
                self.cri.exec_sync(container, ["/none"])

    def test_what_a_container_writes_is_in_its_log(self):
        output = self.cri.run_container(IMAGE, [probe.PROBE, "/nowhere"], check=False)
        self.assertEqual((output.stdout, output.returncode), ("", 1))
        self.assertRegex(output.stderr, "^error: `/nowhere`: No such file")

    def test_a_container_that_cannot_start_says_why(self):
        with self.cri.pod() as pod:
            container = self.cri.create_container(pod, IMAGE, ["/none"])
            with self.assertRaisesRegex(CriError, "StartContainer: .*/none"):
                self.cri.start(container)
            self.assertEqual(self.cri.status(container).exit_code, 128)

    def test_pods_leave_nothing(self):
        self.assertEqual(self.containerd.ctr("tasks", "list", "--quiet").stdout, "")
        before = self.snapshots()
        with self.cri.pod() as pod:
            container = self.cri.create_container(pod, IMAGE, WAIT)
            self.cri.start(container)
            self.assertEqual(set(self.containerd.ctr("tasks", "list", "--quiet").stdout.split()), {pod.id, container})
        self.assertEqual(self.containerd.ctr("containers", "list", "--quiet").stdout, "")
        self.assertEqual(self.snapshots(), before)

    def snapshots(self):
        lines = self.containerd.ctr("snapshots", "list").stdout.splitlines()[1:]
        return {line.split()[0] for line in lines}

    def test_file_system_of_images(self):
        found = self.cri.image_fs_info()
        self.assertEqual(found.mountpoint, str(self.containerd.root / "io.containerd.snapshotter.v1.overlayfs"))

    def test_removal_takes_every_name_away(self):
        other = "docker.io/library/other:1"
        self.containerd.ctr("images", "tag", IMAGE, other)
        self.addCleanup(self.cri.load, self.directory / "torture.tar")
        self.cri.wait_for_images(other)
        self.cri.remove_image(other)
        self.assertIsNone(self.cri.image_status(IMAGE))
        self.assertEqual(self.containerd.images().keys() & {IMAGE, other}, set())
        self.cri.remove_image(other)


class Logs(unittest.TestCase):
    def test_lines_are_put_together_by_stream(self):
        text = "T stdout P a\nT stderr F b\nT stdout F c\nT stdout F \nT stdout P d e\n"
        self.assertEqual(read_log(text), "ac\n\nd e")
        self.assertEqual(read_log(text, "stderr"), "b\n")


class Messages(unittest.TestCase):
    """The encoding, by examples of its own description."""

    INNER = {"a": (1, int)}
    ALL = {
        "number": (1, int), "text": (2, str), "message": (3, INNER), "flag": (4, bool), "bytes": (5, bytes),
        "numbers": (6, [int]), "messages": (16, [INNER]),
    }  # fmt: skip
    CASES = [
        ({}, ""),
        ({"number": 150}, "089601"),
        ({"number": -2}, "08feffffffffffffffff01"),
        ({"text": "testing"}, "120774657374696e67"),
        ({"message": {"a": 150}}, "1a03089601"),
        ({"flag": True}, "2001"),
        ({"bytes": b"\xff"}, "2a01ff"),
        ({"numbers": [3, 270]}, "3003308e02"),
        ({"messages": [{"a": 1}, {"a": 0}]}, "82010208018201020800"),
    ]  # fmt: skip

    def test_examples(self):
        for values, expected in self.CASES:
            with self.subTest(values=values):
                self.assertEqual(encode(self.ALL, values).hex(), expected)
                found = decode(self.ALL, bytes.fromhex(expected))
                empty = {"number": 0, "text": "", "message": None, "flag": False, "bytes": b"", "numbers": [], "messages": []}
                self.assertEqual(found, empty | values)

    def test_what_others_may_write_is_read(self):
        packed = bytes.fromhex("3206038e029ea705")
        self.assertEqual(decode(self.ALL, packed)["numbers"], [3, 270, 86942])
        unknown = bytes.fromhex("7a0161" + "79ffffffffffffffff" + "7dffffffff" + "780a" + "089601")
        self.assertEqual(decode(self.ALL, unknown)["number"], 150)

    def test_a_message_that_is_cut_off_is_an_error(self):
        with self.assertRaises(ValueError):
            decode(self.ALL, bytes.fromhex("120774"))

    def test_an_unknown_name_is_an_error(self):
        with self.assertRaises(KeyError):
            encode(self.ALL, {"other": 1})


if __name__ == "__main__":
    unittest.main()
