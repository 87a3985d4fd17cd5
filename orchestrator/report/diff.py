"""Word-level differences between a node's text and its parent's."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile

# Scripts written without spaces are compared character by character, everything else word by word.
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|\s+|[^\w\s]")
_MOST_COMPARISONS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of text and whether the other side lacks it."""

    text: str
    changed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Both texts cut into pieces: joined, `before` is the old text and `after` the new one."""

    before: tuple[Piece, ...]
    after: tuple[Piece, ...]


def word_difference(before: str, after: str) -> Difference:
    """What was removed from `before` and what was added in `after`.

    Middles so long that comparing them would take seconds count as replaced whole.
    """
    old, new = _TOKEN.findall(before), _TOKEN.findall(after)
    start = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))))
    ends = zip(reversed(old[start:]), reversed(new[start:]), strict=False)
    end = len(list(takewhile(lambda pair: pair[0] == pair[1], ends)))
    middle_old, middle_new = old[start : len(old) - end], new[start : len(new) - end]
    kept_old, kept_new = _kept(middle_old, middle_new)
    return Difference(
        before=_pieces(old, [True] * start + kept_old + [True] * end),
        after=_pieces(new, [True] * start + kept_new + [True] * end),
    )


def _kept(old: list[str], new: list[str]) -> tuple[list[bool], list[bool]]:
    """For each token, whether it is on both sides. A match without a word in it is no match."""
    kept_old, kept_new = [False] * len(old), [False] * len(new)
    if len(old) * len(new) > _MOST_COMPARISONS:
        return kept_old, kept_new
    for block in SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks():
        if any(token[0].isalnum() for token in old[block.a : block.a + block.size]):
            kept_old[block.a : block.a + block.size] = [True] * block.size
            kept_new[block.b : block.b + block.size] = [True] * block.size
    return kept_old, kept_new


def _pieces(tokens: list[str], kept: list[bool]) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    for token, same in zip(tokens, kept, strict=True):
        if pieces and pieces[-1].changed is not same:
            pieces[-1] = Piece(text=pieces[-1].text + token, changed=not same)
        else:
            pieces.append(Piece(text=token, changed=not same))
    return tuple(pieces)


def clip(pieces: tuple[Piece, ...], most: int) -> tuple[Piece, ...]:
    """The first `most` characters."""
    taken: list[Piece] = []
    for piece in pieces:
        if most <= 0:
            break
        taken.append(Piece(text=piece.text[:most], changed=piece.changed))
        most -= len(piece.text)
    return tuple(taken)
