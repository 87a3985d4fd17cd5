"""How well a judge ranks: our own instructions of known order, scored by the judges that a run would use."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.resources import files
from math import sqrt
from statistics import stdev
from time import perf_counter
from typing import Self

from pydantic import TypeAdapter, ValidationError

from db.errors import ConfigError
from workers.asking import Answer, Ask, reason_of
from workers.config import DIMENSIONS, NUSD_PER_USD, Bench, Role, Style, WorkSettings
from workers.judges import Candidate, Judge, Scores, arranged, judges_for
from workers.judges.expected import Expected
from workers.judges.figures import Pairs, auc, average, change, kendall, line, noise, place_bias, shift
from workers.judges.rubric import Rubric
from workers.llm.address import addresses
from workers.llm.call import call_for
from workers.llm.client import OpenAIClient
from workers.llm.errors import CallRefused
from workers.llm.gateway import Gateway
from workers.llm.ledger import MemoryLedger
from workers.prompting import Prompt
from workers.text import words

# A rubric judge sees this many at once: as many as an expansion has children.
_TOGETHER = 5
# Below this a judge tells the better half from the worse too seldom to steer a search.
RANKS_AT_LEAST = 0.7
# A figure has moved when it did by more than this many standard errors.
_SURELY = 2.0
# Rounding apart, nothing less is a change.
_LEAST_CHANGE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One instruction of the set with the grades we gave it, 1 (plain) to 6 (demanding or excellent)."""

    instruction: str
    quality: int
    complexity: int

    def grade(self, dimension: str) -> int:
        return self.quality if dimension == "quality" else self.complexity


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a number of calls took. `nusd` is None where a price is unknown."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    nusd: int | None = 0

    def each(self, scores: int) -> dict[str, float | None]:
        """The same for one score."""
        most = max(scores, 1)
        usd = None if self.nusd is None else self.nusd / NUSD_PER_USD / most
        return {"calls": self.calls / most, "tokens": (self.tokens_in + self.tokens_out) / most, "usd": usd}


