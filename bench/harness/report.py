"""The report: the same numbers as text for a terminal and as Markdown for docs/benchmarks.md."""

import statistics

MIB = 1 << 20
COLUMNS = ["", "time", "of the first", "CPU", "read", "written", "memory", "size"]


def rows(contest):
    """One row a contestant: medians, and how many times the first one's its time is."""
    turns = contest["turns"]
    return [[name, *_figures(own, turns[contest["baseline"]])] for name, own in turns.items()]


def _figures(own, ours):
    def median(key):
        return statistics.median(turn[key] for turn in own)

    walls = [turn["wall"] for turn in own]
    spread = f"{seconds(median('wall'))} s ({seconds(min(walls))} to {seconds(max(walls))})"
    sizes = [f"{median(key) / MIB:.0f} MiB" for key in ("read", "written", "memory", "size")]
    return [spread, quotient(times(own, ours)), f"{median('cpu'):.2f} s", *sizes]


def seconds(value):
    """Shows seconds with as many digits as mean something."""
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def quotient(value):
    """Shows a quotient with as many digits as mean something."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def times(own, other, key="wall"):
    """How many times the other's time it took: the median over rounds, since what slows a machine slows neighbours."""
    return statistics.median(a[key] / b[key] for a, b in zip(own, other, strict=True))


WORDS = {"wall": "time", "cpu": "CPU"}


def verdicts(contest):
    """Says of each limit whether we keep it, as (kept, sentence)."""
    turns = contest["turns"]
    ours = turns[contest["baseline"]]
    yield from contest.get("checks", [])
    for limit in contest["limits"]:
        theirs, name = turns[limit["other"]], limit["other"]
        if limit["seconds"]:
            found = statistics.median(turn["wall"] for turn in theirs)
            yield found <= limit["seconds"], f"`{name}` takes {found:.3f} s, at most {limit['seconds']} s promised"
            continue
        # Results of earlier measurements do not say of what.
        key = limit.get("of", "wall")
        found, most = times(ours, theirs, key), limit["factor"]
        yield found <= most, f"{quotient(found)} times the {WORDS[key]} of `{name}`, at most {quotient(most)} promised"
        if contest["same-size"]:
            found = ours[0]["size"] / theirs[0]["size"]
            yield found <= 1, f"{found:.3f} times the size of `{name}`, at most 1 promised"


def lines_of(contest):
    """Lines on the limits of a contest."""
    return [f"{'kept' if kept else 'MISSED'}: {text}" for kept, text in verdicts(contest)]


def growth(points):
    """Says what twice as much costs, where it is most: less than twice is the start, more would be no straight line."""
    before, last = points[-2:]
    times_as_many = last["count"] / before["count"]
    quotients = [f"{last[key] / before[key]:.2f} times the {word}" for key, word in GROWING]
    return f"{last['count']:,} are {times_as_many:g} times {before['count']:,} and take {' and '.join(quotients)}."


GROWING = (("wall", "time"), ("memory", "memory"))


def as_text(results):
    """The report for a terminal."""
    parts = []
    for series in results.get("series", {}).values():
        parts += [series["title"], growth(series["points"]), ""]
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
