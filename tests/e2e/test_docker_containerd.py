"""Docker on a containerd that has the images already: what it sees of them, what it wants of them, and what it makes.

Nobody told Docker of the images: they were imported into its namespace, `moby`. Docker 20.10 has no store of this kind.
"""

import json
import tarfile
import unittest

import placed
import probe
import probe_image
import rig
import test_probe

NAMESPACE = "moby"
REPOSITORY = "docker.io/library/"
NAME = f"{REPOSITORY}x:1"
LAYERS = [test_probe.base(), test_probe.changes()]
FIRST_THAT_LISTS_WITHOUT_LAYERS = (28,)


class Case(unittest.TestCase):
    """A containerd with an image; each test has both to itself, and a Docker that starts after the import."""

    def setUp(self):
        self.directory = rig.scratch_directory()
        self.files = probe_image.image_files(NAME, LAYERS, ("oci",))
        self.archive = probe_image.write_archive(self.directory / "x.tar", self.files)
        self.containerd = self.containerd_with_image()
        self.manifest = self.containerd.images()[NAME].digest
        # The archive's index, which nothing refers to.
        self.containerd.collect_garbage()

    def containerd_with_image(self):
        """A containerd that runs, with the image in `moby`; it ends with the test."""
        raise NotImplementedError

    def start_docker(self):
        return self.enterContext(rig.Docker("containerd", containerd=self.containerd))

    def assert_runs(self, docker, name="x:1", layers=LAYERS):
        self.assertEqual(probe.differences(probe_image.listing(layers), probe.inside(docker, name), docker), "")

    def snapshots(self):
        """The parent of each snapshot, or nothing, by key."""
        lines = (line.split() for line in self.containerd.ctr("snapshots", "list").stdout.splitlines()[1:])
        return {key: parent[0] if len(parent) == 2 else None for key, *parent in lines}

    def state(self):
        """All records: of images and content with their labels, and of snapshots."""
        content = self.containerd.ctr("content", "list").stdout.splitlines()[1:]
        # Between columns are tabs, more where an age is shorter than others.
        labels = {digest: labels for digest, *_, labels in (line.split("\t") for line in content)}
        return self.containerd.images(), labels, self.snapshots()


class Tests:
    """The tests of each kind of layers."""

    def test_an_image_is_there_and_runs_as_it_is(self):
        before = self.state()
        docker = self.start_docker()
        self.assertEqual(docker.images(), {"x:1": self.manifest})
        inspected = json.loads(docker.docker("inspect", "x:1").stdout)[0]
        self.assertEqual((inspected["RepoTags"], inspected["RepoDigests"]), (["x:1"], [f"x@{self.manifest}"]))
        self.assert_runs(docker)
        self.assert_runs(docker, f"x@{self.manifest}")
        # Docker wants no labels of its own on anything, and unpacked nothing.
        self.containerd.collect_garbage()
        self.assertEqual(self.state(), before)
        docker.restart()
        self.assert_runs(docker)

    def test_a_container_has_two_snapshots_and_a_lease(self):
        images, content, snapshots = self.state()
        (top,) = snapshots.keys() - snapshots.values()
        docker = self.start_docker()
        name = docker.start_container("x:1", [probe.PROBE])
        identity = docker.docker("inspect", "--format", "{{.Id}}", name).stdout.strip()
        made = {identity: f"{identity}-init", f"{identity}-init": top}
        self.assertEqual(self.state(), (images, content, snapshots | made))
        self.assertEqual(self.leases(), [identity])
        docker.docker("rm", "--force", name)
        self.containerd.collect_garbage()
        self.assertEqual(self.state(), (images, content, snapshots))
        self.assertEqual(self.leases(), [])

    def leases(self):
        return self.containerd.ctr("leases", "list", "--quiet").stdout.split()

    def test_removal_takes_all_of_it_away(self):
        docker = self.start_docker()
        docker.docker("rmi", "x:1")
        self.containerd.collect_garbage()
        self.assertEqual((self.containerd.images(), self.snapshots()), ({}, {}))

    def test_what_comes_while_docker_runs_is_seen(self):
        docker = self.start_docker()
        layers = [[*LAYERS[0], probe_image.file(b"new", b"1")]]
        files = probe_image.image_files(f"{REPOSITORY}y:1", layers, ("oci",))
        self.containerd.load(probe_image.write_archive(self.directory / "y.tar", files))
        self.assertEqual(docker.images().keys(), {"x:1", "y:1"})
        self.assert_runs(docker, "y:1", layers)

    def test_without_layer_blobs(self):
        """It runs; that the image is there Docker 26 does not say, and what is saved lacks its layers."""
        self.remove_layer_blobs()
        docker = self.start_docker()
        self.assertEqual(docker.images(), {"x:1": self.manifest} if docker.version >= FIRST_THAT_LISTS_WITHOUT_LAYERS else {})
        self.assert_runs(docker)
        archive = self.directory / "saved.tar"
        docker.docker("save", "--output", archive, "x:1")
        with tarfile.open(archive) as tar:
            blobs = {name.rpartition("/")[2] for name in tar.getnames() if name.startswith("blobs/sha256/")}
        self.assertIn(self.manifest.removeprefix("sha256:"), blobs)
        self.assertEqual(blobs & {digest.removeprefix("sha256:") for digest in self.layers()}, set())

    def layers(self):
        return [probe_image.digest_of(probe_image.tar(layer)) for layer in LAYERS]

    def remove_layer_blobs(self):
        labels = (f"containerd.io/gc.ref.content.l.{number}=" for number in range(len(LAYERS)))
        self.containerd.ctr("content", "label", self.manifest, *labels)
        for digest in self.layers():
            self.containerd.ctr("content", "rm", digest)


