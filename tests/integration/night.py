"""A run driven on real rows, by hands of the tests' own: every answer is known."""

from collections.abc import Callable
from hashlib import blake2b

from sqlalchemy import Engine, text

from db import calls, laws, runs, tasks
from db.records import CallRow, Caps, Lease, Run
from orchestrator.begin import begin
from orchestrator.config import build
from orchestrator.driver import Driver
from orchestrator.seeds import Seed, Seeds
from workers.contracts import (
    EvaluatePayload,
    EvaluateResult,
    Evolved,
    ExpandPayload,
    ExpandResult,
    Generated,
    GeneratePayload,
    GenerateResult,
    Instance,
    InstantiatePayload,
    InstantiateResult,
    Judged,
    Lesson,
    Payload,
    PoolPayload,
    PoolResult,
    Reason,
    RespondResult,
    Step,
    TrainPayload,
    TrainResult,
    TreeResult,
    payload_of,
)

BASE = {"endpoints": {"default": {"model": "m", "usd_per_million_in": 1.0, "usd_per_million_out": 2.0}}}

# Where all scores are equal: the root, three expansions of five, and 4 + 3 + 3 simulation steps (papers.md, 1.7).
TREE = 1 + 15 + 10
Answer = Callable[[Payload, Callable[[str], str]], TreeResult | PoolResult]


def seed_of(number: int) -> dict[str, str]:
    return {"instruction": f"Tell me about topic {number}.", "input": ""}


def start(
    engine: Engine,
    *options: str,
    caps: Caps | None = None,
    recipe: str = "idea-mcts",
    seeds: int = 3,
    name: str = "night",
) -> Driver:
    config = build(recipe, [BASE], options)
    planted = Seeds(seeds=tuple(Seed(**seed_of(number)) for number in range(seeds)), duplicates=0)
    with engine.begin() as connection:
        begin(connection, name=name, stem="", config=config, seeds=planted, caps=caps or Caps())
    return adopted(engine)


def adopted(engine: Engine) -> Driver:
    with engine.begin() as connection:
        connection.execute(text("UPDATE runs SET owner_until = NULL"))
        run = runs.adopt(connection, owner="test", lease_s=60)
    assert run is not None
    return Driver(engine, run)


def good(payload: Payload, pay: Callable[[str], str]) -> TreeResult:
    """Every evolution works, deeper is better, every answer is an answer."""
    if isinstance(payload, ExpandPayload):
        found = [Evolved(key=c.key, text=f"{c.operator} {c.key}", calls=(pay("evolver"),)) for c in payload.children]
        return ExpandResult(children=tuple(found))
    if isinstance(payload, EvaluatePayload):
        call = pay("judge")
        scores = [Judged(key=key, quality=2, diversity=2, complexity=1.5, calls=(call,)) for key in payload.nodes]
        return EvaluateResult(nodes=tuple(scores))
    return RespondResult(output="An answer.", calls=(pay("responder"),))


def varied(payload: Payload, pay: Callable[[str], str]) -> TreeResult:
    """As `good`, but each node has a score of its own, the same whenever it is asked for; one in ten is refused."""
    if isinstance(payload, ExpandPayload):
        found = [
            Evolved(key=c.key, text=f"{c.operator} {c.key}", calls=(pay("evolver"),))
            if int(c.key[:4], 16) % 10
            else Evolved(key=c.key, text="No.", rejected=Reason.TOO_SHORT, calls=(pay("evolver"),))
            for c in payload.children
        ]
        return ExpandResult(children=tuple(found))
    if isinstance(payload, EvaluatePayload):
        call = pay("judge" if payload.judge == "search" else "examiner")
        scores = [
            Judged(key=key, quality=1 + int(key[:6], 16) % 41 / 8, diversity=2, complexity=2, calls=(call,))
            for key in payload.nodes
        ]
        return EvaluateResult(nodes=tuple(scores))
    return good(payload, pay)


