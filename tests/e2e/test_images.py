"""The images of the examples as engines and other tools see them: complete, with the spec's files, and they run."""

import hashlib
import json
import tempfile
import unittest
from pathlib import Path

import images_examples
import images_listing
import images_run
import rig
from images_examples import DEBIAN, HELLO, NGINX

READ_ONLY = {
    "containerd.services.version.v1.Version/Version",
    "containerd.services.namespaces.v1.Namespaces/List",
    "containerd.services.images.v1.Images/List",
    "containerd.services.images.v1.Images/Get",
    "containerd.services.content.v1.Content/Info",
    "containerd.services.content.v1.Content/List",
    "containerd.services.content.v1.Content/ListStatuses",
    "containerd.services.content.v1.Content/Read",
    "containerd.services.leases.v1.Leases/List",
    "containerd.services.leases.v1.Leases/ListResources",
    "containerd.services.introspection.v1.Introspection/Plugins",
    "containerd.services.snapshots.v1.Snapshots/List",
}
# What the runtime mounts over an image; no file of an image is seen there.
RUNTIME_MOUNTS = {"dev", "etc/hosts", "etc/resolv.conf", "proc", "run", "sys", "tools"}


class Case(unittest.TestCase):
    def assert_same_files(self, expected, found):
        self.assertTrue(expected)
        if expected != found:
            self.fail(images_listing.differences(expected, found))

    def assert_complete(self, containerd, namespace, images, by_digest=True):
        """Asserts that all blobs of these images (of a lock) are there and right, under all names and no others."""
        expected = {}
        for name, image in images.items():
            names = [name]
            if by_digest and namespace == "k8s.io":
                names.append(f"{name.rpartition(':')[0]}@{image['manifest']['digest']}")
            for each in names:
                # ctr counts the configuration and the layers.
                blobs = len(image["layers"]) + 1
                expected[each] = (image["manifest"]["digest"], "complete", blobs, blobs)
        records = containerd.images(namespace)
        checked = images_run.check(containerd, namespace)
        found = {name: (records[name].digest, *state) for name, state in checked.items()}
        # CRI adds records of its own that are named for the configuration.
        found = {name: state for name, state in found.items() if not name.startswith("sha256:")}
        self.assertEqual(found, expected)
        # That check asks the database of the engine, which does not know of files that are gone or wrong.
        for image in images.values():
            for blob in (image["manifest"], image["config"], *image["layers"]):
                self.assertEqual(images_run.blob_digest(containerd, namespace, blob["digest"]), blob["digest"])

    def assert_runs(self, containerd, image, namespace):
        if image == DEBIAN:
            command = ["/bin/sh", "-c", "cat /etc/debian_version && /usr/bin/sha256sum </dev/null"]
            lines = containerd.run_container(image, command, namespace=namespace).stdout.splitlines()
            self.assertRegex(lines[0], r"^13\.")
            self.assertEqual(lines[1].split()[0], hashlib.sha256().hexdigest())
        else:
            self.assertEqual(images_run.answer_of(containerd, image, namespace), images_examples.page(image))


class Tars(Case):
    """The layers hold what the spec says, by rules that are written down a second time in images_listing."""

    def test_each_layer_lists_what_the_spec_says(self):
        for image, example in images_examples.by_image().items():
            record = example.images()[image]
            directory = rig.scratch_directory()
            # skopeo, not ociseed, decompresses: its files are named for the digests of what is in them.
            source = f"oci:{example.seed}:{image}"
            rig.run(["skopeo", "--insecure-policy", "copy", "--dest-decompress", source, f"dir:{directory}"])
            layers = example.layers(image)
            self.assertEqual(len(layers), len(record["layers"]))
            for expected, layer in zip(layers, record["layers"], strict=True):
                with self.subTest(image=image, layer=layer["digest"]):
                    path = directory / layer["diff-id"].removeprefix("sha256:")
                    self.assertEqual(images_listing.sha256(path.read_bytes()), path.name)
                    found = images_listing.layer_of_tar(path)
                    self.assert_same_files(expected, found)
                    self.assertEqual(list(found), images_listing.in_order(expected))


