"""How well a judge ranks: our own instructions of known order, scored by the judges that a run would use."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import mean, stdev
from time import perf_counter

from workers.asking import Answer, Ask
from workers.config import Role, WorkSettings
from workers.judges import Candidate, judges_for
from workers.llm.address import addresses
from workers.llm.call import call_for
from workers.llm.client import OpenAIClient
from workers.llm.gateway import Gateway
from workers.llm.ledger import MemoryLedger
from workers.prompting import Prompt
from workers.text import words

# A rubric judge sees this many at once: as many as an expansion has children.
_TOGETHER = 5
# Below this a judge tells the better half from the worse too seldom to steer a search.
RANKS_AT_LEAST = 0.7
DIMENSIONS = ("quality", "complexity")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One instruction of the set with the grades we gave it, 1 (plain) to 6 (demanding or excellent)."""

    instruction: str
    quality: int
    complexity: int

    def grade(self, dimension: str) -> int:
        return self.quality if dimension == "quality" else self.complexity


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a judge did on one dimension.

    `auc`: the chance that an item graded 4 to 6 scores above one graded 1 to 3. `tau`: Kendall's tau-b against the
    grades. `words_auc`: what counting words would reach. `spread`: standard deviation of the scores.
    """

    dimension: str
    items: int
    unscored: int
    auc: float | None
    tau: float | None
    words_auc: float | None
    spread: float | None

    @property
    def ranks(self) -> bool:
        return self.auc is not None and self.auc >= RANKS_AT_LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    rankings: tuple[Ranking, ...]
    seconds: float


def items() -> list[Item]:
    """The set: written by us, of known order, never shown to a judge as a demonstration."""
    lines = files("workers.judges").joinpath("calibration.jsonl").read_text(encoding="utf-8").splitlines()
    rows = (json.loads(line) for line in lines if line.strip())
    return [Item(instruction=r["instruction"], quality=r["quality"], complexity=r["complexity"]) for r in rows]


def measure(settings: WorkSettings, environment: Mapping[str, str]) -> Calibration:
    """Calibrates the judge of these settings at the endpoint that this environment names. Nothing is stored."""
    return asyncio.run(_measure(settings, environment))


async def _measure(settings: WorkSettings, environment: Mapping[str, str]) -> Calibration:
    gateway = Gateway(OpenAIClient(addresses(environment)), MemoryLedger())

    async def ask(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        return await gateway.call(call_for(settings, role, prompt, sample=sample))

    try:
        return await calibrate(settings, ask)
    finally:
        await gateway.close()


async def calibrate(settings: WorkSettings, ask: Ask) -> Calibration:
    """Scores the whole set with the judges of these settings and compares with the known grades."""
    start = perf_counter()
    found = items()
    scores = await _scores(settings, found, ask)
    rankings = tuple(ranking(dimension, found, scores[dimension]) for dimension in DIMENSIONS)
    return Calibration(rankings=rankings, seconds=perf_counter() - start)


async def _scores(settings: WorkSettings, found: Sequence[Item], ask: Ask) -> Mapping[str, list[float | None]]:
    """Per dimension one score an item, None where the judge could not say."""
    scores: dict[str, list[float | None]] = {dimension: [None] * len(found) for dimension in DIMENSIONS}
    judges = [judge for judge in judges_for(settings) if set(judge.dimensions) & set(DIMENSIONS)]
    for start in range(0, len(found), _TOGETHER):
        batch = [
            Candidate(key=str(i), text=found[i].instruction) for i in range(start, min(start + _TOGETHER, len(found)))
        ]
        for judge in judges:
            for key, given in (await judge.score(batch, None, ask)).items():
                for dimension, value in given.values.items():
                    scores[dimension][int(key)] = value
    return scores


def ranking(dimension: str, found: Sequence[Item], scores: Sequence[float | None]) -> Ranking:
    """The figures for one dimension."""
    pairs = [(item.grade(dimension), score) for item, score in zip(found, scores, strict=True) if score is not None]
    counted = [(item.grade(dimension), float(len(words(item.instruction)))) for item in found]
    return Ranking(
        dimension=dimension,
        items=len(found),
        unscored=len(found) - len(pairs),
        auc=auc(pairs),
        tau=kendall(pairs),
        words_auc=auc(counted),
        spread=stdev(score for _, score in pairs) if len(pairs) > 1 else None,
    )


def auc(pairs: Sequence[tuple[int, float]]) -> float | None:
    """The chance that an item graded above 3 scores higher than one that is not; ties count half."""
    upper = [score for grade, score in pairs if grade > 3]
    lower = [score for grade, score in pairs if grade <= 3]
    if not upper or not lower:
        return None
    return mean((a > b) + (a == b) / 2 for a in upper for b in lower)


def kendall(pairs: Sequence[tuple[int, float]]) -> float | None:
    """Kendall's tau-b: agreement in order over all pairs, ties on either side taken out of the norm."""
    agree = ties_a = ties_b = total = 0
    for i, (grade, score) in enumerate(pairs):
        for other_grade, other_score in pairs[:i]:
            a, b = _sign(grade - other_grade), _sign(score - other_score)
            agree += a * b
            ties_a += a == 0
            ties_b += b == 0
            total += 1
    norm = ((total - ties_a) * (total - ties_b)) ** 0.5
    return agree / norm if norm else None


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