# Words enough that texts of five of them are rarely near-copies.
_WORDS = [
    f"{a}{b}" for a in ("ba", "de", "fi", "go", "lu", "me", "no", "pa") for b in ("ron", "tin", "sel", "mak", "vor")
]


def text_of(*place: int) -> str:
    """A text of its own for each place."""
    digest = blake2b(repr(place).encode(), digest_size=16).digest()
    return "Tell of " + " ".join(_WORDS[byte % len(_WORDS)] for byte in digest[:6]) + "."


def widened(payload: Payload, pay: Callable[[str], str]) -> PoolResult:
    """Eight texts a prompt: one that a heuristic refuses, one that every prompt brings, six of its own."""
    assert isinstance(payload, PoolPayload)
    if isinstance(payload, GeneratePayload):
        own = [Generated(text=text_of(payload.round, payload.slot, number)) for number in range(6)]
        refused = Generated(text="Draw it.", rejected=Reason.UNDOABLE)
        again = Generated(text="Say what everybody says about the weather.")
        return GenerateResult(found=(*own, refused, again), calls=(pay("generator"),))
    if isinstance(payload, InstantiatePayload):
        calls = (pay("responder"), pay("responder"))
        if payload.instruction % 7 == 0:
            return InstantiateResult(rejected=Reason.NO_INSTANCE, calls=calls)
        good = Instance(input="", output=f"An answer to {payload.instruction}.")
        bad = Instance(input="x", output="x", rejected=Reason.SAME_AS_INPUT)
        return InstantiateResult(instances=(good, bad), is_classification=False, calls=calls)
    return TrainResult(steps=tuple(_step(payload, at) for at in range(len(payload.batches))))


def _step(payload: TrainPayload, at: int) -> Step:
    batch = payload.batches[at]
    norm = 1.0 + (payload.round * 7 + at) % 5
    lessons = tuple(Lesson(instruction=m, tokens=10, loss=2.0, gradient_norm=norm, brings=0.5) for m in batch.members)
    return Step(batch=batch.ordinal, step=payload.step + at, lessons=lessons, loss=2.0, gradient_norm=norm, seconds=0.5)


class Hands:
    """Claims every ready task in random order, or `most` of them, perhaps pays for calls, and writes a result.

    Calls are numbered from `first` on.
    """

    def __init__(self, engine: Engine, answer: Answer = good, most: int | None = None, *, first: int = 0) -> None:
        self._engine = engine
        self._answer = answer
        self._most = most
        self._paid = first

    def work(self) -> int:
        query = text("SELECT id FROM tasks WHERE state = 'ready' ORDER BY random() LIMIT :most")
        with self._engine.begin() as connection:
            ready = list(connection.scalars(query, {"most": self._most}))
            for task_id in ready:
                lease = tasks.claim(connection, task_id, worker="hands", lease_s=60, max_attempts=5)
                assert lease is not None
                payload = payload_of.validate_python(lease.payload)
                rows: list[CallRow] = []
                result = self._answer(payload, lambda role: self._pay(role, lease, rows))  # noqa: B023 - called at once
                calls.insert(connection, rows)
                tasks.finish(connection, lease, result.model_dump(mode="json"))
        return len(ready)

    def _pay(self, role: str, lease: Lease, rows: list[CallRow]) -> str:
        self._paid += 1
        key = f"call-{self._paid}"
        rows.append(
            CallRow(
                key=key,
                run_id=lease.run_id,
                task_id=lease.task_id,
                role=role,
                endpoint="default",
                model="m",
                tokens_in=10,
                tokens_out=5,
                nusd=20_000,
                latency_s=0.1,
                outcome="ok",
                response={},
            )
        )
        return key


def finish(driver: Driver, hands: Hands) -> Run:
    for _ in range(500):
        driver.tick()
        if driver.over:
            return driver.run
        hands.work()
    raise AssertionError("the run never ended")


def assert_lawful(engine: Engine, run: Run) -> None:
    with engine.connect() as connection:
        assert {law: faults for law, faults in laws.recount(connection, run.id).items() if faults} == {}
