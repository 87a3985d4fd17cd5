"""The lexical gate of generation beside rouge-score: the same decisions, and how much faster.

Decisions: instructions come one after the other, made by the grammar of benchmarks/diversity.py; two of three are
mutations of earlier ones (words replaced, dropped, doubled, moved; letters and marks changed), so many that F1 falls
on both sides of either threshold. One is rejected when its largest F1 with those accepted before is *above* the
threshold, else accepted at once, so that an early difference would change all that follows. The decisions that ours
are held against are made by rouge-score alone: its scorer scores every pair that a bound leaves open. The bound is
computed here, from rouge-score's own tokens and without our code: a common subsequence has no more tokens than the two
texts share, repetitions counted, so F1 is at most twice that by the sum of their lengths, and a pair is skipped only
where this is below the threshold. (All pairs would take rouge-score many hours.) To hold the bound to account it
scores a random sample of the skipped pairs, too; one above its bound counts as a decision unlike.

Speed: a pool of 52,000 such instructions (none rejected), candidates one at a time; rouge-score scores a few of them
against the whole pool, text by text in one process, as the published code does. Means are processor time, so that
other work on the machine says little; the worst is wall time.

    python -m benchmarks.gate [--texts 20000] [--pool 52000] [--candidates 300] [--judged 2] [--skipped 20000]
"""

import argparse
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer

from benchmarks.diversity import Grammar
from orchestrator.diversity import LexicalPool, rouge_tokens

THRESHOLDS = (0.7, 0.85)
MOST_MS = 10.0
LEAST_TIMES = 1000.0
# So much below the threshold a bound has to be for its pair to be skipped: rounding skips nothing.
SLACK = 1e-9
MOST_WORDS = 45
SEED = 1

T = TypeVar("T")
Progress = Callable[[str], None]


class Texts:
    """Instructions and mutations of earlier ones, without end, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._fresh = self._words(Grammar(seed))
        self._made: list[list[str]] = []

    def many(self, count: int) -> list[str]:
        return [self._next() for _ in range(count)]

    def _next(self) -> str:
        if self._made and self._chance.random() < 2 / 3:
            words = self._mutated(self._chance.choice(self._made))
        else:
            words = list(next(self._fresh))
        self._made.append(words)
        text = " ".join(words)
        return text.capitalize() + self._chance.choice(".?!") if self._chance.random() < 0.9 else text

    def _words(self, grammar: Grammar) -> Iterator[tuple[str, ...]]:
        while True:
            yield from (text.words[:MOST_WORDS] for text in grammar.many(1000))

    def _mutated(self, words: list[str]) -> list[str]:
        """Each word replaced, dropped, doubled, moved, or respelt with one chance, drawn for the whole text."""
        chance, rate = self._chance, self._chance.uniform(0, 0.5)
        other = next(self._fresh)
        changed: list[str] = []
        for word in words:
            act = chance.choice(("replace", "drop", "double", "move", "spell")) if chance.random() < rate else "keep"
            if act in ("keep", "double"):
                changed += [word] * (2 if act == "double" else 1)
            elif act == "replace":
                changed.append(chance.choice(other))
            elif act == "move":
                changed.insert(chance.randrange(len(changed) + 1), word)
            elif act == "spell":
                changed.append(chance.choice((word.upper(), f"{word},", f"{word}-{word}", f"é{word}")))
        return changed[: 2 * MOST_WORDS] or list(words)


class Bounds:
    """For a text, the most that F1 with each earlier one can be. Tokens are rouge-score's."""

    def __init__(self) -> None:
        self._tokeniser = DefaultTokenizer(use_stemmer=False)
        self._holders: dict[tuple[str, int], array[int]] = {}
        self._lengths: array[int] = array("q")

    def with_earlier(self, text: str) -> NDArray[np.float64]:
        """The bounds with all texts before, after which this is one of them."""
        tokens = self._tokeniser.tokenize(text)
        occurrences = [(token, tokens[:at].count(token)) for at, token in enumerate(tokens)]
        held = [np.array(self._holders[one]) for one in occurrences if one in self._holders]
        count = len(self._lengths)
        shared = np.bincount(np.concatenate(held), minlength=count) if held else np.zeros(count, dtype=np.int64)
        lengths = np.array(self._lengths) + len(tokens)
        for one in occurrences:
            self._holders.setdefault(one, array("q")).append(count)
        self._lengths.append(len(tokens))
        bounds: NDArray[np.float64] = 2.0 * shared / np.maximum(lengths, 1)
        return bounds


