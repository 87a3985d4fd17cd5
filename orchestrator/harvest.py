"""From grown trees to examples: the best are judged once more, examples are chosen, answered, and examined.

Three phases of a run: `judging` (if it asks for second judgements), `responding`, `ended`. Every step happens inside
the transaction of one tick.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from db import examples, judgements, nodes, runs, tasks, views
from db.records import JudgementRow, NewTask, Run, Spend, TreeRow
from orchestrator.budget import Prompts, committed, out_of_time
from orchestrator.config import TreeConfig
from orchestrator.course import Hints
from orchestrator.endings import end
from orchestrator.forest import Growing, restored
from orchestrator.growth import Writes
from orchestrator.issue import NOTHING, Purse, judging_task, response_task
from orchestrator.pool import Candidate, Verdict, choose, ranked
from orchestrator.search import candidates
from orchestrator.search.harvest import estimates, evolved
from orchestrator.seeds import Seed
from workers.contracts import Reason

# So many more than may be chosen are judged again: who was unlucky the first time shall have a chance.
_GENEROUS = 1.5
BATCH = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the judges of the search said of a run's nodes after their first word: mean rewards, and of how many."""

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


class Harvest:
    """The harvest of one run."""

    def __init__(self, config: TreeConfig, prompts: Prompts) -> None:
        self._config = config
        self._chosen = config.harvest
        self._prompts = prompts

    def begin(self, connection: Connection, run: Run) -> Hints:
        """All trees have grown as far as they will."""
        if self._chosen.again and (added := self._judge_again(connection, run)):
            return added
        return self._choose(connection, run)

    def step(self, connection: Connection, run: Run) -> Hints:
        """Goes on once nothing is under way any more."""
        if run.phase == "judging":
            return [] if tasks.any_open(connection, run.id) else self._choose(connection, run)
        self._await_responses(connection, run)
        return []

    def _judge_again(self, connection: Connection, run: Run) -> Hints:
        found, _ = self._candidates(connection, run, generous=True)
        best = ranked(found, self._chosen.mode, self._config.seed)[: math.ceil(_GENEROUS * self._chosen.size)]
        repeats = 1 + self._config.work.judges.repeats
        wanted = [
            judging_task(tree_id, parent, keys, self._config.work, self._prompts, sample=number * repeats)
            for number in range(1, self._chosen.again + 1)
            for (tree_id, parent), keys in _litters(best).items()
        ]
        runs.set_phase(connection, run.id, "judging")
        return self._issue(connection, run, wanted, keep=self._answers(len(best)))

    def _answers(self, count: int) -> Spend:
        if not self._chosen.responses:
            return Spend()
        return response_task(0, "", self._config.work, self._prompts).reserved.times(min(count, self._chosen.size))

    def _choose(self, connection: Connection, run: Run) -> Hints:
        """Passes the candidates by the diversity gate, and asks for what is still to be known of the examples."""
        found, seeds = self._candidates(connection, run)
        order = ranked(found, self._chosen.mode, self._config.seed)
        verdicts = choose(order, seeds=seeds, size=self._chosen.size, duplicate=self._chosen.duplicate)
        waiting = "pending" if self._chosen.responses else "accepted"
        examples.propose(connection, [_row(run.id, verdict, waiting) for verdict in verdicts])
        runs.set_phase(connection, run.id, "responding")
        accepted = [verdict.candidate for verdict in verdicts if verdict.rejected is None]
        added = self._ask_responses(connection, run) + self._ask_examiner(connection, run, accepted)
        if not added:
            self._await_responses(connection, run)
        return added

    def _candidates(
        self, connection: Connection, run: Run, *, generous: bool = False
    ) -> tuple[list[Candidate], list[str]]:
        """Harvestable nodes of all trees, read a batch of trees at a time, and the seeds' texts."""
        rows = runs.trees_of(connection, run.id)
        found: list[Candidate] = []
        opened = [row for row in rows if row.status != "waiting"]
        heard = self._heard(connection, run)
        for start in range(0, len(opened), BATCH):
            found += self._candidates_of(connection, opened[start : start + BATCH], heard, generous=generous)
        return found, [Seed(**row.seed).text for row in rows]

    def _heard(self, connection: Connection, run: Run) -> Heard:
        again = judgements.of_run(connection, run.id, "search")
        measured = judgements.noise(connection, run.id)
        return heard(again, judgements.first_rewards(connection, run.id), measured or self._chosen.noise)

    def _candidates_of(
        self, connection: Connection, rows: Sequence[TreeRow], heard: Heard, *, generous: bool
    ) -> list[Candidate]:
        ids = [row.id for row in rows]
        found = nodes.of_trees(connection, ids)
        texts = {(row.tree_id, row.key): row.text or "" for row in found}
        trees = restored(rows, found, nodes.rollouts_of(connection, ids), {}, self._config.seed)
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
            for key, worth in self._best_of(growing, heard, generous=generous)
        ]

    def _best_of(self, growing: Growing, heard: Heard, *, generous: bool) -> list[tuple[str, float]]:
        """The nodes of a tree that may be chosen, best first, and what each is worth."""
        estimated = heard.of_tree(growing) if self._chosen.mode == "estimate" else {}
        found = candidates(growing.tree) if self._chosen.mode == "paths" else evolved(growing.tree)
        worths = {node.key: estimated.get(node.key, node.reward or 0.0) for node in found}
        most = self._chosen.per_tree
        limit = None if most is None else math.ceil(most * _GENEROUS) if generous else most
        return sorted(worths.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def _ask_responses(self, connection: Connection, run: Run) -> Hints:
        """One task per example that waits; those the budget cannot pay for fail with that reason."""
        waiting = examples.pending(connection, run.id) if self._chosen.responses else []
        wanted = [response_task(e.tree_id, e.node_key, self._config.work, self._prompts) for e in waiting]
        return self._issue(connection, run, wanted)

    def _ask_examiner(self, connection: Connection, run: Run, accepted: Sequence[Candidate]) -> Hints:
        """Has examples, and the seeds they come of, scored by the judge that no search has seen."""
        if not self._chosen.held_out:
            return []
        roots = nodes.roots_of(connection, [row.id for row in runs.trees_of(connection, run.id)])
        litters = _litters(accepted)
        litters |= {(tree_id, None): [key] for tree_id, key in roots.items()}
        wanted = [
            judging_task(tree_id, parent, keys, self._config.work, self._prompts, judge="held_out")
            for (tree_id, parent), keys in litters.items()
        ]
        return self._issue(connection, runs.by_id(connection, run.id), wanted)

    def _issue(self, connection: Connection, run: Run, wanted: Iterable[NewTask], keep: Spend = NOTHING) -> Hints:
        """Issues tasks as far as the budget goes."""
        purse, writes = Purse(caps=run.caps, committed=committed(run), earmarked=keep), Writes()
        for task in wanted:
            if not purse.take(task):
                break
            writes.issued.append(task)
        return writes.flush(connection, run.id)

    def _await_responses(self, connection: Connection, run: Run) -> None:
        if out_of_time(run, answers=0):
            tasks.withdraw(connection, run.id, Reason.BUDGET)
        if not tasks.any_open(connection, run.id):
            examples.fail_pending(connection, run.id, Reason.BUDGET)
            _end(connection, run)


def heard(again: Sequence[JudgementRow], first: Mapping[tuple[int, str], tuple[float, int]], noise: float) -> Heard:
    """First and later judgements taken together: each node's mean, every judgement counting as one."""
    sums: dict[tuple[int, str], float] = {}
    counts: dict[tuple[int, str], int] = {}
    for name, (reward, number) in first.items():
        sums[name], counts[name] = reward * number, number
    for row in again:
        if row.reward is not None:
            sums[row.tree_id, row.node_key] += row.reward
            counts[row.tree_id, row.node_key] += 1
    return Heard(means={name: sums[name] / counts[name] for name in sums}, counts=counts, noise=noise)


def _litters(chosen: Iterable[Candidate]) -> dict[tuple[int, str | None], list[str]]:
    """Siblings are judged together."""
    found: dict[tuple[int, str | None], list[str]] = {}
    for candidate in chosen:
        found.setdefault((candidate.tree_id, candidate.parent), []).append(candidate.key)
    return found


def _row(run_id: int, verdict: Verdict, waiting: str) -> dict[str, object]:
    return {
        "run_id": run_id,
        "tree_id": verdict.candidate.tree_id,
        "node_key": verdict.candidate.key,
        "instruction": verdict.candidate.text,
        "status": "rejected" if verdict.rejected else waiting,
        "reason": verdict.rejected,
    }


def _end(connection: Connection, run: Run) -> None:
    reason = _left_undone(connection, run)
    end(connection, run, reason, cut=reason is not None)


def _left_undone(connection: Connection, run: Run) -> str | None:
    """What a cap has kept from being done; None when it has kept nothing."""
    trees = runs.trees_of(connection, run.id)
    unfinished = sum(tree.status in ("cut", "waiting") for tree in trees)
    if unfinished:
        return f"the cap left {unfinished} of {len(trees)} trees not fully grown"
    unpaid = views.reasons(connection, run.id).get(Reason.BUDGET, 0)
    return f"the cap left {unpaid} evolutions or responses undone" if unpaid else None
