"""From one seed to the next and back: what runs goes on, names follow the current seed, each link shows what it was made for."""

import itertools
import os
import shutil
import unittest

import engine_cri
import loader_seed as seed
import placed
import rig
from link_case import CONTENT, DIRECTORY, RUN, SNAPSHOTS, LinkCase
from loader_case import OWNER, PINNED, image, image_files, wait_until

WEB, TOOL, OLD, NEW = (f"r.io/{name}:1" for name in ("web", "tool", "old", "new"))
COMMON = seed.files({"/common": seed.noise(50_000, 1)})


def web(text, *layers):
    """An image with a layer that all seeds have, layers that some have, and one of its own."""
    return seed.Image(WEB, [image(WEB).layers[0], *layers, seed.files({"/etc/motd": text})])


class Seeds:
    """Three releases: a name that each gives to another image, an image that the first two have, and one of its own for each of them."""

    tool = image(TOOL, "tool\n", pin=False)
    a = (web("a\n", COMMON), tool, image(OLD, "old\n"))
    b = (web("b\n", COMMON), tool, image(NEW, "new\n"))
    c = (web("c\n"),)


def digits(images):
    return seed.seed_id(images)[7:23]


class Case(LinkCase):
    """An engine over which seeds come and go."""

    def setUp(self):
        super().setUp()
        self.execs = itertools.count(1)
        self.numbers = {}

    def step(self, current, *arguments):
        """A run, and another one that finds nothing to do."""
        run = self.load(*arguments, source=["--seed", current])
        self.numbers.clear()
        self.assertEqual(run.report["copied"], 0, run.log)
        self.assert_settled(self.load(*arguments, source=["--seed", current]))
        self.assert_nothing_left()
        self.assert_truthful()
        return run

    def hold(self, one):
        """A container that stays, of an image."""
        return self.engine.start_container(one.name, ["/bin/sleep", "1000000"])

    def assert_goes_on(self, container, one):
        """A container that runs sees all files of its image as they were."""
        exec_id = f"e{next(self.execs)}"
        paths = sorted(image_files(one))
        found = self.engine.ctr("tasks", "exec", "--exec-id", exec_id, container, "/bin/sha256sum", *paths).stdout
        expected = [f"{seed.sha256(data)[7:]}  {path}" for path, data in sorted(image_files(one).items())]
        self.assertEqual(found.splitlines(), expected)

    def end_task(self, container):
        self.engine.ctr("tasks", "kill", "--signal", "SIGKILL", container)
        wait_until(lambda: "STOPPED" in self.engine.ctr("tasks", "list").stdout)
        self.engine.ctr("tasks", "delete", container, check=False)

    def end(self, container):
        self.end_task(container)
        self.engine.ctr("containers", "delete", container)
        self.engine.collect_garbage()

    def assert_truthful(self):
        """Every link that leads somewhere leads to what it was made for."""
        for path in (self.engine.root / CONTENT).iterdir():
            if path.exists():
                self.assertEqual(seed.sha256(path.read_bytes())[7:], path.name, os.readlink(path))
        layers = {}
        for one in (*Seeds.a, *Seeds.b, *Seeds.c):
            layers |= zip(chains(one), one.layers, strict=True)
        for name in set(self.snapshots()) & set(layers):
            files = self.layer_directory(name)
            if files.exists():
                plain = [path for path in files.rglob("*") if path.is_file() and not path.is_symlink()]
                found = {f"/{path.relative_to(files)}": seed.sha256(path.read_bytes()) for path in plain}
                expected = image_files(seed.Image("x", [layers[name]]))
                self.assertEqual(found, {path: seed.sha256(data) for path, data in expected.items()}, files.resolve())

    def layer_directory(self, chain):
        """Where a snapshot of ours has its files."""
        if not self.numbers:
            self.numbers = {name: snapshot.labels.get(DIRECTORY) for name, snapshot in self.snapshots().items()}
        return self.engine.root / SNAPSHOTS / self.numbers[chain] / "fs"

    def owner(self, images):
        return seed.seed_id(images)

    def assert_owned(self, expected):
        """Which records are ours, and whose."""
        self.assertEqual(self.owners(), {name: self.owner(images) for images, names in expected for name in names})

    def aliases(self):
        names = [path.name for path in self.engine.root.iterdir() if path.name.startswith("io.ociseed.seed.")]
        return {name.removeprefix("io.ociseed.seed.") for name in names}

    def seed_links(self):
        return {path.name[:16] for path in (RUN / "seeds").iterdir()}

    def assert_current(self, images, *others):
        """New containers are of this seed's images, and of those of another one that are named by digest."""
        for one in images:
            self.assert_runs(one)
        for one in others:
            found = self.engine.run_container(one.by_digest, ["/bin/cat", "/etc/motd"]).stdout
            self.assertEqual(found.encode(), image_files(one)["/etc/motd"])


