"""Images of containerd whose layers lie on a medium: imported, then each layer's directory replaced by a link.

    archives = {"docker.io/library/web:1": Path("web.tar")}
    with linked.Medium(archives) as medium, rig.Containerd("k8s.io") as containerd:
        medium.fill(containerd)

Of the layers containerd's own directory then has links only. The medium is an EROFS image that ociseed makes of the
archives, mounted over a loop device.
"""

import json
import shutil

import rig
import test_erofs
import test_torture
import unpacked


class Medium:
    """A medium with the layers of images, by the archives (OCI's) that they are in; it is mounted in a `with` block."""

    def __init__(self, archives):
        self.archives = archives
        self.directory = rig.scratch_directory("m")
        self.point = self.directory / "medium"

    def __enter__(self):
        out = test_torture.build(self.directory, self._spec())
        self.point.mkdir()
        test_erofs.mount_loop(out / "disk" / "all.erofs", self.point)
        self.layers = json.loads((self.point / "seed.json").read_text())["layers"]
        return self

    def __exit__(self, *_):
        rig.run(["umount", self.point])
        shutil.rmtree(self.directory)

    def _spec(self):
        images, seed = [], []
        for number, (name, archive) in enumerate(self.archives.items()):
            shutil.copy(archive, self.directory / f"{number}.tar")
            images.append(f'[image.i{number}]\nbase = {{ archive = "{number}.tar" }}\n')
            seed.append(f'{{ image = "i{number}", name = "{name}" }}')
        return f'{"".join(images)}[seed.all]\nblobs = "metadata"\nimage = [{", ".join(seed)}]\n{DISK}'

    def fill(self, containerd, place=None):
        """Imports the images and puts a link in the place of each layer, or what `place` puts from one path to another."""
        for name, archive in self.archives.items():
            containerd.load(archive)
            layers = unpacked.layers(f"oci-archive:{archive}:{name}", rig.scratch_directory("m"))
            for layer, path in zip(layers, containerd.layer_directories(name), strict=True):
                # Images share layers.
                if not path.is_symlink() and not path.is_mount():
                    shutil.rmtree(path)
                    (place or link)(path, self.layer(layer.chain_id))

    def layer(self, chain_id):
        """The directory of a layer on the medium."""
        return self.point / "layers/sha256" / self.layers[chain_id]["tree"].removeprefix("sha256:")


def link(path, target):
    path.symlink_to(target)


def bind(path, target):
    path.mkdir()
    rig.run(["mount", "--bind", target, path])


DISK = '[disk.all]\nmedium = "erofs"\nseed = "all"\n'
