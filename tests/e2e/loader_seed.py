"""Writes seeds and preseed directories from scratch, by docs/format.md: a second writer beside ociseed's own.

    web = Image("docker.io/library/web:1", [files({"/etc/motd": "hello"})])
    write_seed(directory, [web])
    write_archive(directory / "web.tar", [web])

Nothing here is shared with the builder, so the loader's tests also say whether the format's description suffices.
"""

import functools
import gzip
import hashlib
import io
import json
import os
import random
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}
ARCHITECTURE = ARCHITECTURES[os.uname().machine]


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Blob:
    media_type: str
    data: bytes = field(repr=False)

    @functools.cached_property
    def digest(self):
        return sha256(self.data)

    @property
    def size(self):
        return len(self.data)

    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}

    def locked(self):
        return {"media-type": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True)
class Layer:
    tar: bytes = field(repr=False)
    compressed: bool = True

    @functools.cached_property
    def diff_id(self):
        return sha256(self.tar)

    @functools.cached_property
    def blob(self):
        if self.compressed:
            return Blob(LAYER_GZIP, gzip.compress(self.tar, 6, mtime=0))
        return Blob(LAYER, self.tar)


def tar_of(entries):
    """A tar of (TarInfo, bytes) pairs with nothing of this machine in it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in entries:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def files(contents, *, compressed=True):
    """A layer of files by absolute path; text or bytes. A path under /bin is executable."""
    entries = []
    parents = {str(parent) for path in contents for parent in Path(path).parents if str(parent) != "/"}
    for path in sorted(parents):
        info = tarfile.TarInfo(path[1:])
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        entries.append((info, b""))
    for path, data in sorted(contents.items()):
        info = tarfile.TarInfo(path[1:])
        info.mode = 0o755 if path.startswith("/bin/") else 0o644
        entries.append((info, data.encode() if isinstance(data, str) else data))
    return Layer(tar_of(entries), compressed)


def noise(size, seed):
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def shell():
    """A layer with busybox, its shell and a few of its applets as copies would be, but as links."""
    entries = []
    info = tarfile.TarInfo("bin")
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    entries.append((info, b""))
    info = tarfile.TarInfo("bin/busybox")
    info.mode = 0o755
    entries.append((info, Path("/bin/busybox").read_bytes()))
    for applet in ("cat", "sh", "sha256sum", "sleep"):
        info = tarfile.TarInfo(f"bin/{applet}")
        info.type, info.linkname = tarfile.SYMTYPE, "busybox"
        entries.append((info, b""))
    return Layer(tar_of(entries))


class Image:
    """An image under some names, with what the lock says of it."""

    def __init__(self, names, layers, *, namespaces=("k8s.io",), critical=True, pin=True, command=("/bin/sh",)):
        self.names = [names] if isinstance(names, str) else list(names)
        self.namespaces = list(namespaces)
        self.critical = critical
        self.pin = pin
        self.layers = list(layers)
        self.layer_blobs = [layer.blob for layer in self.layers]
        self.config = Blob(CONFIG, canonical(self._config(command)))
        self.manifest = Blob(MANIFEST, canonical(self._manifest()))

    def _config(self, command):
        return {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Cmd": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
        }

    def _manifest(self):
        return {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.config.descriptor(),
            "layers": [blob.descriptor() for blob in self.layer_blobs],
        }

    @property
    def name(self):
        return self.names[0]

    @property
    def digest(self):
        return self.manifest.digest

    @property
    def blobs(self):
        return [*self.layer_blobs, self.config, self.manifest]

    @property
    def by_digest(self):
        """The record's name from which CRI takes the RepoDigest."""
        repository = self.name.split("@")[0]
        head, _, last = repository.rpartition("/")
        return f"{head}/{last.split(':')[0]}@{self.digest}"

    def locked(self):
        layers, parent = [], None
        for layer, blob in zip(self.layers, self.layer_blobs, strict=True):
            parent = layer.diff_id if parent is None else sha256(f"{parent} {layer.diff_id}".encode())
            layers.append({**blob.locked(), "diff-id": layer.diff_id, "chain-id": parent})
        return {
            "names": sorted(self.names),
            "namespaces": sorted(self.namespaces),
            "class": "critical" if self.critical else "background",
            "pin": self.pin,
            "platform": f"linux/{ARCHITECTURE}",
            "manifest": self.manifest.locked(),
            "config": self.config.locked(),
            "layers": layers,
        }

    def index_entries(self):
        for name in self.names:
            annotations = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
            yield {**self.manifest.descriptor(), "annotations": annotations}


def lock_of(images):
    locked = sorted((image.locked() for image in images), key=lambda image: (image["names"], image["namespaces"]))
    return {"version": 1, "content": {"images": locked}}


def seed_id(images):
    return sha256(canonical(lock_of(images)["content"]))


def layout_files(images):
    """The files of an image layout by path, blobs first."""
    entries = [entry for image in images for entry in image.index_entries()]
    entries.sort(key=lambda entry: entry["annotations"]["io.containerd.image.name"])
    found = {f"blobs/sha256/{blob.digest[7:]}": blob.data for image in images for blob in image.blobs}
    found["index.json"] = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    found["oci-layout"] = canonical({"imageLayoutVersion": "1.0.0"})
    return found


def write_files(directory, contents):
    for path, data in contents.items():
        file = Path(directory) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def write_seed(directory, images):
    """A seed in host form; returns the digest of its lock."""
    lock = canonical(lock_of(images))
    write_files(directory, layout_files(images) | {"seed.json": lock})
    return sha256(lock)


def blob_file(directory, blob):
    """Where a layout has a blob."""
    return Path(directory) / "blobs/sha256" / blob.digest[7:]


def archive_bytes(images, *, without=()):
    """An oci-archive, on request without some blobs."""
    absent = {f"blobs/sha256/{blob.digest[7:]}" for blob in without}
    entries = [(tarfile.TarInfo(path), data) for path, data in layout_files(images).items() if path not in absent]
    return tar_of(entries)


def write_archive(file, images, **options):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_bytes(archive_bytes(images, **options))