def chains(one):
    """The names of an image's snapshots, bottom first."""
    return [layer["chain-id"] for layer in one.locked()["layers"]]


class Updates(Case):
    def setUp(self):
        super().setUp()
        self.a, self.b, self.c = (self.medium(name, getattr(Seeds, name)) for name in "abc")

    def test_there_and_back_and_on(self):
        a, b, c = Seeds.a, Seeds.b, Seeds.c
        self.step(self.a)
        self.assert_current(a)
        held = self.hold(a[0])

        run = self.step(self.b, "--previous-seed", self.a)
        self.assertEqual(run.report["removed"], [], run.log)
        self.assert_between(b, a)
        self.assert_goes_on(held, a[0])
        self.assert_current(b, a[0])
        self.assert_runs(a[2])
        # It is mounted anew, by links to both seeds.
        self.end_task(held)
        self.engine.ctr("tasks", "start", "--detach", held)
        self.assert_goes_on(held, a[0])

        run = self.step(self.a, "--previous-seed", self.b)
        self.assertEqual((run.report["removed"], run.report["linked"] > 0), ([], True), run.log)
        self.assert_between(a, b)
        self.assert_goes_on(held, a[0])
        self.assert_current(a, b[0])

        self.step(self.b, "--previous-seed", self.a)
        self.assert_between(b, a)

        run = self.step(self.c, "--previous-seed", self.b)
        gone = {a[0].by_digest, a[0].config.digest, *a[2].records}
        self.assertEqual({one["name"] for one in run.report["removed"]}, gone, run.log)
        by_digest = (b[0].by_digest, b[0].config.digest)
        self.assert_owned([(c, c[0].records), (b, (*by_digest, *b[1].records, *b[2].records))])
        self.assert_current(c, b[0])
        self.assert_runs(b[2])
        # Its layers stay as long as the container does.
        self.assert_goes_on(held, a[0])
        self.assertEqual(self.aliases(), {digits(a), digits(b), digits(c)})

        self.end(held)
        self.step(self.c, "--previous-seed", self.b)
        self.assertEqual(self.aliases(), {digits(b), digits(c)})
        self.assertLessEqual({digits(b), digits(c)}, self.seed_links())
        self.assertEqual(self.link_names(), {digits(b), digits(c)})
        self.step(self.c)
        self.assertEqual(self.aliases(), {digits(c)})
        self.assert_owned([(c, c[0].records)])
        self.assert_current(c)

    def test_what_the_engine_has_not_collected_yet_is_waited_for(self):
        """As after a run that was killed while it waited for that: its records are gone, and what they stood for is not."""
        self.step(self.a)
        self.engine.ctr("images", "delete", *self.engine.images())
        run = self.step(self.b)
        self.assertEqual(run.report["removed"], [])
        self.assertEqual(self.aliases(), {digits(Seeds.b)})

    def assert_between(self, current, previous):
        """Names are the current seed's, what both have leads to it, and the previous one's images stay as they are, by digest."""
        kept = (previous[0].by_digest, previous[0].config.digest, *previous[2].records)
        self.assert_owned([(current, {name for one in current for name in one.records}), (previous, kept)])
        records = self.engine.images()
        for name in (*current[0].records, *kept):
            self.assertEqual(records[name].labels.get(PINNED), "pinned", name)
        self.assertEqual(records[WEB].digest, current[0].digest)
        self.assertEqual(records[previous[0].by_digest].digest, previous[0].digest)
        shared = {blob.digest for one in current for blob in one.blobs}
        links = self.links()
        for one in (*current, *previous):
            for blob in one.blobs:
                owner = current if blob.digest in shared else previous
                self.assertIn(digits(owner), links[f"{CONTENT}/{blob.digest[7:]}"])
        shared = {chain for one in current for chain in chains(one)}
        for chain in {chain for one in (*current, *previous) for chain in chains(one)}:
            owner = current if chain in shared else previous
            self.assertIn(digits(owner), os.readlink(self.layer_directory(chain)))
        self.assert_linked([*current, *previous])
        self.assertLessEqual({digits(current), digits(previous)}, self.seed_links())

    def test_without_a_previous_seed_only_what_runs_is_kept(self):
        a, b = Seeds.a, Seeds.b
        self.step(self.a)
        held = self.hold(a[0])
        self.step(self.b)
        self.assert_owned([(b, {name for one in b for name in one.records})])
        self.assert_current(b)
        self.assert_goes_on(held, a[0])
        for blob in set(a[0].blobs) - set(b[0].blobs):
            self.assertFalse(os.path.lexists(self.store_file(blob)))
        self.end(held)
        self.step(self.b)
        self.assertEqual(self.aliases(), {digits(b)})
        self.assertEqual(set(self.snapshots()), {chain for one in b for chain in chains(one)})

    def test_a_previous_seed_that_cannot_be_read_may_need_everything(self):
        a, b = Seeds.a, Seeds.b
        self.step(self.a)
        wrong = self.directory / "wrong"
        cases = [(self.directory / "nowhere", "nowhere"), (wrong, "seed.json")]
        shutil.copytree(self.a, wrong, symlinks=True)
        (wrong / "seed.json").write_text("{")
        damaged = self.directory / "damaged"
        shutil.copytree(self.a, damaged, symlinks=True)
        blob = seed.blob_file(damaged, a[0].manifest)
        blob.write_bytes(bytes(blob.stat().st_size))
        cases.append((damaged, a[0].manifest.digest[7:]))
        for path, said in cases:
            with self.subTest(path.name):
                run = self.load("--previous-seed", path, source=["--seed", self.b])
                self.assertRegex(run.log, f"warning: previous seed: .*{said}")
                self.assertEqual((run.report["removed"], run.report["previous"]), ([], None))
                # Nobody knows what its names were; those that the current seed does not claim are as they were.
                owners = self.owners()
                for name in (*a[2].records, a[0].by_digest, a[0].config.digest):
                    self.assertEqual(owners[name], self.owner(a), name)
                self.assert_settled(self.load("--previous-seed", path, source=["--seed", self.b]))
                self.assert_current(b, a[0])
        # When it is back, the rollback finds everything.
        self.step(self.a, "--previous-seed", self.b)
        self.assert_between(a, b)

    def test_the_same_seed_in_both_slots(self):
        a = Seeds.a
        other = self.directory / "other"
        shutil.copytree(self.a, other, symlinks=True)
        self.step(self.a, "--previous-seed", other)
        self.assert_owned([(a, {name for one in a for name in one.records})])
        self.assert_current(a)
        link = RUN / "seeds" / self.owner(a)[7:]
        self.assertEqual(os.readlink(link), str(self.a))
        # The system started from the other slot.
        run = self.load("--previous-seed", self.a, source=["--seed", other])
        self.assert_settled(run)
        self.assertEqual(os.readlink(link), str(other))
        shutil.rmtree(self.a)
        self.assert_current(a)

    def test_names_and_pins_that_change_places(self):
        one, two = image("r.io/x:1", "one\n").layers, image("r.io/x:1", "two\n").layers
        plain = [seed.Layer(layer.tar, compressed=False) for layer in one]
        a = (seed.Image("r.io/x:1", one), seed.Image("r.io/x:2", two, pin=False))
        # The first is another manifest now, with the same configuration and layers.
        b = (seed.Image("r.io/x:2", plain, pin=False), seed.Image("r.io/x:1", two))
        self.assertEqual(a[0].config, b[0].config)
        paths = [self.medium("places-a", a), self.medium("places-b", b)]
        self.step(paths[0])
        for current, other, images, kept in ((1, 0, b, a), (0, 1, a, b), (1, None, b, None)):
            self.step(paths[current], *(["--previous-seed", paths[other]] if kept else []))
            expected = [(images, {name for one in images for name in one.records})]
            self.assert_owned([*expected, (kept, [kept[0].by_digest])] if kept else expected)
            self.assert_current(images, *(kept[:1] if kept else ()))
            records = self.engine.images()
            for one in images:
                self.assertEqual({PINNED in records[name].labels for name in one.records}, {one.pin})

    def test_an_image_that_moves_to_another_namespace(self):
        a = (image(WEB, "web\n", namespaces=("k8s.io",)),)
        b = (image(WEB, "web\n", namespaces=("moby",)), image(NEW, "new\n"))
        paths = [self.medium("moved-a", a), self.medium("moved-b", b)]
        self.step(paths[0])
        self.step(paths[1], "--previous-seed", paths[0])
        self.assert_runs(a[0])
        self.assert_runs(b[0], "moby")
        self.step(paths[1])
        self.assert_owned([(b, b[1].records)])
        self.assert_runs(b[0], "moby")


