"""The diversity gate of a run: milliseconds per candidate at 1,000, 10,000 and 50,000 texts, beside rouge-score.

Needs no files and no network: instructions are made by a small grammar over 20,000 words whose frequencies follow
Zipf's law. Two of three are evolutions of earlier ones (something added, words replaced), as in a run, so kin are many.
Every figure is the mean of candidates that come one at a time and may be taken in, with everything that costs:
splitting, embedding, both stages, intake. The gates are on processor time, all threads together: on an idle machine
wall time is the same, beside other work it says more of that work. rouge-score is timed on the same texts, from 10,000
on against a sample of the pool, and its figure for the whole pool is that times the number of texts.

    python benchmarks/diversity.py [--sizes 1000 10000 50000] [--candidates 300] [--embedder lexical wordllama]
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rouge_score.rouge_scorer import RougeScorer

from orchestrator.diversity import Candidate, Gate, GateSettings, LexicalPool, TextId, embedder, rouge_tokens

LIMIT_MS = 2.0
WORDS = 20_000
SAMPLE = 1000
# The commonest words, commonest first; the rest is made up.
COMMON = (
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "for",
    "that",
    "with",
    "is",
    "your",
    "on",
    "as",
    "it",
    "by",
    "how",
    "what",
)
OPENINGS = ("write {} about {}", "explain {} to {}", "list the {} of {}", "what is the {} of {}", "describe how {} {}")
ONSETS = (
    "b",
    "c",
    "d",
    "f",
    "g",
    "h",
    "j",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "br",
    "ch",
    "pl",
    "sh",
    "st",
    "tr",
)
NUCLEI = ("a", "e", "i", "o", "u", "ai", "ea", "ee", "io", "ou")
CODAS = ("", "", "", "ck", "l", "m", "n", "nd", "r", "rt", "s", "st", "t")
ENDINGS = ("", "", "", "s", "ed", "er", "ing", "ly", "tion")
ADDITIONS = ("make sure that {}", "use at most {}", "do not mention {}", "the result will be read by {}", "include {}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One instruction; `parent` is the number of the one it was evolved from."""

    words: tuple[str, ...]
    parent: int | None

    @property
    def text(self) -> str:
        return " ".join(self.words).capitalize() + "."


class Grammar:
    """Instructions and their evolutions, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._words = [*COMMON, *(self._word() for _ in range(WORDS - len(COMMON)))]
        self._weights = []
        total = 0.0
        for rank in range(WORDS):
            total += 1 / (rank + 2.7)
            self._weights.append(total)

    def many(self, count: int) -> list[Text]:
        texts: list[Text] = []
        while len(texts) < count:
            parent = self._random.randrange(len(texts)) if texts and self._random.random() < 2 / 3 else None
            if parent is None:
                texts.append(Text(words=self._root(), parent=None))
            elif len(texts[parent].words) < 90:
                texts.append(Text(words=self._evolved(texts[parent].words), parent=parent))
        return texts

    def near_copy(self, text: Text) -> tuple[str, ...]:
        """The same with one word in fifteen replaced."""
        new = self._phrase(len(text.words))
        return tuple(b if self._random.random() < 1 / 15 else a for a, b in zip(text.words, new, strict=True))

    def _root(self) -> tuple[str, ...]:
        opening = self._random.choice(OPENINGS)
        return self._filled(opening, 2, 7)

    def _evolved(self, words: tuple[str, ...]) -> tuple[str, ...]:
        kept = self.near_copy(Text(words=words, parent=None)) if self._random.random() < 0.3 else words
        return kept + self._filled(self._random.choice(ADDITIONS), 8, 20)

    def _filled(self, pattern: str, least: int, most: int) -> tuple[str, ...]:
        holes = [" ".join(self._phrase(self._random.randint(least, most))) for _ in range(pattern.count("{}"))]
        return tuple(pattern.format(*holes).split())

    def _phrase(self, count: int) -> list[str]:
        return self._random.choices(self._words, cum_weights=self._weights, k=count)

    def _word(self) -> str:
        pick = self._random.choice
        syllables = (pick(ONSETS) + pick(NUCLEI) + pick(CODAS) for _ in range(self._random.randint(1, 3)))
        return "".join(syllables) + pick(ENDINGS)


def line_of(texts: list[Text], number: int) -> tuple[TextId, ...]:
    line: list[TextId] = []
    parent = texts[number].parent
    while parent is not None:
        line.append((0, str(parent)))
        parent = texts[parent].parent
    return tuple(line)


def candidates(grammar: Grammar, texts: list[Text], size: int, count: int) -> list[Candidate]:
    """Those that come after the first `size`; every tenth is a near-copy of one of them."""
    found = []
    for number in range(size, size + count):
        if number % 10 == 0:
            found.append(Candidate(id=(0, str(number)), text=" ".join(grammar.near_copy(texts[number - size]))))
        else:
            found.append(Candidate(id=(0, str(number)), text=texts[number].text, ancestors=line_of(texts, number)))
    return found


def milliseconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return 1000 * (time.process_time() - begun)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured with one pool: milliseconds per candidate, how many of them were refused."""

    stages: str
    size: int
    cpu_ms: float
    wall_ms: float
    median_ms: float
    worst_ms: float
    intake_ms: float
    refused: int


