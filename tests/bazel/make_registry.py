#!/usr/bin/env python3
"""Writes a Bazel registry of empty modules, so that bzlmod resolves without a network.

    make_registry.py DIR

Bazel's own module (`bazel_tools`) depends on a fixed list of modules. Debian's Bazel overrides most of them with copies on
disk and asks a registry for the rest. No action here uses those, so modules with nothing in them will do.
"""

import json
import sys
from pathlib import Path

# What bazel_tools of Debian's Bazel 7.7.1 asks for. Another version names another one in its error message.
MODULES = [
    ("apple_support", "1.23.1"),
    ("buildozer", "7.1.2"),
    ("protobuf", "21.7"),
    ("protobuf", "3.19.6"),
    ("zlib", "1.3.1.bcr.3"),
]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    registry = Path(sys.argv[1])
    write(registry / "bazel_registry.json", json.dumps({"module_base_path": "."}))
    for name, version in MODULES:
        module = f'module(name = "{name}", version = "{version}")\n'
        source = Path("sources", name)
        write(registry / source / "MODULE.bazel", module)
        write(registry / source / "BUILD.bazel", "")
        entry = registry / "modules" / name / version
        write(entry / "MODULE.bazel", module)
        write(entry / "source.json", json.dumps({"type": "local_path", "path": str(source)}))


main()