class Loaded(Case):
    """What the loader brings from two seeds is complete, kept, and runs."""

    @classmethod
    def setUpClass(cls):
        cls.containerd = cls.enterClassContext(rig.Containerd())
        cls.examples = (images_examples.hello(), images_examples.nginx())
        # Several seeds in one engine, which only runs of critical images leave alone: others remove what no seed of theirs asks
        # for. So the one with background images comes first.
        runs = {}
        for example in sorted(cls.examples, key=lambda example: example.name != "nginx"):
            one = [] if example.name == "nginx" else ["--class", "critical"]
            runs[example.name] = images_run.load(cls.containerd, "--seed", example.seed, *one)
        cls.runs = [runs[example.name] for example in cls.examples]
        cls.images = {name: image for example in cls.examples for name, image in example.images().items()}

    def in_namespace(self, namespace):
        return {name: image for name, image in self.images.items() if namespace in image["namespaces"]}

    def test_images_are_complete(self):
        self.assertEqual(self.in_namespace("default").keys(), {DEBIAN})
        self.assertEqual(self.in_namespace("k8s.io").keys(), {DEBIAN, HELLO, NGINX})
        for namespace in ("default", "k8s.io"):
            self.assert_complete(self.containerd, namespace, self.in_namespace(namespace))

    def test_records_are_pinned_and_say_whose_they_are(self):
        for run, example in zip(self.runs, self.examples, strict=True):
            self.assertRegex(run.report["seed"], r"^sha256:[0-9a-f]{64}$")
            for name, image in example.images().items():
                for namespace in image["namespaces"]:
                    labels = self.containerd.images(namespace)[name].labels
                    self.assertEqual(labels.get("io.ociseed.seed"), run.report["seed"], name)
                    pinned = "pinned" if namespace == "k8s.io" else None
                    self.assertEqual(labels.get("io.cri-containerd.pinned"), pinned, name)

    def test_all_images_run_and_servers_answer(self):
        for image in self.images:
            for namespace in self.images[image]["namespaces"]:
                with self.subTest(image=image, namespace=namespace):
                    self.assert_runs(self.containerd, image, namespace)

    def test_nginx_serves_the_other_files_of_the_site(self):
        style = images_run.answer_of(self.containerd, NGINX, "k8s.io", "style.css")
        self.assertEqual(style, (images_examples.nginx().spec.parent / "public/style.css").read_bytes())

    def test_containers_see_the_files_that_the_spec_says(self):
        by_image = images_examples.by_image()
        for image, tools in ((NGINX, None), (DEBIAN, None), (HELLO, images_run.busybox_tools())):
            with self.subTest(image=image):
                found, mounts = images_run.listing_in_container(self.containerd, image, "k8s.io", tools)
                over = {mount for mount in mounts if mount.split("/")[0] not in ("dev", "proc", "run", "sys")}
                self.assertLessEqual(over, RUNTIME_MOUNTS)
                expected = by_image[image].listing(image)
                self.assert_same_files(images_listing.without(expected, RUNTIME_MOUNTS), found)