def measure(settings: GateSettings, stages: str, texts: list[Text], size: int, coming: list[Candidate]) -> Figures:
    gate = Gate(settings)
    intake = milliseconds(lambda: gate.take(((0, str(i)), texts[i].text) for i in range(size)))
    times, refused, begun_cpu = [], 0, time.process_time()
    for candidate in coming:
        begun = time.perf_counter()
        verdict = gate.admit([candidate])[0]
        times.append(1000 * (time.perf_counter() - begun))
        refused += verdict.near is not None
    cpu_s = time.process_time() - begun_cpu
    return Figures(
        stages=stages,
        size=size,
        cpu_ms=1000 * cpu_s / len(coming),
        wall_ms=statistics.mean(times),
        median_ms=statistics.median(times),
        worst_ms=max(times),
        intake_ms=intake / size,
        refused=refused,
    )


def rouge(texts: list[Text], size: int, coming: list[Candidate]) -> tuple[float, int, int]:
    """rouge-score's milliseconds per candidate, how often it and we find another nearest at 0.7, the pairs compared."""
    sample = Random(size).sample(range(size), min(size, SAMPLE))
    ours = LexicalPool(0.7, split=rouge_tokens)
    ours.add(texts[i].text for i in sample)
    scorer, judged = RougeScorer(["rougeL"]), coming[:: max(1, len(coming) // 6)]
    spent, differing = 0.0, 0
    for candidate in judged:
        begun = time.process_time()
        theirs = max(scorer.score(texts[i].text, candidate.text)["rougeL"].fmeasure for i in sample)
        spent += 1000 * (time.process_time() - begun)
        match = ours.near(candidate.text)
        differing += (match.similarity if match else None) != (theirs if theirs >= 0.7 else None)
    return spent / len(judged) * size / len(sample), differing, len(judged) * len(sample)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 50_000])
    options.add_argument("--candidates", type=int, default=300)
    options.add_argument("--embedder", nargs="*", default=["lexical"], help="wordllama needs the extra local")
    chosen = options.parse_args()
    grammar = Grammar(1)
    texts = grammar.many(max(chosen.sizes) + chosen.candidates)
    words = statistics.mean(len(text.words) for text in texts)
    print(f"{len(texts)} instructions, {words:.1f} words each, {chosen.candidates} candidates a row\n")
    kinds = [("lexical", GateSettings(embedding=None))]
    kinds += [(f"lexical+{name}", GateSettings(embedder=name)) for name in chosen.embedder]
    for name in chosen.embedder:
        embedder(name)("loaded before the clock runs")
    print("                                 ms per candidate                        rouge-score")
    print("stages                texts      cpu  wall mean  median   worst  take in     cpu ms    times  refused")
    gates, differing, pairs = [], 0, 0
    for size in chosen.sizes:
        coming = candidates(grammar, texts, size, chosen.candidates)
        theirs_ms, differs, compared = rouge(texts, size, coming)
        differing, pairs = differing + differs, pairs + compared
        for stages, settings in kinds:
            one = measure(settings, stages, texts, size, coming)
            print(
                f"{one.stages:<18} {one.size:>8} {one.cpu_ms:>8.3f} {one.wall_ms:>10.3f} {one.median_ms:>7.3f}"
                f" {one.worst_ms:>7.3f} {one.intake_ms:>8.3f} {theirs_ms:>10.0f} {theirs_ms / one.cpu_ms:>8.0f}"
                f" {one.refused:>8}"
            )
            gates.append((f"diversity_{stages}_{size}_ms", one.cpu_ms, LIMIT_MS))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nrouge-score on {SAMPLE} texts of each pool at most, times size / {SAMPLE}; peak memory {peak_mb:.0f} MB")
    print(f"decisions of rouge-score at 0.7 and ours: {differing} differ ({pairs} pairs)\n")
    gates.append(("diversity_unlike_rouge_score", differing, 0))
    for name, value, most in gates:
        print(f"gate {name} {value:.3f} {most:g} {'ok' if value <= most else 'short'}")
    return 0 if all(value <= most for _, value, most in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
