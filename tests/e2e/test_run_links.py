"""`run` with a seed in medium form: blobs and layers are registered by links, and what a container sees is what was put in."""

import os
import sys
import unittest

import loader_seed as seed
import rig
from link_case import CONTENT, DIRECTORY, SNAPSHOTS, LinkCase
from loader_case import MANAGED, OWNER, PINNED, image, wait_until

ADOPTED = "io.ociseed.adopted"
GC = "containerd.io/gc.ref"


def chains(one):
    """The names of an image's snapshots, bottom first."""
    return [layer["chain-id"] for layer in one.locked()["layers"]]


class Case(LinkCase):
    def assert_settles(self, *arguments, source):
        """The next run changes nothing."""
        run = self.load(*arguments, source=source)
        self.assert_settled(run)

    def layer_link(self, chain, namespace=None):
        """Where the files of a snapshot of ours lead."""
        number = self.snapshot_labels(chain, namespace)[DIRECTORY]
        return os.readlink(self.engine.root / SNAPSHOTS / number / "fs")

    def import_foreign(self, one, *options):
        seed.write_archive(self.directory / "foreign.tar", [one])
        self.engine.ctr("images", "import", *options, self.directory / "foreign.tar")

    def files(self):
        """The inode of every blob that is a file."""
        return {path.name: path.stat().st_ino for path in (self.engine.root / CONTENT).iterdir() if not path.is_symlink()}


