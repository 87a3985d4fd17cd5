"""The drawing of one tree: where each node stands, what shape and shade it has, and how its edge runs.

The seed is at the left; depth grows to the right. An operator makes an edge, so its name stands on the edge.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from db.records import ExampleRow, NodeRow
from orchestrator.report.forest import Forest, reward, root_of
from orchestrator.report.layout import Spot, preorder, tidy
from orchestrator.report.model import TreeStory
from orchestrator.report.shades import Shades
from orchestrator.report.text import shorten
from orchestrator.report.wording import number, words

COLUMN, ROW, LABEL = 148.0, 38.0, 104.0
LEFT, TOP, RIGHT, BOTTOM = 26.0, 46.0, 26.0, 24.0
LEAST_RADIUS, MOST_RADIUS = 6.0, 12.0
MOST_NODES = 300
_LABEL_CHARACTERS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """From parent to child: a curve, then a level run that carries the operator above and the reward below."""

    path: str
    label: str
    figure: str
    text_x: float
    text_y: float
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A node as drawn. `shade` names its fill, `ring` is "", accepted or proposed."""

    anchor: str
    parent_anchor: str | None
    x: float
    y: float
    radius: float
    shape: str
    shade: str
    ring: str
    label: str
    row: NodeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    width: float
    height: float
    levels: tuple[tuple[float, str], ...]
    edges: tuple[Edge, ...]
    marks: tuple[Mark, ...]
    left_out: int


def draw(forest: Forest, tree: TreeStory, shades: Shades) -> Drawing | None:
    """None for a tree without a seed node."""
    root = root_of(tree)
    if root is None:
        return None
    shown = _shown(forest, tree)
    children = _children(shown)
    places = tidy(children, root.key)
    on_path = _on_accepted_paths(forest, shown)
    order = [forest.nodes[root.tree_id, key] for key in preorder(children, root.key)]
    most = max((node.visits for node in order), default=0)
    names = {node.key: f"t{tree.row.ordinal}n{i}" for i, node in enumerate(order)}
    marks = tuple(_mark(forest, node, places[node.key], names, most, shades) for node in order)
    by_anchor = {mark.anchor: mark for mark in marks}
    return Drawing(
        width=LEFT + max(p.level for p in places.values()) * COLUMN + RIGHT + 14,
        height=TOP + max(p.row for p in places.values()) * ROW + BOTTOM,
        levels=tuple(
            (LEFT + level * COLUMN, "seed" if level == 0 else f"depth {level}")
            for level in sorted({p.level for p in places.values()})
        ),
        edges=tuple(
            _edge(by_anchor[mark.parent_anchor], mark, mark.row.key in on_path) for mark in marks if mark.parent_anchor
        ),
        marks=marks,
        left_out=len(tree.nodes) - len(order),
    )


def _shown(forest: Forest, tree: TreeStory) -> dict[str, NodeRow]:
    """All nodes or, of a huge tree, those that matter most with everything above them."""
    if len(tree.nodes) <= MOST_NODES:
        return {node.key: node for node in tree.nodes}
    shown: dict[str, NodeRow] = {}
    for node in sorted(tree.nodes, key=lambda node: _weight(forest, node), reverse=True):
        path = {above.key: above for above in forest.path(node)}
        if len(shown.keys() | path.keys()) <= MOST_NODES:
            shown.update(path)
    return shown


def _weight(forest: Forest, node: NodeRow) -> tuple[bool, int, float]:
    return (forest.example(node) is not None, node.visits, reward(node) or 0.0)


def _children(shown: Mapping[str, NodeRow]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {}
    for node in sorted(shown.values(), key=lambda node: (node.depth, node.ordinal, node.key)):
        if node.parent_key in shown:
            children.setdefault(node.parent_key or "", []).append(node.key)
    return children


def _on_accepted_paths(forest: Forest, shown: Mapping[str, NodeRow]) -> set[str]:
    accepted = [node for node in shown.values() if ring(forest.example(node)) == "accepted"]
    return {above.key for node in accepted for above in forest.path(node)}


def ring(example: ExampleRow | None) -> str:
    """Which ring shows that a node was harvested."""
    if example is None:
        return ""
    return "accepted" if example.status == "accepted" else "proposed"


def shade(node: NodeRow, shades: Shades) -> str:
    """q0, q1, ... by reward, or the status of a node that has none."""
    value = reward(node)
    if value is None:
        return node.status if node.status in ("rejected", "failed", "unscored") else "open"
    return f"q{shades.of(value)}"


def _mark(forest: Forest, node: NodeRow, place: Spot, names: Mapping[str, str], most: int, shades: Shades) -> Mark:
    size = (node.visits / most) ** 0.5 if most else 0.0
    parent = names.get(node.parent_key) if node.parent_key is not None else None
    return Mark(
        anchor=names[node.key],
        parent_anchor=parent,
        x=LEFT + place.level * COLUMN,
        y=TOP + place.row * ROW,
        radius=round(LEAST_RADIUS + (MOST_RADIUS - LEAST_RADIUS) * size, 1),
        shape={"seed": "square", "simulation": "diamond"}.get(node.origin, "circle"),
        shade=shade(node, shades),
        ring=ring(forest.example(node)),
        label=_spoken(node, forest.example(node)),
        row=node,
    )


def _spoken(node: NodeRow, example: ExampleRow | None) -> str:
    """What a screen reader says: the things that the drawing says by shape, shade, size and ring."""
    name = "Seed" if node.parent_key is None else words(node.operator or node.origin)
    value = f"reward {number(reward(node))}" if reward(node) is not None else words(node.status)
    kind = ", simulation" if node.origin == "simulation" else ""
    example_word = f", example {example.status}" if example is not None else ""
    return f"{shorten(name, 60)}, depth {node.depth}{kind}, {value}, visits {node.visits}{example_word}"


def _edge(parent: Mark, child: Mark, chosen: bool) -> Edge:
    start, bend, end = parent.x + parent.radius, child.x - LABEL, child.x - child.radius - (4 if child.ring else 0)
    curve = f"C{(start + bend) / 2:g},{parent.y:g} {(start + bend) / 2:g},{child.y:g} {bend:g},{child.y:g}"
    return Edge(
        path=f"M{start:g},{parent.y:g}{curve}H{end:g}",
        label=shorten(words(child.row.operator or ""), _LABEL_CHARACTERS),
        figure=number(reward(child.row)) if reward(child.row) is not None else words(child.row.status),
        text_x=child.x - MOST_RADIUS - 7,
        text_y=child.y,
        chosen=chosen,
    )
