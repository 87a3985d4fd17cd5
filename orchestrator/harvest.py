"""From grown trees to examples: the best are judged once more, examples are chosen, answered, and examined.

Three phases of a run: `judging` (if it asks for second judgements), `responding`, `ended`. Every step happens inside
the transaction of one tick. Before a phase is entered the trees are read, a few of them each step, and the candidates
gone through, a few each step: what was gathered so far is in memory alone, and is gathered again after a restart.
"""

import math
from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from db import examples, nodes, runs, tasks, views
from db.records import NewTask, Run, Spend
from orchestrator.budget import Prompts, committed, out_of_time
from orchestrator.choosing import Candidate, Choice, Verdict
from orchestrator.config import TreeConfig
from orchestrator.course import Due
from orchestrator.endings import end
from orchestrator.gathering import GENEROUS, Gathering
from orchestrator.growth import Writes
from orchestrator.issue import NOTHING, Purse, judging_task, response_task
from workers.contracts import Reason

# Candidates gone through at once.
BATCH = 200
# Room for near-copies among those that come first: so many times the size, and so many more.
_ROOM, _MORE = 2, 1000


class Harvest:
    """The harvest of one run."""

    def __init__(self, config: TreeConfig, prompts: Prompts) -> None:
        self._config = config
        self._chosen = config.harvest
        self._prompts = prompts
        self._gathering: Gathering | None = None
        self._choice: Choice | None = None

    @property
    def is_gathering(self) -> bool:
        """Candidates are being gathered: the next step needs no results."""
        return self._gathering is not None

    def forget(self) -> None:
        """What was gathered is not to be relied upon."""
        self._gathering = self._choice = None

    def begin(self, connection: Connection, run: Run) -> Due:
        """All trees have grown as far as they will, or have been judged again: gathers, then takes the next phase."""
        again = bool(self._chosen.again) and run.phase == "growing"
        gathering = self._gathering or self._fresh(again=again)
        self._gathering = gathering
        if gathering.read_on(connection, run.id):
            return []
        return self._judge_again(connection, run, gathering) if again else self._choose(connection, run, gathering)

    def step(self, connection: Connection, run: Run) -> Due:
        """Goes on once nothing is under way any more."""
        if run.phase == "responding":
            self._await_responses(connection, run)
            return []
        if not self.is_gathering and tasks.any_open(connection, run.id):
            return []
        return self.begin(connection, run)

    def _fresh(self, *, again: bool) -> Gathering:
        if again:
            return Gathering(self._config, math.ceil(GENEROUS * self._chosen.size), generous=True)
        return Gathering(self._config, _ROOM * self._chosen.size + _MORE)

    def _judge_again(self, connection: Connection, run: Run, gathering: Gathering) -> Due:
        best = gathering.first()
        repeats = 1 + self._config.work.judges.repeats
        wanted = [
            judging_task(tree_id, parent, keys, self._config.work, self._prompts, sample=number * repeats)
            for number in range(1, self._chosen.again + 1)
            for (tree_id, parent), keys in _litters(best).items()
        ]
        self.forget()
        runs.set_phase(connection, run.id, "judging")
        return self._issue(connection, run, wanted, keep=self._answers(len(best)))

    def _answers(self, count: int) -> Spend:
        if not self._chosen.responses:
            return Spend()
        return response_task(0, "", self._config.work, self._prompts).reserved.times(min(count, self._chosen.size))

    def _choose(self, connection: Connection, run: Run, gathering: Gathering) -> Due:
        """Goes through the next candidates; after the last, examples are made of those that were accepted."""
        order = gathering.first()
        choice = self._choice or Choice(gathering.seeds, size=self._chosen.size, duplicate=self._chosen.duplicate)
        self._choice = choice
        done = len(choice.verdicts)
        choice.take(order[done : done + BATCH])
        if not choice.is_full and len(choice.verdicts) < len(order):
            return []
        self.forget()
        if not choice.is_full and gathering.let_go:  # so many were near-copies that those let go are wanted after all
            self._gathering = Gathering(self._config, 4 * gathering.most)
            return []
        return self._settle(connection, run, choice.verdicts)

    def _settle(self, connection: Connection, run: Run, verdicts: Sequence[Verdict]) -> Due:
        """Makes examples, and asks for what is still to be known of them."""
        waiting = "pending" if self._chosen.responses else "accepted"
        examples.propose(connection, [_row(run.id, verdict, waiting) for verdict in verdicts])
        runs.set_phase(connection, run.id, "responding")
        accepted = [verdict.candidate for verdict in verdicts if verdict.rejected is None]
        added = self._ask_responses(connection, run) + self._ask_examiner(connection, run, accepted)
        if not added:
            self._await_responses(connection, run)
        return added

    def _ask_responses(self, connection: Connection, run: Run) -> Due:
        """One task per example that waits; those the budget cannot pay for fail with that reason."""
        waiting = examples.pending(connection, run.id) if self._chosen.responses else []
        wanted = [response_task(e.tree_id, e.node_key, self._config.work, self._prompts) for e in waiting]
        return self._issue(connection, run, wanted)

    def _ask_examiner(self, connection: Connection, run: Run, accepted: Sequence[Candidate]) -> Due:
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

    def _issue(self, connection: Connection, run: Run, wanted: Iterable[NewTask], keep: Spend = NOTHING) -> Due:
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
    trees = views.tree_counts(connection, run.id)
    unfinished = trees.get("cut", 0) + trees.get("waiting", 0)
    if unfinished:
        return f"the cap left {unfinished} of {sum(trees.values())} trees not fully grown"
    unpaid = views.reasons(connection, run.id).get(Reason.BUDGET, 0)
    return f"the cap left {unpaid} evolutions or responses undone" if unpaid else None
