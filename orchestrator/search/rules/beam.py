"""Beam search: level by level, equally many children for each of the best. The baseline that is hard to beat."""

from bisect import insort
from dataclasses import dataclass

from orchestrator.search.memo import Memo, remembered
from orchestrator.search.stepwise import Plan
from orchestrator.search.tree import Node, Tree

Level = tuple[int, int]


class Rows(Memo):
    """The levels of each beam, in order of score; `open` counts what is under way to a level.

    A beam is `size` evolutions long. What is left of the budget begins another at the seed, beside the first.
    """

    __slots__ = ("beam_of", "births", "open", "rows", "size")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.beam_of: dict[str, int] = {}
        self.births: dict[tuple[int, str], int] = {}
        self.rows: dict[Level, list[tuple[float, str]]] = {}
        self.open: dict[Level, int] = {}

    def on_issue(self, tree: Tree, node: Node) -> None:
        beam = self.beam_of[node.key] = self.issued // self.size
        birth, level = (beam, node.parent or tree.root), (beam, node.depth)
        self.births[birth] = self.births.get(birth, 0) + 1
        self.open[level] = self.open.get(level, 0) + 1

    def on_commit(self, tree: Tree, node: Node) -> None:
        level = (self.beam_of[node.key], node.depth)
        self.open[level] -= 1
        if node.reward is not None:
            insort(self.rows.setdefault(level, []), (-node.reward, node.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam:
    """The `width` best of a level have equally many children, then the level is complete and the next begins.

    A level is budget / depth / width, rounded down, children for each of them, and at least one; the seed alone has the
    whole of the first. A level of which nothing survived is tried again from the one above.

    Raises:
        ValueError: there is no width.
    """

    width: int = 4

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError(f"a beam needs a width of at least 1, not {self.width}")

    def select(self, tree: Tree, plan: Plan) -> Node | None:
        """None while a level is not complete."""
        per_level = max(1, plan.budget // plan.max_depth // self.width) * self.width
        size = per_level * plan.max_depth
        memo = remembered(tree, (self, size), lambda: Rows(size))
        beam, done = divmod(len(tree.issued), size)
        level = done // per_level
        if any(memo.open.get((beam, depth)) for depth in range(1, level + 1)):
            return None
        while level > 0 and not memo.rows.get((beam, level)):
            level -= 1
        if level == 0:
            return tree.nodes[tree.root]
        best = [key for _, key in memo.rows[beam, level][: self.width]]
        return tree.nodes[min(best, key=lambda key: memo.births.get((beam, key), 0))]
