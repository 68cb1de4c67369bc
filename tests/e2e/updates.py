"""Updates of an appliance with slots for three seeds, and power cuts in them: what boots are told to do, and what they said.

    slots = make_slots(directory)
    fleet = Fleet(directory / "appliance", slots)
    # Place and run B, with A as the previous seed; look, and power off. Then the same, but go back to A, and lose power there.
    said = fleet.boot(Boot("b", "a"))
    said = fleet.boot(Boot("b", "a"), Boot("a", "b"), cut=Cut("^step records "))

Each boot first brings the engine to its own seed, as the one after an update or a power cut does, and looks at all that is
there then; only then it begins what is cut. So each boot but the first and the last is worth two.
"""

import hashlib
import re
from typing import NamedTuple

import loader_seed as seed
import placed
from appliance import Appliance, SeedDisk
from loader_case import image, image_files

SETS = {"a": ("web", "job"), "b": ("web", "job", "new"), "c": ("web", "job", "new")}
# The images that are the same in all slots that have them.
SHARED = ("job", "new")
ROOT = "/var/lib/containerd"
STORE = f"{ROOT}/io.containerd.content.v1.content/blobs/sha256"
SNAPSHOTS = f"{ROOT}/io.containerd.snapshotter.v1.overlayfs/snapshots"
# Enough that a file that is cut off, or a layer that is of another seed, does not look right by chance.
NOISE = 200 << 10
# The engine does not sync what it unpacks, and what is cut off of that is not the loader's: it leaves what others unpacked.
ARCHIVE = "/new.tar"
IMPORT = f"ctr --namespace k8s.io images import {ARCHIVE}\nsync\n"
SAW = re.compile(r"saw (?P<name>\S+) (?P<digest>[0-9a-f]{64})")
COUNT = re.compile(r"count (?P<what>\S+) (?P<number>\d+)")


class Slot(NamedTuple):
    """A seed on a medium with its letter as label, and the images in it by the first part of their names."""

    letter: str
    medium: placed.Medium
    images: dict

    @property
    def source(self):
        return f"LABEL=slot-{self.letter}"

    def archive(self, name):
        return self.medium.directory / f"{name}.tar"


class Boot(NamedTuple):
    """The letters of a seed and of that of the other slot, and which images are looked at, unless all: each takes seconds."""

    seed: str
    previous: str | None = None
    only: tuple | None = None


class Cut(NamedTuple):
    """When the power goes: so many seconds after a line with this pattern that is said in the second of two runs (or its
    beginning, where there is none), or else anywhere."""

    at: str | None
    after: float = 0
    second: bool = True


class Said(NamedTuple):
    console: object
    saw: dict  # what containers saw of their files, as a digest, by the image's name
    counts: dict  # of what could be left


def make_slots(directory):
    return {letter: make_slot(directory / letter, letter, names) for letter, names in SETS.items()}


def make_slot(directory, letter, names):
    """A seed with an image for each name, critical but for the last."""
    directory.mkdir()
    spec = {"image": {}, "seed": {"all": {"stores": ["containerd"], "image": []}}}
    spec["disk"] = {"all": {"medium": "erofs", "seed": "all", "label": f"slot-{letter}"}}
    images, inputs = {}, []
    for number, name in enumerate(names):
        of = "all" if name in SHARED else letter
        images[name] = image(f"docker.io/library/{name}:1", f"{name} of {of}\n", data=seed.noise(NOISE, f"{name} {of}"))
        seed.write_archive(directory / f"{name}.tar", [images[name]])
        inputs.append(f"--input={name}={directory / name}.tar")
        spec["image"][name] = {"base": {"archive": name}}
        entry = {"image": name, "name": images[name].name, "namespaces": ["k8s.io"]}
        entry["class"] = "background" if number == len(names) - 1 else "critical"
        spec["seed"]["all"]["image"].append(entry)
    return Slot(letter, placed.Medium(directory, spec, *inputs), images)


def files_digest(image):
    """What a container of an image has to see."""
    files = sorted(image_files(image).items())
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def options(slots, boot):
    """/etc/default/ociseed."""
    previous = f"--previous-seed {slots[boot.previous].source}" if boot.previous else ""
    return f"SEED={slots[boot.seed].source}\nPLACE={previous}\nRUN={previous}\n"


