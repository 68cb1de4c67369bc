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
import shutil
import stat
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
    # Makes in the unpacked layer what a tar of Python's has no words for.
    extra: object = field(default=None, repr=False)

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

    @property
    def records(self):
        """The names of its records in CRI's namespace, where no other image shares a manifest or a configuration with it."""
        return [*self.names, self.by_digest, self.config.digest]

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


# The medium form, with a store for containerd whose databases are bytes of no meaning: `place` does not read them.

ROOT_STORE = "stores/containerd/root"
DATABASES = {
    "io.containerd.metadata.v1.bolt/meta.db": (b"meta" * 5000, 0o644),
    "io.containerd.snapshotter.v1.overlayfs/metadata.db": (b"snapshots" * 1000, 0o600),
}
DIRECTORIES = {
    "io.containerd.metadata.v1.bolt": 0o711,
    "io.containerd.snapshotter.v1.overlayfs": 0o700,
    "io.containerd.snapshotter.v1.overlayfs/snapshots": 0o700,
}


def listing(directory):
    """The canonical listing of a directory, a line a path; what is in it may be anything but a socket."""
    directory, first_names, lines = os.fsencode(directory), {}, []

    def walk(path):
        for name in sorted(os.listdir(os.path.join(directory, path))):
            at = os.path.join(path, name)
            lines.append(_line(directory, at, first_names))
            if lines[-1]["kind"] == "directory":
                walk(at)

    walk(b"")
    return b"".join(canonical(line) + b"\n" for line in lines)


def _line(directory, at, first_names):
    full, path = os.path.join(directory, at), "/" + at.decode()
    found = os.lstat(full)
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFCHR: "char"}
    kinds |= {stat.S_IFBLK: "block", stat.S_IFIFO: "fifo"}
    line = {"path": path, "kind": kinds[stat.S_IFMT(found.st_mode)]}
    if line["kind"] != "directory" and found.st_nlink > 1:
        first = first_names.setdefault((found.st_dev, found.st_ino), path)
        if first != path:
            return {"path": path, "kind": "link", "link": first}
    whole, rest = divmod(found.st_mtime_ns, 10**9)
    line |= {"mode": f"{found.st_mode & 0o7777:04o}", "uid": found.st_uid, "gid": found.st_gid}
    line["mtime"] = f"{whole}.{rest:09}".rstrip("0").rstrip(".")
    xattrs = {name: os.getxattr(full, name, follow_symlinks=False).hex() for name in os.listxattr(full, follow_symlinks=False)}
    line |= {"xattrs": xattrs} if xattrs else {}
    if line["kind"] == "file":
        line |= {"size": found.st_size, "digest": sha256(Path(os.fsdecode(full)).read_bytes())}
    if line["kind"] == "symlink":
        line["target"] = os.readlink(full).decode()
    if line["kind"] in ("char", "block"):
        line |= {"major": os.major(found.st_rdev), "minor": os.minor(found.st_rdev)}
    return line


def write_medium(directory, images, *, blobs="all", stores=True, root="/var/lib/containerd", spoil=None):
    """A seed in medium form; returns the digest of its lock. `spoil` may change the lock before it is written."""
    directory, lock = Path(directory), lock_of(images)
    kept = layout_files(images)
    if blobs == "metadata":
        for image in images:
            for blob in image.layer_blobs:
                kept.pop(f"blobs/sha256/{blob.digest[7:]}", None)
    write_files(directory, kept)
    lock["layers"] = _write_layers(directory, images)
    if stores:
        lock["stores"] = {"containerd": _write_store(directory, lock, blobs, root)}
    copied = sum(len(data) for data, _ in DATABASES.values()) if stores else 0
    distinct = {sha256(path.read_bytes()): path.stat().st_size for path in directory.rglob("*") if path.is_file() and not path.is_symlink()}
    lock["medium"] = {"blobs": blobs, "copied": copied, "size": sum(distinct.values())}
    if spoil:
        spoil(lock)
    (directory / "seed.json").write_bytes(canonical(lock))
    make_plain(directory)
    return sha256(canonical(lock))


