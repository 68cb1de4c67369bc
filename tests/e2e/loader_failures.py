"""tests/failures.tsv: what must happen to each row of the table of failures, on each engine.

A test observes a row, hands it to OBSERVED and compares; a last test (test_loader_table) looks that all rows were. A row that
nobody observed is an empty cell, which is as bad as a wrong one. What was observed is also written to the file that
OCISEED_E2E_OBSERVED names, or to /scratch.
"""

import os
from pathlib import Path
from typing import NamedTuple

import rig

TABLE = rig.SOURCE / "tests/failures.tsv"
HEADER = ["row", "engine", "versions", "expected", "test"]


class Row(NamedTuple):
    row: str
    engine: str
    versions: str
    expected: str
    test: str


def read_table():
    lines = [line.split("\t") for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    if lines[0] != HEADER:
        raise AssertionError(f"{TABLE}: expected the columns {HEADER}, found {lines[0]}")
    rows = [Row(*line) for line in lines[1:]]
    for row in rows:
        if not all(row):
            raise AssertionError(f"{TABLE}: an empty cell in {row}")
    return rows


def matches(versions, version):
    """Whether a version is in a range such as `>=1.6,<2`."""
    comparisons = {">=": lambda a, b: a >= b, "<": lambda a, b: a < b}
    for part in versions.split(","):
        sign = ">=" if part.startswith(">=") else "<"
        bound = tuple(map(int, part.removeprefix(sign).split(".")))
        if not comparisons[sign](version[: len(bound)], bound):
            return False
    return True


def rows_for(engine, version):
    found = {}
    for row in read_table():
        if row.engine == engine and matches(row.versions, version):
            if row.row in found:
                raise AssertionError(f"{TABLE}: two cells for {row.row} and {engine} {version}")
            found[row.row] = row
    return found


class Observations:
    def __init__(self, engine, version):
        self.engine = engine
        self.version = version
        self.seen = {}

    def add(self, row, observed):
        if row in self.seen:
            raise AssertionError(f"{row} was observed twice")
        self.seen[row] = observed

    def expected(self, row):
        found = rows_for(self.engine, self.version).get(row)
        return found.expected if found else "(no row)"

    def compare(self):
        """Returns what differs from the table, and writes what was observed."""
        table = rows_for(self.engine, self.version)
        version = ".".join(map(str, self.version))
        lines, problems = [], []
        for name in sorted(table.keys() | self.seen.keys()):
            expected = table[name].expected if name in table else "(no row)"
            observed = self.seen.get(name, "(not observed)")
            lines.append(f"{name}\t{self.engine}\t{version}\t{expected}\t{observed}\n")
            if expected != observed:
                problems.append(f"{name} on {self.engine} {version}: expected `{expected}`, observed `{observed}`")
        file = Path(os.environ.get("OCISEED_E2E_OBSERVED", rig.SCRATCH / "observed.tsv"))
        with file.open("a", encoding="utf-8") as out:
            out.writelines(lines)
        return problems


OBSERVED = Observations("containerd", rig.installed_containerd())
