"""The tag vocabulary of a run: spellings of one intent become one tag, so that its number means something. Pure.

After InsTag's normalisation (papers.md, 3.6), without its frequencies: lower case, plurals, British and American
spellings, filler words and the order of words, then likeness of letters. Meaning is never guessed: "reasoning" and
"logic" stay two tags.
"""

import re
from collections import defaultdict
from collections.abc import Iterable

from rapidfuzz.distance import OSA

_NOT_A_LETTER = re.compile(r"[^\w+#.&]+")
_FILLERS = frozenset({"a", "an", "the", "of", "for", "and", "in", "on", "to", "with", "&"})
# British endings and their American ones.
_SPELLINGS = (("isation", "ization"), ("ising", "izing"), ("ise", "ize"), ("yse", "yze"), ("our", "or"))
_LEAST_LETTERS = 7
_SAME_START = 4


def key(tag: str) -> str:
    """What all plain spellings of a tag have in common; empty where nothing of it is a word."""
    words = [word.strip(".") for word in _NOT_A_LETTER.sub(" ", tag).lower().split()]
    kept = [word for word in words if word and word not in _FILLERS] or [word for word in words if word]
    return " ".join(sorted(_stem(word) for word in kept))


def _stem(word: str) -> str:
    single = _singular(word)
    for ending, other in _SPELLINGS:
        if single.endswith(ending) and len(single) > len(ending) + 2:
            return single.removesuffix(ending) + other
    return single


def _singular(word: str) -> str:
    """By the plainest rules: stories, boxes, classes, recipes; not physics, analysis, gas."""
    if len(word) <= 4 or word.endswith(("ss", "us", "is", "ics")) or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("xes", "sses", "ches", "shes")) else word[:-1]


class Vocabulary:
    """The tags of one run. The first spelling met stands for all; so feed it in an order that is always the same.

    `canonical` learns; equal sequences of tags make equal vocabularies, whatever the machine.
    """

    def __init__(self, tags: Iterable[str] = ()) -> None:
        self._by_key: dict[str, str] = {}
        # Keys that could be a misspelling of each other share a bucket.
        self._near: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for tag in tags:
            self.canonical(tag)

    def __len__(self) -> int:
        return len(set(self._by_key.values()))

    @property
    def tags(self) -> tuple[str, ...]:
        """The canonical tags, in the order in which they were met: what a vocabulary can be made of again."""
        return tuple(dict.fromkeys(self._by_key.values()))

    def canonical(self, tag: str) -> str:
        """The tag that stands for this one, which is itself where nothing like it was met before."""
        found = key(tag)
        if found not in self._by_key:
            near = self._alike(found)
            self._by_key[found] = self._by_key[near] if near else " ".join(tag.lower().split())
            self._near[_bucket(found)].append(found)
        return self._by_key[found]

    def distinct(self, tags: Iterable[str]) -> tuple[str, ...]:
        """The different intents among the tags of one text, in their order: their number is its diversity."""
        return tuple(dict.fromkeys(self.canonical(tag) for tag in tags if key(tag)))

    def _alike(self, found: str) -> str | None:
        return next((other for other in self._near[_bucket(found)] if _misspelt(found, other)), None)


def _bucket(found: str) -> tuple[str, ...]:
    """The beginnings of its words: none of them may be the slip."""
    return tuple(word[:_SAME_START] for word in found.split())


def _misspelt(a: str, b: str) -> bool:
    """Whether two keys differ by one slip in each long word at most, and in no short word or number."""
    pairs = list(zip(a.split(), b.split(), strict=True))
    return all(one == other or _one_slip(one, other) for one, other in pairs)


def _one_slip(one: str, other: str) -> bool:
    long = min(len(one), len(other)) >= _LEAST_LETTERS and one.isalpha() and other.isalpha()
    return long and OSA.distance(one, other, score_cutoff=1) <= 1
