"""The report: the same numbers as text for a terminal and as Markdown for docs/benchmarks.md."""

import statistics

from harness.contests import US

MIB = 1 << 20
COLUMNS = ["", "time", "of ours", "CPU", "read", "written", "memory", "size"]


def rows(contest):
    """One row a contestant: medians, and how many times ours its time is."""
    turns = contest["turns"]
    return [[name, *_figures(own, turns[US])] for name, own in turns.items()]


def _figures(own, ours):
    def median(key):
        return statistics.median(turn[key] for turn in own)

    walls = [turn["wall"] for turn in own]
    spread = f"{median('wall'):.2f} s ({min(walls):.2f} to {max(walls):.2f})"
    sizes = [f"{median(key) / MIB:.0f} MiB" for key in ("read", "written", "memory", "size")]
    return [spread, f"{times(own, ours):.2f}", f"{median('cpu'):.2f} s", *sizes]


def times(own, other):
    """How many times the other's time it took: the median over rounds, since what slows a machine slows neighbours."""
    return statistics.median(a["wall"] / b["wall"] for a, b in zip(own, other, strict=True))


def verdicts(contest):
    """Says of each limit whether we keep it, as (kept, sentence)."""
    turns = contest["turns"]
    for limit in contest["limits"]:
        found = times(turns[US], turns[limit["other"]])
        text = f"{found:.2f} times the time of `{limit['other']}`, at most {limit['factor']:.2f} promised"
        yield found <= limit["factor"], text
    if contest["same-size"]:
        ours = turns[US][0]["size"]
        for limit in contest["limits"]:
            theirs = turns[limit["other"]][0]["size"]
            yield ours <= theirs, f"{ours / theirs:.3f} times the size of `{limit['other']}`, at most 1 promised"


def lines_of(contest):
    """Lines on the limits of a contest."""
    return [f"{'kept' if kept else 'MISSED'}: {text}" for kept, text in verdicts(contest)]


def as_text(results):
    """The report for a terminal."""
    parts = []
    for contest in results["contests"].values():
        parts += [contest["title"], _text_table([COLUMNS, *rows(contest)]), *lines_of(contest), ""]
    return "\n".join(parts)


def _text_table(table):
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    justify = [str.ljust] + [str.rjust] * (len(widths) - 1)
    return "\n".join(
        "  " + "  ".join(place(cell, width) for place, cell, width in zip(justify, row, widths, strict=True)).rstrip()
        for row in table
    )
