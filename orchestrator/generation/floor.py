"""When to stop asking a generator that has nothing new to say."""

from collections.abc import Sequence


def keeps_too_little(kept: Sequence[int], generated: Sequence[int], *, floor: float, window: int) -> bool:
    """Whether, over the last `window` rounds together, less than `floor` of what was generated was kept.

    One entry for each finished round, oldest first; fewer rounds than the window say nothing yet. Rounds in which
    nothing was generated at all (every completion thrown away) keep nothing, so that they end too.
    """
    if len(generated) < window:
        return False
    total = sum(generated[-window:])
    return sum(kept[-window:]) < floor * total if total else floor > 0
