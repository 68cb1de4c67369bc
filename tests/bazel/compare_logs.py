#!/usr/bin/env python3
"""Compares JSON execution logs of two builds: the same actions with the same inputs, arguments and outputs.

    compare_logs.py ONE OTHER

What depends on the clock is left out. Prints how many actions there are; fails where one differs, or where there is none.
"""

import json
import sys
from pathlib import Path

from check_log import spawns

# All that makes an action what it is, and what it made.
KEYS = [
    "targetLabel",
    "mnemonic",
    "commandArgs",
    "environmentVariables",
    "platform",
    "inputs",
    "listedOutputs",
    "actualOutputs",
    "runner",
    "exitCode",
]


def actions(path: Path) -> dict[str, str]:
    """Returns what each action is, by target, mnemonic and outputs."""
    found = {}
    for spawn in spawns(path):
        key = " ".join([spawn["mnemonic"], spawn["targetLabel"], *spawn["listedOutputs"]])
        if key in found:
            sys.exit(f"error: {path}: `{key}` ran twice")
        found[key] = json.dumps({name: spawn.get(name) for name in KEYS}, sort_keys=True)
    return found


def main() -> None:
    one, other = (actions(Path(path)) for path in sys.argv[1:])
    wrong = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    for key in wrong:
        print(f"error: {key}:\n  {one.get(key)}\n  {other.get(key)}", file=sys.stderr)
    if not one:
        sys.exit("error: no action ran")
    print(f"    {len(one)} actions")
    sys.exit(1 if wrong else 0)


main()