class SecondRun(Case):
    """A run that finds everything as it should be only reads."""

    def setUp(self):
        self.containerd = self.enterContext(rig.Containerd(extra_config=images_run.METRICS_CONFIG))
        self.root = self.containerd.root

    def assert_second_only_reads(self, *source):
        first = images_run.load(self.containerd, *source)
        self.assertGreater(first.report["copied"], 0)
        self.assertIn("containerd.services.content.v1.Content/Write", first.report["calls"])
        written = self.containerd.come_to_rest().write_bytes
        files = images_run.state_of(self.root)
        calls = images_run.calls_answered()
        second = images_run.load(self.containerd, *source)
        calls = images_run.added(calls, images_run.calls_answered())

        self.assertEqual(second.report["outcomes"]["settled"], len(second.report["images"]))
        self.assertEqual(len(second.report["images"]), len(first.report["images"]))
        self.assertEqual(second.report["copied"], 0)
        self.assertEqual({image["copied"] for image in second.report["images"]}, {0})
        self.assertLessEqual(second.report["calls"].keys(), READ_ONLY)
        # The loader's own count, and the engine's of the same calls.
        self.assertEqual(second.report["calls"], calls)
        self.assertEqual(self.containerd.write_bytes().write_bytes - written, 0)
        self.assertEqual(images_run.state_of(self.root), files)

    def test_of_a_seed(self):
        self.assert_second_only_reads("--seed", images_examples.nginx().seed)

    def test_of_archives(self):
        preseed = images_run.unpack_preseed(images_examples.nginx().preseed, images_examples.hello().preseed)
        self.assert_second_only_reads("--archives", preseed)


class Preseed(Case):
    """The preseed directory works without the loader, and with it but without a lock."""

    @classmethod
    def setUpClass(cls):
        cls.examples = (images_examples.hello(), images_examples.nginx())
        cls.preseed = images_run.unpack_preseed(*(example.preseed for example in cls.examples))
        cls.images = {name: image for example in cls.examples for name, image in example.images().items()}

    def test_the_tar_unpacks_to_plain_files(self):
        entries = images_listing.of_directory(self.preseed)
        files = ["default", "default/debian.tar", "k8s.io", "k8s.io/debian.tar", "k8s.io/hello.tar", "k8s.io/nginx.tar"]
        self.assertEqual(sorted(entries), files)
        for path, entry in entries.items():
            mode = 0o644 if path.endswith(".tar") else 0o755
            self.assertEqual((entry.mode, entry.owner, entry.mtime), (mode, "0:0", 0), path)

    def test_each_archive_imports_alone_and_runs(self):
        archives = sorted(self.preseed.glob("*/*.tar"))
        self.assertEqual(len(archives), 4)
        for archive in archives:
            with self.subTest(archive=archive.relative_to(self.preseed)), rig.Containerd() as containerd:
                namespace = archive.parent.name
                containerd.ctr("images", "import", archive, namespace=namespace)
                (name,) = (name for name in self.images if f"/{archive.stem}:" in name)
                self.assertIn(namespace, self.images[name]["namespaces"])
                self.assert_complete(containerd, namespace, {name: self.images[name]}, by_digest=False)
                self.assert_runs(containerd, name, namespace)

    def test_the_loader_brings_it(self):
        with rig.Containerd() as containerd:
            run = images_run.load(containerd, "--archives", self.preseed)
            self.assertEqual((run.report["seed"], run.report["outcomes"]["added"]), ("archives", 4))
            for namespace in ("default", "k8s.io"):
                images = {name: image for name, image in self.images.items() if namespace in image["namespaces"]}
                self.assert_complete(containerd, namespace, images)
                for name in images:
                    labels = containerd.images(namespace)[name].labels
                    self.assertEqual(labels.get("io.ociseed.seed"), "archives", name)
                    pinned = "pinned" if namespace == "k8s.io" else None
                    self.assertEqual(labels.get("io.cri-containerd.pinned"), pinned, name)
                    self.assert_runs(containerd, name, namespace)


def assert_copied(case, layout, image):
    """Asserts that a layout that skopeo wrote has the image (of a lock) as it was, each blob with its own digest."""
    (descriptor,) = json.loads((layout / "index.json").read_text())["manifests"]
    case.assertEqual(descriptor["digest"], image["manifest"]["digest"])
    digests = [image["manifest"], image["config"], *image["layers"]]
    blobs = layout / "blobs" / "sha256"
    expected = {blob["digest"].removeprefix("sha256:") for blob in digests}
    case.assertEqual({path.name for path in blobs.iterdir()}, expected)
    for path in blobs.iterdir():
        case.assertEqual(images_listing.sha256(path.read_bytes()), path.name)


