"""The scheduler of one run: applies what workers finished, asks the core, issues what it proposes.

Everything a tick does is one transaction, fenced by the run's owner token: results applied, statistics, follow-up tasks
and the budget change together or not at all. Hints go out after the commit. Trees in memory are a copy of their rows;
when a transaction fails they are thrown away and read again.
"""

from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection, Engine

from db import calls, examples, nodes, runs, tasks, views
from db.chaos import stumble
from db.records import NewTask, NodeRow, RolloutRow, Run, Spend, TaskRow, TreeRow
from orchestrator.apply import Applied, interpret
from orchestrator.budget import committed, out_of_time, worst_case
from orchestrator.config import frozen_config
from orchestrator.forest import Growing, node_row, planted, restored, rollout_row
from orchestrator.issue import Purse, keys_in, keys_of, response_task, task_for
from orchestrator.pool import Candidate, choose
from orchestrator.search import Expand, Proposal, Rollout, Status, candidates, release, tell
from orchestrator.search.tree import is_unjudged
from orchestrator.seeds import Seed
from workers.config import Role
from workers.contracts import MAX_ATTEMPTS, Kind, Reason

log = structlog.get_logger()

OWNER_LEASE_S = 20.0
HINT_AGE_S = 30.0
BATCH = 200
# Errors of this kind are no task's fault: the run waits for its owner to mend the endpoint.
BROKEN_ENDPOINT = "EndpointBroken"


@dataclass(slots=True, kw_only=True)
class Writes:
    """What a tick has decided, to be written in bulk at its end."""

    planted: list[NodeRow] = field(default_factory=list)
    rollouts: list[RolloutRow] = field(default_factory=list)
    statistics: dict[tuple[int, str], NodeRow] = field(default_factory=dict)
    issued: list[NewTask] = field(default_factory=list)


