"""What opens when a node is chosen, and the frame of one tree."""

from collections.abc import Mapping
from dataclasses import dataclass

from db.records import ExampleRow, NodeRow
from orchestrator.report.diff import Piece, clip, word_difference
from orchestrator.report.distributions import score
from orchestrator.report.drawing import Drawing, Mark, draw
from orchestrator.report.forest import Forest, reward
from orchestrator.report.model import DIMENSIONS, NodeCost, NodeId, TreeGain
from orchestrator.report.numbers import difference
from orchestrator.report.shades import Shades
from orchestrator.report.text import HEAD_CHARACTERS, MOST_CHARACTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    dimension: str
    value: float | None
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A text in pieces; `head` is its beginning where it is long."""

    head: tuple[Piece, ...] | None
    body: tuple[Piece, ...]
    characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """`before` is the parent's text with what went, `text` the node's with what came. Either is None if absent."""

    mark: Mark
    text: Marked | None
    before: Marked | None
    seed_input: str
    scores: tuple[ScoreLine, ...]
    mean_value: float | None
    cost: NodeCost | None
    example: ExampleRow | None
    opened: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeView:
    """One tree as shown. `drawing` is None if it has no seed node."""

    found: TreeGain
    instruction: str
    drawing: Drawing | None
    panels: tuple[Panel, ...]


def view(forest: Forest, found: TreeGain, costs: Mapping[NodeId, NodeCost], shades: Shades) -> TreeView:
    drawing = draw(forest, found.tree, shades)
    seed = found.tree.row.seed
    root_text = found.root.text if found.root is not None else None
    opened = (found.best or found.root) if drawing is not None else None
    marks = drawing.marks if drawing is not None else ()
    return TreeView(
        found=found,
        instruction=str(seed.get("instruction", root_text or "")),
        drawing=drawing,
        panels=tuple(_panel(forest, mark, costs, str(seed.get("input") or ""), mark.row is opened) for mark in marks),
    )


def _panel(forest: Forest, mark: Mark, costs: Mapping[NodeId, NodeCost], seed_input: str, opened: bool) -> Panel:
    node, parent = mark.row, forest.parent(mark.row)
    text, before = beside(node, parent)
    return Panel(
        mark=mark,
        text=text,
        before=before,
        seed_input=seed_input if parent is None else "",
        scores=tuple(score_line(node, parent, dimension) for dimension in DIMENSIONS),
        mean_value=node.value_sum / node.visits if node.visits else None,
        cost=costs.get((node.tree_id, node.key)),
        example=forest.example(node),
        opened=opened,
    )


def score_line(node: NodeRow, parent: NodeRow | None, dimension: str) -> ScoreLine:
    """One of a node's scores, and what it is above its parent's."""
    value = reward(node) if dimension == "reward" else score(node, dimension)
    gain = difference(value, score(parent, dimension)) if parent is not None else None
    return ScoreLine(dimension=dimension, value=value, gain=gain)


def beside(node: NodeRow, parent: NodeRow | None) -> tuple[Marked | None, Marked | None]:
    """The node's text and its parent's, each with what the other lacks where both are there."""
    old, new = (parent.text if parent is not None else None), node.text
    if old is None or new is None:
        return _plain(new), _plain(old)
    return compared(old, new)


def compared(old: str, new: str) -> tuple[Marked, Marked]:
    """The new text and the old one, each with what the other lacks."""
    found = word_difference(old, new)
    return _marked(found.after, len(new)), _marked(found.before, len(old))


def _plain(text: str | None) -> Marked | None:
    """A text that is held against none; None where there is none."""
    return None if text is None else _marked((Piece(text=text, changed=False),), len(text))


def _marked(pieces: tuple[Piece, ...], characters: int) -> Marked:
    head = clip(pieces, HEAD_CHARACTERS) if characters > HEAD_CHARACTERS * 1.2 else None
    return Marked(head=head, body=clip(pieces, MOST_CHARACTERS), characters=characters)
