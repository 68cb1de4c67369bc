"""Every form of bundle, as every tool that reads images takes it: accepted, with the digests that it had, and it runs."""

import gzip
import hashlib
import json
import os
import unittest

import probe
import probe_image
import registry
import rig
import test_probe
from probe_image import directory, file, whiteout
from test_torture import OCISEED, build, listing

FORMS = {"layout": "", "oci-archive": ".tar", "docker-archive": ".tar"}
TRANSPORTS = {"layout": "oci", "oci-archive": "oci-archive", "docker-archive": "docker-archive"}
ONE, TWO, MULTI = (f"docker.io/library/{name}:1" for name in ("one", "two", "multi"))
SIGNATURE = "application/vnd.example.signature.v1"


def layers(word):
    return [
        [test_probe.program(), directory(b"d"), file(b"d/a", b"1"), file(b"d/word", word.encode())],
        [directory(b"d"), file(b"d/b", b"2"), whiteout(b"d/a")],
    ]


def descriptor(media_type, content, **more):
    return {"mediaType": media_type, "digest": probe_image.digest_of(content), "size": len(content), **more}


def upstream(path):
    """A layout as a registry has it: an index for two platforms, with keys that nobody here knows, and a signature of it."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(content):
        files["blobs/sha256/" + hashlib.sha256(content).hexdigest()] = content
        return content

    manifests = []
    for architecture in ("amd64", "arm64"):
        tar = probe_image.tar(layers(architecture)[0])
        # crane takes no others.
        packed = blob(gzip.compress(tar, mtime=0))
        config = {"architecture": architecture, "os": "linux", "config": {"Healthcheck": {"Test": ["NONE"]}},
                  "rootfs": {"type": "layers", "diff_ids": [probe_image.digest_of(tar)]}}  # fmt: skip
        config = blob(json.dumps(config, indent=1).encode())
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "x-unknown": 1,
                    "config": descriptor("application/vnd.oci.image.config.v1+json", config),
                    "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", packed)]}  # fmt: skip
        manifest = blob(json.dumps(manifest, indent=2).encode())
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append(descriptor("application/vnd.oci.image.manifest.v1+json", manifest, platform=platform))
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    index = blob(json.dumps(index, indent=3).encode())
    subject = descriptor(json.loads(index)["mediaType"], index)
    empty = blob(b"{}")
    signature = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": SIGNATURE,
                 "config": descriptor("application/vnd.oci.empty.v1+json", empty), "subject": subject,
                 "layers": [descriptor(SIGNATURE, blob(b"signed by nobody"))]}  # fmt: skip
    signature = blob(json.dumps(signature).encode())
    named = descriptor(subject["mediaType"], index, annotations={"org.opencontainers.image.ref.name": MULTI})
    unnamed = descriptor("application/vnd.oci.image.manifest.v1+json", signature, artifactType=SIGNATURE)
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [named, unnamed]}).encode()
    return probe_image.write_directory(path, files), subject["digest"], unnamed["digest"]


class Bundles(test_probe.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        _, cls.index_digest, cls.signature_digest = upstream(cls.directory / "upstream")
        spec = []
        for name in ("one", "two"):
            for number, layer in enumerate(layers(name)):
                (cls.directory / f"{name}{number}.tar").write_bytes(probe_image.tar(layer))
                spec.append(f'[layer.{name}{number}]\ncompression = "gzip"\nadd = [{{ tar = "{name}{number}.tar" }}]\n')
        spec.append('[image.one]\nlayers = ["one0", "one1"]\n[image.two]\nlayers = ["two0", "one1"]\nentrypoint = ["/ociseed-probe"]\n')
        spec.append(f'[image.base]\nbase = {{ layout = "upstream", reference = "{MULTI}" }}\nplatform = "linux/amd64"\n')
        spec.append(f'[index.multi]\nbase = {{ layout = "upstream", reference = "{MULTI}" }}\n')
        for form in FORMS:
            spec.append(f'[bundle.{form}]\nformat = "{form}"\nimages = {{ "{ONE}" = "one", "{TWO}" = "two" }}\n')
            spec.append(f'[bundle.{form}-base]\nformat = "{form}"\nimages = {{ "{ONE}" = "base" }}\n')
            if form != "docker-archive":
                spec.append(f'[bundle.{form}-multi]\nformat = "{form}"\nindexes = {{ "{MULTI}" = "multi" }}\n')
        cls.out = build(cls.directory, "".join(spec))

    def bundle(self, form, more=""):
        return self.out / "bundle" / f"{form}{more}{FORMS[form]}"

    def record(self, name):
        return json.loads((self.out / "image" / f"{name}.json").read_text())

    def manifest_digest(self, name):
        return probe_image.digest_of(self.record(name)["manifest"].encode())

    def config_digest(self, name):
        return probe_image.digest_of(self.record(name)["config"].encode())

    def source(self, form, name, more=""):
        return f"{TRANSPORTS[form]}:{self.bundle(form, more)}:{name}"

    # Tools

    def test_skopeo_reads_every_image_of_every_form(self):
        for form in FORMS:
            for name, key in ((ONE, "one"), (TWO, "two")):
                with self.subTest(form=form, image=name):
                    target = rig.scratch_directory()
                    source = self.source(form, name)
                    rig.run(["skopeo", "--insecure-policy", "copy", "--preserve-digests", source, f"dir:{target}"]
                            if form != "docker-archive" else ["skopeo", "--insecure-policy", "copy", source, f"dir:{target}"])  # fmt: skip
                    copied = (target / "manifest.json").read_bytes()
                    if form == "docker-archive":
                        self.assertEqual(json.loads(copied)["config"]["digest"], self.config_digest(key))
                    else:
                        self.assertEqual(copied, self.record(key)["manifest"].encode())

    def test_umoci_unpacks_what_the_listing_says(self):
        for name in (ONE, TWO):
            target = rig.scratch_directory()
            # umoci takes no colon in a name: the layout is copied under a shorter one.
            layout = target / "layout"
            rig.run(["skopeo", "--insecure-policy", "copy", self.source("layout", name), f"oci:{layout}:image"])
            rig.run(["umoci", "unpack", "--image", f"{layout}:image", target / "bundle"])
            root = target / "bundle" / "rootfs"
            found = {f"/{path.relative_to(root)}" for path in root.rglob("*")}
            self.assertEqual(found, {line["path"] for line in listing(self.bundle("layout"), name)})

    def validate_with_crane(self):
        rig.run(["crane", "validate", "--tarball", self.bundle("docker-archive", "-base")])
        self.assertNotEqual(rig.run(["crane", "validate", "--tarball", self.broken()], check=False).returncode, 0)
        # Other forms it validates in a registry; it brings one along.
        with registry.serving(self.directory / "registry.log") as host:
            for form, name, more in (
                ("layout", ONE, ""), ("oci-archive", TWO, ""), ("oci-archive", MULTI, "-multi"), ("layout", ONE, "-base"),
            ):  # fmt: skip
                target = f"{host}/{form}{more}"
                rig.run(["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false",
                         self.source(form, name, more), f"docker://{target}:1"])  # fmt: skip
                rig.run(["crane", "validate", "--insecure", "--remote", f"{target}:1"])

    def broken(self):
        """The same archive with a byte of a layer changed: whoever accepts it validates nothing."""
        content = bytearray(self.bundle("docker-archive", "-base").read_bytes())
        content[content.index(b"\x1f\x8b\x08") + 1000] ^= 1
        path = self.directory / "broken.tar"
        path.write_bytes(content)
        return path

    # Engines

    def forms(self, engine):
        """The forms that an engine loads as a file."""
        return ["docker-archive"] if test_probe.is_graph_driver(engine) else ["oci-archive", "docker-archive"]

    def load(self, engine, form, names, more=""):
        """Loads a bundle; podman takes the images of an oci-archive with several manifests one by one."""
        if engine.name == "podman" and form == "oci-archive":
            for name in names:
                engine.pull(self.source(form, name, more))
        else:
            engine.load(self.bundle(form, more))

    def digest_in(self, engine, name):
        """The digest that an engine knows an image by: the manifest's, or of those that keep none the configuration's."""
        if engine.name == "containerd":
            return engine.images()[name].digest
        if engine.name == "docker":
            return engine.docker("image", "inspect", "--format", "{{.Id}}", name).stdout.strip()
        return engine.podman("image", "inspect", "--format", "{{.Digest}}", name).stdout.strip()

    def test_engines_load_every_form_and_run_every_image(self):
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                for form in self.forms(engine):
                    self.load(engine, form, (ONE, TWO))
                    for name, key in ((ONE, "one"), (TWO, "two")):
                        if test_probe.is_graph_driver(engine):
                            self.assertEqual(self.digest_in(engine, name), self.config_digest(key))
                        elif not (engine.name == "podman" and form == "docker-archive"):
                            # podman makes a manifest of its own for what it reads as Docker's.
                            self.assertEqual(self.digest_in(engine, name), self.manifest_digest(key), (form, name))
                        lines = probe.differences(probe_image.listing([layers(key)[0], layers("one")[1]]),
                                                  probe.inside(engine, name, ["/ociseed-probe"] if key == "one" else ()), engine)  # fmt: skip
                        self.assertEqual(lines, "", (form, name))

    def test_podman_pulls_every_form(self):
        with rig.Podman() as podman:
            for form in FORMS:
                (pulled,) = podman.pull(self.source(form, TWO))
                found = probe.inside(podman, pulled, ())
                self.assertEqual(probe.differences(probe_image.listing([layers("two")[0], layers("one")[1]]), found, podman), "")

    def test_an_untouched_base_keeps_its_digest(self):
        layout = json.loads((self.directory / "upstream" / "blobs" / self.index_digest.replace(":", "/")).read_text())
        expected = layout["manifests"][0]["digest"]
        self.assertEqual(self.manifest_digest("base"), expected)
        for form in ("layout", "oci-archive"):
            target = rig.scratch_directory()
            rig.run(["skopeo", "--insecure-policy", "copy", "--preserve-digests", self.source(form, ONE, "-base"), f"dir:{target}"])
            self.assertEqual(probe_image.digest_of((target / "manifest.json").read_bytes()), expected)
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                for form in self.forms(engine):
                    self.load(engine, form, (ONE,), "-base")
                    if test_probe.is_graph_driver(engine):
                        self.assertEqual(self.digest_in(engine, ONE), self.config_digest("base"))
                    elif not (engine.name == "podman" and form == "docker-archive"):
                        self.assertEqual(self.digest_in(engine, ONE), expected, form)

    def test_an_untouched_index_keeps_its_digest_and_its_signature(self):
        for form in ("layout", "oci-archive"):
            raw = rig.run(["skopeo", "inspect", "--raw", self.source(form, MULTI, "-multi")]).stdout.encode()
            self.assertEqual(probe_image.digest_of(raw), self.index_digest)
        index = json.loads((self.bundle("layout", "-multi") / "index.json").read_text())
        carried = [entry for entry in index["manifests"] if entry["digest"] == self.signature_digest]
        self.assertEqual([entry.get("artifactType") for entry in carried], [SIGNATURE])
        signature = self.bundle("layout", "-multi") / "blobs" / self.signature_digest.replace(":", "/")
        (payload,) = json.loads(signature.read_text())["layers"]
        self.assertEqual((self.bundle("layout", "-multi") / "blobs" / payload["digest"].replace(":", "/")).read_bytes(), b"signed by nobody")
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                if test_probe.is_graph_driver(engine):
                    continue
                self.load(engine, "oci-archive", (MULTI,), "-multi")
                if engine.name != "podman":
                    # podman keeps of an index only the image of its own platform.
                    self.assertEqual(self.digest_in(engine, MULTI), self.index_digest)
                self.assertEqual(probe.differences(probe_image.listing([layers("amd64")[0]]), probe.inside(engine, MULTI), engine), "")

    # Bases

    def test_what_docker_saves_is_a_base(self):
        """Of each version and store: over it, or as it is, and it runs again."""
        for engine_name in self.makers:
            with self.engine(engine_name) as engine:
                if engine.name == "docker":
                    self.save_and_load_again(engine)

    def save_and_load_again(self, engine):
        engine.load(self.bundle("docker-archive"))
        work = rig.scratch_directory()
        engine.docker("save", "--output", work / "saved.tar", ONE, TWO)
        (work / "more").write_text("more")
        spec = f'''
[layer.more]
compression = "gzip"
add = [{{ file = "more", to = "/d/more" }}, {{ whiteout = "/d/word" }}]
[image.same]
base = {{ archive = "saved.tar", reference = "two:1" }}
[image.over]
base = {{ archive = "saved.tar", reference = "{TWO}" }}
layers = ["more"]
[bundle.again]
format = "docker-archive"
images = {{ "docker.io/library/same:1" = "same", "docker.io/library/over:1" = "over" }}
'''
        out = build(work, spec)
        rig.run([OCISEED, "verify", out])
        engine.load(out / "bundle" / "again.tar")
        base = [layers("two")[0], layers("one")[1]]
        same = probe.inside(engine, "docker.io/library/same:1", ())
        self.assertEqual(probe.differences(probe_image.listing(base), same, engine), "")
        over = {entry["path"] for entry in probe.inside(engine, "docker.io/library/over:1", ()).entries}
        self.assertLessEqual({"/d/b", "/d/more"}, over)
        self.assertFalse({"/d/a", "/d/word"} & over)


# Debian has crane from forky on: in older suites there is no such test, and where it is missing the test fails.
if os.environ["OCISEED_SUITE"] not in ("bookworm", "trixie"):
    Bundles.test_crane_validates = Bundles.validate_with_crane


if __name__ == "__main__":
    unittest.main()
