"""The rows F of tests/failures.tsv: what importers and preloaded images met in the field (docs/loader.md says what comes of it)."""

import json
import os
import signal
import socket
import subprocess
import unittest

import engine_cri
import loader_seed as seed
import rig
from loader_case import OWNER, PINNED, image, wait_until
from loader_rows import RowCase, killed, writes_to_engine

WEB = "docker.io/library/web:1"
NGINX = "docker.io/library/nginx:latest"
PAUSE = "registry.k8s.io/pause:3.10"


def release(number, name=WEB):
    """One image of a release; those of all releases are of the same size."""
    return seed.Image(name, [SHELL(), seed.files({"/etc/motd": f"release {number}\n"}, compressed=False)])


def SHELL():
    return image("docker.io/library/shell:1").layers[0]


class Field:
    """Rows that there are by copies and by links."""

    def settled(self):
        again = self.load(expect=None)
        return "then settled" if not again.writes and again.code == 0 else f"then {again.writes}"

    def test_the_socket_is_there_and_services_are_not(self):
        web = release(1)
        self.write([web])
        self.engine.stop()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.engine.socket))
            listener.listen()
            listener.settimeout(20)
            with self.loading("--wait", "20") as process:
                listener.accept()[0].close()
                asked = listener.accept()[0]
                waits = "waits" if process.poll() is None else f"exit {process.poll()}"
                # What follows is the engine's own socket.
                listener.close()
                asked.close()
                self.engine.socket.unlink()
                self.engine.start()
                code = process.wait(timeout=30)
        self.observe("F-ready", waits, f"exit {code}", *self.facts(web))

    def test_a_newer_version(self):
        self.write([release(1)])
        file = self.seed / "seed.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 2}))
        run = self.load(expect=None)
        untouched = "engine not called" if not run.report["calls"] and run.report["engine"] is None else "engine called"
        self.observe("F-version", f"exit {run.code}", self.named(run, "version 2", "version 1"), untouched)

    def test_files_of_committed_snapshots_are_empty(self):
        """What the engine unpacked lies in the root, and its files were not synced."""
        web = release(1)
        seed.write_seed(self.seed, [web])
        self.load()
        self.prints(web)
        files = list(self.engine.root.glob("io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/etc/motd"))
        for file in files:
            file.write_bytes(b"")
        self.write([web])
        before = self.load(expect=None)
        self.cut_power()
        run = self.load(expect=None)
        facts = [f"{len(files)} empty", f"same boot {before.outcome(WEB)}", f"exit {run.code}", run.outcome(WEB)]
        self.observe("F-power", *facts, *self.facts(web), self.settled())

    def test_exit_codes_say_what_is_there(self):
        found, codes = [], []
        for bad in ([], ["a"], ["b"], ["a", "b"]):
            images = {key: release(f"{key}{len(codes)}", f"docker.io/library/{key}:{len(codes)}") for key in "abc"}
            images["b"].critical = False
            self.write(images.values())
            for key in bad:
                os.unlink(seed.blob_file(self.seed, images[key].layer_blobs[1]))
            run = self.load(expect=None)
            codes.append(str(run.code))
            there = {key for key, one in images.items() if one.name in self.engine.images()}
            said = {key for key, one in images.items() if run.outcome(one.name) != "failed"}
            runs = self.prints(images["c"]) == f"release c{len(codes) - 1}"
            found.append(there == said == set("abc") - set(bad) and runs)
        self.observe("F-exit", f"exit {' '.join(codes)}", "true" if all(found) else f"{found}")

    def test_an_older_release_is_in_var(self):
        old, new = release(1), release(2)
        self.write([old, release(1, "docker.io/library/dropped:1")])
        self.load()
        self.write([new])
        run = self.load(expect=None)
        gone = [not self.store_file(old.manifest).exists(), "docker.io/library/dropped:1" not in self.engine.images()]
        facts = [f"exit {run.code}", *self.facts(new), "old gone" if all(gone) else f"old gone: {gone}"]
        self.observe("F-shadow", *facts, self.settled())

    def test_the_other_slot_can_be_gone_back_to(self):
        old, new = release(1), release(2)
        slots = {}
        for slot, one in (("a", old), ("b", new)):
            self.seed = self.directory / slot
            self.write([one])
            slots[slot] = self.seed
        self.load(source=["--seed", slots["a"]])
        both = ["--seed", slots["b"], "--previous-seed", slots["a"]]
        facts = [f"exit {self.load(source=both, expect=None).code}", f"{self.prints(new)} runs"]
        record = self.engine.images().get(old.by_digest)
        facts.append("old pinned" if record and record.labels.get(PINNED) else "old not pinned")
        back = self.load(source=["--seed", slots["a"], "--previous-seed", slots["b"]], expect=None)
        self.observe("F-rollback", *facts, f"back: exit {back.code}", f"copied {back.report['copied']}", *self.facts(old))

    def test_an_update_of_the_same_size_and_time(self):
        sizes = set()
        for number in (1, 2):
            one = release(number)
            self.write([one])
            files = [path for path in self.seed.rglob("*") if path.is_file() and not path.is_symlink()]
            sizes.add(tuple(sorted(path.stat().st_size for path in files if path.parent.name == "sha256")))
            for path in files:
                os.utime(path, (0, 0))
            run = self.load(expect=None)
        same = "same sizes" if len(sizes) == 1 else "other sizes"
        self.observe("F-mtime", same, f"exit {run.code}", *self.facts(one), self.settled())

    def test_pins_do_not_pile_up(self):
        for number in (1, 2, 3):
            one = release(number, f"docker.io/library/web:{number}")
            self.write([one])
            run = self.load(expect=None)
        pinned = {record.digest for record in self.engine.images().values() if PINNED in record.labels}
        owned = {record.digest for record in self.engine.images().values() if OWNER in record.labels}
        only = "the last is pinned" if pinned == owned == {one.digest} else f"{len(pinned)} pinned, {len(owned)} owned"
        self.observe("F-pins", f"exit {run.code}", only, *self.facts(one))

    def test_leases_do_not_pile_up(self):
        web = release(1)
        self.write([web])
        self.engine.ctr("leases", "create", "--id", "theirs")
        with self.new_engine() as self.engine:
            total = writes_to_engine(self)
        self.engine = self.first
        for part in (4, 5, 6):
            self.assertEqual(killed(self, total * part // 8), -signal.SIGKILL)
        before = "leases left" if self.leases() else "no leases left"
        run = self.load(expect=None)
        theirs = "theirs there" if "theirs" in self.engine.ctr("leases", "list", "--quiet").stdout.split() else "theirs gone"
        self.observe("F-lease", before, f"exit {run.code}", *self.facts(web), theirs)

    def setUp(self):
        super().setUp()
        self.first = self.engine


class Cri:
    """Rows of what the kubelet sees."""

    def new_engine(self):
        return engine_cri.Node(self.namespace)

    def test_images_are_collected(self):
        pause = release(1, PAUSE)
        self.write([pause])
        self.load()
        cri = engine_cri.Cri(self.engine)
        cri.wait_for_images(*pause.records)
        # 1.6 says of no image that it is pinned.
        pinned = "pinned" if cri.image_status(PAUSE).pinned else "not pinned for CRI"
        self.engine.collect_garbage()
        stays = "stays" if self.prints(pause) == "release 1" else "lost"
        cri.remove_image(PAUSE)
        removed = "removed" if not self.engine.images() else "still there"
        run = self.load(expect=None)
        cri.wait_for_images(*pause.records)
        self.observe("F-gc", pinned, stays, removed, f"exit {run.code}", run.outcome(PAUSE), *self.facts(pause))

    def test_every_name_finds_it(self):
        nginx = release(1, NGINX)
        self.write([nginx])
        self.load()
        cri = engine_cri.Cri(self.engine)
        cri.wait_for_images(*nginx.records)
        asked = ["nginx", "nginx:latest", "docker.io/library/nginx", NGINX, nginx.by_digest, nginx.config.digest]
        asked.append(f"nginx@{nginx.digest}")
        found = [name for name in asked if getattr(cri.image_status(name), "id", None) == nginx.config.digest]
        lock = (self.seed / "seed.json").read_text()
        (self.seed / "seed.json").write_text(lock.replace(f'"{NGINX}"', '"nginx"'))
        run = self.load(expect=None)
        short = [f"short in the lock: exit {run.code}", self.named(run, "`nginx`")]
        self.observe("F-name", f"{len(found)} of {len(asked)} names", *short)


class Copies(Field, RowCase):
    pass


class Links(Field, RowCase):
    by_links = True

    def test_the_engine_collects_meanwhile(self):
        """Of a link that has no record yet it knows nothing."""
        web, other = release(1), seed.Image("docker.io/library/other:1", [seed.files({"/other": "other"})])
        seed.write_archive(self.directory / "other.tar", [other])
        self.engine.ctr("images", "import", "--no-unpack", self.directory / "other.tar", namespace="other")
        self.write([web])
        slow = rig.traced("-e", "trace=fsync", "-e", "inject=fsync:delay_enter=300000")
        with subprocess.Popen([*slow, *self.command()], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            wait_until(self.store_file(web.manifest).is_symlink)
            self.engine.ctr("images", "remove", "--sync", other.name, namespace="other")
            taken = "taken" if not self.store_file(web.manifest).is_symlink() else "not taken"
            process.communicate(timeout=60)
        links = sum(self.store_file(blob).is_symlink() for blob in web.blobs)
        self.observe("F-collect", taken, f"exit {process.returncode}", f"{links} links", *self.facts(web), self.settled())


class CriCopies(Cri, RowCase):
    pass


class CriLinks(Cri, RowCase):
    by_links = True


class Archives(RowCase):
    def test_an_update_of_the_same_size_and_time(self):
        sizes = set()
        for number in (1, 2):
            one = release(number)
            file = self.archives / "k8s.io/web.tar"
            seed.write_archive(file, [one])
            os.utime(file, (0, 0))
            sizes.add(file.stat().st_size)
            run = self.load_archives(expect=None)
        again = "then settled" if not self.load_archives(expect=None).writes else "then not settled"
        same = "same sizes" if len(sizes) == 1 else "other sizes"
        self.observe("F-mtime-a", same, f"exit {run.code}", *self.facts(one), again)


if __name__ == "__main__":
    unittest.main()