class SamePlace(Case):
    """The systems of both slots mount their seeds at one path."""

    def setUp(self):
        super().setUp()
        self.slot = self.directory / "slot"
        self.slot.mkdir()
        self.addCleanup(rig.unmount_below, self.directory)
        self.a, self.b = (self.medium(name, getattr(Seeds, name)) for name in "ab")

    def mount(self, path):
        if os.path.ismount(self.slot):
            rig.run(["umount", "--lazy", self.slot])
        rig.run(["mount", "--bind", path, self.slot])

    def test_no_link_leads_to_another_seed(self):
        a, b = Seeds.a, Seeds.b
        self.mount(self.a)
        self.step(self.slot)
        held = self.hold(a[0])
        self.mount(self.b)
        self.step(self.slot)
        self.assertEqual(self.seed_links(), {digits(b)})
        self.assert_current(b)
        self.assert_goes_on(held, a[0])
        # What only the container needs leads nowhere, not to the other seed.
        self.assertFalse(self.layer_directory(chains(a[0])[-1]).exists())
        self.mount(self.a)
        self.step(self.slot)
        self.assertEqual(self.seed_links(), {digits(a)})
        self.assert_current(a)
        self.assert_goes_on(held, a[0])
        # It is not the current seed's place, but another one's that a link leads to.
        self.mount(self.b)
        self.step(self.b)
        self.assertEqual(self.seed_links(), {digits(b)})
        self.assertFalse(self.layer_directory(chains(a[0])[-1]).exists())
        self.mount(self.a)
        self.step(self.slot)
        # The other slot is mounted elsewhere, as a rollback's is.
        self.mount(self.b)
        self.step(self.slot, "--previous-seed", self.a)
        self.assertEqual(self.seed_links(), {digits(a), digits(b)})
        self.assert_current(b, a[0])
        self.mount(self.a)
        self.step(self.slot, "--previous-seed", self.b)
        self.assert_current(a, b[0])


