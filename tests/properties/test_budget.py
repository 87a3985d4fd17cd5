"""No cap is ever passed: what a purse promises, and what a body can really call."""

import asyncio
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from db.records import Caps, NewTask, Spend
from orchestrator.budget import fits, worst_case
from orchestrator.issue import Purse
from workers.asking import Answer
from workers.bodies.evaluate import EvaluateTexts, evaluate
from workers.bodies.expand import ExpandTexts, expand
from workers.bodies.generate import GenerateTexts, Shown, generate
from workers.bodies.instantiate import instantiate
from workers.bodies.respond import respond
from workers.config import Endpoint, Judges, Role, Style, WorkSettings
from workers.contracts import (
    Child,
    EvaluatePayload,
    ExpandPayload,
    GeneratePayload,
    InstantiatePayload,
    Kind,
    RespondPayload,
    worst_calls,
)
from workers.llm.errors import CallRefused
from workers.prompting import Prompt, operators

AMOUNTS = st.builds(
    lambda calls, tokens, nusd: Spend(calls=calls, tokens=tokens, nusd=nusd),
    st.integers(0, 50),
    st.integers(0, 5000),
    st.integers(0, 10**9),
)
CAPS = st.builds(
    lambda calls, tokens, nusd: Caps(calls=calls, tokens=tokens, nusd=nusd),
    st.none() | st.integers(0, 200),
    st.none() | st.integers(0, 20_000),
    st.none() | st.integers(0, 4 * 10**9),
)


def task(reserved: Spend) -> NewTask:
    return NewTask(tree_id=1, key="k", kind="expand", payload={}, reserved=reserved)


def within(caps: Caps, amount: Spend) -> bool:
    return fits(caps, amount, Spend())


def not_negative(amount: Spend) -> bool:
    return min(amount.calls, amount.tokens, amount.nusd) >= 0


@given(CAPS, AMOUNTS, AMOUNTS, st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=20))
def test_a_purse_never_commits_or_keeps_back_more_than_its_caps(
    caps: Caps, spent: Spend, earmarked: Spend, wanted: list[tuple[Spend, Spend]]
) -> None:
    purse = Purse(caps=caps, committed=spent, earmarked=earmarked)
    for reserved, follows in wanted:
        before = (purse.committed, purse.earmarked)
        took = purse.take(task(reserved), follows=follows)
        assert took == within(caps, before[0] + before[1] + reserved + follows)
        assert (purse.committed, purse.earmarked) == ((before[0] + reserved, before[1] + follows) if took else before)


@given(CAPS, st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=12), st.randoms(use_true_random=False))
def test_what_was_kept_back_can_always_be_paid(caps: Caps, wanted: list[tuple[Spend, Spend]], chance: Random) -> None:
    """Whatever else is asked for in between, and in whatever order."""
    purse = Purse(caps=caps, committed=Spend(), earmarked=Spend())
    owed: list[Spend] = []
    for reserved, follows in wanted:
        if purse.take(task(reserved), follows=follows):
            owed.append(follows)
        if owed and chance.random() < 0.5:
            follower = owed.pop(chance.randrange(len(owed)))
            assert purse.take(task(follower), was_earmarked=True)
        assert not_negative(purse.earmarked)
    while owed:
        assert purse.take(task(owed.pop()), was_earmarked=True)
    assert purse.earmarked == Spend()
    assert within(caps, purse.committed)


# -- what a body can really call

KINDS = st.sampled_from(["rubric", "expected"])
JUDGES = st.builds(
    lambda quality, complexity, reasks: Judges(quality=quality, complexity=complexity, reasks=reasks),
    KINDS,
    KINDS,
    st.integers(0, 3),
)
STYLES = st.sampled_from(list(Style))
# Training asks no model.
ASKING = st.sampled_from([kind for kind in Kind if kind is not Kind.TRAIN])
SAYS = [
    "",
    "no",
    '{"scores": [{"id": "A", "quality": 3, "complexity": 3}]}',
    '{"tags": [{"id": "A", "tags": ["tea"]}]}',
]


class Counting:
    """Counts the calls by role, and answers as badly as the world may."""

    def __init__(self, answers: list[str | None]) -> None:
        self.calls: Counter[Role] = Counter()
        self._answers = answers

    async def __call__(self, role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        said = self._answers[self.calls.total() % len(self._answers)]
        self.calls[role] += 1
        if said is None:
            raise CallRefused("400")
        return Answer(text=said, outcome="ok" if said else "empty", call="c", replayed=False)


async def carry_out(kind: Kind, count: int, work: WorkSettings, ask: Counting) -> None:
    keys = tuple(f"k{i}" for i in range(count))
    texts = {key: f"Explain topic {key} to a child." for key in keys}
    if kind is Kind.EXPAND:
        names = list(operators())
        children = tuple(Child(key=key, operator=names[i % len(names)]) for i, key in enumerate(keys))
        payload = ExpandPayload(tree_id=1, parent="p", children=children)
        await expand(payload, ExpandTexts(parent="Explain tea.", anchor="Explain tea."), work, ask)
    elif kind is Kind.EVALUATE:
        evaluation = EvaluatePayload(tree_id=1, parent="p", nodes=keys)
        await evaluate(evaluation, EvaluateTexts(nodes=texts, parent="Explain tea."), work, ask)
    elif kind is Kind.GENERATE:
        shown = GenerateTexts(shown=(Shown(instruction="Explain tea."),))
        for slot in range(count):
            await generate(GeneratePayload(round=0, slot=slot, shown=(0,)), shown, work, ask)
    elif kind is Kind.INSTANTIATE:
        for number, key in enumerate(keys):
            await instantiate(InstantiatePayload(instruction=number), texts[key], work, ask)
    else:
        for key in keys:
            await respond(RespondPayload(tree_id=1, node=key), texts[key], work, ask)


@settings(deadline=None)
@given(
    ASKING,
    st.integers(1, 6),
    JUDGES,
    STYLES,
    st.lists(st.none() | st.sampled_from(SAYS), min_size=1, max_size=6),
)
def test_no_body_calls_more_than_was_reserved_for_it(
    kind: Kind, count: int, judges: Judges, style: Style, answers: list[str | None]
) -> None:
    work = WorkSettings(endpoints={"default": Endpoint(model="m", style=style)}, judges=judges)
    ask = Counting(answers)
    asyncio.run(carry_out(kind, count, work, ask))
    worst = worst_calls(work, kind, count)
    assert set(ask.calls) <= set(worst)
    assert all(calls <= worst[role] for role, calls in ask.calls.items())


@settings(deadline=None)
@given(ASKING, st.integers(1, 6), JUDGES, STYLES)
def test_the_worst_case_does_happen(kind: Kind, count: int, judges: Judges, style: Style) -> None:
    """When nothing that is said can be read, every call that was reserved is made: no more is reserved than that."""
    work = WorkSettings(endpoints={"default": Endpoint(model="m", style=style)}, judges=judges)
    ask = Counting(["no"])
    asyncio.run(carry_out(kind, count, work, ask))
    assert dict(ask.calls) == dict(worst_calls(work, kind, count))
    assert worst_case(work, kind, count).calls == ask.calls.total()
