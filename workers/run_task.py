"""One task from claim to result. No transaction is open while a model is asked."""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from pydantic import BaseModel
from sqlalchemy import Connection, Engine

from db import pools, runs, tasks
from db.chaos import stumble
from db.engine import patiently
from db.errors import InstructreeError, Retry, ServiceError, StaleLease
from db.records import Json, Lease
from workers.asking import Answer, Ask
from workers.bodies.evaluate import EvaluateTexts, evaluate
from workers.bodies.expand import ExpandTexts, expand
from workers.bodies.generate import GenerateTexts, Shown, generate
from workers.bodies.instantiate import instantiate
from workers.bodies.respond import respond
from workers.bodies.train import train
from workers.config import Role, WorkSettings
from workers.contracts import (
    MAX_ATTEMPTS,
    EvaluatePayload,
    ExpandPayload,
    GeneratePayload,
    InstantiatePayload,
    PoolPayload,
    RespondPayload,
    TreePayload,
)
from workers.known import Known, Standing
from workers.llm.call import call_for
from workers.llm.errors import RetryLater
from workers.llm.gateway import Gateway
from workers.porter import Porter
from workers.process import BEAT_S, Held, Loop
from workers.prompting import Prompt
from workers.reading import Brief, Found, Texts
from workers.traced import task_span
from workers.training.folders import student_folder
from workers.training.texts import LessonText

log = structlog.get_logger()

_LONGEST_WAIT_S = 60.0


class Runner:
    """Carries out tasks by id. Safe to call from many threads."""

    def __init__(self, engine: Engine, loop: Loop, gateway: Gateway, porter: Porter, held: Held, known: Known) -> None:
        self._engine = engine
        self._loop = loop
        self._gateway = gateway
        self._porter = porter
        self._held = held
        self._known = known

    def run(self, task_id: int) -> None:
        """Claims the task, carries it out, writes its result. A hint that finds nothing to claim is no error."""
        claimed = self._porter.claim(task_id)
        if claimed is None:
            return
        lease, found = claimed
        self._held.add(lease)
        try:
            stumble()
            with task_span(lease, lambda run_id: self._known.of(run_id).created_at):
                self._work(lease, found)
        except StaleLease as error:
            log.warning("stale", task=lease.task_id, cause=str(error))
        finally:
            self._held.remove(lease)

    def _work(self, lease: Lease, found: Found) -> None:
        try:
            result = self._loop.run(_in_time(self._body(lease, found), lease.deadline_s))
        except TimeoutError:
            self._retry(lease, tasks.STUCK)
        except InstructreeError as error:
            self._give_up(lease, error)
        except Exception as error:
            log.exception("task_crashed", task=lease.task_id, kind=lease.kind)
            self._retry(lease, f"{type(error).__name__}: {error}")
        else:
            stumble()
            self._porter.finish(lease, result.model_dump(mode="json"))
            stumble()

    def _body(self, lease: Lease, found: Found) -> Coroutine[Any, Any, BaseModel]:
        """The coroutine that does the work, with every text it needs already read."""
        if isinstance(found, Exception):
            raise found
        known = self._known.of(lease.run_id)
        settings = known.settings
        ask: Ask = partial(_ask, self._gateway, known, lease)
        if isinstance(found, Brief):
            return _of_tree(found.payload, found.texts, settings, ask)
        return patiently(self._engine, lambda c: _of_pool(c, lease.run_id, found, settings, ask))

    def _give_up(self, lease: Lease, error: InstructreeError) -> None:
        """Back to the queue when world or machine was at fault, failed when this task can never be carried out.

        A machine that lacks an address or a library spoils no task: it takes no more of them by the time this one is
        due again.
        """
        log.warning("task_given_up", task=lease.task_id, cause=error.told)
        if isinstance(error, ServiceError):
            self._held.unfit = str(error)
        match error.retry:
            case Retry.COUNTED:
                self._retry(lease, error.told)
            case Retry.FREE:
                wait_s = _wait_s(error, lease.attempts)
                patiently(self._engine, lambda c: tasks.give_back(c, lease, error=error.told, delay_s=wait_s))
            case Retry.NEVER:
                patiently(self._engine, lambda c: tasks.fail(c, lease, error=error.told))

    def _retry(self, lease: Lease, message: str) -> None:
        delay = _backoff(lease.attempts)
        patiently(
            self._engine,
            lambda c: tasks.retry(c, lease, error=message, delay_s=delay, max_attempts=MAX_ATTEMPTS),
        )


def _of_tree(payload: TreePayload, texts: Texts, settings: WorkSettings, ask: Ask) -> Coroutine[Any, Any, BaseModel]:
    if isinstance(payload, ExpandPayload) and isinstance(texts, ExpandTexts):
        return expand(payload, texts, settings, ask)
    if isinstance(payload, EvaluatePayload) and isinstance(texts, EvaluateTexts):
        return evaluate(payload, texts, settings, ask)
    assert isinstance(payload, RespondPayload) and isinstance(texts, str)
    return respond(payload, texts, settings, ask)


def _of_pool(
    connection: Connection, run_id: int, payload: PoolPayload, settings: WorkSettings, ask: Ask
) -> Coroutine[Any, Any, BaseModel]:
    if isinstance(payload, GeneratePayload):
        found = pools.shown(connection, run_id, payload.shown)
        return generate(payload, GenerateTexts(shown=tuple(_shown(*one) for one in found)), settings, ask)
    if isinstance(payload, InstantiatePayload):
        ((text, _),) = pools.shown(connection, run_id, [payload.instruction])
        return instantiate(payload, text, settings, ask)
    run = runs.by_id(connection, run_id)
    taught = pools.taught(connection, run_id, [one for batch in payload.batches for one in batch.members])
    lessons = {one: LessonText(instruction=i, input=given, output=o) for one, (i, given, o) in taught.items()}
    # Torch computes without a pause: in a thread of its own, so that this worker's calls and beats go on.
    return asyncio.to_thread(train, payload, lessons, settings, student_folder(run))


def _shown(text: str, seed: Json) -> Shown:
    """A demonstration: a seed as it was given, or a generated text with its first instance."""
    return Shown(
        instruction=str(seed.get("instruction", text)),
        input=str(seed.get("input") or ""),
        output=str(seed.get("output") or ""),
    )


async def _in_time(body: Coroutine[Any, Any, BaseModel], deadline_s: float) -> BaseModel:
    """The body's result, or TimeoutError: whoever is stuck gives its slot back when its lease ends anyway."""
    async with asyncio.timeout(deadline_s):
        return await body


def _wait_s(error: InstructreeError, attempts: int) -> float:
    """How long a task that is given back waits."""
    if isinstance(error, ServiceError):
        return BEAT_S
    asked_s = error.retry_after_s if isinstance(error, RetryLater) else None
    return min(asked_s or _backoff(attempts), _LONGEST_WAIT_S)


def _backoff(attempts: int) -> float:
    """Full jitter: anything up to a bound that doubles with each attempt, in seconds."""
    return random.uniform(0.5, min(_LONGEST_WAIT_S, 2.0**attempts))


async def _ask(
    gateway: Gateway, known: Standing, lease: Lease, role: Role, prompt: Prompt, *, sample: int = 0
) -> Answer:
    call = call_for(known.settings, role, prompt, sample=sample, lease=lease)
    return await gateway.call(replace(call, latest=lambda: known.settings.endpoint(role)))