class Placed(Case):
    """An engine's root that `place` made from one release, under the next one."""

    def new_engine(self):
        self.media = {}
        for name in "ab":
            directory = self.directory / f"medium-{name}"
            directory.mkdir()
            archives = {}
            for one in getattr(Seeds, name):
                archives[one.name] = directory / f"{one.name.split('/')[1]}.tar"
                seed.write_archive(archives[one.name], [one])
            self.media[name] = placed.of_archives(directory, archives)
        engine = rig.Containerd(namespace=self.namespace)
        self.media["a"].place(engine.root)
        return engine

    def owner(self, images):
        return self.media["a" if images is Seeds.a else "b"].seed_id

    def reboot(self, name, *options):
        """The next boot, with a medium."""
        self.engine.stop()
        self.forget()
        run = self.media[name].place(self.engine.root, *options)
        self.engine.start()
        return run

    def test_the_root_of_an_older_release_shadows_nothing(self):
        a, b = Seeds.a, Seeds.b
        # What was placed is what a run would have made.
        self.assert_settled(self.load(source=["--seed", self.media["a"].image]))
        self.assert_current(a)
        short = self.media["a"].seed_id[7:23]
        self.media["a"].image.rename(self.directory / "gone.erofs")
        run = self.reboot("b")
        self.assertEqual([(engine["outcome"], engine["missing"]) for engine in run.report["engines"]], [("kept", [short])])
        self.assertEqual(self.engine.images()[WEB].digest, a[0].digest)
        run = self.step(self.media["b"].image)
        self.assertEqual((run.outcome(WEB), run.outcome(TOOL), run.outcome(NEW)), ("added", "repaired", "added"), run.log)
        self.assert_owned([(b, {name for one in b for name in one.records})])
        self.assert_current(b)
        self.assertEqual(self.aliases(), {self.media["b"].seed_id[7:23]})
        self.assert_linked(b)
        cri = engine_cri.Cri(self.engine)
        cri.wait_for_images(*(name for one in b for name in one.records))
        self.assertEqual({image.id for image in cri.images().values()}, {one.config.digest for one in b})
        # Nothing is different after one more boot.
        self.reboot("b")
        self.assert_settled(self.load(source=["--seed", self.media["b"].image]))
        self.assert_current(b)

    def test_a_rollback_finds_what_was_placed(self):
        a, b = Seeds.a, Seeds.b
        media = self.media
        self.reboot("b", "--previous-seed", media["a"].image)
        self.step(media["b"].image, "--previous-seed", media["a"].image)
        self.assert_current(b, a[0])
        self.assert_runs(a[2])
        self.reboot("a", "--previous-seed", media["b"].image)
        self.step(media["a"].image, "--previous-seed", media["b"].image)
        self.assert_current(a, b[0])
        self.assertEqual(self.engine.images()[WEB].labels[OWNER], media["a"].seed_id)
        self.reboot("a")
        self.step(media["a"].image)
        self.assert_owned([(a, {name for one in a for name in one.records})])
        self.assert_current(a)


if __name__ == "__main__":
    unittest.main()
