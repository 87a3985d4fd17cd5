"""One tree as compact columns for the browser to draw: where each node stands, its shade, its size, when it came.

A small tree grows from left to right, a large one in rings around its seed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import cos, pi, sin
from typing import Any

from db.browse import Dot
from orchestrator.report.layout import Spot, tidy
from orchestrator.report.shades import Shades

# More rows than this are no longer readable from left to right.
MOST_ROWS = 44
COLUMN, ROW = 172.0, 38.0
# Between nodes of one ring, and from one level to the next.
_SPACE, _GAP = 10.0, 46.0
_NO_SHADE = {"proposed": -1, "generated": -1, "unscored": -2, "rejected": -3, "failed": -4}
_ORIGINS = {"seed": 1, "simulation": 2}
_FATES = {"accepted": 1, "pending": 2, "rejected": 3, "failed": 3}


def shape_of(dots: Sequence[Dot]) -> dict[str, Any]:
    """Columns over the nodes, parents before children; empty where the tree has no seed yet.

    `x`, `y` are tenths of a unit. `shade` is 0 to 8 by reward, below zero where there is none. `size` is 0 to 100 by
    visits. `born` and `done` number the moments at which a node came and was settled (-1: not yet), `seconds` says when
    those were, since the first.
    """
    roots = [dot for dot in dots if dot.parent_key is None]
    if not roots:
        return {"nodes": 0}
    order = [dot for dot in dots if dot.depth >= 0]
    places, layout = _places(order, roots[0].key)
    order = [dot for dot in order if dot.key in places]
    return {
        "nodes": len(order),
        "layout": layout,
        "column": COLUMN,
        "row": ROW,
        **_columns(order, places),
        **_looks(order),
        **_moments(order),
    }


def _places(dots: Sequence[Dot], root: str) -> tuple[dict[str, tuple[float, float]], str]:
    children: dict[str, list[str]] = {}
    for dot in dots:
        if dot.parent_key is not None:
            children.setdefault(dot.parent_key, []).append(dot.key)
    found = tidy(children, root)
    rows = max(place.row for place in found.values())
    if rows <= MOST_ROWS:
        return {key: (place.level * COLUMN, place.row * ROW) for key, place in found.items()}, "rows"
    return _rings(found, rows + 1), "rings"


def _rings(places: Mapping[str, Spot], rows: float) -> dict[str, tuple[float, float]]:
    """Rings around the seed, one for each level; where a node stood across is its angle. A level of more nodes than fit
    side by side is as many rings thick as they need, neighbours on different ones.
    """
    levels: dict[int, list[tuple[float, str]]] = {}
    for key, place in places.items():
        levels.setdefault(place.level, []).append((place.row, key))
    found, radius = dict[str, tuple[float, float]](), 0.0
    for level in range(max(levels) + 1):
        members = sorted(levels[level])
        thick = _thickness(len(members), radius)
        for number, (row, key) in enumerate(members):
            angle, at = 2 * pi * row / rows, radius + number % thick * _SPACE
            found[key] = (at * cos(angle), at * sin(angle))
        radius += (thick - 1) * _SPACE + _GAP
    return found


def _thickness(count: int, radius: float) -> int:
    """How many rings, the innermost of this radius, give each of so many nodes its room."""
    thick, room = 1, 2 * pi * radius / _SPACE
    while room < count and radius:
        room += 2 * pi * (radius + thick * _SPACE) / _SPACE
        thick += 1
    return thick


def _columns(order: Sequence[Dot], places: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    index = {dot.key: i for i, dot in enumerate(order)}
    operators = sorted({dot.operator for dot in order if dot.operator})
    place_of = {name: i for i, name in enumerate(operators)}
    return {
        "key": [dot.key for dot in order],
        "parent": [-1 if dot.parent_key is None else index[dot.parent_key] for dot in order],
        "depth": [dot.depth for dot in order],
        "x": [round(places[dot.key][0] * 10) for dot in order],
        "y": [round(places[dot.key][1] * 10) for dot in order],
        "operators": operators,
        "operator": [-1 if dot.operator is None else place_of[dot.operator] for dot in order],
        "reward": [None if dot.reward is None else round(dot.reward, 2) for dot in order],
        "visits": [dot.visits for dot in order],
    }


def _looks(order: Sequence[Dot]) -> dict[str, Any]:
    shades = Shades.over(dot.reward for dot in order)
    most = max((dot.visits for dot in order), default=0) or 1
    return {
        "shade": [_NO_SHADE.get(dot.status, -2) if dot.reward is None else shades.of(dot.reward) for dot in order],
        "size": [round(100 * (dot.visits / most) ** 0.5) for dot in order],
        "origin": [_ORIGINS.get(dot.origin, 0) for dot in order],
        "fate": [_FATES.get(dot.fate, 0) for dot in order],
        "legend": shades.legend(),
    }


def _moments(order: Sequence[Dot]) -> dict[str, Any]:
    times = sorted({when for dot in order for when in (dot.created_at, dot.settled_at) if when is not None})
    number: dict[datetime, int] = {when: i for i, when in enumerate(times)}
    return {
        "born": [number[dot.created_at] for dot in order],
        "done": [-1 if dot.settled_at is None else number[dot.settled_at] for dot in order],
        "seconds": [round((when - times[0]).total_seconds(), 1) for when in times],
    }
