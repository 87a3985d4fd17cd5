"""What workers bring, as the run sees it: a text too near to one it has already is no text, and a tag has one name.

The order in which texts come decides which of two alike is refused, so it is kept: each text's row has the version of
the pool that it was held against, and a pool taken up again from the rows is the same.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from db import nodes, runs
from orchestrator.apply import Settled
from orchestrator.config import TreeConfig
from orchestrator.diversity import Candidate, Gate, GateSettings
from orchestrator.search import Grown, Rejected, Tree
from orchestrator.search.ids import root_key
from orchestrator.seeds import Seed
from workers.contracts import Reason


class Intake:
    """The texts of one run."""

    def __init__(self, config: TreeConfig) -> None:
        self._config = config
        self._gate: Gate | None = None

    def load(self, connection: Connection, run_id: int) -> None:
        """Takes in the seeds, then what was let in so far, in that order."""
        chosen = self._config.diversity
        if not chosen.gate:
            return
        settings = GateSettings(lexical=chosen.lexical, embedding=chosen.embedding, embedder=self._config.work.embedder)
        self._gate = Gate(settings)
        rows = runs.trees_of(connection, run_id)
        self._gate.take(((row.id, root_key(self._config.seed, row.ordinal)), Seed(**row.seed).text) for row in rows)
        self._gate.take(((row.tree_id, row.key), row.text or "") for row in nodes.of_pool(connection, run_id))

    def weigh(self, tree: Tree, settled: Sequence[Settled]) -> list[Settled]:
        """The same, where texts that are too near to others are rejections."""
        return [self._let_in(tree, one) if isinstance(one.outcome, Grown) else one for one in settled]

    def _let_in(self, tree: Tree, one: Settled) -> Settled:
        if self._gate is None:
            return one
        row, parent = one.row, tree.node(one.row.key).parent or tree.root
        line = tuple((row.tree_id, node.key) for node in tree.path(parent))
        (verdict,) = self._gate.admit([Candidate(id=(row.tree_id, row.key), text=row.text or "", ancestors=line)])
        if verdict.near is None:
            return replace(one, row=replace(row, pool_version=verdict.version))
        refused = replace(row, status="rejected", reason=Reason.DUPLICATE.value)
        return Settled(outcome=Rejected(key=row.key), row=refused)
