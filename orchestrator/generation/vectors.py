"""Vectors of texts, and how far apart they lie. A vector of zeros (nothing said) is at distance 1 from every other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from db.errors import ConfigError
from orchestrator.diversity.embedders import Embedder

Rows = NDArray[np.float64]


def vectors_of(texts: Sequence[str], embedder: Embedder) -> Rows:
    """One row for each text.

    Raises:
        ConfigError: a vector is not as long as the embedder says, or not all of its numbers are finite.
    """
    size = embedder.size
    rows: Rows = np.zeros((len(texts), size), dtype=np.float64)
    for row, text in zip(rows, texts, strict=True):
        vector = np.asarray(embedder(text), dtype=np.float64)
        if vector.shape != (size,):
            found = " x ".join(map(str, vector.shape)) or "one"
            raise ConfigError(
                f"the embedder gave {found} numbers for a text where its size is {size}: "
                "a run needs one embedder of one dimension throughout"
            )
        if not np.isfinite(vector).all():
            raise ConfigError(f"the embedder gave numbers that are not finite for {text[:60]!r}: use another one")
        row[:] = vector
    return rows


def units(vectors: Rows) -> Rows:
    """The same directions with length 1; zeros stay zeros."""
    exact = np.asarray(vectors, dtype=np.float64)
    # By the largest number first: the square of a huge or a tiny one is not a number that there is.
    largest = np.abs(exact).max(axis=1, keepdims=True, initial=0.0)
    scaled: Rows = exact / np.where(largest > 0, largest, 1.0)
    lengths = np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))
    found: Rows = scaled / np.where(lengths > 0, lengths, 1.0)
    return found


def within(vectors: Rows) -> float:
    """The mean cosine distance (0 to 2) over all pairs of a batch; 0 of fewer than two."""
    return within_units(units(vectors))


def within_units(rows: Rows) -> float:
    """The same for vectors of length 1 (or 0): the square of their sum holds the cosines of all pairs, each twice."""
    count = len(rows)
    if count < 2:
        return 0.0
    total = rows.sum(axis=0)
    cosines = (float(total @ total) - float((rows * rows).sum())) / (count * (count - 1))
    return 1.0 - cosines
