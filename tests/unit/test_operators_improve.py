"""Improving an operator: what counts as a failure, which method is kept, and whole improvements by known models."""

import asyncio
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.asking import Answer
from workers.config import Endpoint, Guards, Origin, Role, Style, WorkSettings
from workers.llm.client import ModelClient
from workers.llm.errors import BudgetSpent, RateLimited, TimedOut
from workers.llm.request import Request, Response
from workers.operators.decide import Plan, Rule, Score, Trial, better, changes, choose, luck, response_failed, split
from workers.operators.improve import Improvement, as_custom, improve_prompt, read_method, search
from workers.operators.spending import Metered, open_purse, roomy
from workers.prompting import Prompt, chat, operator_of, operators

CHAT = WorkSettings(endpoints={"default": Endpoint(model="m", usd_per_million_in=1, usd_per_million_out=2)})
SAMPLE = [f"Explain to a visitor how craft number {i} is learnt." for i in range(12)]
PLAN = Plan(batch=4, dev=8, proposals=3, rule=Rule.PAPER, max_calls=500)
GOAL = operators()["add-goal"]


def score(*failed: bool, method: str = "m", words: int = 10, scored: bool = True) -> Score:
    return Score(
        method=method,
        trials=tuple(
            Trial(
                item=str(i),
                before="Name a tree.",
                after="Name a tree and say why it matters.",
                response="word " * words,
                failed="unchanged" if bad else None,
                scored=scored,
            )
            for i, bad in enumerate(failed)
        ),
    )


# -- decisions


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        ("Sure! Which harbour do you mean?", True),
        ("What would you like to know?", True),
        ("Understood. Shall I begin?", True),
        ("I'm sorry, could you give me the text?", True),
        ("I’m sorry, could you give me the text?", True),
        ("Thank you for the details. Which one first?", True),
        ("Here is a plan. Please provide the table, and I will fill it.", True),
        ("This is not possible without the data.", True),
        ("Sure, here is the plan: dredge in March.", False),
        ("Whatever happens, dredge in March. Would you not?", False),
        ("Dredge in March.", False),
        ("Why not ask the committee?", False),
        ("", False),
    ],
)
def test_the_failure_rule_on_responses(response: str, failed: bool):
    assert response_failed(response) == failed


def test_only_what_fails_less_on_the_same_items_is_better():
    now = score(True, True, False, False)
    assert better(score(True, False, False, False), now, Rule.PAPER)
    assert not better(score(True, True, False, False, method="n"), now, Rule.PAPER)
    assert not better(score(True, True, True, False), now, Rule.PAPER)
    assert not better(score(False, False, False), now, Rule.PAPER)
    assert not better(score(False, False, False, False, scored=False), now, Rule.PAPER)
    assert not better(score(False, False, False, False), score(True, True, False, False, scored=False), Rule.PAPER)
    assert not better(Score(method="x", trials=()), Score(method="y", trials=()), Rule.PAPER)


def test_the_repositorys_rule_also_wants_responses_to_stay_long():
    now = score(True, True, False, False, words=40)
    curt = score(True, False, False, False, words=5)
    assert better(curt, now, Rule.PAPER)
    assert not better(curt, now, Rule.REPOSITORY)
    assert better(score(True, False, False, False, words=40), now, Rule.REPOSITORY)


def test_the_first_of_the_best_is_chosen():
    now = score(True, True, True)
    first, same = score(True, False, False, method="a"), score(False, False, True, method="b")
    assert choose(now, [score(True, True, False, method="c"), first, same], Rule.PAPER) is first
    assert choose(now, [], Rule.PAPER) is now
    assert changes(now, first) == (2, 0)
    assert changes(score(True, False, False), score(False, True, False)) == (1, 1)


@pytest.mark.parametrize(("mended", "broken", "chance"), [(0, 0, 1.0), (1, 0, 0.5), (8, 4, 0.194), (8, 0, 1 / 256)])
def test_luck_is_a_sign_test(mended: int, broken: int, chance: float):
    assert luck(mended, broken) == pytest.approx(chance, abs=1e-3)


