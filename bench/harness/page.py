"""docs/benchmarks.md and its plots, from results that were measured."""

import json
import statistics

from harness import plot, report
from harness.rig import SOURCE

PAGE = SOURCE / "docs/benchmarks.md"
PLOTS = SOURCE / "docs/benchmarks"

HEAD = """# Benchmarks

Written by `bench/run --write`, which measures all of it again: do not edit. It makes the input from Debian packages
(`bench/packages.lock`) and runs everything in a Debian root of the test rig.

Each round gives every contestant one turn, one after the other, with the page cache warm and nothing left to be written
from the turn before, and after the page cache got memory for a file that is gone, as virtual machines give free memory back to
their hosts; outputs go to the file system that the input is on. Numbers are medians over the rounds; the range of times is
in brackets. "Of the first" is the median of the quotients of neighbouring turns. CPU is user and system time of all processes together,
daemons too. Bytes read and written are those of read and write calls, through pipes too. Memory is the largest sum of the peaks of
processes that ran together. Nobody waits
for the disk but `ociseed-loader place` and containerd.

Machines that boot are emulated by QEMU: their seconds are many times those of real ones, and what counts is how many times another's
they are. CPU, bytes and memory are QEMU's; the size is that of the disk that the images are on.
"""


def write(results, order):
    """Writes the page, the plots, and the results that they were made from; what was not measured stays as it was."""
    PLOTS.mkdir(exist_ok=True)
    kept = PLOTS / "results.json"
    old = json.loads(kept.read_text()) if kept.exists() else {}
    for kind in ("machine", "versions"):
        results[kind] = old.get(kind, {}) | results[kind]
    for kind in ("contests", "series"):
        merged = old.get(kind, {}) | results.get(kind, {})
        known = sorted(merged, key=lambda name: (order.index(name) if name in order else len(order), name))
        results[kind] = {name: merged[name] for name in known}
    parts = [HEAD, _surroundings(results)]
    for name, contest in results["contests"].items():
        (PLOTS / f"{name}.svg").write_text(plot.bars(contest["title"], _bars(contest), contest["baseline"]))
        parts.append(_section(name, contest))
    for name, series in results["series"].items():
        parts.append(_series(name, series))
    PAGE.write_text("\n".join(parts))
    kept.write_text(json.dumps(results, indent=1) + "\n")


def _surroundings(results):
    measured = results["input"]
    rows = [[key, str(value)] for key, value in results["machine"].items()]
    for suite, versions in results["versions"].items():
        rows += [[f"{name} ({suite})", version] for name, version in versions.items()]
    count = f"{measured['files']:,} files, {measured['bytes'] / 1e6:,.0f} MB, {measured['entries']:,} paths"
    rows.append(["input", f"{count}, of {measured['packages']} packages of {measured['suite']}"])
    return "## Where it was measured\n\n" + _table([["what", ""], *rows])


def _section(name, contest):
    rows = [[f"`{row[0]}`", *row[1:]] for row in report.rows(contest)]
    lines = "".join(f"- {line}\n" for line in [*report.lines_of(contest), *contest.get("notes", [])])
    plot_line = f"![{contest['title']}](benchmarks/{name}.svg)\n"
    return "\n".join([f"## {contest['title']}\n", _measured(contest), _table([report.COLUMNS, *rows]), lines, plot_line])


def _measured(part):
    return f"{part['rounds']} rounds, ociseed {part['commit']}.\n"


def _bars(contest):
    def bar(name, turns):
        walls = [turn["wall"] for turn in turns]
        return name, statistics.median(walls), min(walls), max(walls)

    return [bar(name, turns) for name, turns in contest["turns"].items()]


def _series(name, series):
    points = series["points"]
    for key, unit, scale in (("wall", "seconds", 1), ("memory", "MiB", 2**20)):
        drawn = [(point["count"], point[key] / scale) for point in points]
        svg = plot.lines(f"{series['title']}: {unit}", drawn, series["unit"], unit)
        (PLOTS / f"{name}-{key}.svg").write_text(svg)
    rows = [[f"{point['count']:,}", *_measures(point)] for point in points]
    plots = "\n".join(f"![{series['title']}: {key}](benchmarks/{name}-{key}.svg)" for key in ("wall", "memory"))
    # What was measured long ago may lack it.
    columns = ["time", "CPU", "memory", *(["written"] if "written" in points[0] else [])]
    table = _table([[series["unit"], *columns], *rows])
    return f"## {series['title']}\n\n{_measured(series)}\n{table}\n{report.growth(points)}\n\n{plots}\n"


def _measures(point):
    measures = [f"{report.seconds(point['wall'])} s", f"{point['cpu']:.2f} s", f"{point['memory'] / 2**20:.0f} MiB"]
    return measures + ([f"{point['written'] / 2**20:.1f} MiB"] if "written" in point else [])


def _table(rows):
    head, *body = (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    rule = "|---" * len(rows[0]) + "|"
    return "\n".join([head, rule, *body, ""])
