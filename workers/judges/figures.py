"""Figures of merit of a judge: pure arithmetic on grades, scores and places."""

from collections.abc import Callable, Sequence
from math import sqrt
from statistics import mean

# Grades of the set with the scores given.
Pairs = Sequence[tuple[int, float]]
# Per judgement one score an item, None where there is none.
Judgements = Sequence[Sequence[float | None]]


def auc(pairs: Pairs) -> float | None:
    """The chance that an item graded above 3 scores higher than one that is not; ties count half."""
    upper = [score for grade, score in pairs if grade > 3]
    lower = [score for grade, score in pairs if grade <= 3]
    if not upper or not lower:
        return None
    return mean((a > b) + (a == b) / 2 for a in upper for b in lower)


def kendall(pairs: Pairs) -> float | None:
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


def average(pairs: Pairs) -> float | None:
    return mean(score for _, score in pairs) if pairs else None


def line(pairs: Pairs) -> tuple[float, float] | None:
    """Intercept and slope that put the scores nearest to the grades (least squares); None where it would not rise."""
    if len(pairs) < 3:
        return None
    grade, score = mean(grade for grade, _ in pairs), mean(score for _, score in pairs)
    width = sum((found - score) ** 2 for _, found in pairs)
    slope = sum((found - score) * (given - grade) for given, found in pairs) / width if width else 0.0
    return (grade - slope * score, slope) if slope > 0 else None


def noise(judgements: Judgements) -> float | None:
    """Standard deviation of one item's score from judgement to judgement, a shift of all of them taken out."""
    whole = _scored_always(judgements)
    times = len(judgements)
    if times < 2 or len(whole) < 2:
        return None
    levels = [mean(column) for column in zip(*whole, strict=True)]
    residuals = [[score - level for score, level in zip(row, levels, strict=True)] for row in whole]
    squares = sum((value - mean(row)) ** 2 for row in residuals for value in row)
    return sqrt(squares / ((len(whole) - 1) * (times - 1)))


def shift(judgements: Judgements) -> float | None:
    """By how much the scores of later judgements are higher than those of the first, on the average."""
    whole = _scored_always(judgements)
    if len(judgements) < 2 or not whole:
        return None
    return mean(mean(row[1:]) - row[0] for row in whole)


def place_bias(judgements: Judgements, places: Sequence[Sequence[float]]) -> tuple[float | None, float | None]:
    """What being shown first (place 0) earns against being shown last (place 1), in points, and its standard error.

    From the same items at different places: how good they are cancels out.
    """
    moves: list[tuple[float, float]] = []
    free = -1
    for i in range(len(judgements[0])):
        seen = [
            (where[i], score) for where, row in zip(places, judgements, strict=True) if (score := row[i]) is not None
        ]
        if len(seen) > 1:
            middle, level = mean(place for place, _ in seen), mean(score for _, score in seen)
            moves.extend((place - middle, score - level) for place, score in seen)
            free += len(seen) - 1
    width = sum(place**2 for place, _ in moves)
    if not width:
        return None, None
    slope = sum(place * score for place, score in moves) / width
    residual = sum((score - slope * place) ** 2 for place, score in moves)
    return -slope, sqrt(residual / free / width) if free > 0 else None


def _scored_always(judgements: Judgements) -> list[list[float]]:
    rows = [[score for score in row if score is not None] for row in zip(*judgements, strict=True)]
    return [row for row in rows if len(row) == len(judgements)]


def change(figure: Callable[[Pairs], float | None], before: Pairs, after: Pairs) -> tuple[float | None, float | None]:
    """By how much a figure changed over the same items, and the standard error of that change (jackknife)."""
    whole = _difference(figure, before, after)
    count = len(before)
    without = [_difference(figure, _without(before, i), _without(after, i)) for i in range(count)]
    known = [value for value in without if value is not None]
    if whole is None or len(known) < max(count, 2):
        return whole, None
    middle = mean(known)
    return whole, sqrt((count - 1) / count * sum((value - middle) ** 2 for value in known))


def _difference(figure: Callable[[Pairs], float | None], before: Pairs, after: Pairs) -> float | None:
    old, new = figure(before), figure(after)
    return None if old is None or new is None else new - old


def _without(pairs: Pairs, i: int) -> Pairs:
    return [*pairs[:i], *pairs[i + 1 :]]