class Imported(Tests, Case):
    """Layers that containerd unpacked."""

    def containerd_with_image(self):
        containerd = self.enterContext(rig.Containerd(NAMESPACE))
        containerd.load(self.archive)
        return containerd

    def test_names_must_be_full(self):
        """A record with a short name is shown, but Docker complains of it each time, and does not find it."""
        for name in ("short:1", "example.com/a/b:2"):
            self.containerd.ctr("images", "tag", NAME, name)
        docker = self.start_docker()
        self.assertEqual(docker.images().keys(), {"x:1", "example.com/a/b:2", "short:1"})
        self.assertIn('repository name must be canonical" name="short:1"', docker.log.read_text())
        self.assert_runs(docker, "example.com/a/b:2")
        self.assertRegex(docker.run_container("short:1", [probe.PROBE], check=False).stderr, "No such image: short:1")


class Placed(Tests, Case):
    """A root that ociseed placed, which also has the image for Kubernetes."""

    blobs = "all"

    def containerd_with_image(self):
        options = {"namespaces": (NAMESPACE, "k8s.io"), "blobs": self.blobs}
        medium = self.enterContext(placed.of_archives(self.directory, {NAME: self.archive}, **options))
        containerd = rig.Containerd(NAMESPACE)
        medium.place(containerd.root)
        return self.enterContext(containerd)

    def test_the_other_namespace_has_it_still(self):
        docker = self.start_docker()
        docker.docker("rmi", "x:1")
        self.containerd.collect_garbage()
        found = probe.inside(self.containerd, NAME, namespace="k8s.io")
        self.assertEqual(probe.differences(probe_image.listing(LAYERS), found, self.containerd), "")


class PlacedWithoutLayerBlobs(Case):
    """The same with `blobs = "metadata"`: nothing is to be removed."""

    blobs = "metadata"
    containerd_with_image = Placed.containerd_with_image
    test_without_layer_blobs = Tests.test_without_layer_blobs
    layers = Tests.layers

    def remove_layer_blobs(self):
        for digest in self.layers():
            self.assertFalse((self.containerd.root / "io.containerd.content.v1.content/blobs" / digest.replace(":", "/")).exists())


if "containerd" not in rig.Docker.stores():
    del Imported, Placed, PlacedWithoutLayerBlobs


if __name__ == "__main__":
    unittest.main()
