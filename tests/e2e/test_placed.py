"""containerd on a root that was placed: images are there, run and stay, and nothing was imported or unpacked for it."""

import json
import os
import re
import tarfile
import unittest

import engine_cri
import images_examples
import images_run
import placed
import probe
import probe_image
import registry
import rig
import test_images
import test_probe
import test_torture
import test_unpacked
from images_examples import DEBIAN, HELLO, NGINX

TORTURE, DEEP, FOREIGN = (f"docker.io/library/{name}:1" for name in ("torture", "deep", "foreign"))
# Torture is for a namespace of somebody else, too, which shares its layers.
NAMESPACES = {TORTURE: ["k8s.io", "other"]}
# What containerd may write for two containers: its own records.
LITTLE = 1_000_000
LAYERS_OF_DEEP = 120


class Seed:
    """A medium with all images that the other tests have, and the listings of what containers must see."""

    def __init__(self, directory, **options):
        layers = test_torture.layers()
        images = {"torture": TORTURE, "deep": DEEP}
        spec = [test_torture.write_images(directory, layers)]
        for name, example in images_examples.by_image().items():
            key = name.split("/")[-1].split(":")[0]
            spec.append(f'[image.{key}]\nbase = {{ layout = "{example.name}", reference = "{name}" }}\n')
            images[key] = name
        pause = engine_cri.pause_archive(directory)
        spec.append(f'[image.pause]\nbase = {{ archive = "{pause.name}" }}\n')
        images["pause"] = engine_cri.PAUSE
        self.images = {name: NAMESPACES.get(name, ["k8s.io"]) for name in images.values()}
        named = {key: (name, self.images[name]) for key, name in images.items()}
        bundle = '[bundle.foreign]\nformat = "oci-archive"\nimages = { "%s" = "said" }\n' % FOREIGN
        spec.append(placed.spec(named, more=bundle, **options))
        self.medium = placed.Medium(directory, "\n".join(spec), *test_unpacked.inputs())
        self.listings = {TORTURE: probe_image.listing(layers["torture"]), DEEP: probe_image.listing(layers["deep"])}
        self.foreign = directory / "out/bundle/foreign.tar"


class Case(test_images.Case):
    """An engine on a root that was placed; each class has one."""

    options = {}

    @classmethod
    def setUpClass(cls):
        cls.directory = rig.scratch_directory()
        cls.seed = Seed(cls.directory, **cls.options)
        cls.medium = cls.enterClassContext(cls.seed.medium)
        cls.containerd = engine_cri.Node()
        cls.medium.place(cls.containerd.root)
        cls.placed = cls.links()
        cls.enterClassContext(cls.containerd)
        cls.cri = engine_cri.Cri(cls.containerd)

    @classmethod
    def links(cls):
        return {path: os.readlink(path) for path in cls.containerd.root.rglob("*") if path.is_symlink()}

    # What there is

    def locked(self, namespace):
        """The images of the lock that a namespace has, by name."""
        images = self.medium.seed_json()["content"]["images"]
        return {name: image for image in images if namespace in image["namespaces"] for name in image["names"]}

    def snapshots(self, namespace="k8s.io"):
        lines = self.containerd.ctr("snapshots", "list", namespace=namespace).stdout.splitlines()[1:]
        return {line.split()[0] for line in lines}

    def chains(self, namespace):
        return {layer["chain-id"] for image in self.locked(namespace).values() for layer in image["layers"]}

    def unpacked(self, namespace="k8s.io"):
        lines = self.containerd.ctr("images", "check", namespace=namespace).stdout.splitlines()[1:]
        return {line.split()[0]: line.split()[-1] for line in lines}

    def written(self):
        """What containerd has written, once it has nothing more to do."""
        return self.containerd.come_to_rest()

    # What runs

    def assert_sees_all(self, image, found, engine):
        lines = probe.differences(self.seed.listings[image], found, engine)
        if lines:
            self.fail(f"{engine}: {image}:\n{lines}")

    def assert_all_run(self):
        for image in self.seed.listings:
            for namespace in self.seed.images[image]:
                found = probe.inside(self.containerd, image, namespace=namespace)
                self.assert_sees_all(image, found, self.containerd)
        for image in (NGINX, HELLO, DEBIAN):
            self.assert_runs(self.containerd, image, "k8s.io")

    def assert_pods_run(self):
        for image in self.seed.listings:
            with self.cri.pod() as pod:
                container = self.cri.create_container(pod, image, [probe.PROBE])
                self.cri.start(container)
                self.assertEqual(self.cri.wait(container).exit_code, 0)
                self.assert_sees_all(image, probe.parse(self.cri.logged(container)), self.cri)
        with self.cri.pod() as pod:
            container = self.cri.create_container(pod, NGINX)
            self.cri.start(container)
            page = images_run.fetch(images_run.URL, lambda: self.cri.status(container).state == "running")
            self.assertEqual(page, images_examples.page(NGINX))
            result = self.cri.exec_sync(container, ["/bin/sh", "-c", "echo hello; exit 3"])
            self.assertEqual((result.stdout, result.returncode), ("hello\n", 3))


