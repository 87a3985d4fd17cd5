"""When the next round of generation begins, with how many prompts, and when there is none any more. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.records import RoundRow
from orchestrator.generation.floor import keeps_too_little
from orchestrator.generation.settings import RoundSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """No round follows. `reason` where that is not what the user asked for."""

    reason: str | None = None


def next_round(
    rounds: Sequence[RoundRow], settings: RoundSettings, *, calls_a_text: int, every: int | None
) -> int | Over:
    """How many prompts the next round begins with; 0 while it has to wait.

    It rests on rounds `ahead` before it alone, so that it is the same whoever was quick.

    Args:
        rounds: all so far, in their order.
        calls_a_text: calls for the instances of one kept text.
        every: feedback comes after so many rounds; None, never.
    """
    number = len(rounds)
    known = rounds[: max(0, number - settings.ahead)]
    if number >= settings.most:
        return Over()
    if any(row.status == "generating" for row in known):
        return 0
    if sum(row.kept for row in known) >= settings.target:
        return Over()
    kept, generated = [row.kept for row in known], [row.generated for row in known]
    if keeps_too_little(kept, generated, floor=settings.floor, window=settings.window):
        return Over(reason=_repeats_itself(kept, generated, settings))
    if every and any((row.ordinal + 1) % every == 0 and row.status != "done" for row in known):
        return 0
    return _affordable(rounds, known, settings, calls_a_text)


def _affordable(
    rounds: Sequence[RoundRow], known: Sequence[RoundRow], settings: RoundSettings, calls_a_text: int
) -> int | Over:
    """What the share of calls leaves room for, if the prompts to come cost what those before them did."""
    if settings.calls is None:
        return settings.prompts
    begun, seen = sum(row.prompts for row in rounds), sum(row.prompts for row in known)
    used = seen + calls_a_text * sum(row.kept for row in known)
    a_prompt = used / seen if seen else 1.0 + calls_a_text
    left = int((settings.calls - used - a_prompt * (begun - seen)) / a_prompt)
    return min(settings.prompts, left) if left >= 1 else Over()


def _repeats_itself(kept: Sequence[int], generated: Sequence[int], settings: RoundSettings) -> str:
    last = slice(-settings.window, None)
    return (
        f"the generator repeats itself: of the last {sum(generated[last])} texts {sum(kept[last])} were kept, "
        f"a smaller share than rounds.floor = {settings.floor:g}"
    )
