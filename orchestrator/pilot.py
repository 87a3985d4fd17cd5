"""The pilot of a run: a few trees, grown first and deep, teach all others where growing deeper stops to pay."""

from sqlalchemy import Connection

from db import nodes, runs
from db.records import TreeRow
from orchestrator.forest import restored
from orchestrator.recipes import SearchSettings
from orchestrator.search import Policy
from orchestrator.search.pilot import depth_limit

# With fewer seeds for each pilot tree than this, the pilot would be most of the run.
_SEEDS_PER_PILOT = 4


class Pilot:
    """Which policy a tree is grown by.

    What the pilot trees teach is a function of their rows, so it is worked out again after a restart, never stored.
    """

    def __init__(self, search: SearchSettings) -> None:
        self._search = search
        self._pilots = 0
        self._depth: int | None = None

    def load(self, connection: Connection, run_id: int, seed: int) -> None:
        """Learns what the rows have to teach so far."""
        wanted = _SEEDS_PER_PILOT * self._search.pilots
        rows = runs.trees_of(connection, run_id, most=wanted)
        self._pilots = self._search.pilots if len(rows) >= wanted else 0
        self._learn(connection, rows[: self._pilots], seed)

    def policy(self, ordinal: int) -> Policy:
        """The policy of the tree with this ordinal."""
        if ordinal < self._pilots:
            return self._search.pilot_policy()
        return self._search.policy(self._depth)

    def lets_open(self, connection: Connection, row: TreeRow, seed: int) -> bool:
        """Whether this tree may be opened: it is a pilot, or all pilots have been heard."""
        if row.ordinal >= self._pilots and self._depth is None and self._pilots:
            self._learn(connection, runs.trees_of(connection, row.run_id, most=self._pilots), seed)
        return row.ordinal < self._pilots or not self._pilots or self._depth is not None

    def _learn(self, connection: Connection, pilots: list[TreeRow], seed: int) -> None:
        if not pilots or any(row.status != "grown" for row in pilots):
            return
        ids = [row.id for row in pilots]
        trees = restored(pilots, nodes.of_trees(connection, ids), nodes.rollouts_of(connection, ids), {}, seed)
        self._depth = depth_limit([growing.tree for growing in trees])