class Whole(Case):
    """With all blobs on the medium."""

    # In this order: the tests before the last change nothing for good.

    def test_images_are_complete_and_unpacked(self):
        for namespace in ("k8s.io", "other"):
            self.assert_complete(self.containerd, namespace, self.locked(namespace))
            self.assertEqual(set(self.unpacked(namespace).values()), {"true"})
            self.assertEqual(self.snapshots(namespace), self.chains(namespace))
        self.assertEqual(len(self.locked("k8s.io")[DEEP]["layers"]), LAYERS_OF_DEEP)

    def test_cri_knows_images_by_all_their_names(self):
        listed = self.cri.images()
        for name, image in self.locked("k8s.io").items():
            by_digest = f"{name.rpartition(':')[0]}@{image['manifest']['digest']}"
            found = self.cri.image_status(name)
            self.assertEqual(found.id, image["config"]["digest"])
            self.assertEqual((found.repo_tags, found.repo_digests), ([name], [by_digest]))
            # 1.6 says of no image that it is pinned.
            self.assertEqual(found.pinned, self.containerd.version >= (1, 7))
            for other in (by_digest, found.id, found.id.removeprefix("sha256:")):
                self.assertEqual(self.cri.image_status(other), found)
            self.assertEqual(listed[found.id], found)
        self.assertEqual(len(listed), len(self.locked("k8s.io")))
        self.assertIn(self.config_record(TORTURE), self.containerd.images())

    def config_record(self, name):
        return self.locked("k8s.io")[name]["config"]["digest"]

    def test_containers_see_what_was_put_in(self):
        self.assert_all_run()

    def test_pods_see_what_was_put_in(self):
        self.assert_pods_run()

    def test_nothing_was_unpacked(self):
        before, written = self.snapshots(), self.written()
        container = self.containerd.start_container(TORTURE, [probe.PROBE])
        with self.cri.pod() as pod:
            in_pod = self.cri.create_container(pod, NGINX)
            self.cri.start(in_pod)
            self.assertEqual(self.snapshots() - before, {container, pod.id, in_pod})
            self.assertLessEqual(before, self.snapshots())
            after = self.written()
        self.containerd.ctr("tasks", "delete", "--force", container)
        self.containerd.ctr("containers", "delete", container)
        self.containerd.collect_garbage()
        self.assertEqual(self.snapshots(), before)
        # Not what the kernel counts as sent to storage: of a file in large folios it counts each of these for a page.
        print(f"\n{self.containerd}: written for a container and a pod: {after.wchar - written.wchar}")
        self.assertLess(after.wchar - written.wchar, LITTLE)

    def test_a_snapshot_under_others_cannot_be_removed(self):
        before = self.snapshots()
        bottom = self.locked("k8s.io")[DEEP]["layers"][0]["chain-id"]
        result = self.containerd.ctr("snapshots", "remove", bottom, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, "child")
        self.assertEqual(self.snapshots(), before)

    def test_the_engine_keeps_what_was_placed(self):
        """Links are as they were, and what is new are its own directories."""
        found = self.links()
        self.assertGreater(len(self.placed), LAYERS_OF_DEEP)
        for path, target in self.placed.items():
            self.assertEqual(found.get(path), target, path)


    def test_exported_and_imported_elsewhere(self):
        archive = self.directory / "exported.tar"
        self.containerd.ctr("images", "export", archive, TORTURE, DEEP)
        with tarfile.open(archive) as tar:
            (index,) = (tar.extractfile(member).read() for member in tar if member.name == "index.json")
        digests = {entry["digest"] for entry in json.loads(index)["manifests"]}
        self.assertEqual(digests, {self.locked("k8s.io")[name]["manifest"]["digest"] for name in (TORTURE, DEEP)})
        with rig.Containerd() as other:
            other.load(archive)
            self.assert_sees_all(TORTURE, probe.inside(other, TORTURE), other)

    def test_pushed_and_copied_from_there(self):
        with registry.serving(self.directory / "registry.log") as address:
            name = f"{address}/torture:1"
            self.containerd.ctr("images", "tag", TORTURE, name)
            self.containerd.ctr("images", "push", "--plain-http", name)
            self.containerd.ctr("images", "delete", "--sync", name)
            target = self.directory / "pushed"
            rig.run(["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{target}:1"])
        test_images.assert_copied(self, target, self.locked("k8s.io")[TORTURE])

    def test_the_loader_finds_nothing_to_do(self):
        run = images_run.load(self.containerd, "--seed", self.medium.link)
        self.assertEqual(run.report["outcomes"]["settled"], len(run.report["images"]), run.log)
        self.assertEqual(run.report["copied"], 0)

    def test_the_same_after_restarts_and_collections(self):
        before = self.snapshots()
        self.containerd.restart()
        self.assertEqual(self.snapshots(), before)
        # A foreign image comes and goes: what is not known goes with it.
        self.containerd.load(self.seed.foreign)
        self.assertGreater(len(self.snapshots()), len(before))
        self.assert_all_run()
        self.remove_foreign()
        self.assertEqual(self.snapshots(), before)
        self.assert_pods_run()
        self.containerd.load(self.seed.foreign)
        self.containerd.restart()
        self.assertEqual(set(self.unpacked().values()), {"true"})
        self.assert_all_run()
        self.remove_foreign()
        self.test_images_are_complete_and_unpacked()

    def remove_foreign(self):
        # By CRI, which keeps a record of its own of it.
        self.cri.wait_for_images(FOREIGN)
        self.cri.remove_image(FOREIGN)
        self.assertEqual(self.containerd.images().get(FOREIGN), None)
        self.containerd.collect_garbage()

    def test_zz_removal_takes_links_alone(self):
        """In the end, what a user removes goes, and with it its links; the seed is as it was."""
        before = self.blobs()
        for name in self.containerd.images():
            self.containerd.ctr("images", "delete", name)
        self.containerd.collect_garbage()
        self.assertEqual((self.containerd.images(), self.snapshots()), ({}, set()))
        self.assertEqual(self.blobs(), before)
        # What the other namespace has is there still.
        self.assert_complete(self.containerd, "other", self.locked("other"))
        self.assert_sees_all(TORTURE, probe.inside(self.containerd, TORTURE, namespace="other"), self.containerd)
        rig.run([rig.BINARIES / "ociseed", "verify", self.medium.image], timeout=300)

    def blobs(self):
        return sorted(path.name for path in (self.medium.link / "blobs/sha256").iterdir())


