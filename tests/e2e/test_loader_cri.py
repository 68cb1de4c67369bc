"""The loader beside CRI, which makes and reads the same records: neither undoes what the other did."""

import unittest

import engine_cri
import loader_seed as seed
from loader_case import ADOPTED, MANAGED, OWNER, PINNED, LoaderCase, image, wait_until


class Beside(LoaderCase):
    def setUp(self):
        super().setUp()
        self.cri = engine_cri.Cri(self.engine)

    def new_engine(self):
        return engine_cri.Node(self.namespace)

    def labels(self, image, images, adopted=False):
        pin = {PINNED: "pinned"} if image.pin else {}
        return {OWNER: seed.seed_id(images), MANAGED: "managed", **pin, **({ADOPTED: "true"} if adopted else {})}

    def assert_settled(self, images, adopted=()):
        """Records are the loader's and stay so: CRI had all the time that it needs to answer to them."""
        # Else the engine would do so some time later.
        written = self.engine.come_to_rest().write_bytes
        records = self.engine.images()
        for one in images:
            for name in one.records:
                labels = self.labels(one, images, name in adopted)
                self.assertEqual((records[name].digest, records[name].labels), (one.digest, labels), name)
        run = self.load()
        self.assertEqual(run.writes, {}, run.log)
        self.assertEqual(self.engine.rest().write_bytes, written)
        self.assertEqual(self.engine.images(), records)

    def assert_known(self, one):
        """CRI finds an image by each of its names, and as what it is."""
        self.cri.wait_for_images(*one.records)
        found = self.cri.image_status(one.config.digest)
        self.assertEqual(sorted(found.repo_tags), one.names)
        self.assertEqual((found.id, found.repo_digests), (one.config.digest, [one.by_digest]))
        # 1.6 says of no image that it is pinned.
        self.assertEqual(found.pinned, one.pin and self.engine.version >= (1, 7))
        for name in (*one.names, one.by_digest, found.id.removeprefix("sha256:")):
            self.assertEqual(self.cri.image_status(name), found, name)

    def test_records_stay_as_the_loader_made_them(self):
        web = image(["docker.io/library/web:1", "docker.io/library/web:stable"], "web\n")
        db = image("registry.example/db:1", "db\n", pin=False)
        seed.write_seed(self.seed, [web, db])
        self.load()
        for restart in (False, True):
            with self.subTest(restart=restart):
                if restart:
                    self.engine.restart()
                for one in (web, db):
                    self.assert_known(one)
                self.assert_settled([web, db])

    def test_what_cri_made_of_an_import_becomes_ours(self):
        web = image("docker.io/library/web:1")
        seed.write_archive(self.directory / "web.tar", [web])
        self.engine.ctr("images", "import", "--no-unpack", self.directory / "web.tar")
        wait_until(lambda: web.config.digest in self.engine.images())
        before = self.engine.images()
        self.assertNotIn(OWNER, before[web.config.digest].labels)
        seed.write_seed(self.seed, [web])
        self.load()
        self.assert_known(web)
        # The record of the id is CRI's own work, which nobody wants back.
        self.assert_settled([web], adopted=before.keys() - {web.config.digest})

    def test_what_is_removed_by_its_id_comes_back(self):
        web = image("docker.io/library/web:1")
        seed.write_seed(self.seed, [web])
        self.load()
        self.assert_known(web)
        self.cri.remove_image(web.config.digest)
        self.assertEqual(self.engine.images(), {})
        self.assertEqual(self.load().outcome(web.name), "added")
        self.assert_known(web)
        self.assert_settled([web])
        # The record of the id alone, as somebody may who tidies up by hand.
        self.engine.ctr("images", "remove", web.config.digest)
        self.assertEqual(self.load().outcome(web.name), "added")
        self.assert_known(web)
        self.assert_settled([web])

    def test_a_configuration_of_two_manifests(self):
        compressed = image("docker.io/library/a:1")
        plain = seed.Image("docker.io/library/b:1", [seed.Layer(layer.tar, compressed=False) for layer in compressed.layers])
        seed.write_seed(self.seed, [compressed, plain])
        self.load()
        for restart in (False, True):
            with self.subTest(restart=restart):
                if restart:
                    self.engine.restart()
                self.cri.wait_for_images(compressed.name, plain.name)
                found = self.cri.image_status(compressed.config.digest)
                self.assertEqual(sorted(found.repo_tags), [compressed.name, plain.name])
                self.assertEqual(self.engine.images()[compressed.config.digest].digest, compressed.digest)
                self.assertEqual(self.load().writes, {})


if __name__ == "__main__":
    unittest.main()