class Fleet:
    """One appliance with all slots, the first as the disk of its seed."""

    def __init__(self, directory, slots, **options):
        directory.mkdir()
        self.slots = slots
        first, *others = (slot.medium.image for slot in slots.values())
        self.appliance = Appliance(directory, seed=SeedDisk(first, mount=""), others=others, **options)
        self.was_cut = False

    def boot(self, boot, then=None, *, cut=None, script=""):
        """Brings the engine to a seed and looks at it, runs the script, then goes on to another seed, where the power is cut.

        Where systemd is init units bring it there, and without `boot` only the script says what is looked at.
        """
        by_units = self.appliance.init == "systemd"
        # What looked at images when the power went is still there.
        text = ("" if by_units else self.run(boot)) + (FORGET if self.was_cut else "")
        self.was_cut = cut is not None
        text += (self.looks(boot) if boot else "") + script
        if then:
            text += f"mark changing\n{self.run(then)}mark changed\nsleep 600\n"
        before = "" if by_units else self.place(boot)
        if not cut:
            return said_on(self.appliance.boot(text, before=before))
        at = tuple(filter(None, ("@mark changing" if cut.second else None, cut.at)))
        return said_on(self.appliance.boot(text, before=before, kill_at=at, kill_after=cut.after))

    def flags(self, boot):
        previous = f" --previous-seed {self.slots[boot.previous].source}" if boot.previous else ""
        return f"--seed {self.slots[boot.seed].source}{previous}"

    def place(self, boot):
        return f"ociseed-loader place {self.flags(boot)}\n"

    def run(self, boot):
        return f"ociseed-loader run {self.flags(boot)}\n"

    def looks(self, boot):
        """What a container of each image sees of its files; of the other slot's, under the names that it keeps."""
        lines = [LOOK, *(see(name, image) for name, image in self.current(boot).items())]
        # Whether they are there depends on what was done before.
        for name, image in self.previous(boot).items():
            lines.append(f'if ctr images list -q | grep -qxF "{name}"; then\n{see(name, image)}fi\n')
        return "".join([*lines, LEFT])

    def current(self, boot):
        images = self.slots[boot.seed].images
        return {image.name: image for key, image in images.items() if boot.only is None or key in boot.only}

    def previous(self, boot):
        """The other slot's images that this one has not, by the names that they keep."""
        others = self.slots[boot.previous].images if boot.previous else {}
        found = {}
        for key, image in others.items():
            is_looked_at = boot.only is None or key in boot.only
            if is_looked_at and key not in self.slots[boot.seed].images:
                found[image.name] = image
            elif is_looked_at and key not in SHARED:
                found[image.by_digest] = image
        return found

    def expected(self, images):
        return {name: files_digest(image) for name, image in images.items()}


FORGET = """
export CONTAINERD_NAMESPACE=k8s.io
ctr containers list -q | xargs -r ctr containers delete
ctr snapshots list | grep -o '^c[0-9][0-9]* ' | xargs -r ctr snapshots delete
"""
LOOK = "export CONTAINERD_NAMESPACE=k8s.io\nmark settled\nnumber=0\n"
# The engine removes directories that no snapshot has when it collects: those of containers, of killed runs, and its own. Of
# blobs' links without a record, orphans, it looks for none until it has removed a record since it was started.
LEFT = f"""
count() {{ echo "count $1 $2"; }}
lines() {{ tail -n +2 | wc -l; }}
dangling() {{ for each in $(find "$@" -type l); do [ -e "$each" ] || echo "${{each##*/}}"; done; }}
count leases "$(ctr leases list -q | wc -l)"
count ingests "$(ctr content active | lines)"
ctr leases delete --sync "$(ctr leases create)" >/dev/null
ctr snapshots list | tail -n +2 >/tmp/snapshots
count active "$(grep -vc 'Committed *$' /tmp/snapshots)"
count superfluous "$(($(ls -1A {SNAPSHOTS} | wc -l) - $(wc -l </tmp/snapshots)))"
ctr content list -q >/tmp/content
dangling {STORE} >/tmp/dangling
count dangling "$(($(dangling {SNAPSHOTS} | wc -l) + $(grep -cf /tmp/dangling /tmp/content)))"
count orphans "$(($(ls -1A {STORE} | wc -l) - $(wc -l </tmp/content)))"
count files "$(find {STORE} {SNAPSHOTS} -type f | wc -l)"
count read-back "$(grep -o '"read-back": *[0-9]*' /run/ociseed/run.json | grep -o '[0-9]*$')"
"""


def see(name, image):
    paths = " ".join(sorted(image_files(image)))
    return f'number=$((number + 1))\necho "saw {name} $(ctr run --rm {name} c$number sha256sum {paths} | sha256sum)"\n'


def said_on(console):
    saw = {found["name"]: found["digest"] for line in console.lines if (found := SAW.search(line))}
    counts = {found["what"]: int(found["number"]) for line in console.lines if (found := COUNT.search(line))}
    return Said(console, saw, counts)
