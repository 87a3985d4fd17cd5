"""The course of a run that widens a pool: rounds of generation, instances of what was kept, training, feedback.

A round goes through `generating`, `instancing`, `training` (where a student is trained) and `done`, and no round
overtakes the one before it. Everything here happens inside the transaction of one tick.
"""

from collections.abc import Iterable, Sequence
from time import perf_counter

from sqlalchemy import Connection

from db import pools, runs, tasks
from db.records import NewTask, RoundRow, Run, Spend, TaskRow
from orchestrator.budget import Prompts, committed, instancing, out_of_time
from orchestrator.config import PoolConfig
from orchestrator.course import Due
from orchestrator.endings import end
from orchestrator.generation.draws import demonstrations
from orchestrator.generation.instances import instance_rows
from orchestrator.generation.pacing import Over, next_round
from orchestrator.generation.pool import Pool, Slot
from orchestrator.generation.tasks import generate_task, instantiate_task
from orchestrator.issue import Purse
from orchestrator.teaching import Teaching
from workers.contracts import (
    GeneratePayload,
    GenerateResult,
    InstantiatePayload,
    InstantiateResult,
    Kind,
    Reason,
    TrainPayload,
    pool_payload_of,
    pool_result_of,
)


class Widening:
    """The pool in memory is a copy of its rows."""

    def __init__(self, config: PoolConfig, prompts: Prompts) -> None:
        self._config = config
        self._prompts = prompts
        self._pool = Pool(lexical=config.filter.lexical)
        self._teaching = Teaching(config)
        self._waiting: set[Slot] = set()
        self._asked: set[int] = set()
        generation = config.work.generation
        self._texts_a_prompt = generation.listed(config.rounds.shown)
        self._calls_a_text = generation.calls_a_text

    @property
    def is_busy(self) -> bool:
        return False

    def load(self, connection: Connection, run_id: int) -> None:
        self._pool = Pool(lexical=self._config.filter.lexical)
        self._pool.load(
            pools.of_run(connection, run_id), pools.rounds_of(connection, run_id), pools.events_of(connection, run_id)
        )
        self._teaching.load(connection, run_id)
        payloads = [pool_payload_of.validate_python(task.payload) for task in tasks.outstanding(connection, run_id)]
        self._waiting = {(p.round, p.slot) for p in payloads if isinstance(p, GeneratePayload)}
        self._asked = {p.instruction for p in payloads if isinstance(p, InstantiatePayload)}

    def ready(self, finished: Sequence[TaskRow]) -> list[TaskRow]:
        """Texts are held against each other in the order of their slots: a later prompt waits for an earlier one."""
        slots = {_slot(task): task for task in finished if task.kind == Kind.GENERATE}
        now: list[TaskRow] = []
        for slot in sorted(self._waiting):
            if slot not in slots:
                break
            now.append(slots[slot])
        return [*now, *(task for task in finished if task.kind != Kind.GENERATE)]

    def apply(self, connection: Connection, run: Run, finished: Sequence[TaskRow]) -> int:
        replayed = 0
        for task in finished:
            payload = pool_payload_of.validate_python(task.payload)
            if isinstance(payload, TrainPayload):
                self._teaching.apply(connection, run.id, task, payload)
            elif isinstance(payload, GeneratePayload):
                replayed += self._generated(connection, run.id, payload, _generated(task))
            else:
                replayed += self._instantiated(connection, run.id, payload.instruction, _instantiated(task))
        return replayed

    def step(self, connection: Connection, run: Run) -> Due:
        self._advance(connection, run.id)
        due, over, blocked = self._issue(connection, run)
        if not due and (over or blocked) and not tasks.any_open(connection, run.id) and self._are_done(blocked):
            self._end(connection, run, over, blocked=blocked)
        return due

    # -- what came

    def _generated(self, connection: Connection, run_id: int, payload: GeneratePayload, result: GenerateResult) -> int:
        began = perf_counter()
        rows = self._pool.judge(payload, result)
        self._pool.change(payload.round, filter_s=perf_counter() - began)
        self._waiting.discard((payload.round, payload.slot))
        pools.add(connection, run_id, rows)
        # Alpaca's tasks come whole.
        for row, found in zip(rows, result.found, strict=True):
            if row.status == "kept" and found.instances:
                self._settle(connection, run_id, row.ordinal, InstantiateResult(instances=found.instances))
        pools.update_round(connection, run_id, self._pool.rounds[payload.round])
        return result.replayed

    def _instantiated(self, connection: Connection, run_id: int, ordinal: int, result: InstantiateResult) -> int:
        self._settle(connection, run_id, ordinal, result)
        return result.replayed

    def _settle(self, connection: Connection, run_id: int, ordinal: int, result: InstantiateResult) -> None:
        pools.give(connection, run_id, instance_rows(ordinal, self._pool.texts[ordinal], result), result.calls)
        pools.settle(connection, run_id, ordinal, is_classification=result.is_classification, calls=result.calls)
        self._pool.unsettled.pop(ordinal, None)
        self._asked.discard(ordinal)

    # -- how far the rounds are

    def _advance(self, connection: Connection, run_id: int) -> None:
        before: RoundRow | None = None
        for row in list(self._pool.rounds):
            if row.status != "done":
                self._advance_one(connection, run_id, row, before)
            before = self._pool.rounds[row.ordinal]

    def _advance_one(self, connection: Connection, run_id: int, row: RoundRow, before: RoundRow | None) -> None:
        status = row.status
        if status == "generating" and not any(number == row.ordinal for number, _ in self._waiting):
            status = "instancing"
        settled = row.ordinal not in self._pool.unsettled.values()
        if status == "instancing" and settled and (before is None or before.status in ("training", "done")):
            status = "training"
            self._prepare(connection, run_id, row.ordinal)
        may_end = before is None or before.status == "done"
        if status == "training" and may_end and self._teaching.has_trained(row.ordinal):
            status = "done"
            self._feed_back(connection, run_id, row.ordinal)
        if status != row.status:
            self._pool.change(row.ordinal, status=status)
            pools.update_round(connection, run_id, self._pool.rounds[row.ordinal])

    def _prepare(self, connection: Connection, run_id: int, number: int) -> None:
        """Makes the round's batches, where a student is trained on them."""
        if self._config.train:
            began = perf_counter()
            self._teaching.prepare(connection, run_id, number, self._pool)
            self._pool.change(number, embed_s=perf_counter() - began)

    def _feed_back(self, connection: Connection, run_id: int, number: int) -> None:
        events = self._teaching.feedback(number, self._pool)
        pools.record(connection, run_id, events)
        self._pool.record(events)

    # -- what comes next

    def _issue(self, connection: Connection, run: Run) -> tuple[Due, Over | None, bool]:
        """The tasks issued, whether generation is over, and whether a cap stood in the way."""
        late = out_of_time(run, answers=len(self._pool.unsettled))
        if out_of_time(run, answers=0):
            tasks.withdraw(connection, run.id, Reason.BUDGET)
        purse = Purse(caps=run.caps, committed=committed(run), earmarked=self._owed())
        issued, short = self._instances(purse)
        issued += self._teaching.next_task(self._pool.rounds)
        over = None
        blocked = short or late
        while not blocked and over is None:
            more, over, blocked = self._next_round(connection, run.id, purse)
            issued += more
            if not more:
                break
        runs.reserve(connection, run.id, sum((task.reserved for task in issued), Spend()))
        return tasks.enqueue(connection, run.id, issued), over, blocked

    def _owed(self) -> Spend:
        """What must follow: instances of the texts that are there or on their way."""
        unasked = sum(ordinal not in self._asked for ordinal in self._pool.unsettled)
        return self._instancing(unasked + self._texts_a_prompt * len(self._waiting))

    def _instancing(self, count: int) -> Spend:
        return instancing(self._config.work, count, self._prompts)

    def _instances(self, purse: Purse) -> tuple[list[NewTask], bool]:
        issued: list[NewTask] = []
        for ordinal in sorted(self._pool.unsettled.keys() - self._asked):
            task = instantiate_task(ordinal, self._config.work, self._prompts)
            if not purse.take(task, was_earmarked=True):
                return issued, True
            self._asked.add(ordinal)
            issued.append(task)
        return issued, False

    def _next_round(self, connection: Connection, run_id: int, purse: Purse) -> tuple[list[NewTask], Over | None, bool]:
        config, number = self._config, len(self._pool.rounds)
        every = config.feedback.every if config.feedback.on else None
        found = next_round(self._pool.rounds, config.rounds, calls_a_text=self._calls_a_text, every=every)
        if isinstance(found, Over):
            return [], found, False
        issued = []
        for task in self._prompts_of(number, found):
            if not purse.take(task, follows=self._instancing(self._texts_a_prompt)):
                break
            issued.append(task)
        if issued:
            pools.open_round(connection, run_id, number, len(issued))
            self._pool.rounds.append(_opened(number, len(issued)))
            self._waiting |= {(number, slot) for slot in range(len(issued))}
        return issued, None, len(issued) < found

    def _prompts_of(self, number: int, count: int) -> Iterable[NewTask]:
        rounds, known = self._config.rounds, number - 1 - self._config.rounds.ahead
        seeds, made = self._pool.seeds(known).members, self._pool.made(known)
        for slot in range(count):
            shown = demonstrations(
                seeds,
                made,
                shown=rounds.shown,
                made_shown=rounds.made_shown,
                seed=self._config.seed,
                round=number,
                slot=slot,
            )
            yield generate_task(number, slot, shown, self._config.work, self._prompts)

    # -- the end

    def _are_done(self, blocked: bool) -> bool:
        return blocked or all(row.status == "done" for row in self._pool.rounds)

    def _end(self, connection: Connection, run: Run, over: Over | None, *, blocked: bool) -> None:
        unpaid = list(self._pool.unsettled)
        for ordinal in unpaid:
            self._settle(connection, run.id, ordinal, InstantiateResult(failed=Reason.BUDGET))
        reason = over.reason if over else None
        if blocked:
            more = f", and {len(unpaid)} of its texts without instances" if unpaid else ""
            reason = f"the cap ended generation after {len(self._pool.rounds)} rounds{more}"
        end(connection, run, reason, cut=blocked)


def _opened(number: int, prompts: int) -> RoundRow:
    return RoundRow(
        ordinal=number,
        status="generating",
        prompts=prompts,
        prompts_lost={},
        generated=0,
        kept=0,
        filter_s=0.0,
        embed_s=0.0,
    )


def _slot(task: TaskRow) -> Slot:
    return task.payload["round"], task.payload["slot"]


def _generated(task: TaskRow) -> GenerateResult:
    """A task's result, or what its failure means."""
    if task.state == "failed" or task.result is None:
        return GenerateResult(failed=_why(task))
    result = pool_result_of.validate_python(task.result)
    assert isinstance(result, GenerateResult)
    return result


def _instantiated(task: TaskRow) -> InstantiateResult:
    if task.state == "failed" or task.result is None:
        return InstantiateResult(failed=_why(task))
    result = pool_result_of.validate_python(task.result)
    assert isinstance(result, InstantiateResult)
    return result


def _why(task: TaskRow) -> str:
    return Reason.BUDGET if task.error == Reason.BUDGET else Reason.TASK_FAILED