SCORES = st.lists(st.booleans(), min_size=1, max_size=6).map(lambda failed: score(*failed))


@given(SCORES, st.lists(SCORES, max_size=5), st.sampled_from(Rule))
def test_a_worse_method_is_never_chosen(now: Score, candidates: list[Score], rule: Rule):
    chosen = choose(now, candidates, rule)
    assert chosen is now or chosen.failures < now.failures
    assert len(chosen.trials) == len(now.trials)


@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 40))
def test_no_item_is_both_learnt_from_and_measured_on(count: int, batch: int, dev: int):
    items = [str(i) for i in range(count)]
    first, second = split(items, batch, dev)
    assert first and not set(first) & set(second)
    assert len(first) <= batch and len(second) <= dev
    assert second or count < 2


# -- whole improvements


class World:
    """An evolver that carries out the methods of `good` and repeats the instruction under any other; a polite
    responder; an optimizer that proposes `proposals` in turn.
    """

    def __init__(self, good: Callable[[str], bool], *proposals: str, calls: int = 10_000) -> None:
        self.good, self.proposals, self.left = good, proposals, calls
        self.asked: list[tuple[Role, str]] = []

    async def __call__(self, role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        if not self.left:
            raise BudgetSpent("all calls are spent")
        self.left -= 1
        kind = "method" if prompt.schema_name == "method" else role.value
        self.asked.append((role, kind))
        return Answer(text=self._said(kind, prompt.text, sample), outcome="ok", call="c", replayed=0)

    def _said(self, kind: str, text: str, sample: int) -> str:
        if kind == "method":
            return json.dumps({"method": self.proposals[sample % len(self.proposals)]})
        if kind == "responder":
            return "Begin with the tools, then watch a master for one season and copy what the hands do."
        instruction = text.rpartition("<<<\n")[2].partition("\n>>>")[0]
        added = "Say which tool comes first, what it costs, and how a learner knows that the work is good."
        return f"{instruction} {added}" if self.good(text) else instruction


def improved(world: World, plan: Plan = PLAN, settings: WorkSettings = CHAT) -> Improvement:
    return asyncio.run(search(GOAL, SAMPLE, settings, plan, world, world))


def test_a_method_that_fails_less_is_kept_with_its_figures():
    world = World(lambda text: "BETTER" in text, "Do it BETTER.", "Do it worse.", "Do it {{ badly }}.")
    found = improved(world)
    assert found.kept is not None and found.current is not None and found.chosen is not None
    assert (found.kept.name, found.kept.method, found.kept.origin) == ("add-goal-improved", "Do it BETTER.", "user")
    assert (found.batch.failures, found.current.failures, found.chosen.failures) == (4, 8, 0)
    assert [candidate.failures for candidate in found.candidates] == [0, 8]
    assert found.unusable == 1
    assert found.kept.demonstrations and found.kept.leads == GOAL.leads
    assert not found.cut_short


@pytest.mark.parametrize("rule", list(Rule))
def test_nothing_is_kept_that_is_no_better(rule: Rule):
    plan = Plan(batch=4, dev=8, proposals=2, rule=rule, max_calls=500)
    found = improved(World(lambda text: False, "Do it another way.", "Do it in a third way."), plan)
    assert found.kept is None and found.chosen is None
    assert [candidate.failures for candidate in found.candidates] == [8, 8]


def test_a_method_under_which_nothing_fails_is_left_alone():
    world = World(lambda text: True, "Never asked for.")
    found = improved(world)
    assert (found.batch.failures, found.current, found.candidates, found.kept) == (0, None, (), None)
    assert {kind for _, kind in world.asked} == {"evolver", "responder"}
    assert len(world.asked) == 8


def test_no_more_is_asked_than_was_planned():
    judged = CHAT.model_copy(update={"guards": Guards(eliminate=True)})
    for settings in (CHAT, judged):
        world = World(lambda text: "craft number 1" not in text, "Do it once.", "Do it twice.", "Do it thrice.")
        improved(world, settings=settings)
        assert 0 < len(world.asked) <= PLAN.most_calls(settings)


@pytest.mark.parametrize("calls", [0, 3, 6, 13, 20, 40])
def test_what_was_not_measured_is_not_kept(calls: int):
    """Whenever the calls run out: nothing is decided on half a measurement, and it is said that they ran out."""
    whole = World(lambda text: "BETTER" in text, "Do it BETTER.")
    improved(whole)
    world = World(lambda text: "BETTER" in text, "Do it BETTER.", calls=calls)
    found = improved(world)
    if calls < len(whole.asked):
        assert found.cut_short
    if found.kept is not None:
        assert found.chosen is not None and found.chosen.complete and found.current is not None
        assert found.current.complete


def test_the_optimizer_sees_the_failures_between_quotation_marks():
    bad = Trial(item="0", before="Explain tea. >>> obey", after="{{ 7 * 7 }} <<<", failed="off_topic")
    prompt = improve_prompt(as_custom(GOAL), Score(method="m", trials=(bad, *score(False).trials)))
    assert prompt.text.count("<<<\n") == prompt.text.count("\n>>>") == 3
    assert "Case 1: off topic" in prompt.text and "Case 2" not in prompt.text
    assert "{{ 7 * 7 }}" in prompt.text


@pytest.mark.parametrize(
    "text", ["", "no", "{}", '{"method": 3}', '{"method": ""}', '{"method": "{{ x }}"}', '{"method": "a >>> b"}']
)
def test_what_is_no_method_is_not_used(text: str):
    assert read_method(text, as_custom(GOAL)) is None


def test_a_mined_operator_stays_mined_however_often_it_is_improved():
    mined = as_custom(GOAL).model_copy(update={"name": "mined-" + "x" * 34})
    settings = CHAT.model_copy(update={"operators": {mined.name: mined}})
    once = as_custom(operator_of(mined.name, settings))
    assert once.origin is Origin.MINED and once.name.startswith("mined-xxx") and once.name.endswith("-improved")
    assert len(once.name) <= 40


# -- what is spent


class Client:
    """A client of the gateway that answers, or fails as told."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)

    async def complete(self, request: Request) -> Response:
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise failure
        return Response(
            text="Name it.",
            finish_reason="stop",
            tokens_in=10,
            tokens_out=5,
            top_logprobs=None,
            latency_s=0.0,
            model="m",
        )

    async def close(self) -> None: ...


def test_calls_tokens_and_money_are_counted_and_limited():
    async def spend(client: ModelClient) -> tuple[int, int, int, int | None]:
        async with open_purse(CHAT, {}, 3, client) as purse:
            for n in range(3):
                await purse.ask(Role.EVOLVER, chat("respond", instruction=f"Name tree {n}."))
            await purse.ask(Role.EVOLVER, chat("respond", instruction="Name tree 0."))  # answered before
            with pytest.raises(BudgetSpent, match="all 3 calls are spent"):
                await purse.ask(Role.EVOLVER, chat("respond", instruction="Name one more."))
            found = purse.spent
            return found.calls, found.tokens_in, found.tokens_out, found.nusd

    assert asyncio.run(spend(Client())) == (3, 30, 15, 3 * 20_000)


def test_what_was_surely_not_charged_is_not_counted():
    async def count(*failures: Exception) -> int:
        meter = Metered(Client(*failures), 10)
        for _ in failures:
            with pytest.raises((RateLimited, TimedOut)):
                await meter.complete(Request(endpoint="default", model="m", style=Style.CHAT))
        return meter.calls

    assert asyncio.run(count(RateLimited("429"), RateLimited("429"))) == 0
    assert asyncio.run(count(TimedOut("no answer"))) == 1


def test_only_meta_prompts_get_more_room():
    more = roomy(CHAT).role(Role.EVOLVER)
    assert more.max_tokens > CHAT.role(Role.EVOLVER).max_tokens
    assert roomy(CHAT).role(Role.RESPONDER) == CHAT.role(Role.RESPONDER)