def make_plain(directory):
    """What is not in layers and stores is 0644 or 0755, 0:0, of time 0."""
    directory = Path(directory)
    for path in [directory, *directory.rglob("*")]:
        parts = path.relative_to(directory).parts
        within = len(parts) > 3 and parts[0] == "layers" or len(parts) > 2 and parts[0] == "stores"
        if not within:
            path.chmod(0o755 if path.is_dir() else 0o644)
        if not within or parts[0] == "stores":
            os.utime(path, ns=(0, 0), follow_symlinks=False)


def _write_layers(directory, images):
    """Layers without whiteouts, as they are unpacked, below their tree digests; the lock's table of them."""
    found = {}
    for image in images:
        for layer, locked in zip(image.layers, image.locked()["layers"], strict=True):
            stage = directory / "layers/sha256/stage"
            stage.mkdir(parents=True)
            # Not even an end of the archive is in an empty file.
            with tarfile.open(fileobj=io.BytesIO(layer.tar or bytes(1024))) as tar:
                # Debian 12's tarfile trusts everybody, and knows no word for it.
                tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
                tar.extractall(stage)
            if layer.extra:
                layer.extra(stage)
            for path in stage.rglob("*"):
                os.utime(path, ns=(0, 0), follow_symlinks=False)
            lines = listing(stage)
            tree, size = sha256(lines), sum(json.loads(line).get("size", 0) for line in lines.splitlines())
            place = stage.with_name(tree[7:])
            if place.exists():
                shutil.rmtree(stage)
            else:
                stage.rename(place)
            found[locked["chain-id"]] = {"tree": tree, "size": size}
    return found


def _write_store(directory, lock, blobs, root):
    """The store of containerd, as docs/format.md describes it; what the lock says of it."""
    store, images = directory / "stores/containerd", lock["content"]["images"]
    short = sha256(canonical(lock["content"]))[7:]
    alias = f"io.ociseed.seed.{short[:16]}"
    digests = sorted({b["digest"] for i in images for b in (i["manifest"], i["config"], *i["layers"])})
    links = {f"root/{alias}": f"/run/ociseed/seeds/{short}/stores/containerd"}
    for number, digest in enumerate(digests):
        if (directory / "blobs/sha256" / digest[7:]).exists():
            links[f"blobs/{number}"] = f"../../../blobs/sha256/{digest[7:]}"
            links[f"root/io.containerd.content.v1.content/blobs/sha256/{digest[7:]}"] = f"../../../{alias}/blobs/{number}"
    chains = sorted(lock["layers"])
    for number, chain in enumerate(chains):
        links[f"layers/{number}/fs"] = f"../../../../layers/sha256/{lock['layers'][chain]['tree'][7:]}"
    snapshots = [(ns, layer["chain-id"]) for image in images for ns in image["namespaces"] for layer in image["layers"]]
    for number, (_, chain) in enumerate(dict.fromkeys(snapshots), start=1):
        link = f"root/io.containerd.snapshotter.v1.overlayfs/snapshots/{number}"
        links[link] = f"../../{alias}/layers/{chains.index(chain)}"
    for path, target in links.items():
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        (store / path).symlink_to(target)
    for path, (data, mode) in DATABASES.items():
        (store / "root" / path).parent.mkdir(parents=True, exist_ok=True)
        (store / "root" / path).write_bytes(data)
        (store / "root" / path).chmod(mode)
    for path in [path for path in store.rglob("*") if path.is_dir() and not path.is_symlink()]:
        path.chmod(DIRECTORIES.get(str(path.relative_to(store)).removeprefix("root/"), 0o755))
    for path in store.rglob("*"):
        os.utime(path, ns=(0, 0), follow_symlinks=False)
    files = {f"root/{path}": {"digest": sha256(data), "size": len(data)} for path, (data, _) in DATABASES.items()}
    return {"files": files, "options": {"root": root, "snapshotter": "overlayfs"}, "tree": sha256(listing(store))}
