"""What training says of the seed pool: the most moving batch supplies new seeds, weak ones leave (papers.md, 2.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from orchestrator.generation.picks import Pick, at_random, farthest, largest
from orchestrator.generation.seedpool import Event, SeedPool
from orchestrator.generation.signal import TERMS, BatchSignal, Term, corrected, plain
from orchestrator.search.ids import draw

Signal = Literal["norm", "corrected", "loss", "random"]
Name = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRules:
    """Every choice that the paper leaves open.

    every: rounds from one feedback to the next, and the window within which alone signals are compared.
    top_batches: so many of the batches with the largest signal supply seeds.
    enter: new seeds at most, of all these batches together.
    pick: which members: `farthest` by ROUGE-L from the pool, the largest own gradient `norm`, or `random`.
    fixed_size: as many leave as enter, and no more enter than can leave: the pool keeps its size.
    leave: so many leave at most where the size is not fixed.
    least: where the size is not fixed, the pool never falls under this.
    signal: the `norm` before clipping; `corrected` for `terms`; the `loss`; `random`, the control.
    """

    every: int = 10
    top_batches: int = 1
    enter: int = 4
    pick: Pick = "farthest"
    fixed_size: bool = True
    leave: int = 4
    least: int = 8
    signal: Signal = "norm"
    terms: tuple[Term, ...] = TERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What is to happen to the pool, those who enter first, and what it was decided by.

    suppliers: the batches with the largest signals, as (round, ordinal), the largest first.
    signals: of every batch of the window that can be compared.
    scores: of every seed with offspring in such a batch, the mean signal of the batches that hold some.
    """

    events: tuple[Event, ...] = ()
    suppliers: tuple[Name, ...] = ()
    signals: Mapping[Name, float] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)


def due(round: int, rules: FeedbackRules) -> bool:
    """Whether feedback follows this round; rounds count from 0."""
    return (round + 1) % rules.every == 0


def feedback(
    pool: SeedPool,
    batches: Sequence[BatchSignal],
    *,
    parents: Mapping[int, Sequence[int]],
    texts: Mapping[int, str],
    rules: FeedbackRules,
    seed: int,
    round: int,
) -> Feedback:
    """Who enters and who leaves after `round`. The same arguments give the same answer.

    Weak are the seeds in the lower half of those that can be judged: a seed without offspring in the window is not
    weak, nor is the only one with some.

    Args:
        batches: of any rounds; those of the window are chosen here. Without a finite norm one is left out.
        parents: the demonstrations that each member of a batch was generated from.
        texts: of the pool and of the members of the window's batches.
    """
    window = [one for one in batches if round - rules.every < one.round <= round]
    signals = compared(window, rules, seed)
    suppliers = sorted(signals, key=lambda name: (-signals[name], name))[: rules.top_batches]
    scores = _scores(pool, window, signals, parents)
    weak = sorted(scores, key=lambda one: (scores[one], draw(seed, "weak", round, one)))[: len(scores) // 2]
    sources = _sources(pool, window, suppliers)
    room = min(rules.enter, len(weak)) if rules.fixed_size else rules.enter
    new = _new(pool, sources, texts, rules, room, seed, round)
    above = len(pool.members) + len(new) - rules.least
    out = weak[: len(new) if rules.fixed_size else max(0, min(rules.leave, above))]
    entering = [_entered(one, sources[one], signals, rules) for one in new]
    leaving = [_left(one, scores[one], rules) for one in out]
    return Feedback(events=(*entering, *leaving), suppliers=tuple(suppliers), signals=signals, scores=scores)


def compared(window: Sequence[BatchSignal], rules: FeedbackRules, seed: int) -> dict[Name, float]:
    """The rules' signal of each batch of a window, by its name; without those that cannot be compared."""
    norms = plain(window)
    whole = [one for one, norm in zip(window, norms, strict=True) if norm is not None]
    values: Sequence[float | None]
    if rules.signal == "corrected":
        values = corrected(whole, rules.terms)
    elif rules.signal == "random":
        values = [draw(seed, "random batch", *_name(one)) for one in whole]
    else:
        values = [one.loss for one in whole] if rules.signal == "loss" else plain(whole)
    return {_name(one): value for one, value in zip(whole, values, strict=True) if value is not None}


def _name(one: BatchSignal) -> Name:
    return one.round, one.ordinal


def _scores(
    pool: SeedPool, window: Sequence[BatchSignal], signals: Mapping[Name, float], parents: Mapping[int, Sequence[int]]
) -> dict[int, float]:
    members = set(pool.members)
    found: dict[int, list[float]] = {}
    for one in window:
        if _name(one) in signals:
            ancestors = {parent for member in one.members for parent in parents.get(member, ())}
            for parent in sorted(ancestors & members):
                found.setdefault(parent, []).append(signals[_name(one)])
    return {one: fmean(values) for one, values in found.items()}


def _sources(pool: SeedPool, window: Sequence[BatchSignal], suppliers: Sequence[Name]) -> dict[int, BatchSignal]:
    """Who may enter, each with the first of the supplying batches that it is in."""
    by_name = {_name(one): one for one in window}
    found: dict[int, BatchSignal] = {}
    for name in suppliers:
        for member in by_name[name].members:
            if member not in pool.members:
                found.setdefault(member, by_name[name])
    return found


def _new(
    pool: SeedPool,
    sources: Mapping[int, BatchSignal],
    texts: Mapping[int, str],
    rules: FeedbackRules,
    room: int,
    seed: int,
    round: int,
) -> list[int]:
    if rules.pick == "farthest":
        return farthest([texts[one] for one in pool.members], {one: texts[one] for one in sources}, room)
    if rules.pick == "norm":
        return largest({one: batch.norms.get(one) for one, batch in sources.items()}, room)
    return at_random(list(sources), room, seed, round)


def _entered(one: int, batch: BatchSignal, signals: Mapping[Name, float], rules: FeedbackRules) -> Event:
    value = signals[_name(batch)]
    reason = f"{rules.pick} of batch {batch.ordinal} of round {batch.round}, whose {rules.signal} signal is {value:.4g}"
    return Event(kind="entered", instruction=one, reason=reason, signal=value)


def _left(one: int, score: float, rules: FeedbackRules) -> Event:
    reason = f"weak: the mean {rules.signal} signal of the batches with its offspring is {score:.4g}"
    return Event(kind="left", instruction=one, reason=reason, signal=score)
