"""The loader's other commands beside `run`: what `plan` says comes about, `verify` finds what is wrong, and neither changes anything."""

import shutil
import unittest

import loader_seed as seed
import placed
import rig
from link_case import RUN, SNAPSHOTS, LinkCase
from loader_case import LOADER, OWNER, PINNED, image
from loader_rows import flipped, replaced

A, B, C = (f"docker.io/library/{name}:1" for name in "abc")


class CommandCase(LinkCase):
    by_links = True

    def write(self, name, images):
        """A seed in a directory of its own; returns what `run` takes for it."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        (seed.write_medium if self.by_links else seed.write_seed)(path, images)
        return ["--seed", path]

    def files(self):
        """What there is below the loader's directories and in the engine's root, but for the lock and the engine's databases."""
        found = {}
        for top in (RUN, self.state, self.engine.root):
            for path in top.rglob("*"):
                if path.is_symlink():
                    found[str(path)] = path.readlink()
                elif path.is_file() and path.name not in ("lock", "meta.db", "metadata.db", "mounts.db"):
                    found[str(path)] = path.stat().st_size
        return found

    def looked(self, command, *arguments, source, expect=None):
        """Runs a command that only looks; nothing may be different afterwards."""
        before = self.files(), self.engine.images(), rig.mounts_below(RUN)
        looked = self.load(*arguments, source=source, command=command, expect=expect)
        self.assertEqual(looked.writes, {}, looked.log)
        self.assertEqual((self.files(), self.engine.images(), rig.mounts_below(RUN)), before)
        self.assertEqual(looked.report["command"], command)
        self.assert_nothing_left()
        return looked


class Plans:
    """One engine goes through what happens to it; each time `plan` foretells `run`."""

    def step(self, title, source, *arguments, outcomes):
        with self.subTest(title):
            plan = self.looked("plan", *arguments, source=source)
            run = self.load(*arguments, source=source, expect=None)
            said, done = (self.essence(one.report) for one in (plan, run))
            self.assertEqual(said, done)
            self.assertEqual({one["name"]: one["outcome"] for one in run.report["images"]}, outcomes, run.log)

    def essence(self, report):
        keys = ("name", "namespace", "digest", "outcome", "linked", "copied", "present", "replaced", "errors")
        images = [{key: one[key] for key in keys} for one in report["images"]]
        for one, full in zip(images, report["images"], strict=True):
            one["changes"] = sorted((change["do"], change["what"], change["name"]) for change in full["changes"])
        rest = {key: report[key] for key in ("exit-code", "removed", "outcomes", "linked", "copied", "copies", "previous")}
        return images, rest

    def test_a_plan_comes_about(self):
        a, b = image(A, "a\n"), image(B, "b\n", critical=False, pin=False)
        first = self.write("first", [a, b])
        self.step("nothing is there", first, outcomes={A: "added", B: "added"})
        self.step("all is there", first, outcomes={A: "settled", B: "settled"})
        self.engine.ctr("images", "remove", "--sync", b.name)
        self.engine.ctr("images", "label", a.name, f"{PINNED}=")
        self.step("a record and a pin are gone", first, outcomes={A: "updated", B: "added"})
        self.store_file(a.layer_blobs[1]).unlink()
        self.step("a blob is gone", first, outcomes={A: "repaired", B: "settled"})
        self.engine.ctr("images", "remove", b.name)
        self.engine.ctr("images", "tag", a.name, b.name)
        self.engine.ctr("images", "label", b.name, f"{OWNER}=", f"{PINNED}=")
        self.step("a name is taken", first, outcomes={A: "settled", B: "conflict"})
        self.step("of one class", first, "--class", "critical", outcomes={A: "settled"})
        self.step("the name is taken back", first, "--take-over", outcomes={A: "settled", B: "updated"})
        second = self.write("second", [image(A, "new\n"), image(C, "c\n")])
        both = [*second, "--previous-seed", first[1]]
        self.step("there is another seed", both, "--class", "critical", outcomes={A: "added", B: self.told, C: "added"})
        self.step("and its background", both, outcomes={A: self.told, B: self.told, C: self.told})
        self.step("there is no previous one", second, outcomes={A: "settled", C: "settled"})

    def test_a_full_disk_is_foretold(self):
        source = self.write("first", [image(A, "a\n", data=seed.noise(1 << 20, 1))])
        free = 100 << 10
        engine = rig.Containerd(namespace=self.namespace)
        engine.root.mkdir()
        rig.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", engine.root])
        with engine as self.engine:
            found = rig.run(["stat", "-f", "-c", "%a %S", engine.root]).stdout.split()
            (engine.root / "filler").write_bytes(bytes(int(found[0]) * int(found[1]) - free))
            plan, run = self.looked("plan", source=source), self.load(source=source, expect=None)
            self.assertEqual((plan.code, run.code), (5, 5))
            self.assertRegex(plan.report["errors"][0], "bytes and a reserve of")


