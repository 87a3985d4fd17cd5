"""The growing of a run's trees: tells the core what workers found, asks it, and issues what it proposes.

Trees in memory are a copy of their rows. Everything here happens inside the transaction of one tick; when that fails
the copy is thrown away and loaded again.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from db import nodes, runs, tasks
from db.records import NewTask, NodeRow, RolloutRow, Run, Spend, TreeRow
from orchestrator.apply import Applied, Settled
from orchestrator.budget import Prompts, calls_for, committed, out_of_time, share_in_evolutions, worst_case
from orchestrator.config import TreeConfig
from orchestrator.forest import Growing, node_row, planted, restored, rollout_row
from orchestrator.intake import Intake
from orchestrator.issue import Purse, keys_in, keys_of, task_for
from orchestrator.pilot import Pilot
from orchestrator.search import Expand, Policy, Proposal, Rollout, candidates, release, tell
from workers.contracts import Kind, Reason, tree_payload_of

# So many waiting trees are read at once.
_AHEAD = 200


@dataclass(slots=True, kw_only=True)
class Writes:
    """What a tick has decided, to be written in bulk at its end."""

    planted: list[NodeRow] = field(default_factory=list)
    rollouts: list[RolloutRow] = field(default_factory=list)
    statistics: dict[tuple[int, str], NodeRow] = field(default_factory=dict)
    issued: list[NewTask] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    grown: dict[int, int] = field(default_factory=dict)

    def flush(self, connection: Connection, run_id: int) -> list[tuple[int, str]]:
        """Writes it all; returns the (id, kind) of the tasks."""
        runs.set_tree_status(connection, dict.fromkeys(self.opened, 0), "growing")
        runs.set_tree_status(connection, self.grown, "grown")
        nodes.add(connection, self.planted)
        nodes.roll_out(connection, self.rollouts, list(self.statistics.values()))
        runs.reserve(connection, run_id, sum((task.reserved for task in self.issued), Spend()))
        return tasks.enqueue(connection, run_id, self.issued)


class Growth:
    """The trees in hand: those that grow, and of those that wait the next few.

    What a tree proposes follows from what it was told, so only trees that have heard something are asked again.
    """

    def __init__(self, config: TreeConfig, prompts: Prompts) -> None:
        self._config = config
        self._prompts = prompts
        self._litter_costs = [calls_for(config.work, count + 1) for count in range(config.search.least_litter)]
        self._growing: dict[int, Growing] = {}
        self._stirred: set[int] = set()
        self._waiting: deque[TreeRow] = deque()
        self._harvestable = 0
        self._pilot = Pilot(config.search)
        self._intake = Intake(config)

    @property
    def is_over(self) -> bool:
        """No tree grows, and none is left to be opened."""
        return not self._growing and not self._waiting

    def load(self, connection: Connection, run_id: int) -> None:
        """Takes the trees up from their rows."""
        in_flight: dict[int, set[str]] = {}
        for task in tasks.outstanding(connection, run_id):
            payload = tree_payload_of.validate_python(task.payload)
            in_flight.setdefault(payload.tree_id, set()).update(keys_in(payload))
        rows = runs.trees_of(connection, run_id, status=["growing"])
        ids = [row.id for row in rows]
        found, rolled_out = nodes.of_trees(connection, ids), nodes.rollouts_of(connection, ids)
        grown = restored(rows, found, rolled_out, in_flight, self._config.seed)
        self._growing = {growing.row.id: growing for growing in grown}
        self._stirred = set(self._growing)
        self._waiting = deque(_next_waiting(connection, run_id))
        self._harvestable = runs.harvestable(connection, run_id)
        self._pilot.load(connection, run_id, self._config.seed)
        self._intake.load(connection, run_id)

    def tell(self, news: Iterable[Applied]) -> list[NodeRow]:
        """Tells the core what came of nodes, as the run's wealth of texts and tags sees it; only what was news to it is
        returned, to be written.
        """
        heard: list[NodeRow] = []
        for applied in news:
            growing = self._growing.get(applied.tree_id)
            if growing is not None:
                fresh = [one for one in applied.settled if not growing.tree.node(one.row.key).is_settled]
                heard += self._heard(growing, self._intake.weigh(growing.tree, fresh))
        return heard

    def _heard(self, growing: Growing, settled: Sequence[Settled]) -> list[NodeRow]:
        known = [one.row for one in settled if tell(growing.tree, one.outcome)]
        growing.count(known)
        self._stir(growing)
        return known

    def _stir(self, growing: Growing) -> None:
        self._stirred.add(growing.row.id)
        growing.stake = None

    def step(self, connection: Connection, run: Run) -> tuple[list[tuple[int, str]], bool]:
        """Asks every tree, opening new ones while there is room.

        Returns the (id, kind) of the tasks that were issued, and whether a cap stood in the way.
        """
        writes, (purse, answers) = Writes(), self._purse(run)
        blocked = out_of_time(run, answers=answers) or self._propose_all(connection, writes, purse)
        return writes.flush(connection, run.id), blocked

    def cut(self, connection: Connection, run_id: int) -> None:
        """A cap has ended the search: what has grown so far is harvested, also what no step has taken note of yet."""
        writes = Writes()
        for growing in self._growing.values():
            no_more = self._policy(growing).within(len(growing.tree.issued))
            self._back_up(growing, no_more.ask(growing.tree).rollouts, writes)
        writes.flush(connection, run_id)
        runs.set_tree_status(connection, dict.fromkeys(self._growing, 0), "cut", reason=Reason.BUDGET)
        self._growing.clear()
        self._stirred.clear()

    def _purse(self, run: Run) -> tuple[Purse, int]:
        """The budget less what must follow: scores for texts on their way, responses for what may be harvested.

        And how many responses those are.
        """
        stakes = [growing.at_stake() for growing in self._growing.values()]
        evolving = sum(stake.evolving for stake in stakes)
        earmarked = Spend()
        for unjudged, trees in Counter(stake.unjudged for stake in stakes).items():
            earmarked += self._judging(unjudged).times(trees)
        expected = min(self._harvestable + evolving, self._config.harvest.size)
        earmarked += self._responses(expected)
        purse = Purse(caps=run.caps, committed=committed(run), earmarked=earmarked)
        return purse, expected if self._config.harvest.responses else 0

    def _judging(self, count: int) -> Spend:
        return worst_case(self._config.work, Kind.EVALUATE, count, self._prompts) if count else Spend()

    def _responses(self, count: int) -> Spend:
        if not self._config.harvest.responses:
            return Spend()
        return worst_case(self._config.work, Kind.RESPOND, count, self._prompts)

    def _propose_all(self, connection: Connection, writes: Writes, purse: Purse) -> bool:
        """Asks every tree, opening new ones while there is room. Returns whether a cap stood in the way."""
        blocked = False
        asked: set[int] = set()
        while True:
            for growing in [self._growing[key] for key in sorted(self._stirred - asked)]:
                asked.add(growing.row.id)
                blocked |= not self._propose(growing, writes, purse)
                if self._policy(growing).is_spent(growing.tree):
                    self._finish_tree(writes, growing)
            if blocked or len(self._growing) >= self._config.trees_at_once or not self._may_open(connection):
                return blocked
            self._open_tree(connection, writes)

    def _may_open(self, connection: Connection) -> bool:
        return bool(self._waiting) and self._pilot.lets_open(connection, self._waiting[0], self._config.seed)

    def _policy(self, growing: Growing) -> Policy:
        policy = self._pilot.policy(growing.row.ordinal)
        return policy if self._config.search.calls is None else policy.within(self._allowed(growing))

    def _allowed(self, growing: Growing) -> int:
        """How many evolutions the tree may have by now, its share of calls being what it is."""
        share, tree = self._config.search.calls or 0, growing.tree
        if not growing.budget or (len(tree.issued) >= growing.budget and not tree.open):
            taken = [growing.calls[key] for key in tree.issued]
            growing.budget = share_in_evolutions(share, taken, self._litter_costs, settled=not tree.open)
        return growing.budget

    def _propose(self, growing: Growing, writes: Writes, purse: Purse) -> bool:
        """Issues what one tree proposes, as far as the budget goes; what cannot be paid is taken back."""
        growing.stake = None
        step = self._policy(growing).ask(growing.tree)
        self._back_up(growing, step.rollouts, writes)
        for number, proposal in enumerate(step.proposals):
            task = task_for(growing.row.id, proposal, self._config.work, self._prompts)
            if not self._afford(proposal, task, purse):
                _take_back(growing, step.proposals[number:])
                return False
            self._issue(growing, proposal, task, writes)
        self._stirred.discard(growing.row.id)
        return True

    def _afford(self, proposal: Proposal, task: NewTask, purse: Purse) -> bool:
        if isinstance(proposal, Expand):
            count = len(proposal.children)
            return purse.take(task, follows=self._judging(count) + self._responses(count))
        return purse.take(task, was_earmarked=proposal.parent is not None)

    def _issue(self, growing: Growing, proposal: Proposal, task: NewTask, writes: Writes) -> None:
        writes.issued.append(task)
        if isinstance(proposal, Expand):
            writes.planted.extend(node_row(growing.row.id, growing.tree, child) for child in proposal.children)

    def _back_up(self, growing: Growing, rollouts: tuple[Rollout, ...], writes: Writes) -> None:
        for rollout in rollouts:
            writes.rollouts.append(rollout_row(growing.row.id, rollout))
            for node in growing.tree.path(rollout.leaf):
                writes.statistics[growing.row.id, node.key] = node_row(growing.row.id, growing.tree, node)

    def _open_tree(self, connection: Connection, writes: Writes) -> None:
        row = self._waiting.popleft()
        if not self._waiting:
            self._waiting.extend(_next_waiting(connection, row.run_id, row.ordinal))
        growing, root = planted(row, self._config.seed)
        self._growing[row.id] = growing
        self._stir(growing)
        writes.opened.append(row.id)
        writes.planted.append(root)

    def _finish_tree(self, writes: Writes, growing: Growing) -> None:
        count = len(candidates(growing.tree))
        self._harvestable += count
        writes.grown[growing.row.id] = count
        del self._growing[growing.row.id]
        self._stirred.discard(growing.row.id)


def _next_waiting(connection: Connection, run_id: int, after: int | None = None) -> list[TreeRow]:
    return runs.trees_of(connection, run_id, status=["waiting"], after=after, most=_AHEAD)


def _take_back(growing: Growing, proposals: Sequence[Proposal]) -> None:
    """Last first, so that the children of a parent keep their order."""
    for proposal in reversed(proposals):
        for key in reversed(keys_of(proposal)):
            release(growing.tree, key)
