"""Task `evaluate`: score siblings on quality, diversity and complexity, each by the judge the run names for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.asking import Ask, all_of, reason_of
from workers.config import WorkSettings
from workers.contracts import EvaluatePayload, EvaluateResult, Judged, Reason
from workers.judges import Candidate, Judge, Scores, judges_for
from workers.llm.errors import CallRefused

_DIMENSIONS = ("quality", "diversity", "complexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateTexts:
    """The siblings' texts by key, and their parent's (none for the seed itself)."""

    nodes: Mapping[str, str]
    parent: str | None


async def evaluate(payload: EvaluatePayload, texts: EvaluateTexts, settings: WorkSettings, ask: Ask) -> EvaluateResult:
    """Scores from all judges, put together per node. A dimension nobody could score is absent."""
    candidates = [Candidate(key=key, text=texts.nodes[key]) for key in payload.nodes]
    opinions = await all_of(_opinion(judge, candidates, texts.parent, ask) for judge in judges_for(settings))
    return EvaluateResult(
        nodes=tuple(_combine(candidate.key, opinions) for candidate in candidates),
        replayed=sum(scores.replayed for opinion in opinions for scores in opinion.values()),
    )


async def _opinion(judge: Judge, candidates: Sequence[Candidate], parent: str | None, ask: Ask) -> Mapping[str, Scores]:
    try:
        return await judge.score(candidates, parent, ask)
    except CallRefused as error:
        return {candidate.key: Scores(refused=reason_of(error)) for candidate in candidates}


def _combine(key: str, opinions: Sequence[Mapping[str, Scores]]) -> Judged:
    mine = [opinion[key] for opinion in opinions]
    values = {name: value for scores in mine for name, value in scores.values.items()}
    missing = [name for name in _DIMENSIONS if name not in values]
    return Judged(
        key=key,
        quality=values.get("quality"),
        diversity=values.get("diversity"),
        complexity=values.get("complexity"),
        tags=tuple(tag for scores in mine for tag in scores.tags),
        reason=_why(missing, mine),
        calls=tuple(dict.fromkeys(call for scores in mine for call in scores.calls)),
    )


def _why(missing: Sequence[str], mine: Sequence[Scores]) -> Reason | None:
    """Why dimensions are missing: a judge was refused its call, or nobody could read what it said."""
    if not missing:
        return None
    return next((scores.refused for scores in mine if scores.refused), Reason.JUDGE_UNREADABLE)
