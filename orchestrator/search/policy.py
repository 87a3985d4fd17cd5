"""What every way to grow trees offers."""

from typing import Protocol

from orchestrator.search.tree import NO_LIMIT, Step, Tree


class Policy(Protocol):
    """A way to grow trees."""

    def within(self, evolutions: int) -> "Policy":
        """The same, with no more evolutions of a tree than these."""
        ...

    def ask(self, tree: Tree, most: int = NO_LIMIT) -> Step:
        """Everything that can be decided now, at most so many evolutions. An empty step: wait, or it is spent."""
        ...

    def is_spent(self, tree: Tree) -> bool:
        """Nothing more will be asked of this tree."""
        ...
