"""Budget arithmetic: what a task could cost at the worst, and whether a cap leaves room for it."""

from db.records import Caps, Run, Spend
from workers.config import Role, WorkSettings
from workers.contracts import Kind, worst_calls


def worst_case(settings: WorkSettings, kind: Kind, count: int) -> Spend:
    """Every call that the task may make, each at its full prompt and answer. Unknown prices count as nothing.

    A cap on money with an unknown price is refused before a run starts, so nothing is ever guessed here.
    """
    total = Spend()
    for role, calls in worst_calls(settings, kind, count).items():
        total += _one_call(settings, role).times(calls)
    return total


def _one_call(settings: WorkSettings, role: Role) -> Spend:
    limits = settings.role(role)
    price = settings.endpoint(role).nusd(limits.max_prompt_tokens, limits.max_tokens)
    return Spend(calls=1, tokens=limits.max_prompt_tokens + limits.max_tokens, nusd=price or 0)


def least(settings: WorkSettings, children: int, *, responses: bool) -> Spend:
    """What has to be reserved before a tree can bring anything: its seed's scores, one expansion, what follows."""
    steps = [(Kind.EVALUATE, 1), (Kind.EXPAND, children), (Kind.EVALUATE, children)]
    if responses:
        steps.append((Kind.RESPOND, children))
    return sum((worst_case(settings, kind, count) for kind, count in steps), Spend())


def fits(caps: Caps, committed: Spend, more: Spend) -> bool:
    """Whether `more` can be added to what is reserved and spent without passing a cap."""
    total = committed + more
    pairs = ((caps.calls, total.calls), (caps.tokens, total.tokens), (caps.nusd, total.nusd))
    return all(cap is None or amount <= cap for cap, amount in pairs)


def committed(run: Run) -> Spend:
    return run.reserved + run.spent
