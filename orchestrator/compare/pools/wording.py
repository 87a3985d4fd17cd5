"""What is said beside the figures of pools: how they came about, what was not equal, and what is not claimed."""

from collections.abc import Callable, Sequence
from math import ceil

from orchestrator.compare.bootstrap import FEWEST, RESAMPLES, Estimate
from orchestrator.compare.pools.figures import Comparison, Cost, Standing, Unit
from orchestrator.compare.pools.outcome import PoolSetting
from orchestrator.compare.wording import options, spoken
from orchestrator.generation.stages import Stage
from orchestrator.report.wording import NONE, dollars, number, percent, signed

# An arm that used less of its calls than this, or more, was not compared at equal calls.
_EQUAL = (0.9, 1.05)
# The stages that ask a model.
_ASKING = (Stage.GENERATE, Stage.INSTANCE)


def share(found: Estimate | None) -> str:
    return percent(found.mean if found else None)


def over(cost: Cost) -> str:
    """How much more than the baseline, as −23%."""
    return NONE if cost.over is None else _part(cost.over.mean)


def each(unit: Unit, cost: Cost) -> str:
    """What one kept instruction took, in its unit."""
    if cost.each is None:
        return NONE
    return amount(unit, cost.each.mean)


def amount(unit: Unit, value: float) -> str:
    if unit == "nusd":
        return dollars(round(value) or ceil(value))
    return number(value, 2 if unit == "calls" else 0)


def spread(found: Estimate | None, shown: Callable[[float], str]) -> str:
    """The interval as `[18%, 25%]`, or nothing."""
    if found is None or found.interval is None:
        return ""
    return f"[{shown(found.interval[0])}, {shown(found.interval[1])}]"


def of_share(found: Estimate | None) -> str:
    return spread(found, percent)


def of_over(cost: Cost) -> str:
    return spread(cost.over, _part)


def of_each(unit: Unit, cost: Cost) -> str:
    return spread(cost.each, lambda value: amount(unit, value))


def _part(value: float) -> str:
    return f"{signed(100 * value, 0)}%"


def headline(comparison: Comparison, setting: PoolSetting) -> str:
    """What the tables show, in one line."""
    return (
        f"{len(comparison.standings)} pools, {_plural(setting.seeds, 'seed')}, {setting.max_calls:,} calls each: "
        "what was kept and what one kept instruction cost"
    )


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("s" if count != 1 else "")


def notes(comparison: Comparison, setting: PoolSetting, escape: Callable[[str], str] = str) -> list[str]:
    """Everything a reader has to know, one paragraph each; what comes from outside passes through `escape`."""
    standings = comparison.standings
    return [
        _models(standings, setting, lambda name: escape(spoken(name))),
        *options(setting.baseline, setting.differs, escape),
        _spend(standings, setting),
        _meaning(),
        *_stages(comparison),
        _certainty(comparison),
        _inside(standings),
        *_training(standings),
        *_thin(standings, lambda text: escape(spoken(text))),
        _claims(),
    ]


def _models(standings: Sequence[Standing], setting: PoolSetting, shown: Callable[[str], str]) -> str:
    student = f" Student: {shown(setting.student)}." if any(one.training for one in standings) else ""
    return (
        f"Generator: {shown(setting.generator)}. Instances: {shown(setting.responder)}. "
        f"Embedder: {shown(setting.embedder)}.{student}"
    )


def _spend(standings: Sequence[Standing], setting: PoolSetting) -> str:
    used = ", ".join(f"{one.arm} {one.calls:,}" for one in standings)
    low, high = (bound * setting.max_calls for bound in _EQUAL)
    off = [one.arm for one in standings if not low <= one.calls <= high]
    unequal = f" That is not quite equal: {', '.join(off)}." if off else ""
    return (
        f"Each arm had {setting.max_calls:,} calls for its prompts and for the instances of what it kept, calls "
        "replayed from the ledger counted as if they were paid, in calls, tokens, money and seconds. What a round will "
        f"cost is known only when it is over, so they are equal within about a round: {used}.{unequal}"
    )


def _meaning() -> str:
    return (
        "A text is kept when it passed the heuristics (done where it was generated), the lexical gate (stage filter) "
        "and has a good instance. Its cost is all that the run spent, on what it refused too, divided by the number "
        "kept; the cost of a text past the gate is the same sum divided by those. Tokens are those in and out "
        "together. Seconds of generate and instance are the latencies of their calls added up, not time that "
        "passed; those of filter and embed are the scheduler's, those of train the student's."
    )


