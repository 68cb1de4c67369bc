"""Roots of containerd that ociseed wrote: a spec's seed on a medium, and `ociseed-loader place`.

    medium = placed.Medium(spec, directory)
    with medium, engine_cri.Node() as containerd: ...

What is made of a spec is made once; a `with` block of it ends with nothing mounted. Links in roots lead through
/run/ociseed, so one seed at a time is enough for a test, though several can be placed.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import rig

LOADER = rig.BINARIES / "ociseed-loader"
RUN = Path("/run/ociseed")
METADATA = "io.containerd.metadata.v1.bolt/meta.db"
SNAPSHOTTER = "io.containerd.snapshotter.v1.overlayfs"
ENTRY = '{{ image = "{key}", name = "{name}", namespaces = {namespaces} }}'


class Run(NamedTuple):
    code: int
    report: dict | None
    log: str


class Medium:
    """An EROFS image with a seed, as `build` makes it of a spec (a text, or a dict) with a disk `all`."""

    def __init__(self, directory, spec, *options):
        self.directory = directory
        path = directory / ("spec.json" if isinstance(spec, dict) else "spec.toml")
        path.write_text(json.dumps(spec) if isinstance(spec, dict) else spec)
        out = directory / "out"
        rig.run([rig.BINARIES / "ociseed", "build", path, "--out", out, *options], timeout=300)
        self.image = out / "disk" / "all.erofs"
        metadata = json.loads((out / "disk" / "all.json").read_text())
        self.seed_id, self.lock = metadata["seed-id"], metadata["lock"]

    @property
    def link(self):
        """What all links to this seed lead through."""
        return RUN / "seeds" / self.seed_id.removeprefix("sha256:")

    def seed_json(self):
        return json.loads((self.link / "seed.json").read_text())

    def place(self, root, *options, expect=0, seed=None):
        """Places the store into a root, which need not be there."""
        command = [LOADER, "place", "--seed", seed or self.image, "--root", root, "--json"]
        result = rig.run([*command, "--state-dir", self.directory / "state", *options], check=False, timeout=300)
        if expect is not None and result.returncode != expect:
            raise AssertionError(f"{command} ended with {result.returncode}, not {expect}:\n{result.stderr}")
        return Run(result.returncode, json.loads(result.stdout) if result.stdout else None, result.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        rig.unmount_below(RUN)
        shutil.rmtree(RUN, ignore_errors=True)


def spec(images, *, blobs="all", more="", options=""):
    """The tables of a seed and its medium, of images by key: their names and namespaces."""
    entries = [
        ENTRY.format(key=key, name=name, namespaces=json.dumps(namespaces)) for key, (name, namespaces) in images.items()
    ]
    entries = ",\n".join(entries)
    return (
        f'[seed.all]\nstores = ["containerd"]\nblobs = "{blobs}"\nimage = [\n{entries}\n]\n'
        f'[seed.all.containerd]\n{options}\n[disk.all]\nmedium = "erofs"\nseed = "all"\nlabel = "seed"\n{more}'
    )


def of_archives(directory, archives, *, namespaces=("k8s.io",), **options):
    """A medium of archives (OCI's), by the names of the images in them, all for the same namespaces."""
    keys = [f"i{number}" for number in range(len(archives))]
    bases = "".join(f'[image.{key}]\nbase = {{ archive = "{key}" }}\n' for key in keys)
    images = {key: (name, list(namespaces)) for key, name in zip(keys, archives, strict=True)}
    inputs = [f"--input={key}={path}" for key, path in zip(keys, archives.values(), strict=True)]
    return Medium(directory, bases + spec(images, **options), *inputs)
