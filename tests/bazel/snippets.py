#!/usr/bin/env python3
"""Takes the code out of pages, so that Bazel can say whether it is right.

    snippets.py guide DIR PAGE.md
    snippets.py examples DIR PAGE.md...

`guide`: every block of Starlark must say what it is: `starlark file=PATH` is put into that file below DIR, behind what other
blocks of that file say; `starlark theirs` is for other rules, and left out.

`examples`: those of docstrings, each in a package DIR/RULE of its own, which loads the rules that it uses.
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^## (\w+)$", re.MULTILINE)


def guide(directory: Path, page: Path) -> None:
    files: dict[str, list[str]] = {}
    wrong = 0
    for info, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        language, _, what = info.partition(" ")
        if language != "starlark" or what == "theirs":
            continue
        if not what.startswith("file="):
            print(f"error: {page.name}: expected `starlark file=PATH` or `starlark theirs`, found `{info}`")
            wrong += 1
            continue
        files.setdefault(what.removeprefix("file="), []).append(code)
    for name, blocks in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(blocks), encoding="utf-8")
    sys.exit(1 if wrong else 0)


def examples(directory: Path, *pages: Path) -> None:
    texts = [page.read_text(encoding="utf-8") for page in pages]
    known = [name for text in texts for name in HEADING.findall(text)]
    for text in texts:
        # What stands before the first heading, then headings and sections by turns.
        _, *parts = HEADING.split(text)
        for name, section in zip(parts[::2], parts[1::2]):
            code = "\n".join(code for info, code in BLOCK.findall(section) if info == "starlark")
            if not code:
                continue
            used = sorted({word for word in re.findall(r"^(\w+)\(", code, re.MULTILINE) if word in known})
            loads = 'load("@ociseed//bazel:defs.bzl", ' + ", ".join(f'"{word}"' for word in used) + ")\n\n"
            package = directory / name
            package.mkdir(parents=True, exist_ok=True)
            (package / "BUILD.bazel").write_text(loads + code, encoding="utf-8")


def main() -> None:
    command, directory, *pages = sys.argv[1:]
    Path(directory).mkdir(parents=True, exist_ok=True)
    {"guide": guide, "examples": examples}[command](Path(directory), *map(Path, pages))


main()