class Links(Case):
    def test_an_image_is_added_without_copying_it(self):
        web = image("docker.io/library/web:1", "web\n", data=seed.noise(3 << 20, 1))
        a = self.medium("a", [web])
        run = self.load(source=["--seed", a])
        self.assertEqual((run.outcome(web.name), run.report["copied"], run.report["linked"]), ("added", 0, 8), run.log)
        self.assert_linked([web])
        self.assert_runs(web)
        self.assert_right(web)
        self.assert_nothing_left()
        self.assert_settles(source=["--seed", a])

    def test_records_labels_and_snapshots_are_those_of_the_contract(self):
        web = image(["r.io/web:1", "r.io/web:stable"], "web\n", namespaces=("k8s.io", "moby"))
        db = image("r.io/db:1", "db\n", data=b"plain", pin=False, namespaces=("k8s.io",))
        a = self.medium("a", [web, db])
        run = self.load(source=["--seed", a])
        self.assertEqual(run.report["copied"], 0)
        owner = {OWNER: seed.seed_id([web, db])}
        expected = dict.fromkeys(web.records, (web.digest, owner | {MANAGED: "managed", PINNED: "pinned"}))
        expected |= dict.fromkeys(db.records, (db.digest, owner | {MANAGED: "managed"}))
        self.assert_records(expected, "k8s.io")
        self.assert_records(dict.fromkeys(web.names, (web.digest, owner)), "moby")
        for one in (web, db):
            for namespace in one.namespaces:
                self.assert_labels(one, namespace)
        # Namespaces and images share links to layers, not snapshots.
        shared = chains(web)[0]
        self.assertEqual(shared, chains(db)[0])
        directories = {self.snapshot_labels(shared, namespace)[DIRECTORY] for namespace in ("k8s.io", "moby")}
        self.assertEqual(len(directories), 2)
        self.assertEqual(self.layer_link(shared, "k8s.io"), self.layer_link(shared, "moby"))
        self.assert_linked([web, db])
        for one in (web, db):
            for namespace in one.namespaces:
                self.assert_runs(one, namespace)
                self.assert_right(one, namespace)
        self.assert_nothing_left()
        self.assert_settles(source=["--seed", a])

    def assert_records(self, expected, namespace):
        found = self.engine.images(namespace)
        self.assertEqual({name: (record.digest, record.labels) for name, record in found.items()}, expected)
        self.assertEqual({record.media_type for record in found.values()}, {seed.MANIFEST})

    def assert_labels(self, one, namespace):
        references = {f"{GC}.content.l.{n}": blob.digest for n, blob in enumerate(one.layer_blobs)}
        references[f"{GC}.content.config"] = one.config.digest
        self.assertEqual(self.content_labels(one.manifest, namespace), references)
        self.assertEqual(self.content_labels(one.config, namespace), {f"{GC}.snapshot.overlayfs": chains(one)[-1]})
        for layer in one.layers:
            label = {"containerd.io/uncompressed": layer.diff_id} if layer.compressed else {}
            self.assertEqual(self.content_labels(layer.blob, namespace), label)
        found, parent = self.snapshots(namespace), ""
        for chain in chains(one):
            self.assertEqual((found[chain].parent, found[chain].kind), (parent, "Committed"))
            self.assertEqual(list(self.snapshot_labels(chain, namespace)), [DIRECTORY])
            parent = chain

    def test_what_others_brought_stays_as_it_is(self):
        theirs, ours = image("r.io/theirs:1", "theirs\n"), image("r.io/ours:1", "ours\n", data=seed.noise(100_000, 1))
        self.know_boot()
        self.import_foreign(theirs)
        wait_until(lambda: theirs.config.digest in self.engine.images())
        self.engine.collect_garbage()
        files, records = self.files(), self.engine.images()
        self.assertIn(theirs.layer_blobs[0].digest[7:], files)
        a = self.medium("a", [ours])
        run = self.load(source=["--seed", a])
        # Two layers, the configuration, the manifest, and two snapshots.
        self.assertEqual((run.report["copied"], run.report["linked"]), (0, 6), run.log)
        self.assertEqual(self.files(), files)
        found = self.engine.images()
        self.assertEqual({name: found[name] for name in records}, records)
        self.assertEqual(set(found) - set(records), set(ours.records))
        # The layer that both have was unpacked by the engine.
        self.assertNotIn(DIRECTORY, self.snapshot_labels(chains(ours)[0]))
        for one in (theirs, ours):
            self.assert_runs(one)
            self.assert_right(one)
        self.assert_settles(source=["--seed", a])
        # And theirs needs nothing of ours.
        self.engine.ctr("images", "remove", "--sync", *ours.records)
        self.assert_runs(theirs)

    def test_nothing_of_ours_is_built_on_a_layer_that_was_cut_off(self):
        """The engine does not sync what it unpacks, and after a power cut nobody knows what is left of it."""
        shared = seed.files({"/shared": "whole\n"})
        theirs = seed.Image("r.io/theirs:1", [image("-").layers[0], shared])
        ours = seed.Image("r.io/ours:1", [*theirs.layers, seed.files({"/etc/motd": "ours\n"})])
        self.import_foreign(theirs)
        (unpacked,) = self.engine.root.glob(f"{SNAPSHOTS}/*/fs/shared")
        unpacked.write_bytes(b"")
        run = self.load(source=["--seed", self.medium("a", [ours])])
        self.assertEqual(run.outcome(ours.name), "added", run.log)
        self.assert_runs(ours)
        self.assert_runs(theirs)

    def test_a_record_of_others_is_adopted_and_given_back(self):
        web, other = image("r.io/web:1", "web\n"), image("r.io/other:1", "other\n")
        self.know_boot()
        self.import_foreign(web)
        self.engine.ctr("images", "label", web.name, "user.example/note=mine")
        wait_until(lambda: self.engine.images()[web.name].labels.get(MANAGED))
        a, b = self.medium("a", [web]), self.medium("b", [other])
        before = self.engine.images()[web.name]
        run = self.load(source=["--seed", a])
        self.assertEqual((run.report["linked"], run.report["copied"]), (0, 0), run.log)
        ours = {OWNER: seed.seed_id([web]), ADOPTED: "true", PINNED: "pinned"}
        self.assertEqual(self.engine.images()[web.name].labels, before.labels | ours)
        # A record that the run made, and one named by an id, are not given back but removed.
        for name in web.records[1:]:
            self.assertNotIn(ADOPTED, self.engine.images()[name].labels)
        self.assert_settles(source=["--seed", a])
        run = self.load(source=["--seed", b])
        self.assertEqual({one["name"] for one in run.report["removed"]}, set(web.records), run.log)
        found = self.engine.images()
        self.assertEqual(found[web.name], before)
        self.assertNotIn(web.by_digest, found)
        self.assert_runs(web)
        self.assert_runs(other)
        self.assert_settles(source=["--seed", b])

    def test_a_record_of_others_that_is_not_the_same_stays(self):
        theirs, ours = image("r.io/web:1", "theirs\n"), image("r.io/web:1", "ours\n")
        self.import_foreign(theirs)
        a = self.medium("a", [ours])
        run = self.load(source=["--seed", a])
        self.assertEqual(run.outcome(ours.name), "conflict", run.log)
        self.assertIn(f"`{ours.name}` is not ours and stays: expected {ours.digest}, found {theirs.digest}\n", run.log)
        self.assert_runs(theirs)
        self.assertNotIn(OWNER, self.engine.images()[theirs.name].labels)
        self.assertEqual(self.output_of(ours.by_digest), "ours\n")
        self.assertEqual(self.load(source=["--seed", a]).writes, {})
        run = self.load("--take-over", source=["--seed", a])
        self.assertEqual(run.outcome(ours.name), "updated", run.log)
        self.assert_runs(ours)
        self.assert_settles(source=["--seed", a])

    def output_of(self, name):
        return self.engine.run_container(name, ["/bin/cat", "/etc/motd"]).stdout


