"""Which nodes of a run's trees may be harvested first, read a few trees at a time.

However many trees there are, no more candidates are held than may be taken: those that come after them in the order of
the harvest are let go.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db import judgements, nodes, runs
from db.records import JudgementRow, NodeRow, TreeRow
from orchestrator.choosing import Candidate, Rank, rank_of
from orchestrator.config import TreeConfig
from orchestrator.forest import Growing, restored
from orchestrator.search import candidates
from orchestrator.search.harvest import estimates, evolved
from orchestrator.seeds import Seed

# So many more than may be chosen are judged again: who was unlucky the first time shall have a chance.
GENEROUS = 1.5
# Trees read at once.
BATCH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the judges of the search said of nodes after their first word: mean rewards, and of how many."""

    means: Mapping[tuple[int, str], float]
    counts: Mapping[tuple[int, str], int]
    noise: float

    def of_tree(self, growing: Growing) -> dict[str, float]:
        """The estimate of each node of a tree (policies.md, 2)."""
        mine = {key for tree, key in self.means if tree == growing.row.id}
        return estimates(
            growing.tree,
            noise=self.noise,
            judgements={key: self.counts[growing.row.id, key] for key in mine},
            scores={key: self.means[growing.row.id, key] for key in mine},
        )


class Gathering:
    """The first `most` candidates of the trees read so far, and the texts of all their seeds.

    `let_go`: there were more. `generous`: of each tree half as many more than may be chosen.
    """

    def __init__(self, config: TreeConfig, most: int, *, generous: bool = False) -> None:
        self._config = config
        self.most = most
        self._generous = generous
        self._rank = rank_of(config.harvest.mode, config.seed)
        self._kept: list[tuple[Rank, Candidate]] = []
        self._last: Rank | None = None
        self._after = -1
        self._noise: float | None = None
        self.seeds: list[str] = []
        self.let_go = False

    def read_on(self, connection: Connection, run_id: int) -> bool:
        """Reads the next trees. Returns whether there were any."""
        rows = runs.trees_of(connection, run_id, after=self._after, most=BATCH)
        if not rows:
            return False
        self._after = rows[-1].ordinal
        self.seeds += [Seed(**row.seed).text for row in rows]
        self._keep(self._candidates_of(connection, [row for row in rows if row.status != "waiting"]))
        return True

    def first(self) -> list[Candidate]:
        """In the order in which they are taken."""
        self._cut()
        return [candidate for _, candidate in self._kept]

    def _keep(self, found: Iterable[Candidate]) -> None:
        for candidate in found:
            rank = self._rank(candidate)
            if self._last is None or rank < self._last:
                self._kept.append((rank, candidate))
            else:
                self.let_go = True
        if len(self._kept) > 2 * self.most:
            self._cut()

    def _cut(self) -> None:
        self._kept.sort(key=lambda pair: pair[0])
        if len(self._kept) > self.most:
            self.let_go = True
            del self._kept[self.most :]
            self._last = self._kept[-1][0]

    def _candidates_of(self, connection: Connection, rows: Sequence[TreeRow]) -> list[Candidate]:
        if not rows:
            return []
        ids = [row.id for row in rows]
        found = nodes.of_trees(connection, ids)
        texts = {(row.tree_id, row.key): row.text or "" for row in found}
        trees = restored(rows, found, nodes.rollouts_of(connection, ids), {}, self._config.seed)
        said = self._heard(connection, rows, found) if self._config.harvest.mode == "estimate" else None
        return [
            Candidate(
                tree_id=growing.row.id,
                tree=growing.row.ordinal,
                key=key,
                parent=growing.tree.node(key).parent,
                text=texts[growing.row.id, key],
                worth=worth,
            )
            for growing in trees
            for key, worth in self._best_of(growing, said)
        ]

    def _heard(self, connection: Connection, rows: Sequence[TreeRow], found: Sequence[NodeRow]) -> Heard:
        if self._noise is None:
            self._noise = judgements.noise(connection, rows[0].run_id) or self._config.harvest.noise
        return heard(judgements.of_trees(connection, [row.id for row in rows], "search"), found, self._noise)

    def _best_of(self, growing: Growing, said: Heard | None) -> list[tuple[str, float]]:
        """The nodes of a tree that may be chosen, best first, and what each is worth."""
        chosen = self._config.harvest
        estimated = said.of_tree(growing) if said else {}
        found = candidates(growing.tree) if chosen.mode == "paths" else evolved(growing.tree)
        worths = {node.key: estimated.get(node.key, node.reward or 0.0) for node in found}
        most = chosen.per_tree
        limit = None if most is None else math.ceil(most * GENEROUS) if self._generous else most
        return sorted(worths.items(), key=lambda item: (-item[1], item[0]))[:limit]


def heard(again: Sequence[JudgementRow], found: Sequence[NodeRow], noise: float) -> Heard:
    """First and later judgements taken together: each node's mean, every judgement counting as one."""
    later = [row for row in again if row.reward is not None]
    twice = {(row.tree_id, row.node_key) for row in later}
    sums: dict[tuple[int, str], float] = {}
    counts: dict[tuple[int, str], int] = {}
    for node in found:
        name = (node.tree_id, node.key)
        if node.reward is not None and (node.judgements > 1 or name in twice):
            sums[name], counts[name] = node.reward * node.judgements, node.judgements
    for row in later:
        sums[row.tree_id, row.node_key] += row.reward or 0.0
        counts[row.tree_id, row.node_key] += 1
    return Heard(means={name: sums[name] / counts[name] for name in sums}, counts=counts, noise=noise)
