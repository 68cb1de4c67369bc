"""The contest of three ways to make layers of a closure with Nix: at first, after an edit, and where nothing changed."""

import itertools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from harness.contests import OCISEED, TREE, Contest, Contestant

PLACE = Path("/scratch/closure")
SOURCE = Path("/src/bench")
GRAPH = SOURCE / "closure.json"
ROOT = PLACE / "packages"
# As the tests have it: a store of its own, no daemon, nothing to fetch from, and the sandbox or nothing.
SETTINGS = """sandbox = true
sandbox-fallback = false
substituters =
build-users-group =
max-jobs = 2
"""
WAYS = {"by lists": "lists", "by a plan": "plan", "by a plan that is read first": "imported"}
COLD, EDIT, NOTHING = "at first", "an edit", "nothing changed"
PUBLISHED = (
    "nix2container publishes, of another image and machine, with the push: an edit in 1.8 s, with dockerTools' "
    "streamLayeredImage in 7.5 s, with buildImage in 10 s"
)


def contest():
    """300 packages of the tree, which refer to each other as closure.json says; what is in them is built before."""
    _prepare_store()
    edits = itertools.count(1)
    edit = ["0"]

    def contestant(way, state):
        def prepare():
            # All that is not a package.
            subprocess.run(["nix-store", "--gc"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if state != COLD:
                _built(way, edit[0])
            if state == EDIT:
                edit[0] = str(next(edits))
            command[command.index("edit") + 1] = edit[0]

        command = [*_command(way, "0"), "--quiet"]
        return Contestant(f"{way}: {state}", [[command]], "made", prepare)

    return Contest(
        f"A closure of {len(json.loads(GRAPH.read_text()))} store paths in 31 layers, with Nix",
        [contestant(way, state) for state in (COLD, EDIT, NOTHING) for way in WAYS],
        [],
        baseline=f"{next(iter(WAYS))}: {COLD}",
        checks=_checks,
        notes=(PUBLISHED,),
    )


def _prepare_store():
    store = Path("/scratch/nix")
    store.mkdir()
    Path("/nix").mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", store, "/nix"], check=True)
    os.environ["NIX_CONFIG"] = SETTINGS
    PLACE.mkdir()
    count = len(json.loads(GRAPH.read_text()))
    contents = [PLACE / f"content-{number}" for number in range(count)]
    files = sorted(path for path in Path(TREE).rglob("*") if path.is_file() and not path.is_symlink())
    whole, done = sum(path.stat().st_size for path in files), 0
    for path in files:
        target = contents[done * count // whole] / path.relative_to(TREE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        done += path.stat().st_size
    for content in contents:
        content.mkdir(exist_ok=True)
    added = subprocess.run(["nix-store", "--add", *contents], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    (PLACE / "contents.json").write_text(json.dumps(added))
    for content in contents:
        shutil.rmtree(content)
    # Whatever else is collected, the packages and what they are made of stay.
    for number, path in enumerate(added):
        subprocess.run(["nix-store", "--add-root", ROOT.with_name(f"content-root-{number}"), "--realise", path], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*_nix_build("packages", "0"), "--out-link", ROOT], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _nix_build(attribute, edit):
    command = ["nix-build", SOURCE / "closures.nix", "-A", attribute, "--arg", "ociseed", OCISEED, "--arg", "busybox", "/usr/bin/busybox"]
    return [*command, "--arg", "graph", GRAPH, "--arg", "contents", PLACE / "contents.json", "--argstr", "edit", edit]


def _command(way, edit):
    """Everything of one way, with a link to it."""
    return [*_nix_build(WAYS[way], edit), "--out-link", "made"]


def _built(way, edit):
    """Builds, and returns what was built: outputs that are layers, with their sizes, and how many derivations."""
    result = subprocess.run(_command(way, edit), check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    built = re.findall(r"^building '(.*\.drv)'", result.stderr, re.MULTILINE)
    outputs = subprocess.run(["nix-store", "--query", "--outputs", *built], check=True, stdout=subprocess.PIPE, text=True).stdout.split() if built else []
    layers = [Path(path).stat().st_size for path in outputs if path.endswith(".tar.zst")]
    return len(built), layers


def _checks(_):
    """Counts what each way builds after an edit of the program, and what of that has other bytes."""
    os.chdir(PLACE)
    subprocess.run(["nix-store", "--gc"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for way in WAYS:
        _, all_layers = _built(way, "before")
        before = _blobs()
        built, layers = _built(way, "after")
        new = _blobs() - before
        yield (
            len(new) <= 2,
            f"{way}: an edit builds {built} derivations, {len(layers)} of {len(all_layers)} layers with {sum(layers) / 1e6:.1f} of "
            f"{sum(all_layers) / 1e6:.1f} MB; {sum(Path('made', 'blobs/sha256', name).stat().st_size for name in new) / 1e6:.2f} MB are other blobs",
        )
        again, _ = _built(way, "after")
        yield again == 0, f"{way}: where nothing changed {again} derivations are built"


def _blobs():
    """The blobs of the layout, but for the manifest and the configuration."""
    return {path.name for path in Path("made/blobs/sha256").iterdir() if path.is_symlink()}


ALL = {"closures": contest}