class OtherTools(Case):
    """skopeo copies and umoci unpacks what ociseed wrote."""

    def copy(self, source, destination):
        rig.run(["skopeo", "--insecure-policy", "copy", source, destination])

    def test_skopeo_copies_layouts_and_archives(self):
        hello, nginx = images_examples.hello(), images_examples.nginx()
        sources = (
            (HELLO, hello, f"oci:{hello.built}/bundle/hello-layout:{HELLO}"),
            (HELLO, hello, f"oci-archive:{hello.built}/bundle/hello.tar:{HELLO}"),
            (HELLO, hello, f"oci:{hello.seed}:{HELLO}"),
            (NGINX, nginx, f"oci-archive:{nginx.built}/bundle/nginx.tar:{NGINX}"),
            (NGINX, nginx, f"oci:{nginx.seed}:{NGINX}"),
            (DEBIAN, nginx, f"oci:{nginx.seed}:{DEBIAN}"),
        )
        for image, example, source in sources:
            with self.subTest(source=source):
                layout, archive = rig.scratch_directory() / "layout", rig.scratch_directory() / "archive.tar"
                self.copy(source, f"oci:{layout}:copied")
                assert_copied(self, layout, example.images()[image])
                # There and back through skopeo's own form of an archive.
                self.copy(source, f"oci-archive:{archive}:copied")
                again = rig.scratch_directory() / "again"
                self.copy(f"oci-archive:{archive}:copied", f"oci:{again}:copied")
                assert_copied(self, again, example.images()[image])

    def test_umoci_unpacks_layouts(self):
        version = rig.run(["umoci", "--version"]).stdout
        knows_zstd = tuple(map(int, version.split()[2].split("+")[0].split("."))) >= (0, 5)
        for image, example in images_examples.by_image().items():
            with self.subTest(image=image):
                layout = example.seed if knows_zstd else self.built_without_compression(example)
                bundle = rig.scratch_directory() / "bundle"
                rig.run(["umoci", "unpack", "--image", f"{layout}:{image}", bundle])
                self.assert_same_files(example.listing(image), images_listing.of_directory(bundle / "rootfs"))
                config = json.loads((bundle / "config.json").read_text())
                user = {HELLO: 65534, NGINX: 33, DEBIAN: 0}[image]
                self.assertEqual(config["process"]["user"]["uid"], user)

    def built_without_compression(self, example):
        """The seed of an example built anew without compression: older releases of umoci know no zstd."""
        text = example.spec.read_text()
        for key in example.layer_keys():
            text = text.replace(f"[layer.{key}]\n", f'[layer.{key}]\ncompression = "none"\n')
        directory = Path(tempfile.mkdtemp(dir=rig.SCRATCH))
        spec = directory / "spec.toml"
        spec.write_text(text)
        # A path of the spec is looked up as a whole or by its first part, so these lead back to the example.
        inputs = {name: example.spec.parent / name for name in example.first_parts()} | example.inputs
        options = [word for name, path in inputs.items() for word in ("--input", f"{name}={path}")]
        rig.run([rig.BINARIES / "ociseed", "build", spec, "seed.appliance", "--out", directory / "out", *options])
        seed = directory / "out" / "seed" / "appliance"
        for name, image in example.images().items():
            plain = json.loads((seed / "seed.json").read_text())["content"]["images"]
            (plain,) = (each for each in plain if name in each["names"])
            # The same tars: only how they are packed differs.
            diff_ids = [layer["diff-id"] for layer in image["layers"]]
            self.assertEqual([layer["digest"] for layer in plain["layers"]], diff_ids)
        return seed


if __name__ == "__main__":
    unittest.main(verbosity=2)
