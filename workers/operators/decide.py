"""What improving an operator decides by: failures, rates, and which of several methods is kept. Pure.

After Auto Evol-Instruct (papers.md, 3.4). Its paper takes the method that fails least; its repository also wants
responses to stay as long for the length of their instructions. Both are here, and under both a method that does not
fail less is never taken.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import comb

from workers.config import WorkSettings
from workers.contracts import asks_whether_equal
from workers.text import words

_OPENINGS = re.compile(
    r"\s*(?:understood|what\b|that is correct|that's correct|thank you|thanks\b|sure\b|great\b|i(?:'m| am) sorry|"
    r"certainly|of course|got it|okay\b|no problem)",
    re.IGNORECASE,
)
_ASKS_BACK = re.compile(r"\bplease provide\b|\bnot possible\b", re.IGNORECASE)
ASKS_BACK = "asks_back"


class Rule(StrEnum):
    """By what a better method is told."""

    PAPER = "paper"
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to try: items that failures are collected on, items that methods are measured on, new methods."""

    batch: int
    dev: int
    proposals: int
    rule: Rule
    max_calls: int

    def most_calls(self, settings: WorkSettings) -> int:
        """The most questions that it asks."""
        each = 3 if asks_whether_equal(settings) else 2
        return each * (self.batch + self.dev * (1 + self.proposals)) + self.proposals


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One instruction evolved by a method. `failed` is the reason, None where all went well.

    `scored` is False where a call that it needed was not made, so that nothing is known of the method.
    """

    item: str
    before: str
    after: str = ""
    response: str = ""
    failed: str | None = None
    scored: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a method did on a list of instructions."""

    method: str
    trials: tuple[Trial, ...]

    @property
    def complete(self) -> bool:
        return bool(self.trials) and all(trial.scored for trial in self.trials)

    @property
    def failures(self) -> int:
        return sum(trial.failed is not None for trial in self.trials)

    @property
    def rate(self) -> float:
        return self.failures / len(self.trials)

    @property
    def reasons(self) -> Mapping[str, int]:
        return Counter(trial.failed for trial in self.trials if trial.failed)

    @property
    def worth(self) -> float:
        """The repository's second measure: share of successes times length of responses over that of instructions."""
        good = [trial for trial in self.trials if trial.failed is None]
        asked = sum(len(words(trial.after)) for trial in good)
        return (1 - self.rate) * sum(len(words(trial.response)) for trial in good) / asked if asked else 0.0


def response_failed(response: str) -> bool:
    """The rule on responses of Auto Evol-Instruct: it makes conversation and asks back, or says that it cannot."""
    text = response.replace("’", "'").strip()
    return bool(_ASKS_BACK.search(text)) or bool(_OPENINGS.match(text) and text.endswith("?"))


def better(candidate: Score, current: Score, rule: Rule) -> bool:
    """Whether the candidate may take the place of the current method: it fails less on the very same items."""
    same = [trial.item for trial in candidate.trials] == [trial.item for trial in current.trials]
    if not (same and candidate.complete and current.complete) or candidate.failures >= current.failures:
        return False
    return rule is Rule.PAPER or candidate.worth >= current.worth


def choose(current: Score, candidates: Sequence[Score], rule: Rule) -> Score:
    """The candidate that fails least, the first of equals; the current method where none is better."""
    best = current
    for candidate in candidates:
        if better(candidate, current, rule) and candidate.failures < best.failures:
            best = candidate
    return best


def changes(current: Score, chosen: Score) -> tuple[int, int]:
    """How many items failed under the current method alone, and how many under the chosen one alone."""
    before = [trial.failed is not None for trial in current.trials]
    after = [trial.failed is not None for trial in chosen.trials]
    pairs = list(zip(before, after, strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def luck(mended: int, broken: int) -> float:
    """The chance of so many mended items or more where a method changes nothing (one-sided sign test).

    That the best of several methods is looked at makes luck likelier than this.
    """
    total = mended + broken
    return float(sum(comb(total, k) for k in range(mended, total + 1)) / 2**total)


def split(items: Sequence[str], batch: int, dev: int) -> tuple[Sequence[str], Sequence[str]]:
    """What failures are collected on, and what methods are measured on; no item is in both.

    Where there are too few for both, they are shared out in the same proportion.
    """
    first = batch if len(items) >= batch + dev else max(1, len(items) * batch // (batch + dev))
    return items[:first], items[first : first + dev]
