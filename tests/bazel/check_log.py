#!/usr/bin/env python3
"""Checks which actions a build ran, and how, by Bazel's JSON execution log.

    check_log.py RUNNER LOG MNEMONIC=COUNT...
    check_log.py RUNNER LOG MNEMONIC:TARGET...

Fails unless exactly these numbers of actions ran, or exactly these for targets of these names, all of them the tool, by this runner
(Bazel falls back to weaker sandboxes, and from a server to the machine it runs on, without a word), with an empty environment, and
manifests and locks without layer blobs as inputs. RUNNER is `linux-sandbox`, `worker`, `remote`, or `remote cache hit`, where nothing
ran at all.
"""

import json
import sys
from collections import Counter
from pathlib import Path


def spawns(path: Path) -> list[dict]:
    """Reads a log: JSON objects, one after the other."""
    text, decoder, position, found = path.read_text(encoding="utf-8"), json.JSONDecoder(), 0, []
    while text[position:].strip():
        # The decoder takes no blanks in front.
        while text[position].isspace():
            position += 1
        spawn, position = decoder.raw_decode(text, position)
        found.append(spawn)
    return found


def faults(spawn: dict, runner: str) -> list[str]:
    """Says what is wrong with one action."""
    wrong = []
    paths = [entry["path"] for entry in spawn["inputs"]]
    if spawn["runner"] != runner:
        wrong.append(f"ran in `{spawn['runner']}`, expected `{runner}`")
    if spawn["cacheHit"] != (runner == "remote cache hit"):
        wrong.append("came from a cache" if spawn["cacheHit"] else "did not come from a cache")
    if spawn["environmentVariables"]:
        wrong.append(f"has an environment: {spawn['environmentVariables']}")
    if not spawn["commandArgs"][0].endswith("/bin/ociseed"):
        wrong.append(f"runs `{spawn['commandArgs'][0]}`, expected the tool")
    # Manifests and locks come from metadata alone.
    blobs = [path for path in paths if ".tar" in path.rpartition("/")[2]]
    if spawn["mnemonic"] in ("OciImage", "OciIndex", "OciLock") and blobs:
        wrong.append(f"has layer blobs as inputs: {blobs}")
    return [f"{spawn['mnemonic']} {spawn['targetLabel']}: {text}" for text in wrong]


def main() -> None:
    runner, ran, words = sys.argv[1], spawns(Path(sys.argv[2])), sys.argv[3:]
    if any(":" in word for word in words):
        expected = Counter(words)
        found = Counter(f"{spawn['mnemonic']}:{spawn['targetLabel'].rpartition(':')[2]}" for spawn in ran)
    else:
        expected = Counter({name: int(count) for name, _, count in (word.partition("=") for word in words)})
        found = Counter(spawn["mnemonic"] for spawn in ran)
    wrong = [text for spawn in ran for text in faults(spawn, runner)]
    if found != expected:
        wrong.append(f"expected the actions {dict(sorted(expected.items()))}, found {dict(sorted(found.items()))}")
    for text in wrong:
        print(f"error: {text}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