class PlanByCopies(Plans, CommandCase):
    by_links = False
    told = "settled"


class PlanByLinks(Plans, CommandCase):
    # Links to this seed are new to the engine, so that CRI is told of all images, until the background was seen to.
    told = "updated"


class Media(CommandCase):
    def test_what_was_mounted_for_a_look_goes(self):
        web = image(A, "web\n")
        archive = self.directory / "web.tar"
        seed.write_archive(archive, [web])
        with placed.of_archives(self.directory, {A: archive}) as medium:
            source = ["--seed", medium.image]
            self.assertEqual(self.looked("plan", source=source).outcome(A), "added")
            self.assertEqual(self.looked("verify", source=source).code, 8)
            self.load(source=source)
            self.assertEqual(len(rig.mounts_below(RUN)), 1)
            # What `run` mounted is used, and stays.
            self.assertEqual(self.looked("plan", source=source).outcome(A), "settled")
            self.looked("verify", source=source, expect=0)


class Verify(CommandCase):
    """By links, and what was copied before there were any."""

    def setUp(self):
        super().setUp()
        self.a, self.b = image(A, "a\n", data=seed.noise(1 << 20, 1)), image(B, "b\n", critical=False)

    def test_all_is_right(self):
        source = self.write("a", [self.a, self.b])
        self.load(source=source)
        run = self.looked("verify", source=source, expect=0)
        self.assertEqual(run.report["outcomes"]["settled"], 2)
        self.assertRegex(run.log, "(?m)^seed .* checked=hashed ")

    def test_the_seed_is_wrong(self):
        source = self.write("a", [self.a, self.b])
        self.load(source=source)
        # Found right at the first run, and not looked at again by others.
        blob = seed.blob_file(source[1], self.b.layer_blobs[1])
        tree = next(source[1].glob("layers/sha256/*/data"))
        store = source[1] / "stores/containerd/root/io.containerd.metadata.v1.bolt/meta.db"
        for file in (blob, tree, store):
            replaced(file, flipped)
        self.assertIn("checked=noted", self.load(source=source).log)
        run = self.looked("verify", source=source, expect=3)
        for word in (blob.name, tree.parent.name, "stores/containerd"):
            self.assertTrue(any(word in error for error in run.report["errors"]), (word, run.report["errors"]))
        self.assertEqual((run.report["engine"], run.report["calls"], len(run.report["errors"])), (None, {}, 3))

    def test_the_engine_is_wrong(self):
        source = self.write("a", [self.a, self.b])
        self.load(source=source)
        number = {snapshot.name: snapshot for snapshot in self.snapshots().values()}
        self.assertEqual(len(number), 4)
        # Each of these is a mismatch of its own of the background image.
        self.engine.ctr("images", "remove", self.b.by_digest)
        self.engine.ctr("images", "label", self.b.name, f"{PINNED}=")
        replaced(self.store_file(self.b.layer_blobs[1]), flipped)
        self.store_file(self.b.config).unlink()
        run = self.looked("verify", source=source, expect=7)
        self.assertEqual((run.outcome(A), run.outcome(B)), ("settled", "failed"))
        errors = run.image(B)["errors"]
        words = {self.b.by_digest: "is not there", self.b.name: "is not as"}
        words |= {self.b.layer_blobs[1].digest: "", self.b.config.digest: ""}
        for name, word in words.items():
            self.assertTrue(any(name in error and word in error for error in errors), (name, errors))
        # One of the critical image counts for more: a snapshot whose files lead elsewhere.
        link = next(path for path in (self.engine.root / SNAPSHOTS).glob("*/fs") if (path / "data").exists())
        link.unlink()
        link.symlink_to("elsewhere")
        run = self.looked("verify", source=source, expect=8)
        self.assertTrue(any(error.startswith("snapshot ") for error in run.image(A)["errors"]), run.image(A))
        # A file of the right size is hashed only where somebody asks.
        self.load("--read-back", source=source)
        self.looked("verify", source=source, expect=0)

    def test_what_was_copied_is_hashed(self):
        self.by_links = False
        source = self.write("a", [self.a, self.b])
        self.load(source=source)
        size = sum(blob.size for blob in {*self.a.blobs, *self.b.blobs})
        self.assertEqual(self.looked("verify", source=source, expect=0).report["read-back"], size)
        for one, code in ((self.b, 7), (self.a, 8)):
            file = self.store_file(one.layer_blobs[1])
            replaced(file, flipped)
            self.assertEqual(self.load(source=source).outcome(one.name), "settled", "nobody suspects anything")
            run = self.looked("verify", source=source, expect=code)
            self.assertTrue(any(one.layer_blobs[1].digest in error for error in run.image(one.name)["errors"]), run.log)
        # Now the seed has it wrong as well.
        replaced(seed.blob_file(source[1], self.a.layer_blobs[1]), flipped)
        run = self.looked("verify", source=source)
        self.assertIn(run.code, (3, 8))
        self.assertIn(str(source[1]), run.log)