# What the calls of these keys in the ledger cost.
Price = Callable[[Sequence[str]], Cost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """How a judge did on one dimension, in its first judgement.

    `auc`: the chance that an item graded 4 to 6 scores above one graded 1 to 3. `tau`: Kendall's tau-b against the
    grades. `words_auc`: what counting words would reach. `spread`: standard deviation of the scores. `scores` are in
    the order of the set, None where the judge could not say (`reasons` counts why).

    Over the repeats, where there was one: `noise` is the standard deviation of one item's score, `shift` how much
    higher the later judgements are, `repeated` what changed between them, `lines` intercept and slope that would put
    the scores of each judgement nearest to the grades. `bias` is what being shown first is worth in
    points against being shown last, `bias_error` its standard error; None where texts are asked about `alone`.
    `cost` and `seconds` are for one score.
    """

    dimension: str
    items: int
    unscored: int
    auc: float | None
    tau: float | None
    words_auc: float | None
    spread: float | None
    scores: tuple[float | None, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    noise: float | None = None
    shift: float | None = None
    repeated: str | None = None
    lines: tuple[tuple[float, float] | None, ...] = ()
    alone: bool = False
    bias: float | None = None
    bias_error: float | None = None
    cost: Mapping[str, float | None] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def ranks(self) -> bool:
        return self.auc is not None and self.auc >= RANKS_AT_LEAST


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """`judge` is the one that steers the search, or the held-out one; `judgements` are how many of each item."""

    rankings: tuple[Ranking, ...]
    seconds: float
    judge: Bench = "search"
    model: str = ""
    judgements: int = 1
    items_digest: str = ""

    def as_json(self) -> str:
        """All of it as one JSON object, to be measured against later."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """An earlier calibration. Raises ConfigError when it is none, or was made on another set."""
        try:
            found = TypeAdapter(cls).validate_json(text)
        except ValidationError:
            raise ConfigError("is not what `instructree calibrate --out` writes") from None
        if found.items_digest != digest(items()):
            raise ConfigError("was made on another set of instructions: calibrate that judge again with this version")
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    """What one judge said of the whole set once: scores by item, the place each was shown at, calls and time."""

    scored: Mapping[int, Scores]
    places: Mapping[int, float]
    calls: tuple[str, ...]
    seconds: float


def items() -> list[Item]:
    """The set: written by us, of known order, never shown to a judge as a demonstration."""
    lines = files("workers.judges").joinpath("calibration.jsonl").read_text(encoding="utf-8").splitlines()
    rows = (json.loads(line) for line in lines if line.strip())
    return [Item(instruction=r["instruction"], quality=r["quality"], complexity=r["complexity"]) for r in rows]


def digest(found: Sequence[Item]) -> str:
    """A short hash of the set: figures on different sets cannot be compared."""
    return sha256(json.dumps([asdict(item) for item in found]).encode()).hexdigest()[:16]


def measure(
    settings: WorkSettings, environment: Mapping[str, str], *, judge: Bench = "search", repeats: int = 1
) -> Calibration:
    """Calibrates the judge of these settings at the endpoint that this environment names. Nothing is stored."""
    return asyncio.run(_measure(settings, environment, judge, repeats))


async def _measure(settings: WorkSettings, environment: Mapping[str, str], judge: Bench, repeats: int) -> Calibration:
    ledger = MemoryLedger()
    gateway = Gateway(OpenAIClient(addresses(environment)), ledger)

    async def ask(role: Role, prompt: Prompt, *, sample: int = 0) -> Answer:
        return await gateway.call(call_for(settings, role, prompt, sample=sample))

    def price(calls: Sequence[str]) -> Cost:
        rows = [ledger.rows[key] for key in dict.fromkeys(calls) if key in ledger.rows]
        prices = [row.nusd for row in rows]
        return Cost(
            calls=len(rows),
            tokens_in=sum(row.tokens_in for row in rows),
            tokens_out=sum(row.tokens_out for row in rows),
            nusd=None if None in prices else sum(price or 0 for price in prices),
        )

    try:
        return await calibrate(settings, ask, judge=judge, repeats=repeats, price=price)
    finally:
        await gateway.close()


def _unpriced(calls: Sequence[str]) -> Cost:
    return Cost(calls=len(set(calls)), nusd=None)


async def calibrate(
    settings: WorkSettings, ask: Ask, *, judge: Bench = "search", repeats: int = 0, price: Price = _unpriced
) -> Calibration:
    """Scores the whole set with the judges of these settings and compares with the known grades.

    It is judged 1 + `repeats` times, as a run would do it: siblings in another order, demonstrations in another order.
    """
    start = perf_counter()
    found = items()
    rankings: list[Ranking] = []
    for one in judges_for(settings, judge):
        if set(one.dimensions) & set(DIMENSIONS):
            judged = [await _judgement(one, found, ask, sample) for sample in range(1 + repeats)]
            rankings.extend(_ranked(one, dimension, found, judged, price) for dimension in one.dimensions)
    return Calibration(
        rankings=tuple(sorted(rankings, key=lambda made: [str(name) for name in DIMENSIONS].index(made.dimension))),
        seconds=perf_counter() - start,
        judge=judge,
        model=settings.endpoint(Role.JUDGE if judge == "search" else Role.EXAMINER).model,
        judgements=1 + repeats,
        items_digest=digest(found),
    )


async def _judgement(judge: Judge, found: Sequence[Item], ask: Ask, sample: int) -> _Judgement:
    """The whole set, some at a time, as siblings without a parent."""
    start = perf_counter()
    scored: dict[int, Scores] = {}
    places: dict[int, float] = {}
    for first in range(0, len(found), _TOGETHER):
        batch = range(first, min(first + _TOGETHER, len(found)))
        shown = arranged([Candidate(key=str(i), text=found[i].instruction) for i in batch], sample)
        try:
            said = await judge.score(shown, None, ask, sample=sample)
        except CallRefused as error:
            said = {candidate.key: Scores(reason=reason_of(error)) for candidate in shown}
        scored.update({int(key): given for key, given in said.items()})
        for place, candidate in enumerate(shown):
            places[int(candidate.key)] = place / max(len(shown) - 1, 1)
    calls = tuple(call for given in scored.values() for call in given.calls)
    return _Judgement(scored=scored, places=places, calls=calls, seconds=perf_counter() - start)


def _ranked(judge: Judge, dimension: str, found: Sequence[Item], judged: Sequence[_Judgement], price: Price) -> Ranking:
    """What all judgements of one judge say about one of its dimensions, its cost shared among them."""
    scores = [[one.scored[i].values.get(dimension) for i in range(len(found))] for one in judged]
    places = [[one.places[i] for i in range(len(found))] for one in judged]
    reasons = [judged[0].scored[i].reason for i, score in enumerate(scores[0]) if score is None]
    given = sum(bool(scores.values) for one in judged for scores in one.scored.values()) * len(judge.dimensions)
    together = isinstance(judge, Rubric)
    bias, bias_error = place_bias(scores, places) if together else (None, None)
    made = ranking(dimension, found, scores[0])
    return replace(
        made,
        reasons=dict(Counter(str(reason or "judge_unreadable") for reason in reasons)),
        noise=noise(scores),
        shift=shift(scores),
        repeated=_changed(judge) if len(judged) > 1 else None,
        lines=tuple(line(_pairs(dimension, found, row)) for row in scores),
        alone=not together,
        bias=bias,
        bias_error=bias_error,
        cost=price([call for one in judged for call in one.calls]).each(given),
        seconds=sum(one.seconds for one in judged) / max(given, 1),
    )


def _changed(judge: Judge) -> str:
    """What differs from one judgement to the next."""
    if isinstance(judge, Rubric):
        return "siblings in another order"
    few_shot = isinstance(judge, Expected) and judge.style is Style.COMPLETION and judge.scorer.prompt is None
    return "demonstrations in another order" if few_shot else "nothing: the same question again"


def ranking(dimension: str, found: Sequence[Item], scores: Sequence[float | None]) -> Ranking:
    """The figures of one dimension, from one score an item."""
    pairs = _pairs(dimension, found, scores)
    counted = [(item.grade(dimension), float(len(words(item.instruction)))) for item in found]
    return Ranking(
        dimension=dimension,
        items=len(found),
        unscored=len(found) - len(pairs),
        auc=auc(pairs),
        tau=kendall(pairs),
        words_auc=auc(counted),
        spread=stdev(score for _, score in pairs) if len(pairs) > 1 else None,
        scores=tuple(scores),
    )


def _pairs(dimension: str, found: Sequence[Item], scores: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(item.grade(dimension), score) for item, score in zip(found, scores, strict=True) if score is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A figure of one dimension then and now; `error` is the standard error of its change, None where unknown."""

    dimension: str
    figure: str
    before: float | None
    after: float | None
    error: float | None

    @property
    def moved(self) -> bool:
        """Whether it changed by more than the noise; one that is there only once has moved."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        change = abs(self.after - self.before)
        return change > _LEAST_CHANGE and change > _SURELY * (self.error or 0.0)


_PAIRED: Mapping[str, Callable[[Pairs], float | None]] = {"AUC": auc, "tau": kendall, "mean": average}


def drift(before: Calibration, after: Calibration) -> list[Drift]:
    """What became of each figure of each dimension that both have. Both are of the same set."""
    old = {ranking.dimension: ranking for ranking in before.rankings}
    return [one for new in after.rankings if new.dimension in old for one in _drifts(old[new.dimension], new)]


def _drifts(old: Ranking, new: Ranking) -> list[Drift]:
    grades = [item.grade(new.dimension) for item in items()]
    both = [
        (grade, a, b)
        for grade, a, b in zip(grades, old.scores, new.scores, strict=True)
        if a is not None and b is not None
    ]
    then, now = [(grade, a) for grade, a, _ in both], [(grade, b) for grade, _, b in both]
    found = [
        Drift(dimension=new.dimension, figure=name, before=figure(then), after=figure(now), error=error)
        for name, figure in _PAIRED.items()
        for _, error in [change(figure, then, now)]
    ]
    for name, a, b, error in (
        ("noise", old.noise, new.noise, _of_deviations(old, new)),
        ("position bias", old.bias, new.bias, _both(old.bias_error, new.bias_error)),
        ("unscored", float(old.unscored), float(new.unscored), None),
    ):
        if a is not None or b is not None:
            found.append(Drift(dimension=new.dimension, figure=name, before=a, after=b, error=error))
    return found


def _of_deviations(old: Ranking, new: Ranking) -> float | None:
    """Standard error of the difference of two standard deviations, each from one pair of judgements an item."""
    if old.noise is None or new.noise is None:
        return None
    return sqrt((old.noise**2 + new.noise**2) / (2 * max(new.items - new.unscored, 1)))


def _both(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else sqrt(a**2 + b**2)


def lost(before: Calibration, after: Calibration) -> list[str]:
    """The dimensions that the judge ranked then and no longer does."""
    ranked = {ranking.dimension for ranking in before.rankings if ranking.ranks}
    return [ranking.dimension for ranking in after.rankings if ranking.dimension in ranked and not ranking.ranks]
