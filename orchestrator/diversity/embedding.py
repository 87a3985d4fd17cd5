"""Is a text's embedding too near to one taken in before? Exactly as if it were compared with all of them, but faster.

A matrix of 50,000 x 256 singles does not fit into a cache, so reading it is what costs. A first pass reads 64
coordinates of each vector and the length of the rest: by Cauchy and Schwarz, x.y <= x'.y' + |x - x'| |y - y'|. Only
where that bound reaches the threshold, whole vectors are multiplied: between unrelated texts almost never when the
threshold is 0.9 or more.

Memory: 4 (size + 65) bytes for each text there is room for: 84 MB for 65,536 texts of 256 numbers, half as much again
while that doubles.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from db.errors import ConfigError
from orchestrator.diversity.embedders import Vector
from orchestrator.diversity.match import Match

_FIRST_CAPACITY = 1024
_HEAD = 64
_DIGITS = 6
# More than single precision can err by, in sums of a few hundred numbers.
_SLACK = 1e-5
# If the bound lets more than this share through, reading all is quicker than gathering them.
_MANY = 1 / 16
# OpenBLAS gives larger products to several threads, and beside other work on the same cores they wait for each other:
# measured 0.3 ms for 50,000 x 65 numbers in blocks of this size, 12 ms in one piece.
_BLOCK = 9000


class EmbeddingPool:
    """Vectors in the order they were taken in. `near` finds the nearest at or above a cosine.

    The cosine is computed in double precision from unit vectors kept in single precision, and rounded to six decimals.
    A vector of zeros, or with a number that is none, is near to nothing.

    Raises:
        ValueError: a threshold outside (0, 1].
    """

    def __init__(self, threshold: float, size: int) -> None:
        if not 0 < threshold <= 1:
            raise ValueError(f"a threshold of cosines lies above 0 and at most at 1, not {threshold}")
        self._threshold = threshold
        self._size = size
        self._count = 0
        self._heads = _Rows(min(_HEAD, size) + 1)
        self._whole = _Rows(size)

    def __len__(self) -> int:
        return self._count

    def add(self, vector: Vector) -> None:
        """Takes one vector in.

        Raises:
            ConfigError: it is of another size than the pool's.
        """
        unit = self._unit(vector)
        self._heads.put(self._count, _head(unit))
        self._whole.put(self._count, unit)
        self._count += 1

    def near(self, vector: Vector, exempt: Collection[int] = ()) -> Match | None:
        """The nearest vector that is too near, not counting those at the positions `exempt`; None if there is none.

        Raises:
            ConfigError: the vector is of another size than the pool's.
        """
        unit = self._unit(vector)
        if not self._count or not unit.any():
            return None
        found = self._possible(unit)
        if exempt:
            found = found[~np.isin(found, list(exempt))]
        if not len(found):
            return None
        # Not a matrix product: its last digits would depend on how many rows it is given.
        cosines = np.round((self._whole.flat[found].astype(np.float64) * unit).sum(axis=1), _DIGITS)
        best = int(np.argmax(cosines))
        similarity = float(cosines[best])
        return Match(position=int(found[best]), similarity=similarity) if similarity >= self._threshold else None

    def rewind(self, count: int) -> None:
        """Forgets all but the first `count` vectors."""
        self._count = min(self._count, count)

    def _possible(self, unit: Vector) -> NDArray[np.intp]:
        """Where the threshold can be reached, in order of intake."""
        least = self._threshold - _SLACK
        found = np.flatnonzero(self._heads.times(_head(unit), self._count) >= least)
        if len(found) > _MANY * self._count:
            found = np.flatnonzero(self._whole.times(unit, self._count) >= least)
        return found

    def _unit(self, vector: Vector) -> Vector:
        if vector.shape != (self._size,):
            raise ConfigError(
                f"the embedder gave a vector of {vector.size} numbers where this run's have {self._size}: use the "
                "embedder that the run was begun with"
            )
        exact = vector.astype(np.float64)
        length = float(np.sqrt((exact * exact).sum()))
        if not length or not np.isfinite(length):
            return np.zeros(self._size, dtype=np.float32)
        return (exact / length).astype(np.float32)


def _head(unit: Vector) -> Vector:
    """Its first coordinates, and the length of the others."""
    rest = unit[_HEAD:].astype(np.float64)
    return np.append(unit[:_HEAD], np.sqrt((rest * rest).sum())).astype(np.float32)


class _Rows:
    """A growing matrix, kept in blocks of rows that are multiplied one by one."""

    def __init__(self, width: int) -> None:
        # A power of two, so that every capacity is made of whole blocks.
        self._height = min(_FIRST_CAPACITY, 1 << max(0, (_BLOCK // width).bit_length() - 1))
        self._blocks = np.zeros((_FIRST_CAPACITY // self._height, self._height, width), dtype=np.float32)
        self.flat = self._blocks.reshape(-1, width)

    def put(self, position: int, row: Vector) -> None:
        if position == len(self.flat):
            grown = np.zeros((2 * len(self._blocks), *self._blocks.shape[1:]), dtype=np.float32)
            grown[: len(self._blocks)] = self._blocks
            self._blocks, self.flat = grown, grown.reshape(-1, grown.shape[2])
        self.flat[position] = row

    def times(self, vector: Vector, count: int) -> NDArray[np.float32]:
        """The products of the first `count` rows with a vector."""
        used = -(-count // self._height)
        products: NDArray[np.float32] = np.matmul(self._blocks[:used], vector).reshape(-1)[:count]
        return products
