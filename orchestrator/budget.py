"""Budget arithmetic: what a task could cost at the worst, and whether a cap leaves room for it. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from db.records import Caps, Run, Spend
from workers.config import Bench, Role, WorkSettings
from workers.contracts import Kind, worst_calls

# The longest prompt of each role so far, in tokens as the endpoint counted them.
Prompts = Mapping[Role, int]
NONE_YET: Prompts = MappingProxyType({})
# A prompt is announced at its number of bytes (workers/llm/call.py), about four and a half for a token of English.
_BYTES_A_TOKEN, _MARGIN = 5, 64
# Answers are slower to come than scores: keep this much more time for them than the run's pace would need.
_SLACK = 1.3


def worst_case(
    settings: WorkSettings, kind: Kind, count: int, prompts: Prompts = NONE_YET, judge: Bench = "search"
) -> Spend:
    """Every call that the task may make, each at its longest prompt and full answer. Unknown prices count as nothing.

    Prompts are as long as the role allows, until the run has seen how long they are. Attempts beyond this (after a
    time-out, a kill, or with a longer prompt) reserve what they need before they are made (`db.attempts`).
    A cap on money with an unknown price is refused before a run starts, so nothing is ever guessed here.
    """
    total = Spend()
    for role, calls in worst_calls(settings, kind, count, judge).items():
        total += _one_call(settings, role, prompts).times(calls)
    return total


def _one_call(settings: WorkSettings, role: Role, prompts: Prompts) -> Spend:
    limits = settings.role(role)
    seen = prompts.get(role)
    prompt = limits.max_prompt_tokens if seen is None else _BYTES_A_TOKEN * seen + _MARGIN
    price = settings.endpoint(role).nusd(prompt, limits.max_tokens)
    return Spend(calls=1, tokens=prompt + limits.max_tokens, nusd=price or 0)


def calls_for(settings: WorkSettings, children: int = 1) -> int:
    """The calls that a litter and its scores take where all goes well: none asked again, none repeated."""
    judges = settings.judges.model_copy(update={"reasks": 0, "repeats": 0})
    plain = settings.model_copy(update={"judges": judges})
    calls = (worst_calls(plain, kind, children) for kind in (Kind.EXPAND, Kind.EVALUATE))
    return sum(sum(of_roles.values()) for of_roles in calls)


def evolutions_for(calls: int, litter_costs: Sequence[int]) -> int:
    """How many evolutions so many calls are enough for, in litters that cost, with 1, 2, ... children, these calls."""
    whole, rest = divmod(max(calls, 0), litter_costs[-1])
    return whole * len(litter_costs) + sum(cost <= rest for cost in litter_costs[:-1])


def share_in_evolutions(share: int, calls: Sequence[int], litter_costs: Sequence[int], *, settled: bool) -> int:
    """How many evolutions a tree may have had by now from its share of calls.

    `calls` are those that its evolutions took, in order of issue. Some cost less than was thought, as refused ones do,
    so when all are settled the rest of the share makes another round, until it is too small.
    """
    allowed = 0
    while allowed < len(calls) or (settled and allowed == len(calls)):
        more = evolutions_for(share - sum(calls[:allowed]), litter_costs)
        if not more:
            break
        allowed += more
    return allowed


def least(settings: WorkSettings, children: int, *, responses: bool) -> Spend:
    """What has to be reserved before a tree can bring anything: its seed's scores, one expansion, what follows."""
    steps = [(Kind.EVALUATE, 1), (Kind.EXPAND, children), (Kind.EVALUATE, children)]
    if responses:
        steps.append((Kind.RESPOND, children))
    return sum((worst_case(settings, kind, count) for kind, count in steps), Spend())


def instancing(settings: WorkSettings, count: int, prompts: Prompts = NONE_YET) -> Spend:
    """The worst case of so many texts' instances; nothing where texts come with theirs."""
    if settings.generation.comes_whole:
        return Spend()
    return worst_case(settings, Kind.INSTANTIATE, 1, prompts).times(count)


def least_of_pool(settings: WorkSettings, shown: int) -> Spend:
    """What has to be there before a pool can grow: one prompt, and the instances of all that it may list."""
    return worst_case(settings, Kind.GENERATE, 1) + instancing(settings, settings.generation.listed(shown))


def fits(caps: Caps, committed: Spend, more: Spend) -> bool:
    """Whether `more` can be added to what is reserved and spent without passing a cap."""
    return caps.allow(committed + more)


def out_of_time(run: Run, *, answers: int) -> bool:
    """Whether growing must end for the cap on time, so that this many answers can still be had before it.

    At the run's own pace: the calls it has paid for in the seconds it was driven.
    """
    if run.caps.seconds is None:
        return False
    pace = run.spent.calls / run.driven_s if run.driven_s and run.spent.calls else None
    needed = _SLACK * answers / pace if pace else 0.0
    return run.driven_s + needed >= run.caps.seconds


def committed(run: Run) -> Spend:
    return run.reserved + run.spent