@dataclass(slots=True, kw_only=True)
class Side:
    """One threshold: what rouge-score accepted, what we accepted, where they part."""

    threshold: float
    ours: LexicalPool
    accepted: bytearray = field(default_factory=bytearray)
    kept: list[int] = field(default_factory=list)
    unlike: int = 0
    other_nearest: int = 0
    open_pairs: int = 0
    skipped_pairs: int = 0
    at_threshold: int = 0

    def decide(self, number: int, text: str, bounds: NDArray[np.float64], score: Callable[[int], float]) -> None:
        taken = np.frombuffer(bytes(self.accepted), dtype=np.bool_)
        left = np.flatnonzero(taken & (bounds >= self.threshold - SLACK)).tolist()
        scores = [(score(other), -other) for other in left]
        best, position = max(scores, default=(0.0, 0))
        rejected = best > self.threshold
        match = self.ours.near(text)
        self.unlike += rejected != (match is not None)
        if match and (match.similarity, self.kept[match.position]) != (best, -position):
            self.other_nearest += 1
        if match is None:
            self.ours.add([text])
            self.kept.append(number)
        self.accepted.append(not rejected)
        self.open_pairs += len(left)
        self.skipped_pairs += int(taken.sum()) - len(left)
        self.at_threshold += sum(value == self.threshold for value, _ in scores)


@dataclass(slots=True, kw_only=True)
class Sample:
    """Pairs that every threshold skipped, drawn while they pass by: each candidate offers a few."""

    each: float
    chance: Random = field(default_factory=lambda: Random(SEED))
    scored: int = 0
    above_bound: int = 0

    def draw(self, bounds: NDArray[np.float64], score: Callable[[int], float]) -> None:
        skipped = np.flatnonzero(bounds < min(THRESHOLDS) - SLACK)
        wanted = int(self.each) + (self.chance.random() < self.each % 1)
        for other in self.chance.sample(skipped.tolist(), min(wanted, len(skipped))):
            self.scored += 1
            self.above_bound += score(other) > bounds[other] + SLACK


