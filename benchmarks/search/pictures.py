"""Line charts as SVG by hand: small panels beside each other, readable on light and on dark ground."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#2f81f7", "#e36209", "#2da44e", "#bf3989", "#8250df", "#9a6700", "#6e7781", "#0e8a9e", "#d1242f")
WIDTH, HEIGHT = 235, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 26, 34
LEGEND_ROW, LEGEND_COLUMN = 18, 185

STYLE = """text{font:11px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:12px}.g{stroke:#d0d7de}
polyline{fill:none;stroke-width:1.8}@media(prefers-color-scheme:dark){text{fill:#d0d7de}.g{stroke:#3d444d}}"""

Lines = Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One chart: the places on the x axis, evenly apart, and for each line a value at each of them (NaN: none)."""

    title: str
    places: Sequence[str]
    lines: Lines
    under: str
    logarithmic: bool = False


def drawn(panels: Sequence[Panel], *, columns: int, title: str) -> str:
    """The picture as the text of an SVG file. All panels share colours, given to the lines in their first order."""
    labels = list(dict.fromkeys(label for panel in panels for label in panel.lines))
    colours = {label: COLOURS[at % len(COLOURS)] for at, label in enumerate(labels)}
    rows = math.ceil(len(panels) / columns)
    per_row = max(1, columns * WIDTH // LEGEND_COLUMN)
    width = columns * WIDTH
    height = rows * HEIGHT + math.ceil(len(labels) / per_row) * LEGEND_ROW + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
    ]
    for at, panel in enumerate(panels):
        parts.append(f'<g transform="translate({at % columns * WIDTH},{at // columns * HEIGHT})">')
        parts += [*panel_parts(panel, colours), "</g>"]
    for at, label in enumerate(labels):
        x, y = at % per_row * LEGEND_COLUMN + 12, rows * HEIGHT + at // per_row * LEGEND_ROW + 12
        parts.append(f'<polyline points="{x},{y - 4} {x + 18},{y - 4}" stroke="{colours[label]}"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def panel_parts(panel: Panel, colours: Mapping[str, str]) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    step = (right - LEFT - 12) / max(1, len(panel.places) - 1)
    xs = [LEFT + 6 + at * step for at in range(len(panel.places))]
    marks = marks_of(panel)
    low, high = scaled(marks[0], panel), scaled(marks[-1], panel)

    def y_of(value: float) -> float:
        return bottom - (scaled(value, panel) - low) / (high - low) * (bottom - TOP)

    parts = [f'<text class="t" x="{LEFT}" y="16">{escape(panel.title)}</text>']
    for mark in marks:
        y = y_of(mark)
        parts.append(f'<line class="g" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{mark:g}</text>')
    for x, place in zip(xs, panel.places, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{escape(place)}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{bottom + 28}" text-anchor="middle">{escape(panel.under)}</text>')
    for label, values in panel.lines.items():
        points = [(x, y_of(v)) for x, v in zip(xs, values, strict=True) if not math.isnan(v)]
        spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{spots}" stroke="{colours[label]}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{colours[label]}"/>' for x, y in points]
    return parts


def scaled(value: float, panel: Panel) -> float:
    return math.log10(value) if panel.logarithmic else value


def marks_of(panel: Panel) -> list[float]:
    """Round values from at or under the least to at or over the most."""
    values = [v for line in panel.lines.values() for v in line if not math.isnan(v)]
    least, most = min(values), max(values)
    if panel.logarithmic:
        return [10.0**power for power in range(math.floor(math.log10(least)), math.ceil(math.log10(most)) + 1)]
    size = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if (most - least) / s <= 6)
    first, last = math.floor(least / size), math.ceil(most / size)
    return [round(at * size, 4) for at in range(first, max(last, first + 1) + 1)]
