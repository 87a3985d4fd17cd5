"""What a policy remembers of a tree: a fold over what was issued and what was committed.

Nothing of it is stored. A tree that was loaded from its rows is folded again and remembers the same, because a fold may
not depend on how the two orders interleave, nor on where among the committed ones a node stands that has no reward.
"""

from collections.abc import Callable, Hashable
from typing import TypeVar

from orchestrator.search.tree import Node, Tree

M = TypeVar("M", bound="Memo")


class Memo:
    """Base of what is remembered; it takes note of nothing."""

    __slots__ = ("committed", "issued")

    def __init__(self) -> None:
        self.issued = 0
        self.committed = 0

    def on_issue(self, tree: Tree, node: Node) -> None:
        """An evolution has gone out."""

    def on_commit(self, tree: Tree, node: Node) -> None:
        """What came of an evolution is known; without a reward it was rejected, failed or could not be scored."""


def remembered(tree: Tree, owner: Hashable, make: Callable[[], M]) -> M:
    """The owner's memo of this tree, brought up to date."""
    memo: M = tree.memos.get(owner) or tree.memos.setdefault(owner, make())
    while memo.issued < len(tree.issued):
        memo.on_issue(tree, tree.nodes[tree.issued[memo.issued]])
        memo.issued += 1
    while memo.committed < len(tree.committed):
        memo.on_commit(tree, tree.nodes[tree.committed[memo.committed]])
        memo.committed += 1
    return memo