def decisions(texts: Sequence[str], skipped: int, say: Progress) -> tuple[list[Side], Sample]:
    scorer, earlier = RougeScorer(["rougeL"]), Bounds()
    sides = [Side(threshold=one, ours=LexicalPool(one, inclusive=False, split=rouge_tokens)) for one in THRESHOLDS]
    sample = Sample(each=skipped / len(texts))
    begun = time.monotonic()
    for number, text in enumerate(texts):
        known: dict[int, float] = {}

        def score(other: int, text: str = text, known: dict[int, float] = known) -> float:
            if other not in known:
                known[other] = scorer.score(texts[other], text)["rougeL"].fmeasure
            return known[other]

        bounds = earlier.with_earlier(text)
        for side in sides:
            side.decide(number, text, bounds, score)
        sample.draw(bounds, score)
        if (number + 1) % 5000 == 0:
            say(f"  {number + 1} of {len(texts)} decided, {time.monotonic() - begun:.0f} s")
    return sides, sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Milliseconds per candidate: processor time (`mean`, `theirs`, `intake`), wall time (`median`, `worst`)."""

    threshold: float
    mean: float
    median: float
    worst: float
    intake: float
    near: int
    theirs: float
    unlike: int


def speed(pool: Sequence[str], coming: Sequence[str], threshold: float, judged: int) -> Speed:
    ours = LexicalPool(threshold, inclusive=False, split=rouge_tokens)
    intake, _ = timed(lambda: ours.add(pool))
    walls, near, begun = [], 0, time.process_time()
    for text in coming:
        since = time.perf_counter()
        near += ours.near(text) is not None
        walls.append(1000 * (time.perf_counter() - since))
    mean = 1000 * (time.process_time() - begun) / len(coming)
    theirs = [timed(partial(largest, pool, text)) for text in coming[:judged]]
    found = [ours.near(text) for text in coming[:judged]]
    return Speed(
        threshold=threshold,
        mean=mean,
        median=statistics.median(walls),
        worst=max(walls),
        intake=intake / len(pool),
        near=near,
        theirs=statistics.mean(spent for spent, _ in theirs),
        unlike=sum(
            (match.similarity if match else None) != (best if best > threshold else None)
            for match, (_, best) in zip(found, theirs, strict=True)
        ),
    )


def largest(pool: Sequence[str], text: str) -> float:
    """rouge-score's largest F1 of a text with those of a pool."""
    scorer = RougeScorer(["rougeL"])
    return max(float(scorer.score(other, text)["rougeL"].fmeasure) for other in pool)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Milliseconds of processor time, and what the work gave."""
    begun = time.process_time()
    result = work()
    return 1000 * (time.process_time() - begun), result


def report_decisions(sides: Sequence[Side], sample: Sample, count: int) -> None:
    for side in sides:
        accepted = sum(side.accepted)
        print(
            f"above {side.threshold}: {accepted} of {count} accepted, {side.unlike} decisions unlike,"
            f" {side.other_nearest} rejections with another nearest text or another F1\n"
            f"  rouge-score scored {side.open_pairs:,} pairs ({side.at_threshold} exactly at the threshold),"
            f" the bound skipped {side.skipped_pairs:,}"
        )
    print(f"of the pairs skipped at both, {sample.scored:,} were scored: {sample.above_bound} above the bound\n")


def report_speed(one: Speed, pool: int, candidates: int, judged: int) -> None:
    print(
        f"above {one.threshold}, pool of {pool:,}: {one.mean:.3f} ms per candidate of processor time; wall: median"
        f" {one.median:.3f}, worst {one.worst:.3f} ({candidates} candidates, {one.near} too near);"
        f" intake {one.intake:.3f}"
    )
    print(
        f"rouge-score: {one.theirs:,.0f} ms per candidate ({judged} on the whole pool), {one.unlike} unlike;"
        f" {one.theirs / one.mean:,.0f} times ours\n"
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.gate", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--texts", type=int, default=20_000, help="of which the decisions are compared")
    parser.add_argument("--pool", type=int, default=52_000, help="at which the speed is taken")
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument(
        "--judged", type=int, default=2, help="candidates that rouge-score compares with the whole pool"
    )
    parser.add_argument(
        "--skipped", type=int, default=20_000, help="skipped pairs that rouge-score scores all the same"
    )
    options = parser.parse_args()
    if min(options.texts, options.pool, options.candidates, options.judged) < 1 or options.skipped < 0:
        parser.error("sizes must be at least 1")
    return options


def main() -> int:
    options = parse()
    print(f"decisions on {options.texts:,} instructions, one after the other")
    sides, sample = decisions(Texts(SEED).many(options.texts), options.skipped, lambda line: print(line, flush=True))
    report_decisions(sides, sample, options.texts)
    texts = Texts(SEED + 1).many(options.pool + options.candidates)
    pool, coming = texts[: options.pool], texts[options.pool :]
    speeds = [speed(pool, coming, threshold, options.judged) for threshold in THRESHOLDS]
    for one in speeds:
        report_speed(one, options.pool, options.candidates, options.judged)
    gates: list[tuple[str, float, float, bool]] = [
        (f"gate_unlike_{round(100 * one.threshold):03}", side.unlike + sample.above_bound + one.unlike, 0, True)
        for side, one in zip(sides, speeds, strict=True)
    ]
    gates.append((f"gate_{options.pool}_ms", max(one.mean for one in speeds), MOST_MS, True))
    slowest = min(one.theirs / one.mean for one in speeds)
    gates.append((f"gate_{options.pool}_times_faster", slowest, LEAST_TIMES, False))
    return report_gates(gates)


def report_gates(gates: Sequence[tuple[str, float, float, bool]]) -> int:
    """One line each: the value may be at most the limit, or (last field false) must be at least the limit."""
    short = False
    for name, value, limit, at_most in gates:
        good = value <= limit if at_most else value >= limit
        short |= not good
        print(f"gate {name} {value:.3f} {limit:g} {'ok' if good else 'short'}")
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
