"""The examples as the phase `inputs` built them: images, where they lie and what must be in them."""

import json
import tomllib
from pathlib import Path
from typing import NamedTuple

import images_listing
import rig

HELLO = "docker.io/library/hello:1"
NGINX = "docker.io/library/nginx:1"
DEBIAN = "docker.io/library/debian:13"


class Example(NamedTuple):
    name: str
    built: Path  # what `build` wrote
    spec: Path
    inputs: dict  # what was given with --input

    @property
    def seed(self):
        return self.built / "seed" / "appliance"

    @property
    def preseed(self):
        return self.built / "store" / "appliance.archives.tar"

    def host_path(self, path):
        return self.inputs.get(path, self.spec.parent / path)

    def images(self):
        """The images of the seed's lock, by name."""
        lock = json.loads((self.seed / "seed.json").read_text())
        return {name: image for image in lock["content"]["images"] for name in image["names"]}

    def layers(self, image):
        """The listings that the spec says for the layers of an image, bottom first."""
        table = tomllib.loads(self.spec.read_text())
        # Not from the lock: the images of a spec are named by key, those of a seed by name.
        (key,) = {entry["image"] for entry in table["seed"]["appliance"]["image"] if entry["name"] == image}
        keys = table["image"][key]["layers"]
        return [images_listing.layer_of_spec(self.spec, layer, self.host_path) for layer in keys]

    def layer_keys(self):
        return list(tomllib.loads(self.spec.read_text())["layer"])

    def first_parts(self):
        """The first part of each host path that the spec names."""
        layers = tomllib.loads(self.spec.read_text())["layer"].values()
        entries = [entry for layer in layers for entry in layer["add"]]
        words = [entry[kind] for entry in entries for kind in ("file", "dir", "deb") if kind in entry]
        return {Path(path).parts[0] for word in words for path in ([word] if isinstance(word, str) else word)}

    def listing(self, image):
        return images_listing.merge(self.layers(image))


def hello():
    spec = rig.SOURCE / "examples/hello/ociseed.toml"
    return Example("hello", built("hello"), spec, {"server": rig.BINARIES / "hello-server"})


def nginx():
    return Example("nginx", built("nginx"), rig.INPUTS / "nginx-example/ociseed.toml", {})


def built(name):
    directory = rig.INPUTS / name
    if not (directory / "report.json").exists():
        raise AssertionError(f"the example {name} is not built; run the phase `inputs` first (tests/run inputs e2e)")
    return directory


def by_image():
    """The example that each image belongs to."""
    return {image: example for example in (hello(), nginx()) for image in example.images()}


def page(image):
    """The page with which the server of an image answers."""
    return {
        HELLO: hello().spec.parent / "index.html",
        NGINX: nginx().spec.parent / "public" / "index.html",
    }[image].read_bytes()