class Shapes(Case):
    """Images that are unlike others."""

    def test_few_layers_and_empty_ones(self):
        shell = image("r.io/x:1").layers[0]
        empty = seed.Image("r.io/empty:1", [shell, seed.Layer(b"", compressed=False), seed.files({"/etc/motd": "empty\n"})])
        nothing = seed.Image("r.io/nothing:1", [])
        a = self.medium("a", [empty, nothing])
        run = self.load(source=["--seed", a])
        self.assertEqual([run.outcome(one.name) for one in (empty, nothing)], ["added", "added"], run.log)
        # Five blobs of which one has no bytes, two of which none is a layer, and three snapshots.
        self.assertEqual((run.report["linked"], run.report["copied"], run.report["copies"]), (9, 0, None), run.log)
        for one in (empty, nothing):
            self.assert_right(one)
        self.assertEqual(set(self.snapshots()), set(chains(empty)))
        self.assertNotIn(f"{GC}.snapshot.overlayfs", self.content_labels(nothing.config))
        self.assertEqual(self.output(empty, "cat /etc/motd"), "empty\n")
        self.assert_nothing_left()
        self.assert_settles(source=["--seed", a])

    def test_as_many_layers_as_an_image_can_have(self):
        layers = [seed.files({f"/layers/{n}": f"{n}\n", "/last": f"{n}\n"}) for n in range(119)]
        deep = seed.Image("r.io/deep:1", [*image("r.io/x:1").layers[:1], *layers])
        a = self.medium("a", [deep])
        run = self.load(source=["--seed", a])
        self.assertEqual((run.report["linked"], run.report["copied"]), (242, 0), run.log)
        self.assert_linked([deep])
        expected = "".join(f"{n}\n" for n in sorted(range(119), key=str)) + "118\n"
        self.assertEqual(self.output(deep, "cat /layers/* /last"), expected)
        self.assert_settles(source=["--seed", a])

    def test_layers_are_there_without_their_blobs(self):
        web = image("r.io/web:1", "web\n", data=seed.noise(100_000, 1), namespaces=("k8s.io", "moby"))
        a = self.medium("a", [web], blobs="metadata")
        run = self.load(source=["--seed", a])
        self.assertEqual((run.outcome(web.name), run.report["copied"]), ("added", 0), run.log)
        links = {path.rpartition("/")[2] for path in self.links() if path.startswith(CONTENT)}
        self.assertEqual(links, {blob.digest[7:] for blob in (web.config, web.manifest)})
        self.assertEqual(self.content_labels(web.manifest), {f"{GC}.content.config": web.config.digest})
        for namespace in web.namespaces:
            self.assert_runs(web, namespace)
        self.engine.collect_garbage()
        self.assert_settles(source=["--seed", a])
        self.engine.restart()
        self.assert_runs(web)


