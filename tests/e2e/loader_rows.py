"""What tests of rows of tests/failures.tsv share: the two ways in which images come, and facts in the table's words.

An observation is made of facts alone (exit codes, records, bytes in the store, what a container prints), and compared with
the table.
"""

import contextlib
import shutil
import subprocess

import loader_seed as seed
import rig
from link_case import LinkCase
from loader_case import image
from loader_failures import OBSERVED

BAD = "docker.io/library/bad:1"
GOOD = "docker.io/library/good:1"


class RowCase(LinkCase):
    """A row by copies, from a seed in host form; or by links, from one in medium form, where its id ends with `-l`."""

    by_links = False

    def observe(self, row, *facts):
        row, observed = row + ("-l" if self.by_links else ""), "; ".join(facts)
        OBSERVED.add(row, observed)
        self.assertEqual(observed, OBSERVED.expected(row), row)

    def write(self, images):
        """Has these images in the seed, and no others."""
        shutil.rmtree(self.seed, ignore_errors=True)
        write = seed.write_medium if self.by_links else seed.write_seed
        return write(self.seed, images)

    def images(self, size=2 << 20):
        self.bad = image(BAD, "bad\n", data=seed.noise(size, 1))
        self.good = image(GOOD, "good\n", critical=False)
        return [self.bad, self.good]

    # Facts

    def record(self, one):
        return "record" if one.name in self.engine.images() else "no record"

    def prints(self, one):
        """What a container of it finds of its own."""
        with contextlib.suppress(AssertionError):
            return self.output(one, "cat /etc/motd").strip()
        return "nothing"

    def facts(self, one):
        return [f"{self.prints(one)} runs", self.left()]

    def good_runs(self):
        return "others run" if self.prints(self.good) == "good" else "others broken"

    def named(self, run, *words):
        """Whether one error names all of it."""
        errors = [*run.report["errors"], *(error for one in run.report["images"] for error in one["errors"])]
        return "named" if any(all(word in error for word in words) for error in errors) else f"not named: {errors}"

    def left(self):
        active = [name for name, found in self.snapshots().items() if found.kind == "Active" and name.startswith("ociseed")]
        left = self.leases() + self.ingests() + active
        return "nothing left" if not left else f"left {left}"

    def bytes_in_store(self, one):
        wrong = [blob for blob in one.blobs if seed.sha256(self.store_file(blob).read_bytes()) != blob.digest]
        return "bytes right" if not wrong else f"{len(wrong)} blobs wrong"

    def runs(self, one):
        with contextlib.suppress(AssertionError):
            self.assert_runs(one)
            return "runs"
        return "does not run"

    def settles(self):
        """What the next run makes of what was left, and the one after that."""
        run = self.load(expect=None)
        again = self.load(expect=None)
        facts = [f"rerun exit {run.code}", self.bytes_in_store(self.bad), self.runs(self.bad)]
        return [*facts, self.good_runs(), self.left(), f"then {again.outcome(self.bad.name)}"]


# Ways to damage


def replaced(file, change):
    """Replaces a file by what `change` makes of its bytes, or takes it away for None; a link is not followed."""
    data = change(file.read_bytes())
    file.unlink()
    if data is not None:
        file.write_bytes(data)


def flipped(data):
    data = bytearray(data)
    data[len(data) // 2] ^= 1
    return bytes(data)


def cut(data):
    return data[: len(data) // 2]


def emptied(_):
    return b""


def gone(_):
    return None


def slowed(command, delay=20_000):
    """Starts a command with each write to the engine taking its time (microseconds)."""
    slow = rig.traced("-e", "trace=writev", "-e", f"inject=writev:delay_enter={delay}")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*slow, *command], text=True, **pipes)


def writes_to_engine(case):
    """How many writes a run makes, without the last few: they come together in one call or in two as it happens."""
    counted = case.directory / "counted"
    rig.run([*rig.traced("-e", "trace=writev", output=counted), *case.command()])
    return len(counted.read_text().splitlines()) * 95 // 100


def killed(case, point):
    """Runs the loader and kills it at a write to the engine; tells how it ended."""
    kill = rig.traced("-e", "trace=writev", "-e", f"inject=writev:signal=KILL:when={point}")
    return rig.run([*kill, *case.command()], check=False).returncode
