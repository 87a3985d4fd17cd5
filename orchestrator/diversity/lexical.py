"""Is a text a near-copy of one taken in before, by ROUGE-L? The decisions of rouge-score, exactly, but fast.

The F-measure of texts of m and n tokens with a longest common subsequence of L is 2L / (m + n), and L cannot exceed the
number of tokens that both have, counted with their repetitions. That number is counted for the whole pool at once:
an inverted index says which texts hold a token for the k-th time. Only where it allows an F at the threshold (as a rule
nowhere, or at kin) the subsequence itself is found. No step is a guess, so no near-copy is missed.

Memory: 12 bytes for each token of each text, 16 for each text, about 300 for each distinct token. A token that more
than one text in 32 holds has, instead of postings, a row of one byte for each text there is room for: counting it is
then one addition of vectors. Of such rows there are at most 64 for each token of a text of mean length (in English
about 100 in all).
"""

from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq

from orchestrator.diversity.match import Match
from orchestrator.diversity.tokens import Tokeniser, all_tokens

_FIRST_CAPACITY = 1024
# A token's k-th occurrence in a text is an item of its own: shared items are then the overlap of the bags of words.
_OCCURRENCE = 32
_COMMON = 32
# So many items can be counted in one byte per text.
_CHUNK = 255
_UNKNOWN = -1
# Bounds are compared with this much slack, so that rounding never skips a text; the decision itself has none.
_SLACK = 1e-9

Row = NDArray[np.uint8]


