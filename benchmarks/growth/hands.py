"""Hands without a network: tasks are claimed, answered and written as workers do it, many in one statement.

The texts, grades and tags are the scripted model's, made by its own functions; every call is looked up, announced and
recorded in the ledger by the functions of the gateway. Left out are prompts, parsing, guards, Celery and the endpoint.

    python -m benchmarks.growth.hands ADDRESS_OF_DATABASE
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TypeVar

from sqlalchemy import Connection, Engine, text

from db.engine import open_engine
from db.records import AttemptRow, CallRow, Lease
from workers.contracts import (
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

T = TypeVar("T")
Texts = Mapping[tuple[int, str], str]

BATCH = 200
LEASE_S = 120.0
IDLE_S = 0.005
MODEL, ENDPOINT, SEED = "scripted", "default", 0
# `db.tasks.claim`, `db.nodes.texts` and `db.tasks.finish`, each for many at once.
_CLAIM = text(
    """
    UPDATE tasks k SET state = 'leased', attempts = k.attempts + 1, lease_token = k.lease_token + 1, worker = 'bulk',
        lease_until = now() + make_interval(secs => :lease_s), deadline = now() + make_interval(secs => k.deadline_s)
    FROM (
        SELECT t.id FROM tasks t JOIN runs r ON r.id = t.run_id
        WHERE t.state = 'ready' AND t.not_before <= now() AND r.status = 'running'
        ORDER BY t.not_before LIMIT :most FOR UPDATE OF t SKIP LOCKED
    ) AS ready WHERE k.id = ready.id
    RETURNING k.id, k.lease_token, k.run_id, k.tree_id, k.kind, k.payload, k.attempts, k.deadline_s
    """
)
_TEXTS = text(
    """
    SELECT n.tree_id, n.key, n.text FROM json_to_recordset(CAST(:rows AS json)) AS v (tree_id bigint, key text)
    JOIN nodes n ON n.tree_id = v.tree_id AND n.key = v.key
    """
)
_FINISH = text(
    """
    UPDATE tasks k SET state = 'done', result = v.result, lease_until = NULL, error = NULL, ended_at = now()
    FROM json_to_recordset(CAST(:rows AS json)) AS v (id bigint, token bigint, result jsonb)
    WHERE k.id = v.id AND k.lease_token = v.token AND k.state = 'leased'
    """
)


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


def expanded(payload: ExpandPayload, texts: Texts, voice: Voice) -> ExpandResult:
    parent = texts[payload.tree_id, payload.parent]
    found = []
    for child in payload.children:
        made = writing.evolved(parent, answers.chance_of(SEED, child.key))
        call = voice.say("evolver", child.key, made, 200 + answers.tokens(parent))
        found.append(Evolved(key=child.key, text=made, calls=(call,)))
    return ExpandResult(children=tuple(found))


def evaluated(payload: EvaluatePayload, texts: Texts, voice: Voice) -> EvaluateResult:
    """A rubric and a list of tags, one call each for all siblings, as a chat model is asked."""
    mine = {key: texts[payload.tree_id, key] for key in payload.nodes}
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


def responded(payload: RespondPayload, texts: Texts, voice: Voice) -> RespondResult:
    asked = texts[payload.tree_id, payload.node]
    said = writing.answered(asked, answers.chance_of(SEED, payload.node))
    return RespondResult(output=said, calls=(voice.say("responder", payload.node, said, answers.tokens(asked)),))


def carried_out(lease: Lease, payload: TreePayload, texts: Texts) -> Done:
    voice = Voice(lease=lease)
    result: TreeResult
    if isinstance(payload, ExpandPayload):
        result = expanded(payload, texts, voice)
    elif isinstance(payload, EvaluatePayload):
        result = evaluated(payload, texts, voice)
    else:
        result = responded(payload, texts, voice)
    return Done(lease=lease, result=result, calls=voice.calls)


def _needed(payload: TreePayload) -> Sequence[str]:
    """The nodes whose texts a task needs."""
    if isinstance(payload, ExpandPayload):
        return (payload.parent,)
    return payload.nodes if isinstance(payload, EvaluatePayload) else (payload.node,)


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
        texts = self._transaction(lambda connection: _texts(connection, payloads))
        done = [carried_out(*pair, texts) for pair in zip(leases, payloads, strict=True)]
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
    return [
        Lease(
            task_id=row.id,
            token=row.lease_token,
            run_id=row.run_id,
            tree_id=row.tree_id,
            kind=row.kind,
            payload=row.payload,
            attempts=row.attempts,
            deadline_s=row.deadline_s,
        )
        for row in connection.execute(_CLAIM, {"lease_s": LEASE_S, "most": BATCH})
    ]


def _texts(connection: Connection, payloads: Sequence[TreePayload]) -> Texts:
    wanted = [{"tree_id": payload.tree_id, "key": key} for payload in payloads for key in _needed(payload)]
    return {(row.tree_id, row.key): row.text for row in connection.execute(_TEXTS, {"rows": json.dumps(wanted)})}


def _finish(connection: Connection, done: Sequence[Done]) -> None:
    rows = [
        {"id": one.lease.task_id, "token": one.lease.token, "result": one.result.model_dump(mode="json")}
        for one in done
    ]
    if connection.execute(_FINISH, {"rows": json.dumps(rows)}).rowcount != len(done):
        raise RuntimeError("a lease was lost")


def main() -> None:
    hands = Hands(open_engine(sys.argv[1], pool_size=2))
    while True:
        if not hands.work():
            time.sleep(IDLE_S)


if __name__ == "__main__":
    main()