class Classes(CommandCase):
    def test_each_class_is_its_own(self):
        old = self.write("old", [image(A, "a\n"), image(B, "b\n", critical=False), image(C, "c\n")])
        self.load(source=old)
        before = self.engine.images()
        new_a, new_b = image(A, "new a\n"), image(B, "new b\n", critical=False)
        new = self.write("new", [new_a, new_b])
        run = self.load("--class", "critical", source=new)
        self.assertEqual([one["name"] for one in run.report["images"]], [A])
        after = self.engine.images()
        self.assertEqual(after[A].digest, new_a.digest)
        # Not removed, and not touched.
        for name, record in before.items():
            if not name.startswith("docker.io/library/a"):
                self.assertEqual(after.get(name), record, name)
        self.assertEqual(run.report["removed"], [])
        self.assertFalse(self.store_file(new_b.manifest).exists())
        # Though CRI is still to be told.
        self.looked("verify", "--class", "critical", source=new, expect=0)
        run = self.load("--class", "background", source=new)
        self.assertEqual([one["name"] for one in run.report["images"]], [B])
        records = self.engine.images()
        self.assertEqual((records[B].digest, C in records), (new_b.digest, False))
        self.assertEqual(set(records), {*new_a.records, *new_b.records})
        for name in ("critical", "background"):
            self.assert_settled(self.load("--class", name, source=new))
        self.assert_settled(self.load(source=new))

    def test_a_bad_image_is_its_class_s_affair(self):
        a, b = image(A, "a\n"), image(B, "b\n", critical=False)
        for bad, codes in ((b, {"critical": 0, "background": 7, None: 7}), (a, {"background": 0, "critical": 8, None: 8})):
            for by_links in (True, False):
                self.by_links = by_links
                source = self.write("bad", [a, b])
                seed.blob_file(source[1], bad.layer_blobs[1]).unlink()
                with self.subTest(bad=bad.name, by_links=by_links), self.new_engine() as self.engine:
                    for name, code in codes.items():
                        run = self.load(*(["--class", name] if name else []), source=source, expect=code)
                    good = a if bad is b else b
                    self.assertEqual(set(self.engine.images()), set(good.records))
                    self.assertEqual((run.outcome(good.name), run.outcome(bad.name)), ("settled", "failed"))

    def test_a_name_of_the_other_class_is_not_the_previous_seed_s(self):
        """The previous seed's b was critical; the current one's comes with the background, and has the name all the while."""
        old_b = image(B, "old b\n")
        old = self.write("old", [image(A, "a\n"), old_b])
        self.load(source=old)
        new_b = image(B, "new b\n", critical=False)
        new = [*self.write("new", [image(A, "a\n"), new_b]), "--previous-seed", old[1]]
        before = self.engine.images()[B]
        self.load("--class", "critical", source=new)
        self.assertEqual(self.engine.images()[B], before)
        self.load("--class", "background", source=new)
        records = self.engine.images()
        self.assertEqual((records[B].digest, records[old_b.by_digest].digest), (new_b.digest, old_b.digest))
        for name in ("critical", "background"):
            self.assert_settled(self.load("--class", name, source=new))

    def test_an_unclean_stop_is_each_class_s(self):
        self.by_links = False
        a, b = image(A, "a\n"), image(B, "b\n", critical=False)
        source = self.write("a", [a, b])
        self.load(source=source)
        for one in (a, b):
            replaced(self.store_file(one.layer_blobs[1]), flipped)
        self.cut_power()
        for name, one in (("critical", a), ("background", b)):
            run = self.load("--class", name, source=source)
            self.assertEqual(run.outcome(one.name), "repaired", name)
            self.assertEqual(self.load("--class", name, source=source).report["read-back"], 0)
        self.assert_right(a)
        self.assert_right(b)


class Usage(unittest.TestCase):
    def test_flags_of_other_commands_are_wrong(self):
        some = ["--seed", "/nowhere"]
        cases = [
            ["plan"], ["verify"], ["plan", *some, "--read-back"], ["verify", *some, "--read-back"], ["verify", *some, "--take-over"],
            ["place", *some, "--class", "critical"], ["place", *some, "--take-over"], ["run", *some, "--root", "/x"],
            ["status", *some], ["status", "--wait", "1"], ["settle", "--json"], ["settle", *some], ["reset", *some],
            ["reset", "--take-over"], ["run", *some, "--class", "urgent"], ["run", *some, "--trust", "me"],
            ["run", *some, "--wait", "-1"], ["run", *some, "--wait", "4294967296"], ["run", *some, "--expect-seed", "sha256:1"],
            ["run", "--seed", "LABEL="], ["run", *some, "--engine", "docker"], ["run", *some, "more"], ["loop"],
        ]  # fmt: skip
        for arguments in cases:
            result = rig.run([LOADER, *arguments], check=False)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
            self.assertTrue(result.stderr.startswith("error: "), (arguments, result.stderr))


load_tests = rig.newest_alone


if __name__ == "__main__":
    unittest.main()