class Costs(Case):
    def test_little_is_written_whatever_the_size_of_layers(self):
        layers = [seed.files({f"/{n}": seed.noise(4 << 20, n)}, compressed=False) for n in range(3)]
        web = seed.Image("r.io/web:1", [*image("r.io/x:1").layers[:1], *layers])
        a = self.medium("a", [web])
        before = self.engine.rest().write_bytes
        command = list(map(str, self.command(source=["--seed", a])))
        silent = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in (0, 1, 2)]
        _, code, usage = os.wait4(os.posix_spawn(command[0], command, os.environ, file_actions=silent), 0)
        self.assertEqual(code, 0)
        written = usage.ru_oublock * 512 + self.engine.rest().write_bytes - before
        print(f"{written} bytes written for 4 layers ", end="", file=sys.stderr)
        self.assertLess(written, 2_000_000 + 4 * 350_000)
        self.assert_runs(web)


class Copying(Case):
    """Where nothing can be linked it is copied, and said so."""

    # How often, for two namespaces.
    copies = 1

    def setUp(self):
        super().setUp()
        self.web = image("r.io/web:1", "web\n", namespaces=("k8s.io", "moby"))
        self.a = self.medium("a", [self.web])

    def load_within(self, script, *arguments, **options):
        """Runs the loader in a mount namespace of its own, after a script has changed it."""
        self.wrapper = ["unshare", "--mount", "sh", "-ec", f'{script}\nexec "$@"', "sh"]
        try:
            return self.load(*arguments, **options)
        finally:
            self.wrapper = []

    def assert_copied(self, run, reason):
        size = self.copies * sum(blob.size for blob in self.web.blobs)
        self.assertEqual((run.outcome(self.web.name), run.report["copied"]), ("added", size), run.log)
        self.assertIn(reason, run.report["copies"])
        self.assertIn("warning: nothing can be linked", run.log)
        self.assertEqual({path for path in self.links() if path.startswith(CONTENT)}, set())
        for namespace in self.web.namespaces:
            self.assert_runs(self.web, namespace)
            self.assert_right(self.web, namespace)
        self.assert_nothing_left()


class Copies(Copying):
    """From a mount namespace in which the engine's root is not what the engine sees."""

    def test_a_root_that_cannot_be_seen(self):
        hide = f"mount -t tmpfs none {self.engine.root}"
        self.assert_copied(self.load_within(hide, source=["--seed", self.a]), "cannot read")
        self.assert_settled(self.load_within(hide, source=["--seed", self.a]))
        # The directories of another engine are no better.
        database = self.engine.root / "io.containerd.metadata.v1.bolt/meta.db"
        other = f"{hide}; mkdir {database.parent}; touch {database}"
        self.assert_settled(self.load_within(other, source=["--seed", self.a]))

    def test_a_root_that_cannot_be_written(self):
        root = self.engine.root
        protect = f"mount --bind {root} {root}; mount -o remount,bind,ro {root}"
        self.assert_copied(self.load_within(protect, source=["--seed", self.a]), "ead-only file system")
        self.assert_settled(self.load_within(protect, source=["--seed", self.a]))

    def test_what_cannot_be_copied_fails(self):
        a = self.medium("metadata", [self.web], blobs="metadata")
        run = self.load_within(f"mount -t tmpfs none {self.engine.root}", source=["--seed", a], expect=8)
        self.assertEqual(run.outcome(self.web.name), "failed")
        self.assertIn("the seed has no layers' blobs", run.image(self.web.name)["errors"][0])
        self.assertEqual(self.engine.images(), {})
        self.assert_nothing_left()


class Isolated(Copying):
    """An engine that takes no file that lies in its store: blobs are copied."""

    copies = 2

    def new_engine(self):
        config = '[plugins."io.containerd.metadata.v1.bolt"]\ncontent_sharing_policy = "isolated"\n'
        return rig.Containerd(namespace=self.namespace, extra_config=config)

    def test_blobs_are_copied(self):
        self.assert_copied(self.load(source=["--seed", self.a]), "isolated")
        self.assert_settles(source=["--seed", self.a])


if __name__ == "__main__":
    unittest.main()
