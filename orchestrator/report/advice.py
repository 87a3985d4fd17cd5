"""What to change next time with trees: each rule looks at figures that the report shows, and says what it would do.

A rule speaks only where the figures carry it: where there are enough cases, and an interval does not hold zero.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from orchestrator.report.model import Fates, Report
from orchestrator.report.night import Night

# So many cases, before a share says anything; shares that are worth a word, of what is wrong often and of what is rare.
ENOUGH = 20
MANY = 0.2
SOME = 0.05
# Reasons by which a text that a stronger model would have got right is turned down.
_WEAK = (
    *("unchanged", "scaffolding", "copied_demonstration", "off_topic", "answer", "refusal", "wrong_language"),
    *("thin", "empty", "repetitive", "too_short"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """`seen`: the figures. `do`: what to do about it."""

    seen: str
    do: str


def advice(report: Report, night: Night | None) -> tuple[Advice, ...]:
    """In the order of what weighs most; empty where nothing stands out."""
    found: list[Advice] = []
    for rule in _RULES:
        found += rule(report)
    return (*found, *of_night(night))


def _cut_short(report: Report) -> Iterator[Advice]:
    told = report.headline
    if told.status == "stopped" and told.trees_cut:
        yield Advice(
            seen=f"a cap left {told.trees_cut} of {told.seeds} trees cut short",
            do="raise the cap, give fewer seeds, or give each tree less (search.calls): a tree cut is half paid for",
        )


def _judge_blind(report: Report) -> Iterator[Advice]:
    for name, value in report.flat:
        yield Advice(
            seen=f"every node has {name} {value:g}",
            do="measure the judge with `instructree calibrate` before the next run, and take another if it cannot rank",
        )


def _judge_unreadable(report: Report) -> Iterator[Advice]:
    share = _share(report.nodes, ("judge_unreadable", "no_logprobs", "no_score_token", "off_scale"))
    if share > SOME:
        yield Advice(
            seen=f"{share:.0%} of the nodes have no score because the judge's answer could not be read",
            do="use a judge with a JSON schema (json_mode) or log-probabilities: docs/judges.md says which suits it",
        )


def _evolver_weak(report: Report) -> Iterator[Advice]:
    share = _share(report.nodes, _WEAK)
    if share > MANY:
        yield Advice(
            seen=f"{share:.0%} of the nodes were turned down for what the evolver wrote",
            do="a stronger evolver saves these calls; for the worst operator, `instructree operators improve`",
        )


def _cut_off(report: Report) -> Iterator[Advice]:
    share = _share(report.nodes, ("cut_off",))
    if share > SOME:
        yield Advice(
            seen=f"{share:.0%} of the nodes were cut off at the end of their room",
            do="raise roles.evolver.max_tokens",
        )


def _copies(report: Report) -> Iterator[Advice]:
    share = _share(report.nodes, ("duplicate",))
    if share > MANY:
        yield Advice(
            seen=f"{share:.0%} of the nodes were too near to what the run had",
            do="more seeds, or more operators, before more nodes of the same; or a higher temperature of the evolver",
        )


def _operators(report: Report) -> Iterator[Advice]:
    """Those that lose, by an interval that does not hold zero."""
    for gain in report.operators:
        told = gain.gains["reward"]
        half = told.half_interval
        if told.mean is not None and half is not None and told.n >= ENOUGH and told.mean + half < 0:
            yield Advice(
                seen=f"operator {gain.operator} lost {-told.mean:.2f} points on average (of {told.n}, ±{half:.2f})",
                do="leave it out (search.operators), or rewrite it with `instructree operators improve`",
            )


def _harvest_full(report: Report) -> Iterator[Advice]:
    told = report.headline
    size = told.examples_accepted
    if told.status == "done" and size >= ENOUGH and told.nodes_scored > 10 * size:
        yield Advice(
            seen=f"{told.nodes_scored:,} scored nodes became {size:,} rows",
            do="raise harvest.size: a row more costs one answer, and the nodes are paid for",
        )


def _share(fates: Fates, reasons: Iterable[str]) -> float:
    """Of all nodes those that ended so."""
    names = frozenset(reasons)
    return share_of(sum(found.count for found in fates.reasons if found.reason in names), fates.total)


def share_of(part: int, whole: int) -> float:
    """0 where there are too few to tell."""
    return part / whole if whole >= ENOUGH else 0.0


_RULES: tuple[Callable[[Report], Iterable[Advice]], ...] = (
    *(_cut_short, _judge_blind, _judge_unreadable, _evolver_weak, _cut_off, _copies, _operators, _harvest_full),
)
# What the cause of a dip begins with or holds, and what helps.
_CURES = (
    (
        "the endpoint was slow or refused",
        "a second endpoint, or a higher limit of this one; a lower concurrency if it answers 429",
    ),
    ("there were fewer workers", "another worker, or more slots"),
    (
        "for an orchestrator",
        "a second `instructree orchestrator` takes over 20 s after the first dies; one that has too much to do needs a "
        "processor of its own, or fewer runs",
    ),
    ("workers died", "look at the workers' logs and memory"),
    ("an endpoint was away", "a second endpoint; INSTRUCTREE_WEBHOOK tells you of it at once"),
    ("the run was paused", "where nobody wanted that: INSTRUCTREE_WEBHOOK tells you when a run waits for you"),
)


def of_night(night: Night | None) -> Iterator[Advice]:
    """One line for each cause that took a tenth of the time or more."""
    if night is None:
        return
    minutes = sum(span.minutes for span in night.spans)
    for words, cure in _CURES:
        lost = sum(dip.span.minutes for dip in night.dips if words in dip.cause)
        if lost >= minutes / 10:
            yield Advice(seen=f"{lost} of {minutes} minutes went slowly: {words}", do=cure)