class LexicalPool:
    """Texts in the order they were taken in. `near` finds the nearest at or above a threshold of ROUGE-L F1.

    Args:
        threshold: F1 in (0, 1] from which a text is too near.
        inclusive: whether a text exactly at the threshold is too near. Self-Instruct rejects above 0.7 only: False.
        split: what the tokens are; `rouge_tokens` for exactly rouge-score's, `all_tokens` for every script.

    Raises:
        ValueError: a threshold out of its range.
    """

    def __init__(self, threshold: float, *, inclusive: bool = True, split: Tokeniser = all_tokens) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"a threshold of ROUGE-L lies above 0 and at most at 1, not {threshold}")
        self._threshold = threshold
        self._inclusive = inclusive
        self._split = split
        self._vocabulary: dict[str, int] = {}
        self._tokens = array("i")
        self._ends = array("q", [0])
        self._capacity = _FIRST_CAPACITY
        self._lengths: NDArray[np.int64] = np.zeros(self._capacity, dtype=np.int64)
        self._postings: dict[int, array[int]] = {}
        self._rows: dict[int, Row] = {}

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, texts: Iterable[str]) -> None:
        """Takes texts in, near-copies or not."""
        for text in texts:
            known = self._vocabulary
            self._take([known.setdefault(token, len(known)) for token in self._split(text)])

    def near(self, text: str, exempt: Collection[int] = ()) -> Match | None:
        """The nearest text that is too near, not counting those at the positions `exempt`; None if there is none."""
        tokens = [self._vocabulary.get(token, _UNKNOWN) for token in self._split(text)]
        if not tokens or not len(self):
            return None
        shared = self._shared(_items(tokens))
        if exempt:
            shared[list(exempt)] = 0
        found = np.flatnonzero(shared >= self._least(len(tokens)))
        bounds = 2 * shared[found].astype(np.float64) / (len(tokens) + self._lengths[found])
        order = np.argsort(-bounds, kind="stable")
        return self._nearest(tokens, found[order].tolist(), bounds[order].tolist())

    def rewind(self, count: int) -> None:
        """Forgets all but the first `count` texts."""
        while len(self) > count:
            position = len(self) - 1
            for item in _items(self._at(position)):
                self._unpost(item, position)
            self._ends.pop()
            del self._tokens[self._ends[-1] :]

    # -- counting what is shared

    def _shared(self, items: Sequence[int]) -> NDArray[Any]:
        """For each text, how many of these items it has."""
        chunks = [self._count(items[start : start + _CHUNK]) for start in range(0, len(items), _CHUNK)]
        if len(chunks) == 1:
            return chunks[0]
        total = np.zeros(len(self), dtype=np.int64)
        for counts in chunks:
            total += counts
        return total

    def _count(self, items: Sequence[int]) -> Row:
        counts = np.zeros(len(self), dtype=np.uint8)
        for item in items:
            row = self._rows.get(item)
            if row is not None:
                counts += row[: len(self)]
            elif item in self._postings:
                # One text is in a posting once, so indexed addition counts right.
                counts[np.frombuffer(self._postings[item], dtype=np.int64)] += 1
        return counts

    def _least(self, length: int) -> int:
        """Shared tokens without which no text of any length reaches the threshold: of n >= L, 2L >= t (m + n)."""
        return max(1, int(np.ceil(self._threshold * length / (2 - self._threshold) - _SLACK)))

    # -- deciding

    def _nearest(self, tokens: list[int], positions: list[int], bounds: list[float]) -> Match | None:
        """Goes through the texts from the most promising on, until no bound reaches the best that was found."""
        best: Match | None = None
        for position, bound in zip(positions, bounds, strict=True):
            floor = best.similarity if best else self._threshold
            if bound < floor - _SLACK:
                break
            similarity = self._similarity(tokens, position, floor)
            if not self._too_near(similarity):
                continue
            if best is None or (similarity, -position) > (best.similarity, -best.position):
                best = Match(position=position, similarity=similarity)
        return best

    def _too_near(self, similarity: float) -> bool:
        return similarity >= self._threshold if self._inclusive else similarity > self._threshold

    def _similarity(self, tokens: list[int], position: int, floor: float) -> float:
        """F1 in rouge-score's own arithmetic, to the last bit; 0 where it is below `floor`."""
        other = self._at(position)
        least = int(np.ceil(floor * (len(tokens) + len(other)) / 2 - _SLACK))
        length = LCSseq.similarity(other, tokens, score_cutoff=least)
        if not length:
            return 0.0
        precision, recall = length / len(tokens), length / len(other)
        return 2 * precision * recall / (precision + recall)

    def _at(self, position: int) -> list[int]:
        return self._tokens[self._ends[position] : self._ends[position + 1]].tolist()

    # -- taking in

    def _take(self, tokens: list[int]) -> None:
        position = len(self)
        if position == self._capacity:
            self._grow()
        self._tokens.extend(tokens)
        self._ends.append(len(self._tokens))
        self._lengths[position] = len(tokens)
        for item in _items(tokens):
            row = self._rows.get(item)
            if row is not None:
                row[position] = 1
            else:
                self._post(item, position)

    def _post(self, item: int, position: int) -> None:
        posting = self._postings.setdefault(item, array("q"))
        posting.append(position)
        if len(posting) > self._capacity // _COMMON:
            del self._postings[item]
            self._rows[item] = _row(np.frombuffer(posting, dtype=np.int64), self._capacity)

    def _unpost(self, item: int, position: int) -> None:
        row = self._rows.get(item)
        if row is not None:
            row[position] = 0
            return
        self._postings[item].pop()
        if not self._postings[item]:
            del self._postings[item]

    def _grow(self) -> None:
        """Room for twice as many; rows of tokens that have become rare turn into postings again."""
        self._capacity *= 2
        self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        rows, self._rows = self._rows, {}
        for item, row in rows.items():
            positions = np.flatnonzero(row).astype(np.int64)
            if len(positions) > self._capacity // (2 * _COMMON):
                self._rows[item] = _row(positions, self._capacity)
            else:
                self._postings[item] = array("q", positions.tobytes())


def _row(positions: NDArray[np.int64], capacity: int) -> Row:
    row = np.zeros(capacity, dtype=np.uint8)
    row[positions] = 1
    return row


def _items(tokens: Sequence[int]) -> list[int]:
    """Each known token with the number of times it has occurred before, as one integer."""
    seen: dict[int, int] = {}
    items = []
    for token in tokens:
        if token != _UNKNOWN:
            occurrence = seen.get(token, 0)
            seen[token] = occurrence + 1
            items.append(token | occurrence << _OCCURRENCE)
    return items