class WithoutLayerBlobs(Case):
    """With `blobs = "metadata"` images run as well; what needs a layer's blob says so."""

    options = {"blobs": "metadata"}

    def test_images_run(self):
        self.assert_all_run()
        self.assert_pods_run()
        self.containerd.restart()
        self.containerd.collect_garbage()
        self.assertEqual(self.snapshots(), self.chains("k8s.io"))
        self.assert_all_run()

    def test_images_are_unpacked_and_incomplete(self):
        for name, (word, present, needed) in images_run.check(self.containerd, "k8s.io").items():
            self.assertEqual((word, present), ("incomplete", 1), name)
            self.assertGreater(needed, 1)
        self.assertEqual(set(self.unpacked().values()), {"true"})

    def test_what_needs_blobs_fails_and_says_why(self):
        result = self.containerd.ctr("images", "export", self.directory / "e.tar", TORTURE, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, "not found")

    def test_the_loader_finds_nothing_to_do(self):
        run = images_run.load(self.containerd, "--seed", self.medium.link)
        self.assertEqual(run.report["outcomes"]["settled"], len(run.report["images"]), run.log)
        self.assertEqual(run.report["copied"], 0)

    def test_zz_the_loader_brings_back_what_was_removed(self):
        """In the end: by links, since there is nothing to copy."""
        self.containerd.ctr("images", "delete", "--sync", NGINX)
        run = images_run.load(self.containerd, "--seed", self.medium.link)
        outcomes = {image["name"]: image["outcome"] for image in run.report["images"] if image["namespace"] == "k8s.io"}
        self.assertEqual((outcomes[NGINX], run.report["copied"]), ("added", 0), run.log)
        for name in self.containerd.images():
            self.containerd.ctr("images", "delete", "--sync", name)
        run = images_run.load(self.containerd, "--seed", self.medium.link)
        self.assertEqual((run.report["outcomes"]["failed"], run.report["copied"]), (0, 0), run.log)
        names = {name for name in self.containerd.images() if "@" not in name and not name.startswith("sha256:")}
        self.assertEqual(names, set(self.locked("k8s.io")))
        self.assertIn("nginx", self.containerd.run_container(NGINX, ["/usr/sbin/nginx", "-v"]).stderr)

    def test_cri_knows_them(self):
        found = self.cri.image_status(NGINX)
        self.assertEqual(found.id, self.locked("k8s.io")[NGINX]["config"]["digest"])
        self.assertEqual(len(self.cri.images()), len(self.locked("k8s.io")))


class Versions(Case):
    """The metadata of containerd 2 in all versions."""

    options = {"options": 'version = "2.0"'}

    def test_all_read_it(self):
        self.assert_complete(self.containerd, "k8s.io", self.locked("k8s.io"))
        self.assert_pods_run()
        self.containerd.restart()
        self.assert_all_run()


