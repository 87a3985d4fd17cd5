"""Task `evaluate`: score siblings on quality, diversity and complexity, each by the judge the run names for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from workers.asking import Ask, all_of, reason_of
from workers.config import WorkSettings
from workers.contracts import EvaluatePayload, EvaluateResult, Judged, Reason
from workers.judges import Candidate, Judge, Scores, arranged, judges_for
from workers.judges.bribes import speaks_to_judge
from workers.llm.errors import CallRefused

_DIMENSIONS = ("quality", "diversity", "complexity")
# One judgement: what each of the judges said, by node.
Sitting = Sequence[Mapping[str, Scores]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateTexts:
    """The siblings' texts by key, and their parent's (none for the seed itself), with its summed score if known."""

    nodes: Mapping[str, str]
    parent: str | None
    parent_reward: float | None = None


async def evaluate(payload: EvaluatePayload, texts: EvaluateTexts, settings: WorkSettings, ask: Ask) -> EvaluateResult:
    """Scores from all judges, put together per node. A dimension nobody could score is absent.

    Scores are means over more than one judgement where the first left the best of them undecided. A text that speaks to
    the judge is shown to none.
    """
    bribes = [key for key in payload.nodes if speaks_to_judge(texts.nodes[key])]
    candidates = [Candidate(key=key, text=texts.nodes[key]) for key in payload.nodes if key not in bribes]
    judged = await _judge(candidates, payload, texts, settings, ask) if candidates else EvaluateResult(nodes=())
    refused = (Judged(key=key, reason=Reason.SPEAKS_TO_JUDGE, judgements=0) for key in bribes)
    return EvaluateResult(nodes=(*judged.nodes, *refused), replayed=judged.replayed)


async def _judge(
    candidates: Sequence[Candidate], payload: EvaluatePayload, texts: EvaluateTexts, settings: WorkSettings, ask: Ask
) -> EvaluateResult:
    judges = judges_for(settings, payload.judge)
    sittings: list[Sitting] = []
    again = judges
    while again:
        sittings.append(await _sitting(again, candidates, texts.parent, ask, payload.sample + len(sittings)))
        nodes = tuple(_combine(candidate.key, sittings) for candidate in candidates)
        more = [judge for judge in judges if judge.repeats >= len(sittings)]
        again = more if undecided(nodes, texts.parent_reward, settings.judges.undecided) else []
    return EvaluateResult(
        nodes=nodes,
        replayed=sum(one.replayed for sitting in sittings for said in sitting for one in said.values()),
    )


async def _sitting(
    judges: Sequence[Judge], candidates: Sequence[Candidate], parent: str | None, ask: Ask, sample: int
) -> Sitting:
    shown = arranged(candidates, sample)
    return await all_of(_opinion(judge, shown, parent, ask, sample) for judge in judges)


async def _opinion(
    judge: Judge, candidates: Sequence[Candidate], parent: str | None, ask: Ask, sample: int
) -> Mapping[str, Scores]:
    try:
        return await judge.score(candidates, parent, ask, sample=sample)
    except CallRefused as error:
        return {candidate.key: Scores(reason=reason_of(error)) for candidate in candidates}


def undecided(nodes: Sequence[Judged], parent: float | None, margin: float) -> bool:
    """Whether the best two of the scored siblings, or one and the parent, are closer than `margin`."""
    sums = sorted((total for node in nodes if (total := _sum(node)) is not None), reverse=True)
    close = len(sums) > 1 and sums[0] - sums[1] < margin
    return close or (parent is not None and any(abs(total - parent) < margin for total in sums))


def _sum(node: Judged) -> float | None:
    if node.quality is None or node.diversity is None or node.complexity is None:
        return None
    return node.quality + node.diversity + node.complexity


def _combine(key: str, sittings: Sequence[Sitting]) -> Judged:
    """One node's scores: means over the judgements that gave them."""
    said = [[scores[key] for scores in sitting] for sitting in sittings]
    given = [{name: value for one in mine for name, value in one.values.items()} for mine in said]
    found = {name: [values[name] for values in given if name in values] for name in _DIMENSIONS}
    means = {name: fmean(values) for name, values in found.items() if values}
    missing = len(means) < len(_DIMENSIONS)
    mine = [one for sitting in said for one in sitting]
    return Judged(
        key=key,
        quality=means.get("quality"),
        diversity=means.get("diversity"),
        complexity=means.get("complexity"),
        tags=tuple(tag for one in mine for tag in one.tags),
        reason=_why(mine) if missing else None,
        calls=tuple(dict.fromkeys(call for one in mine for call in one.calls)),
        judgements=0 if missing else max(len(values) for values in found.values()),
        spread=None if missing else _spread(found),
    )


def _spread(found: Mapping[str, Sequence[float]]) -> float | None:
    """Standard deviation of the summed score over the judgements, as far as all of them gave it."""
    most = max(len(values) for values in found.values())
    sums = [sum(given) for given in zip(*(values for values in found.values() if len(values) == most), strict=True)]
    return stdev(sums) if most > 1 else None


def _why(mine: Sequence[Scores]) -> Reason:
    """Why dimensions are missing: a judge was refused its call, or what it said could not be read as scores."""
    return next((scores.reason for scores in mine if scores.reason), Reason.JUDGE_UNREADABLE)
