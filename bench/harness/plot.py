"""Plots as SVG, written by hand: bars of contestants, and lines that should be straight."""

from html import escape

WIDTH = 720
LABEL = 220  # for names, left of the bars
VALUE = 90  # for numbers, right of them
BAR = 22
GAP = 10
TOP = 44
OURS, THEIRS, INK, FAINT = "#1f6f54", "#a9b4c0", "#1b1f24", "#d5dae0"


def bars(title, rows, ours):
    """Draws one bar a row; a row is a name, a value in seconds, and the smallest and largest that were seen."""
    scale = (WIDTH - LABEL - VALUE) / max(largest for *_, largest in rows)
    body = [_text(10, 24, title, weight="bold")]
    for number, (name, value, smallest, largest) in enumerate(rows):
        y = TOP + number * (BAR + GAP)
        middle = y + BAR / 2
        body += [
            _text(LABEL - 8, middle + 4, name, anchor="end"),
            f'<rect x="{LABEL}" y="{y}" width="{value * scale:.1f}" height="{BAR}" '
            f'fill="{OURS if name == ours else THEIRS}"/>',
            _line(LABEL + smallest * scale, middle, LABEL + largest * scale, middle),
            _text(LABEL + largest * scale + 8, middle + 4, f"{value:.2f} s"),
        ]
    return _svg(TOP + len(rows) * (BAR + GAP) + 4, body)


def lines(title, points, x_label, y_label):
    """Draws measured points, and the straight line through the origin and the last one, which linear growth follows."""
    left, right, top, bottom = 80, WIDTH - 30, TOP, 320
    (last_x, last_y), highest = points[-1], max(y for _, y in points)
    across, up = (right - left) / last_x, (bottom - top) / (highest * 1.1)
    body = [
        _text(10, 24, title, weight="bold"),
        _line(left, bottom, right, bottom),
        _line(left, top, left, bottom),
        _line(left, bottom, right, bottom - last_y * up, color=FAINT),
        _text((left + right) / 2, bottom + 40, x_label, anchor="middle"),
        _text(left, top - 6, y_label),
    ]
    for x, y in points:
        place = (left + x * across, bottom - y * up)
        body += [
            f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4" fill="{OURS}"/>',
            _text(place[0] - 6, place[1] - 9, f"{y:.3g}", anchor="end"),
            _text(place[0], bottom + 18, f"{x:,}", anchor="middle"),
        ]
    return _svg(bottom + 56, body)


def _svg(height, body):
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">'
    )
    # White, since the page around it may be dark.
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *body, "</svg>", ""])


def _text(x, y, text, anchor="start", weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="{INK}">'
        f"{escape(text)}</text>"
    )


def _line(x1, y1, x2, y2, color=INK):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'
