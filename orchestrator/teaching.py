"""Batches for the student of a run, the tasks that train it, and what its signals say of the seed pool."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from sqlalchemy import Connection

from db import pools
from db.errors import UserError
from db.records import BatchRow, LessonRow, NewTask, RoundRow, SeedEventRow, TaskRow
from orchestrator.config import PoolConfig
from orchestrator.diversity.embedders import embedder
from orchestrator.generation.batches import arranged
from orchestrator.generation.contrast import contrast
from orchestrator.generation.feedback import due, feedback
from orchestrator.generation.pool import Pool
from orchestrator.generation.signal import BatchSignal, brought
from orchestrator.generation.tasks import train_task
from orchestrator.generation.vectors import vectors_of, within
from workers.contracts import Step, TrainPayload, TrainResult, pool_result_of


class TrainingFailed(UserError):
    """The student could not be trained; the message of the worker says why. The run waits for its owner to mend it."""


class Teaching:
    """The batches of one run and what training said of them."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._batches: list[BatchRow] = []
        self._lessons: list[LessonRow] = []

    def load(self, connection: Connection, run_id: int) -> None:
        self._batches = pools.batches_of(connection, run_id)
        self._lessons = pools.lessons_of(connection, run_id)

    def prepare(self, connection: Connection, run_id: int, number: int, pool: Pool) -> None:
        """Makes the batches of a round, of what it kept and of what had to wait before it."""
        chosen = self._config.batches
        ordinals = [one for one in pools.teachable(connection, run_id) if pool.round_of[one] <= number]
        if len(ordinals) < chosen.size:
            return
        vectors = vectors_of([pool.texts[one] for one in ordinals], embedder(self._config.work.embedder))
        made = arranged(vectors, size=chosen.size, arrangement=chosen.arrangement, seed=self._config.seed, round=number)
        chance = contrast(
            vectors, made.batches, arrangements=chosen.random_arrangements, seed=self._config.seed, round=number
        )
        rows = [
            BatchRow(
                round=number,
                ordinal=place,
                members=tuple(ordinals[at] for at in batch),
                arrangement=chosen.arrangement,
                diversity=within(vectors[np.array(batch)]),
                diversity_random=chance.random if chance else None,
                step=len(self._batches) + place,
            )
            for place, batch in enumerate(made.batches)
        ]
        pools.add_batches(connection, run_id, rows)
        self._batches += rows

    def has_trained(self, number: int) -> bool:
        """Whether every batch of a round has had its step."""
        return all(batch.seconds is not None for batch in self._batches if batch.round == number)

    def next_task(self, rounds: Sequence[RoundRow]) -> list[NewTask]:
        """The task of the first round that is to be trained on; it exists at most once."""
        for row in rounds:
            batches = [batch for batch in self._batches if batch.round == row.ordinal and batch.seconds is None]
            if row.status == "training" and batches:
                return [train_task(batches)]
        return []

    def apply(self, connection: Connection, run_id: int, task: TaskRow, payload: TrainPayload) -> None:
        """Writes down what the steps of a round said.

        Raises:
            TrainingFailed: there were none.
        """
        if task.state == "failed" or task.result is None:
            raise TrainingFailed(f"training failed: {task.error}")
        result = pool_result_of.validate_python(task.result)
        assert isinstance(result, TrainResult)
        if result.failed:
            raise TrainingFailed(f"training failed: {result.failed}")
        said = {step.batch: step for step in result.steps}
        rows = [_trained(batch, said[batch.ordinal]) for batch in self._batches if batch.round == payload.round]
        learnt = [lesson for step in result.steps for lesson in _lessons(payload.round, step)]
        pools.train(connection, run_id, rows, learnt)
        self._lessons += learnt
        self._batches = [batch for batch in self._batches if batch.round != payload.round] + rows

    def feedback(self, number: int, pool: Pool) -> list[SeedEventRow]:
        """Who enters and who leaves the seed pool after a round."""
        rules = self._config.feedback.rules()
        if not self._config.feedback.on or not due(number, rules):
            return []
        found = feedback(
            pool.seeds(number),
            self._signals(),
            parents=pool.parents,
            texts=pool.texts,
            rules=rules,
            seed=self._config.seed,
            round=number,
        )
        return [
            SeedEventRow(round=number, event=event.kind, ordinal=event.instruction, reason=event.reason)
            for event in found.events
        ]

    def _signals(self) -> list[BatchSignal]:
        lessons: dict[tuple[int, int], list[LessonRow]] = {}
        for lesson in self._lessons:
            lessons.setdefault((lesson.round, lesson.batch), []).append(lesson)
        return [signal_of(batch, lessons.get((batch.round, batch.ordinal), [])) for batch in self._batches]


def signal_of(batch: BatchRow, lessons: Sequence[LessonRow]) -> BatchSignal:
    norms: Mapping[int, float | None] = {lesson.ordinal: lesson.gradient_norm for lesson in lessons}
    return BatchSignal(
        round=batch.round,
        ordinal=batch.ordinal,
        members=batch.members,
        step=batch.step,
        tokens=sum(lesson.tokens for lesson in lessons),
        loss=batch.loss,
        gradient_norm=batch.gradient_norm,
        norms=norms,
        brings=brought([(lesson.tokens, lesson.brings) for lesson in lessons]),
    )


def _trained(batch: BatchRow, step: Step) -> BatchRow:
    return replace(batch, gradient_norm=step.gradient_norm, loss=step.loss, seconds=step.seconds, reason=step.rejected)


def _lessons(number: int, step: Step) -> list[LessonRow]:
    return [
        LessonRow(
            round=number,
            batch=step.batch,
            ordinal=lesson.instruction,
            tokens=lesson.tokens,
            loss=lesson.loss,
            gradient_norm=lesson.gradient_norm,
            brings=lesson.brings,
            reason=lesson.rejected,
        )
        for lesson in step.lessons
    ]