def _stages(comparison: Comparison) -> list[str]:
    """Which stages make an arm cheaper or dearer than the baseline, in tokens, and which one is most of its cost."""
    base = next(one for one in comparison.standings if one.arm == comparison.baseline)
    said = []
    for one in comparison.standings:
        pairs = [(row, row.each, other.each) for row, other in zip(one.stages, base.stages, strict=True)]
        apart = {str(row.stage or "all"): mine.tokens - theirs.tokens for row, mine, theirs in pairs if mine and theirs}
        whole = one.costs["instance"]["tokens"].each
        if one is base or not apart or whole is None or whole.mean <= 0:
            continue
        by_stage = ", ".join(f"{stage} {signed(by, 0)}" for stage, by in apart.items() if stage in _ASKING)
        part, most = max((row.spend.tokens / one.stages[-1].spend.tokens, row.stage) for row in one.stages if row.stage)
        said.append(
            f"{one.arm} {signed(apart['all'], 0)} ({over(one.costs['instance']['tokens'])}), of that {by_stage}; "
            f"{percent(part)} of its cost is stage {most}."
        )
    return [f"Tokens for a kept instruction, against {comparison.baseline}: {' '.join(said)}"] if said else []


def _certainty(comparison: Comparison) -> str:
    few = [one.arm for one in comparison.standings if one.rounds < FEWEST]
    none = f" None for {', '.join(few)}: fewer than {FEWEST} rounds." if few else ""
    return (
        f"Differences are over {comparison.baseline}. Intervals of shares and costs are 95 % bootstrap intervals over "
        f"rounds ({RESAMPLES:,} resamples, each arm's by itself).{none} They take the rounds of an arm for alike, "
        "which they are not quite: a pool that grows leaves less that is new, so costs are those of a run "
        "of this length."
    )


def _inside(standings: Sequence[Standing]) -> str:
    if not any(one.inside for one in standings):
        return "No student was trained, so there are no batches, and nothing is said of their diversity."
    return (
        "Diversity inside batches is the mean cosine distance of their pairs; random ones are batches of the same "
        f"texts and sizes. Intervals are over batches, of the difference batch by batch; none for fewer than {FEWEST}."
    )


def _training(standings: Sequence[Standing]) -> list[str]:
    if not any(one.training for one in standings):
        return []
    marked = [f"{one.arm} {one.training.marked}" for one in standings if one.training and one.training.marked]
    left_out = f" Steps without a finite loss are left out: {', '.join(marked)}." if marked else ""
    return [
        "Losses (nats per token) are means over the first and the last quarter of an arm's steps, the norm is that of "
        "the gradient before clipping. Every step is on other texts, so a falling loss says that training works, not "
        f"that one arm's student is better: `instructree evaluate` asks that, on held-out instructions.{left_out}"
    ]


def _thin(standings: Sequence[Standing], shown: Callable[[str], str]) -> list[str]:
    """What the figures had to do without."""
    said = []
    if lost := [f"{one.arm} {one.lost} of {one.prompts:,}" for one in standings if one.lost]:
        said.append(f"Prompts whose completion was thrown away whole, their calls counted: {', '.join(lost)}.")
    if guessed := [f"{one.arm} {one.guessed}" for one in standings if one.guessed]:
        said.append(
            f"Of these, replayed from another run, so that their tokens are taken for a mean: {', '.join(guessed)}."
        )
    if any(one.stages[-1].spend.nusd is None for one in standings):
        said.append("The price of a model is not known, so no cost is given in money.")
    if bare := [one.arm for one in standings if not one.counts.with_instance]:
        said.append(f"Nothing was kept, so that nothing can be divided by it: {', '.join(bare)}.")
    return said + [f"{one.arm} ended early: {shown(one.reason)}." for one in standings if one.reason]


def _claims() -> str:
    return (
        "Not claimed: a kept text is a new text with an instance, not a good one, and nobody has judged it. One run of "
        "each arm on one model and these seeds says nothing about other models, and the intervals leave out how a "
        "second run would differ. A small local model shows that the machine works; it confirms and refutes no "
        "published result."
    )