class Driver:
    """Drives one run that this process owns, one transaction per `tick`."""

    def __init__(self, engine: Engine, run: Run) -> None:
        self._engine = engine
        self._run = run
        self._config = frozen_config(run)
        self._policy = self._config.search.policy()
        self._growing: dict[int, Growing] = {}
        self._waiting: list[TreeRow] = []
        self._harvestable = 0
        self._prompts: dict[Role, int] = {}
        self._loaded = False

    @property
    def run(self) -> Run:
        return self._run

    @property
    def over(self) -> bool:
        """Nothing to drive any more: the run has ended, or its user has stopped it for now."""
        return self._run.status != "running"

    def tick(self) -> tuple[bool, list[tuple[int, str]]]:
        """One round. Returns whether anything moved, and the (id, kind) of tasks to hint.

        Raises:
            StaleLease: another orchestrator has adopted the run.
        """
        try:
            with self._engine.begin() as connection:
                self._run = runs.hold(connection, self._run, lease_s=OWNER_LEASE_S)
                done = (False, []) if self.over else self._round(connection)
                stumble()
            stumble()
            return done
        except BaseException:
            self._loaded = False
            raise

    def sweep(self, hint_age_s: float = HINT_AGE_S) -> list[tuple[int, str]]:
        """Frees what dead workers held, and returns due tasks whose hint seems lost; pauses on a broken endpoint."""
        with self._engine.begin() as connection:
            self._run = runs.hold(connection, self._run, lease_s=OWNER_LEASE_S)
            if error := tasks.complaint(connection, self._run.id, BROKEN_ENDPOINT):
                runs.set_status(connection, self._run.id, "paused", reason=error.partition(": ")[2])
                self._run = runs.by_id(connection, self._run.id)
                return []
            return tasks.sweep(connection, self._run.id, max_attempts=MAX_ATTEMPTS, hint_age_s=hint_age_s)

    def let_go(self) -> None:
        with self._engine.begin() as connection:
            runs.let_go(connection, self._run)

    def _round(self, connection: Connection) -> tuple[bool, list[tuple[int, str]]]:
        if not self._loaded:
            self._load(connection)
        applied = self._apply(connection)
        self._run = runs.by_id(connection, self._run.id)
        step = self._grow if self._run.phase == "growing" else self._await_responses
        added = step(connection)
        return bool(applied or added), added

    # -- what workers finished

    def _load(self, connection: Connection) -> None:
        run_id = self._run.id
        outstanding = tasks.outstanding(connection, run_id)
        in_flight: dict[int, set[str]] = {}
        for task in outstanding:
            in_flight.setdefault(task.tree_id, set()).update(keys_in(task))
        rows = runs.trees_of(connection, run_id, status=["growing"])
        ids = [row.id for row in rows]
        grown = restored(
            rows,
            nodes.of_trees(connection, ids),
            nodes.rollouts_of(connection, ids),
            in_flight,
            self._config.seed,
        )
        self._growing = {growing.row.id: growing for growing in grown}
        self._waiting = runs.trees_of(connection, run_id, status=["waiting"])
        self._harvestable = nodes.count_on_paths(connection, run_id)
        self._loaded = True

    def _apply(self, connection: Connection) -> int:
        finished = tasks.finished(connection, self._run.id, BATCH)
        if not finished:
            return 0
        applied = [interpret(task) for task in finished]
        nodes.settle(connection, [row for news in applied for row in self._tell(news)])
        examples.settle(connection, self._run.id, [example for news in applied for example in news.examples])
        runs.settle(
            connection,
            self._run.id,
            reserved=sum((task.reserved for task in finished), Spend()),
            task_ids=[task.id for task in finished],
            replayed=sum(news.replayed for news in applied),
        )
        self._learn(connection, finished)
        tasks.close(connection, finished)
        return len(finished)

    def _learn(self, connection: Connection, finished: list[TaskRow]) -> None:
        """How long prompts really are, so that no more is reserved than may be needed."""
        for role, tokens in calls.longest_prompts(connection, [task.id for task in finished]).items():
            self._prompts[Role(role)] = max(tokens, self._prompts.get(Role(role), 0))

    def _tell(self, news: Applied) -> list[NodeRow]:
        """Tells the core; only what was news to it is written."""
        growing = self._growing.get(news.tree_id)
        if growing is None:
            return []
        return [change.row for change in news.changes if tell(growing.tree, change.outcome)]

    # -- what to ask next

    def _grow(self, connection: Connection) -> list[tuple[int, str]]:
        writes, purse, answers = Writes(), *self._purse()
        blocked = out_of_time(self._run, answers=answers) or self._propose_all(connection, writes, purse)
        added = self._write(connection, writes)
        if not added and not self._growing and not self._waiting:
            return self._harvest(connection)
        if blocked and not added and not tasks.any_open(connection, self._run.id):
            return self._cut(connection)
        return added

    def _purse(self) -> tuple[Purse, int]:
        """The budget less what must follow: scores for texts on their way, responses for what may be harvested.

        And how many responses those are.
        """
        earmarked, evolving = Spend(), 0
        for growing in self._growing.values():
            evolved = [node for node in growing.tree.nodes.values() if node.parent is not None]
            evolving += sum(node.status in (Status.PROPOSED, Status.GENERATED, Status.SCORED) for node in evolved)
            unjudged = sum(is_unjudged(growing.tree, node) for node in evolved)
            earmarked += self._judging(unjudged)
        expected = min(self._harvestable + evolving, self._config.harvest.size)
        earmarked += self._responses(expected)
        purse = Purse(caps=self._run.caps, committed=committed(self._run), earmarked=earmarked)
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
            for growing in [g for key, g in self._growing.items() if key not in asked]:
                asked.add(growing.row.id)
                blocked |= not self._propose(growing, writes, purse)
                if self._policy.is_spent(growing.tree):
                    self._finish_tree(connection, growing)
            if blocked or not self._waiting or len(self._growing) >= self._config.trees_at_once:
                return blocked
            self._open_tree(connection, writes)

    def _propose(self, growing: Growing, writes: Writes, purse: Purse) -> bool:
        """Issues what one tree proposes, as far as the budget goes; what cannot be paid is taken back."""
        step = self._policy.ask(growing.tree)
        self._back_up(growing, step.rollouts, writes)
        for proposal in step.proposals:
            task = task_for(growing.row.id, proposal, self._config.work, self._prompts)
            if not self._afford(proposal, task, purse):
                for key in keys_of(proposal):
                    release(growing.tree, key)
                return False
            self._issue(growing, proposal, task, writes)
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
        growing, root = planted(self._waiting.pop(0), self._config.seed)
        runs.set_tree_status(connection, [growing.row.id], "growing")
        self._growing[growing.row.id] = growing
        writes.planted.append(root)

    def _finish_tree(self, connection: Connection, growing: Growing) -> None:
        runs.set_tree_status(connection, [growing.row.id], "grown")
        self._harvestable += len(candidates(growing.tree))
        del self._growing[growing.row.id]

    def _write(self, connection: Connection, writes: Writes) -> list[tuple[int, str]]:
        nodes.add(connection, writes.planted)
        nodes.roll_out(connection, writes.rollouts, list(writes.statistics.values()))
        runs.reserve(connection, self._run.id, sum((task.reserved for task in writes.issued), Spend()))
        return tasks.enqueue(connection, self._run.id, writes.issued)

    # -- the end of growing

    def _cut(self, connection: Connection) -> list[tuple[int, str]]:
        """A cap has ended the search: what has grown so far is harvested."""
        runs.set_tree_status(connection, list(self._growing), "cut", reason=Reason.BUDGET)
        self._growing.clear()
        return self._harvest(connection)

    def _harvest(self, connection: Connection) -> list[tuple[int, str]]:
        """Draws the examples from all path nodes, passes them by the diversity gate, and asks for their responses."""
        chosen = self._config.harvest
        found, seeds = self._candidates(connection)
        verdicts = choose(found, seeds=seeds, size=chosen.size, seed=self._config.seed, duplicate=chosen.duplicate)
        waiting = "pending" if chosen.responses else "accepted"
        rows = [
            {
                "run_id": self._run.id,
                "tree_id": verdict.candidate.tree_id,
                "node_key": verdict.candidate.key,
                "instruction": verdict.candidate.text,
                "status": "rejected" if verdict.rejected else waiting,
                "reason": verdict.rejected,
            }
            for verdict in verdicts
        ]
        examples.propose(connection, rows)
        runs.set_phase(connection, self._run.id, "responding")
        self._run = replace(self._run, phase="responding")
        return self._ask_responses(connection)

    def _candidates(self, connection: Connection) -> tuple[list[Candidate], list[str]]:
        """Harvestable nodes of all trees, read a batch of trees at a time, and the seeds' texts."""
        rows = runs.trees_of(connection, self._run.id)
        found: list[Candidate] = []
        opened = [row for row in rows if row.status != "waiting"]
        for start in range(0, len(opened), BATCH):
            found += self._candidates_of(connection, opened[start : start + BATCH])
        return found, [Seed(**row.seed).text for row in rows]

    def _candidates_of(self, connection: Connection, rows: list[TreeRow]) -> list[Candidate]:
        ids = [row.id for row in rows]
        node_rows = nodes.of_trees(connection, ids)
        texts = {(row.tree_id, row.key): row.text or "" for row in node_rows}
        trees = restored(rows, node_rows, nodes.rollouts_of(connection, ids), {}, self._config.seed)
        best_only = self._config.harvest.mode == "best-per-tree"
        return [
            Candidate(tree_id=g.row.id, tree=g.row.ordinal, key=node.key, text=texts[g.row.id, node.key])
            for g in trees
            for node in sorted(candidates(g.tree), key=lambda n: (-(n.reward or 0.0), n.key))[
                : 1 if best_only else None
            ]
        ]

    def _ask_responses(self, connection: Connection) -> list[tuple[int, str]]:
        """One task per example that waits; those the budget cannot pay for fail with that reason."""
        purse = Purse(caps=self._run.caps, committed=committed(self._run), earmarked=Spend())
        writes = Writes()
        for example in examples.pending(connection, self._run.id):
            task = response_task(example.tree_id, example.node_key, self._config.work, self._prompts)
            if not purse.take(task):
                break
            writes.issued.append(task)
        added = self._write(connection, writes)
        return added or self._await_responses(connection)

    def _await_responses(self, connection: Connection) -> list[tuple[int, str]]:
        if out_of_time(self._run, answers=0):
            tasks.withdraw(connection, self._run.id, Reason.BUDGET)
        if not tasks.any_open(connection, self._run.id):
            examples.fail_pending(connection, self._run.id, Reason.BUDGET)
            self._end(connection)
        return []

    def _end(self, connection: Connection) -> None:
        runs.set_phase(connection, self._run.id, "ended")
        reason = self._left_undone(connection)
        runs.set_status(connection, self._run.id, "stopped" if reason else "done", reason=reason)
        self._run = runs.by_id(connection, self._run.id)
        log.info("run_ended", run=self._run.name, status=self._run.status, reason=self._run.reason)

    def _left_undone(self, connection: Connection) -> str | None:
        """What a cap has kept from being done; None when it has kept nothing."""
        trees = runs.trees_of(connection, self._run.id)
        unfinished = sum(tree.status in ("cut", "waiting") for tree in trees)
        if unfinished:
            return f"the cap left {unfinished} of {len(trees)} trees not fully grown"
        unpaid = views.reasons(connection, self._run.id).get(Reason.BUDGET, 0)
        return f"the cap left {unpaid} evolutions or responses undone" if unpaid else None