class ManyNames(unittest.TestCase):
    """More keys than a page of a database can count, in one bucket."""

    COUNT = 70_000

    def test_all_are_there_and_can_be_changed(self):
        directory = rig.scratch_directory()
        files = probe_image.image_files(TORTURE, [test_probe.base()], ("oci",))
        probe_image.write_archive(directory / "image.tar", files)
        names = {f"example.org/image:{number}" for number in range(self.COUNT)}
        entries = [{"image": "image", "name": name, "namespaces": ["many"]} for name in sorted(names)]
        spec = {
            "image": {"image": {"base": {"archive": "image.tar"}}},
            "seed": {"all": {"stores": ["containerd"], "image": entries}},
            "disk": {"all": {"medium": "erofs", "seed": "all"}},
        }
        with placed.Medium(directory, spec) as medium:
            containerd = rig.Containerd("many")
            medium.place(containerd.root)
            with containerd:
                self.assertEqual(self.names(containerd), names)
                removed = sorted(names)[1000:40_000:390]
                containerd.ctr("images", "delete", *removed)
                containerd.ctr("images", "tag", "example.org/image:7", "example.org/new:1")
                containerd.collect_garbage()
                containerd.restart()
                self.assertEqual(self.names(containerd), names - set(removed) | {"example.org/new:1"})
                found = probe.inside(containerd, "example.org/image:69999")
                self.assertEqual(probe.differences(probe_image.listing([test_probe.base()]), found, containerd), "")
                # What containerd made of the file is one that ociseed reads.
                containerd.stop()
                shown = rig.run([rig.BINARIES / "ociseed", "inspect", containerd.root / placed.METADATA]).stdout
                self.assertEqual(len(re.findall(r"^  v1 > many > images > .* > target: ", shown, re.MULTILINE)), self.COUNT - 99)

    def names(self, containerd):
        # All at once would be a longer message than ctr takes.
        filters = [f'name~="^example.org/image:{digit}"' for digit in range(10)] + ['name~="^example.org/new"']
        lists = (containerd.ctr("images", "list", "--quiet", each).stdout.split() for each in filters)
        return {name for names in lists for name in names}


class Imported(unittest.TestCase):
    """A root that was placed has the records that an import makes."""

    def test_records_are_the_same(self):
        directory = rig.scratch_directory()
        layers = test_torture.layers()["torture"]
        files = probe_image.image_files(TORTURE, layers, ("oci",))
        archive = probe_image.write_archive(directory / "torture.tar", files)
        with placed.of_archives(directory, {TORTURE: archive}) as medium:
            engine = engine_cri.Node()
            medium.place(engine.root)
            ours = self.records(engine.root)
        with rig.Containerd("k8s.io") as other:
            other.load(archive)
            other.collect_garbage()
            other.stop()
            theirs = self.records(other.root)
        self.assertEqual(ours, theirs)
        self.assertGreater(len(ours), 10)

    def records(self, root):
        """The values of both databases, as ociseed reads them, without what differs by rule."""
        found = {}
        for file in (root / placed.METADATA, root / placed.SNAPSHOTTER / "metadata.db"):
            output = rig.run([rig.BINARIES / "ociseed", "inspect", "--json", file]).stdout
            for entry in json.loads(output)["entries"]:
                path = [self.unnumbered(part) for part in entry["path"]]
                if entry["kind"] == "value" and not self.differs(path, entry):
                    found[file.name, *path] = self.unnumbered(entry.get("text", entry.get("hex", "")))
        return found

    def unnumbered(self, text):
        """Numbers of snapshots count those that were made on the way, too."""
        return re.sub(r"^k8s\.io/\d+/", "k8s.io/N/", text)

    def differs(self, path, entry):
        own = ("io.ociseed.seed", "io.ociseed.directory", "io.cri-containerd.image", "io.cri-containerd.pinned", "containerd.io/snapshot.ref")
        return (
            path[-1] in ("createdat", "updatedat", "version", *own)
            # What it takes on the disk.
            or (path[-1] in ("size", "inodes") and "snapshots" in path)
            # containerd 2 keeps those of the archive's index; and the records that CRI is given are for CRI alone.
            or "annotations" in path
            or any("@sha256:" in part for part in path)
            or path[2:4] == ["images", *(part for part in path[3:4] if part.startswith("sha256:"))]
            # Of a layer that is not compressed it says nothing new.
            or (path[-1] == "containerd.io/uncompressed" and entry.get("text") == path[-3])
        )


# The format of bolt's pages has not changed.
if not rig.IS_NEWEST:
    del ManyNames

# The first suite with a registry to push to.
if not registry.THERE:
    del Whole.test_pushed_and_copied_from_there


if __name__ == "__main__":
    unittest.main()
