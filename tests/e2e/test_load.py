"""ociseed-load and each engine of a developer's machine: what it brings, what it leaves alone, and what it says."""

import json
import os
import shutil
import signal
import subprocess
import unittest
from pathlib import Path

import engine_base
import load_case
import loader_case
import loader_seed as seed
import rig
from load_case import LOAD, LOOK, QUESTIONS, SEEN, LoadCase, hexes, image

WEB = "docker.io/library/web:1"
OTHER = "example.com:5000/team/other:2"


class Tests:
    """What holds for every engine."""

    def assert_stands_for(self, name, of):
        self.assertEqual(self.stands_for(name), self.identity(of), name)

    def test_only_what_is_missing_is_sent(self):
        first = image(WEB)
        run = self.load(self.seed_of(first))
        self.assertEqual(run.outcomes(), ["loaded"])
        self.assertEqual(run.report["engine"]["name"], self.kind)
        self.assertEqual(run.report["engine"]["store"], self.reported_store())
        self.assertEqual((run.report["layers-sent"], run.report["images"][0]["layers"]), (4, 4))
        self.assertGreaterEqual(run.report["bytes-sent"], sum(blob.size for blob in first.blobs))
        self.assertEqual(run.opened & hexes(first.layer_blobs), hexes(first.layer_blobs))
        if self.kind != "podman":
            self.assertGreaterEqual(run.written, sum(blob.size for blob in first.layer_blobs))
        self.assert_stands_for(WEB, first)
        self.assertEqual(self.output(WEB, LOOK), SEEN.format(motd="hello\n"))

        before = self.parts()
        again = self.load(self.seed_of(first))
        self.assertEqual((again.outcomes(), again.report["layers-sent"], again.report["bytes-sent"]), (["present"], 0, 0))
        self.assertEqual(again.opened, set())
        self.assertLess(again.written, QUESTIONS)
        self.assertEqual(self.parts(), before)

        changed = image(WEB, "changed\n")
        run = self.load(self.seed_of(changed))
        self.assert_stands_for(WEB, changed)
        self.assertEqual(self.output(WEB, LOOK), SEEN.format(motd="changed\n"))
        sent = changed.layer_blobs[-1:] if self.shares else changed.layer_blobs
        self.assertEqual(run.outcomes(), ["loaded"])
        # Docker 26 may collect, meanwhile, what it needs.
        self.assertIn(run.report["layers-sent"], (len(sent),) if self.shares else (len(sent), 2 * len(sent)))
        self.assertEqual(run.opened & hexes(changed.layer_blobs), hexes(sent))
        if self.shares:
            self.assertLess(run.report["bytes-sent"], QUESTIONS)
            self.assertLess(run.written, QUESTIONS)
        self.assertEqual(self.load(self.seed_of(changed)).outcomes(), ["present"])

    def test_images_share_layers(self):
        web, other = image(WEB), image(OTHER, "other\n")
        run = self.load(self.seed_of(web, other))
        self.assertEqual(run.outcomes(), ["loaded", "loaded"])
        self.assertEqual(run.report["layers-sent"], 5 if self.shares else 8)
        for name, motd in ((WEB, "hello\n"), (OTHER, "other\n")):
            self.assertEqual(self.output(name, LOOK), SEEN.format(motd=motd))
        self.assertEqual(self.load(self.seed_of(web, other)).outcomes(), ["present", "present"])

    def test_names_are_moved_and_added_without_a_layer(self):
        web, other = image(WEB), image(OTHER, "other\n")
        self.load(self.seed_of(web, other))
        third = "docker.io/library/third:1"
        swapped = image([OTHER]), image([WEB, third], "other\n")
        run = self.load(self.seed_of(*swapped))
        self.assertEqual((set(run.outcomes()), run.report["bytes-sent"]), ({"tagged"}, 0))
        self.assertEqual(run.opened, set())
        self.assert_stands_for(OTHER, web)
        self.assert_stands_for(WEB, other)
        self.assert_stands_for(third, other)
        self.assertEqual(self.output(WEB, "cat /etc/motd"), "other\n")
        self.assertEqual(self.load(self.seed_of(*swapped)).outcomes(), ["present", "present"])

    def test_a_damaged_blob_leaves_nothing(self):
        good = image(WEB)
        self.load(self.seed_of(good))
        before = self.parts()
        # Layers below and above the damaged one would be new as well; the name stands for another image.
        new = [seed.files({"/new/a": "a"}), seed.files({"/new/b": seed.noise(2_000_000, "b")}, compressed=False)]
        for number in (0, 1, 2, 3):
            bad = image(WEB, "bad\n", layers=new)
            blob = [bad.layer_blobs[-1], bad.layer_blobs[-2], bad.config, bad.manifest][number]
            path = self.seed_of(bad)
            flipped = bytearray(blob.data)
            flipped[len(flipped) // 2] ^= 1
            seed.blob_file(path, blob).write_bytes(flipped)
            run = self.load(path, expect=8)
            self.assertEqual(run.outcomes(), ["failed"])
            self.assertRegex(run.log, f"(?m)^error: `{WEB}.*`: blob {blob.digest} in .*: expected this digest, found sha256:")
            self.assert_stands_for(WEB, good)
            self.assertEqual(self.parts(), before, blob.media_type)

    def test_a_missing_blob_fails_its_image_alone(self):
        web, other = image(WEB), image(OTHER, "other\n")
        path = self.seed_of(web, other)
        seed.blob_file(path, web.layer_blobs[-1]).unlink()
        run = self.load(path, expect=8)
        self.assertEqual(run.outcomes(), ["failed", "loaded"])
        self.assertEqual(run.report["images"][0]["names"], [WEB])
        self.assertIn(f"blob {web.layer_blobs[-1].digest} is not in", run.report["images"][0]["errors"][0])
        self.assertIsNone(self.stands_for(WEB))
        self.assert_stands_for(OTHER, other)

    def test_a_manifest_that_names_something_else(self):
        web = image(WEB)
        path = self.seed_of(web)
        lock = json.loads((path / "seed.json").read_bytes())
        lock["content"]["images"][0]["config"]["digest"] = web.layer_blobs[0].digest
        lock["content"]["images"][0]["config"]["size"] = web.layer_blobs[0].size
        (path / "seed.json").write_bytes(seed.canonical(lock))
        run = self.load(path, expect=8)
        self.assertIn("names other blobs than the lock", run.log)
        self.assertIsNone(self.stands_for(WEB))

    def test_lines_for_people(self):
        path = self.seed_of(image(WEB))
        command = [LOAD, "--seed", path, *self.flags()]
        place = f" in {self.namespace}" if self.kind == "containerd" else ""
        first = rig.run(command, env=self.environment()).stdout
        self.assertRegex(first, rf"^{WEB}{place}: loaded, 4 of 4 layers, \d+\.\d MB sent\n$")
        self.assertEqual(rig.run(command, env=self.environment()).stdout, f"{WEB}{place}: is there already\n")


class Containerd(load_case.OnContainerd, Tests, LoadCase):
    def test_records_are_plain_and_complete(self):
        web = image(WEB)
        self.load(self.seed_of(web))
        # CRI may have marked what it found as its own.
        for name, record in self.engine.images().items():
            self.assertFalse([label for label in record.labels if "ociseed" in label], name)
        self.engine.collect_garbage()
        self.assertNotIn("ociseed", self.engine.ctr("content", "list").stdout)
        check = self.engine.ctr("images", "check", f"name=={WEB}").stdout
        self.assertRegex(check, r" complete \(5/5\) .* true")
        self.assertEqual(self.engine.ctr("leases", "list", "--quiet").stdout, "")

    def test_nothing_is_written_when_all_is_there(self):
        path = self.seed_of(image(WEB))
        self.load(path)
        before = self.engine.come_to_rest()
        self.load(path)
        self.assertEqual(self.engine.rest().write_bytes, before.write_bytes)

    def test_namespaces_are_those_that_are_said(self):
        web = image(WEB)
        path = self.seed_of(web)
        self.load(path, "--namespace", "one")
        run = self.load(path, "--namespace", "one", "--namespace", "two")
        self.assertEqual([(i["namespace"], i["outcome"]) for i in run.report["images"]], [("one", "present"), ("two", "loaded")])
        # The store has the blobs for another namespace.
        self.assertEqual((run.report["bytes-sent"], run.opened & hexes(web.layer_blobs)), (0, set()))
        for namespace in ("one", "two"):
            self.assertEqual(self.engine.run_container(WEB, ["/bin/cat", "/etc/motd"], namespace=namespace).stdout, "hello\n")
        self.assertEqual(self.engine.images("k8s.io"), {})

    def test_what_was_removed_comes_back(self):
        """The record stays, and a blob or a snapshot of the image goes."""
        web = image(WEB)
        path = self.seed_of(web)
        self.load(path)
        self.engine.ctr("content", "rm", web.layer_blobs[1].digest)
        # Until then the file is there, and another record is all that it takes.
        self.engine.collect_garbage()
        run = self.load(path)
        self.assertEqual((run.outcomes(), run.report["layers-sent"]), (["loaded"], 1))
        top = [line.split()[0] for line in self.engine.ctr("snapshots", "list").stdout.splitlines()[1:]]
        chain = web.locked()["layers"][-1]["chain-id"]
        self.assertIn(chain, top)
        self.engine.ctr("snapshots", "rm", chain)
        run = self.load(path)
        self.assertEqual((run.outcomes(), run.report["bytes-sent"]), (["loaded"], 0))
        self.assertEqual(self.output(WEB, "cat /etc/motd"), "hello\n")

    def test_a_signal_leaves_nothing(self):
        """It comes while the first blobs are written, which takes long enough here."""
        before = self.parts()
        # Each message takes a while: a layer has dozens of them.
        slow = rig.traced("-e", "trace=writev,sendto", "-e", "inject=writev,sendto:delay_enter=50000")
        command = [*slow, LOAD, "--seed", self.seed_of(image(WEB)), *self.flags(), "--json"]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        active = lambda: self.engine.ctr("content", "active").stdout.splitlines()[1:]
        loader_case.wait_until(lambda: active() or process.poll() is not None, interval=0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        output, log = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143, log)
        self.assertEqual(json.loads(output)["exit-code"], 143)
        self.assertIn("error: told to stop", log)
        self.assertEqual(self.parts(), before)

    def test_nobody_answers(self):
        run = self.load(self.seed_of(image(WEB)), expect=4, flags=["--engine", "containerd", "--address", "/none"])
        self.assertRegex(run.log, r"^error: cannot connect to `/none`.*\nhint: is containerd running")

    def test_the_address_of_the_environment(self):
        environment = self.environment() | {"CONTAINERD_ADDRESS": str(self.engine.socket)}
        self.load(self.seed_of(image(WEB)), flags=["--engine", "containerd"], environment=environment)


class Docker(load_case.OnDocker, Tests, LoadCase):
    def test_nobody_answers(self):
        run = self.load(self.seed_of(image(WEB)), expect=4, flags=["--engine", "docker", "--address", "/none"])
        self.assertRegex(run.log, r"^error: cannot connect to `/none`.*\nhint: is Docker running")

    def test_the_host_of_the_environment(self):
        path = self.seed_of(image(WEB))
        environment = self.environment() | {"DOCKER_HOST": f"unix://{self.engine.socket}"}
        self.load(path, flags=["--engine", "docker"], environment=environment)
        environment["DOCKER_HOST"] = "tcp://127.0.0.1:2375"
        run = self.load(path, flags=["--engine", "docker"], environment=environment, expect=2)
        self.assertIn("`DOCKER_HOST`: expected `unix://PATH`, found `tcp://127.0.0.1:2375`", run.log)

    def test_layers_of_any_image_are_left_out(self):
        """They came by other means, and nobody knows their blobs."""
        base = seed.Image("docker.io/library/base:1", image(WEB).layers[:3])
        archive = self.directory / "base.tar"
        files = seed.layout_files([base])
        blob = "blobs/sha256/{}".format
        layers = [blob(layer.digest[7:]) for layer in base.layer_blobs]
        listed = [{"Config": blob(base.config.digest[7:]), "Layers": layers, "RepoTags": base.names}]
        files["manifest.json"] = seed.canonical(listed)
        archive.write_bytes(seed.tar_of((load_case.tarfile.TarInfo(path), data) for path, data in files.items()))
        self.engine.load(archive)
        web = image(WEB)
        run = self.load(self.seed_of(web))
        self.assertEqual(run.report["layers-sent"], 1 if self.shares else 4)
        self.assertEqual(self.output(WEB, LOOK), SEEN.format(motd="hello\n"))

    def test_the_same_layers_by_other_blobs(self):
        """With containerd's store an image needs its own, also where they are unpacked already."""
        layers = image(WEB).layers
        self.load(self.seed_of(seed.Image(OTHER, [seed.Layer(layer.tar, not layer.compressed) for layer in layers])))
        web = image(WEB, "new\n")
        run = self.load(self.seed_of(web))
        expected = 1 if self.store == "overlay2" else 1 + 4 if self.shares else 4
        self.assertEqual((run.outcomes(), run.report["layers-sent"]), (["loaded"], expected))
        archive = self.directory / "saved.tar"
        self.engine.docker("save", "--output", archive, WEB)
        with load_case.tarfile.open(archive) as tar:
            names = {Path(name).name for name in tar.getnames()}
        if self.store == "containerd":
            self.assertLessEqual(hexes(web.blobs), names)
        self.assertEqual(self.output(WEB, LOOK), SEEN.format(motd="new\n"))

    def test_a_layer_that_went_meanwhile(self):
        """Somebody removes the image with the layers that are left out, when the load has begun."""
        old, new = image(OTHER), image(WEB, "new\n")
        self.load(self.seed_of(old))
        remove = lambda: self.engine.docker("rmi", OTHER)
        proxy = self.enterContext(load_case.Proxy(self.engine.socket, self.directory / "proxy", b"POST /images/load", remove))
        run = self.load(self.seed_of(new), flags=["--engine", "docker", "--address", proxy.socket])
        self.assertEqual(proxy.seen, 2 if self.shares else 1)
        self.assertEqual((run.outcomes(), run.report["layers-sent"]), (["loaded"], 5 if self.shares else 4))
        self.assertEqual(self.output(WEB, LOOK), SEEN.format(motd="new\n"))
        # What was left out is there now, too.
        archive = self.directory / "saved.tar"
        self.engine.docker("save", "--output", archive, WEB)
        self.assertGreater(archive.stat().st_size, 3_000_000)

    def test_names_with_a_digest(self):
        name = f"docker.io/library/web@{image(WEB).digest}"
        run = self.load(self.seed_of(image(name)), expect=8)
        self.assertIn("error: `docker.io/library/web@sha256:", run.log)
        self.assertIn("hint: give the image a name with a tag alone", run.log)


if engine_base.installed_version("dockerd") < (23,):

    class DockerZstd(load_case.OnDocker, LoadCase):
        def test_layers_that_it_does_not_take(self):
            web = image(WEB)
            # Nobody reads it.
            web.layer_blobs[1] = seed.Blob(f"{seed.LAYER}+zstd", b"zstd")
            web.manifest = seed.Blob(seed.MANIFEST, seed.canonical(web._manifest()))
            run = self.load(self.seed_of(web), expect=8)
            self.assertIn("is compressed with zstd, which Docker takes since 23 alone", run.log)
            self.assertIn("hint: build the layer with `compression", run.log)
            self.assertIsNone(self.stands_for(WEB))


if "containerd" in rig.Docker.stores():

    class DockerContainerd(load_case.OnDockerContainerd, Docker):
        """The same, with containerd's image store."""


class Podman(load_case.OnPodman, Tests, LoadCase):
    def test_there_is_no_podman(self):
        environment = self.environment() | {"PATH": str(self.directory)}
        strace, load = shutil.which("strace"), self.seed_of(image(WEB))
        result = rig.run([strace, "-o", "/dev/null", LOAD, "--seed", load, *self.flags()], check=False, env=environment)
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertRegex(result.stderr, "^error: cannot run `podman`: it is not in `PATH`\nhint: is podman installed")

    def test_podman_does_not_work(self):
        environment = self.environment() | {"CONTAINERS_STORAGE_CONF": str(self.directory / "none")}
        (self.directory / "none").write_text("[storage]\ndriver = \"none\"\n")
        run = self.load(self.seed_of(image(WEB)), expect=4, environment=environment)
        self.assertRegex(run.log, "^error: `podman (--version|images)`: ")

    def test_an_index_that_says_something_else(self):
        web, other = image(WEB), image(OTHER, "other\n")
        path = self.seed_of(web, other)
        index = json.loads((path / "index.json").read_bytes())
        index["manifests"][0]["digest"] = other.digest
        (path / "index.json").write_bytes(seed.canonical(index))
        run = self.load(path, expect=8)
        self.assertEqual(run.outcomes(), ["failed", "loaded"])
        self.assertIn(f"index.json: `{WEB}`: expected {web.digest}, found {other.digest}", run.log)


class Usage(unittest.TestCase):
    """What is said before any engine is asked."""

    def setUp(self):
        self.directory = rig.scratch_directory("o")
        self.addCleanup(rig.run, ["rm", "-rf", "--", self.directory])
        self.seed = self.directory / "seed"
        seed.write_seed(self.seed, [image(WEB)])

    def fails(self, code, text, *arguments, program=LOAD, environment=None):
        result = rig.run([program, *arguments], check=False, env=environment or {"PATH": "/none"})
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(text, result.stderr)

    def test_wrong_usage(self):
        given = ["--seed", self.seed]
        self.fails(2, "error: no engine: say `--engine containerd`, `--engine docker` or `--engine podman`", *given)
        self.fails(2, "error: no seed: say `--seed DIR`", "--engine", "docker")
        self.fails(2, "engine `lxc` is none of `containerd`, `docker` and `podman`", *given, "--engine", "lxc")
        self.fails(2, "`--namespace` is for containerd alone", *given, "--engine", "docker", "--namespace", "a")
        self.fails(2, "`--address` is not for podman", *given, "--engine", "podman", "--address", "/a")
        self.fails(2, "namespace `a/b`", *given, "--engine", "containerd", "--namespace", "a/b")

    def test_invalid_seeds(self):
        engine = ["--engine", "docker"]
        self.fails(3, "cannot read", "--seed", self.directory / "none", *engine)
        (self.seed / "oci-layout").unlink()
        self.fails(3, "is no OCI image layout", "--seed", self.seed, *engine)
        (self.seed / "seed.json").write_text('{"version":2}')
        self.fails(3, "has format version 2, this program reads version 1", "--seed", self.seed, *engine)
        medium = self.directory / "medium"
        seed.write_medium(medium, [image(WEB)], blobs="metadata")
        self.fails(3, "expected a seed with its layers' blobs", "--seed", medium, *engine)

    def test_a_name_of_two_images(self):
        """Namespaces keep them apart, which only containerd has."""
        both = [image(WEB), seed.Image(WEB, image(WEB, "two\n").layers, namespaces=["two"])]
        seed.write_seed(self.seed, both)
        for engine in (["docker"], ["podman"], ["containerd", "--namespace", "one"]):
            self.fails(3, f"name `{WEB}` stands for two images", "--seed", self.seed, "--engine", *engine)

    def test_the_load_file(self):
        """It counts under another name, below the runfiles, and flags win."""
        program = self.directory / "bin/load"
        program.parent.mkdir()
        shutil.copy(LOAD, program)
        file = program.with_name("load.load.json")
        self.fails(2, "no engine", program=program)
        file.write_text('{"version":1,"seed":"_main/seed","engine":"docker"}')
        self.fails(3, "the seed is not in the runfiles", program=program)
        runfiles = program.parent / "load.runfiles/_main"
        runfiles.mkdir(parents=True)
        (runfiles / "seed").symlink_to(self.seed)
        environment = {"PATH": "/none", "DOCKER_HOST": "unix:///none"}
        self.fails(4, "cannot connect to `/none`", program=program, environment=environment)
        self.fails(4, "cannot run `podman`", "--engine", "podman", program=program)
        self.fails(3, "cannot read", "--seed", "/none", program=program)
        shutil.move(runfiles, self.directory / "elsewhere")
        environment |= {"RUNFILES_DIR": str(self.directory)}
        file.write_text('{"version":1,"seed":"elsewhere/seed","engine":"docker"}')
        self.fails(4, "cannot connect to `/none`", program=program, environment=environment)
        file.write_text('{"version":1,"seed":"elsewhere/seed","motor":"docker"}')
        self.fails(2, "unknown field `motor`", program=program, environment=environment)
