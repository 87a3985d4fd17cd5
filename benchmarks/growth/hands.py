"""Hands without a network: tasks are claimed, read, answered and finished by the functions of a worker, 200 at a time.

The texts, grades and tags are the scripted model's, made by its own functions; every call is looked up, announced and
recorded in the ledger by the functions of the gateway. Left out are prompts, parsing, guards, Celery and the endpoint.

    python -m benchmarks.growth.hands ADDRESS_OF_DATABASE
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from sqlalchemy import Connection, Engine, text

from db import tasks
from db.engine import open_engine
from db.records import AttemptRow, CallRow, Lease
from workers.bodies.evaluate import EvaluateTexts
from workers.bodies.expand import ExpandTexts
from workers.contracts import (
    MAX_ATTEMPTS,
    EvaluatePayload,
    EvaluateResult,
    Evolved,
    ExpandPayload,
    ExpandResult,
    Judged,
    RespondPayload,
    RespondResult,
    TreePayload,
    TreeResult,
    tree_payload_of,
)
from workers.llm.page import Lookup, Record, write_page
from workers.llm.scripted import answers, writing
from workers.reading import Texts, read_all

T = TypeVar("T")

BATCH = 200
LEASE_S = 120.0
IDLE_S = 0.005
MODEL, ENDPOINT, SEED = "scripted", "default", 0
# What hints tell workers.
_READY = text("SELECT id FROM tasks WHERE state = 'ready' AND not_before <= now() ORDER BY not_before LIMIT :most")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task carried out: its result, and the calls that it took."""

    lease: Lease
    result: TreeResult
    calls: Sequence[CallRow]


@dataclass(slots=True, kw_only=True)
class Voice:
    """The scripted model, as one task hears it; it keeps the rows of its calls."""

    lease: Lease
    calls: list[CallRow] = field(default_factory=list)

    def say(self, role: str, about: str, said: str, asked: int) -> str:
        """The key of a call in which the model said this."""
        key = blake2b(f"{role}:{self.lease.run_id}:{about}".encode(), digest_size=32).hexdigest()
        row = CallRow(
            key=key,
            run_id=self.lease.run_id,
            task_id=self.lease.task_id,
            role=role,
            endpoint=ENDPOINT,
            model=MODEL,
            tokens_in=asked,
            tokens_out=answers.tokens(said),
            nusd=150 * asked + 600 * answers.tokens(said),
            latency_s=0.0,
            outcome="ok",
            response={"text": said, "finish_reason": "stop", "model": MODEL},
        )
        self.calls.append(row)
        return key


def expanded(payload: ExpandPayload, texts: ExpandTexts, voice: Voice) -> ExpandResult:
    found = []
    for child in payload.children:
        made = writing.evolved(texts.parent, answers.chance_of(SEED, child.key))
        call = voice.say("evolver", child.key, made, 200 + answers.tokens(texts.parent))
        found.append(Evolved(key=child.key, text=made, calls=(call,)))
    return ExpandResult(children=tuple(found))


def evaluated(payload: EvaluatePayload, texts: EvaluateTexts, voice: Voice) -> EvaluateResult:
    """A rubric and a list of tags, one call each for all siblings, as a chat model is asked."""
    mine = texts.nodes
    asked = 300 + sum(map(answers.tokens, mine.values()))
    grades = {key: (_grade(one, "quality"), _grade(one, "complexity")) for key, one in mine.items()}
    tags = {key: writing.tags(one, answers.chance_of(SEED, "tags", one)) for key, one in mine.items()}
    calls = (
        voice.say("judge", f"rubric:{payload.nodes}", str(grades), asked),
        voice.say("judge", f"tags:{payload.nodes}", str(tags), asked),
    )
    found = [
        Judged(
            key=key,
            quality=quality,
            complexity=complexity,
            diversity=float(len(tags[key])),
            tags=tuple(tags[key]),
            calls=calls,
        )
        for key, (quality, complexity) in grades.items()
    ]
    return EvaluateResult(nodes=tuple(found))


def _grade(one: str, dimension: str) -> float:
    return float(round(writing.grade(one, dimension, answers.chance_of(SEED, "grade", dimension, one))))


def responded(payload: RespondPayload, asked: str, voice: Voice) -> RespondResult:
    said = writing.answered(asked, answers.chance_of(SEED, payload.node))
    return RespondResult(output=said, calls=(voice.say("responder", payload.node, said, answers.tokens(asked)),))


def carried_out(lease: Lease, payload: TreePayload, texts: Texts | KeyError) -> Done:
    voice = Voice(lease=lease)
    result: TreeResult
    if isinstance(payload, ExpandPayload):
        assert isinstance(texts, ExpandTexts)
        result = expanded(payload, texts, voice)
    elif isinstance(payload, EvaluatePayload):
        assert isinstance(texts, EvaluateTexts)
        result = evaluated(payload, texts, voice)
    else:
        assert isinstance(texts, str)
        result = responded(payload, texts, voice)
    return Done(lease=lease, result=result, calls=voice.calls)


def _attempt(done: Done, call: CallRow) -> AttemptRow:
    return AttemptRow(
        id=call.key[:32],
        key=call.key,
        run_id=done.lease.run_id,
        task_id=done.lease.task_id,
        lease_token=done.lease.token,
        role=call.role,
        endpoint=call.endpoint,
        tokens=call.tokens_in + call.tokens_out,
        nusd=call.nusd,
    )


class Hands:
    """One process of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def work(self) -> int:
        """Carries out what is ready, at most `BATCH` tasks; returns how many. Five transactions, as a task has."""
        leases = self._transaction(_claim)
        if not leases:
            return 0
        payloads = [tree_payload_of.validate_python(lease.payload) for lease in leases]
        texts = self._transaction(lambda connection: read_all(connection, payloads))
        done = [carried_out(*one) for one in zip(leases, payloads, texts, strict=True)]
        attempts = [_attempt(one, call) for one in done for call in one.calls]
        lookups = [Lookup(attempt.key) for attempt in attempts]
        page = self._transaction(lambda connection: write_page(connection, [], [*lookups, *attempts]))
        if page.refused:
            raise RuntimeError(f"attempts were refused: {set(page.refused.values())}")
        records = [Record(call, call.key[:32]) for one in done for call in one.calls]
        self._transaction(lambda connection: write_page(connection, records, []))
        self._transaction(lambda connection: _finish(connection, done))
        return len(done)

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)


def _claim(connection: Connection) -> list[Lease]:
    ready = list(connection.scalars(_READY, {"most": BATCH}))
    claimed = tasks.claim_all(connection, ready, worker="bulk", lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
    return list(claimed.values())


def _finish(connection: Connection, done: Sequence[Done]) -> None:
    ended = [(one.lease, one.result.model_dump(mode="json")) for one in done]
    if len(tasks.finish_all(connection, ended)) != len(done):
        raise RuntimeError("a lease was lost")


def main() -> None:
    hands = Hands(open_engine(sys.argv[1], pool_size=2))
    while True:
        if not hands.work():
            time.sleep(IDLE_S)


if __name__ == "__main__":
    main()
