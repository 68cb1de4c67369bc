"""The loader with a preseed directory."""

import gzip
import os
import tarfile
import unittest

import loader_seed as seed
import rig
from loader_case import MANAGED, OWNER, PINNED, LoaderCase, image


class Archives(LoaderCase):
    def write(self, path, images, **options):
        seed.write_archive(self.archives / path, images, **options)

    def test_images_are_loaded_and_pinned(self):
        web = image(["docker.io/library/web:1", "docker.io/library/web:2"], "web\n", data=seed.noise(1 << 20, 1))
        db = image("docker.io/library/db:1", "db\n")
        self.write("k8s.io/web.tar", [web])
        self.write("k8s.io/db.tar", [db])
        self.write("moby/web.tar", [web])
        run = self.load_archives()
        self.assertEqual(run.report["seed"], "archives")
        for one, namespace in ((web, "k8s.io"), (db, "k8s.io"), (web, "moby")):
            self.assert_right(one, namespace)
            self.assert_runs(one, namespace)
        labels = {OWNER: "archives", MANAGED: "managed", PINNED: "pinned"}
        for name in (*web.records, *db.records):
            self.assertEqual(self.engine.images()[name].labels, labels)
        self.assert_nothing_left()
        before = self.engine.come_to_rest().write_bytes
        again = self.load_archives()
        self.assertEqual((again.writes, again.report["copied"]), ({}, 0))
        self.assertEqual(self.engine.rest().write_bytes, before)

    def test_an_index_brings_its_manifests(self):
        parts = [image("docker.io/library/web:1", f"{n}\n") for n in range(2)]
        manifests = [
            {**part.manifest.descriptor(), "platform": {"os": "linux", "architecture": architecture}}
            for part, architecture in zip(parts, (seed.ARCHITECTURE, "s390x"), strict=True)
        ]
        document = {"schemaVersion": 2, "mediaType": seed.INDEX, "manifests": manifests}
        index = seed.Blob(seed.INDEX, seed.canonical(document))
        files = seed.layout_files(parts) | {f"blobs/sha256/{index.digest[7:]}": index.data}
        entry = {**index.descriptor(), "annotations": {"io.containerd.image.name": "docker.io/library/web:1"}}
        files["index.json"] = seed.canonical({"schemaVersion": 2, "manifests": [entry]})
        tar = seed.tar_of([(tarfile.TarInfo(path), data) for path, data in files.items()])
        seed.write_files(self.archives, {"k8s.io/web.tar": tar})
        run = self.load_archives()
        self.assertEqual(run.image(parts[0].name)["digest"], index.digest)
        records = self.engine.images()
        self.assertEqual(records[parts[0].name].media_type, seed.INDEX)
        # An index has no configuration that could name a record.
        self.assertEqual(set(records), {parts[0].name, f"docker.io/library/web@{index.digest}"})
        expected = {f"containerd.io/gc.ref.content.m.{n}": part.digest for n, part in enumerate(parts)}
        self.assertEqual(self.content_labels(index), expected)
        self.assert_runs(parts[0])
        self.assertEqual(self.load_archives().writes, {})

    def test_what_cannot_be_used_is_refused_and_the_rest_loaded(self):
        good = image("docker.io/library/good:1", "good\n")
        bad = image("docker.io/library/bad:1", "bad\n", data=seed.noise(1 << 20, 1))
        data = seed.archive_bytes([bad])
        self.write("k8s.io/m-good.tar", [good])
        self.write("k8s.io/absent.tar", [bad], without=[bad.layer_blobs[2]])
        files = {
            "cut.tar": (data[: len(data) // 2], "no whole tar"),
            "empty.tar": (b"", "the file is empty"),
            "gz.tar": (gzip.compress(data, 1), "compressed with gzip"),
            "zst.tar": (b"\x28\xb5\x2f\xfd" + data[4:], "compressed with zstd"),
            "random.tar": (seed.noise(100_000, 2), "no whole tar"),
            "named.tar.gz": (gzip.compress(data, 1), "does not end with `.tar`"),
            "nameless.tar": (seed.archive_bytes([]), "no image in `index.json`"),
        }
        for name, (content, _) in files.items():
            (self.archives / "k8s.io" / name).write_bytes(content)
        (self.archives / "k8s.io/dir.tar").mkdir()
        os.mkfifo(self.archives / "k8s.io/pipe.tar")
        (self.archives / "k8s.io/.hidden").write_bytes(b"")
        (self.archives / "no_-namespace").mkdir()
        (self.archives / "README").write_bytes(b"")
        run = self.load_archives(expect=8)
        errors = [error for one in run.report["images"] for error in one["errors"]]
        expected = {f"k8s.io/{name}": text for name, (_, text) in files.items()}
        expected |= {"k8s.io/absent.tar": bad.layer_blobs[2].digest, "k8s.io/dir.tar": "a directory"}
        expected |= {"k8s.io/pipe.tar": "a special file", "README": "`README`"}
        expected |= {"no_-namespace": "namespace `no_-namespace`"}
        for place, text in expected.items():
            self.assertTrue(any(place in error and text in error for error in errors), (place, text, errors))
        self.assertEqual(len(errors), len(expected), errors)
        self.assertEqual(run.outcome(good.name), "added")
        self.assert_runs(good)
        self.assertNotIn(bad.name, self.engine.images())
        self.assertFalse(self.store_file(bad.config).exists())

    def test_links_may_not_lead_outside(self):
        inside, outside = image("docker.io/library/inside:1", "in\n"), image("docker.io/library/outside:1", "out\n")
        self.write(".pool/inside.tar", [inside])
        seed.write_archive(self.directory / "outside.tar", [outside])
        (self.archives / "k8s.io").mkdir()
        (self.archives / "k8s.io/inside.tar").symlink_to("../.pool/inside.tar")
        (self.archives / "k8s.io/relative.tar").symlink_to("../../outside.tar")
        (self.archives / "k8s.io/absolute.tar").symlink_to(self.directory / "outside.tar")
        (self.archives / "moby").symlink_to(self.directory)
        run = self.load_archives(expect=8)
        self.assertEqual([i["outcome"] for i in run.report["images"]].count("failed"), 3, run.log)
        self.assertEqual(set(self.engine.images()), set(inside.records))

    def test_one_name_cannot_be_two_images(self):
        first, second = image("docker.io/library/web:1", "1\n"), image("docker.io/library/web:1", "2\n")
        self.write("k8s.io/a.tar", [first])
        self.write("k8s.io/b.tar", [second])
        self.write("moby/b.tar", [second])
        run = self.load_archives(expect=8)
        failed = [i for i in run.report["images"] if i["outcome"] == "failed"]
        self.assertEqual([one["name"] for one in failed], [first.name])
        self.assertIn(second.digest, failed[0]["errors"][0])
        self.assertEqual(self.output(first, "cat /etc/motd"), "1\n")
        self.assertEqual(self.output(second, "cat /etc/motd", "moby"), "2\n")

    def test_a_directory_that_is_not_there_is_no_seed(self):
        run = self.load_archives(expect=3)
        self.assertIn(str(self.archives), run.log)
        self.archives.mkdir()
        self.assertEqual(self.load_archives().report["images"], [])


load_tests = rig.oldest_and_newest


if __name__ == "__main__":
    unittest.main()
