"""From a text to a vector: a pure function of the text, so that a pool read again from its rows is the same pool."""

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Protocol
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from db.errors import ConfigError, ServiceError

Vector = NDArray[np.float32]

_WORD = re.compile(r"[^\W_]+")
_LETTERS = 256
_RUN = 3


class Embedder(Protocol):
    """What the embedding stage needs. The direction of a vector counts, its length does not; zeros: nothing said."""

    @property
    def size(self) -> int:
        """How many numbers a vector has."""
        ...

    def __call__(self, text: str) -> Vector: ...


class Letters:
    """Without a model: runs of three letters of each word, its edges included, hashed with signs to 256 numbers.

    Tells re-ordered and re-spelt near-copies in every script; knows no synonyms. Hashing moves a cosine by about 0.06
    where texts are unrelated, and by 0.01 near 1.
    """

    size = _LETTERS

    def __call__(self, text: str) -> Vector:
        runs = Counter(run for word in _WORD.findall(text.lower()) for run in _runs(f" {word} "))
        hashes = np.fromiter((crc32(run.encode("utf-8", "surrogatepass")) for run in runs), np.int64, len(runs))
        weights = np.sqrt(np.fromiter(runs.values(), np.float64, len(runs)))
        signed = np.where(hashes & 1, weights, -weights)
        return np.bincount((hashes >> 1) % self.size, signed, self.size).astype(np.float32)


def _runs(word: str) -> list[str]:
    return [word[i : i + _RUN] for i in range(len(word) - _RUN + 1)]


class WordLlama:
    """The static word embeddings of the package wordllama, one text at a time: a batch must not change a vector."""

    def __init__(self) -> None:
        try:
            import wordllama
        except ImportError:
            raise ServiceError(
                "this run's diversity gate embeds with wordllama, which is not installed here: "
                "pip install 'instructree[local]'"
            ) from None
        folder = Path(wordllama.__file__).parent
        self._model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        self.size = int(self("size").shape[0])

    def __call__(self, text: str) -> Vector:
        return np.asarray(self._model.embed([text])[0], dtype=np.float32)


_KNOWN: dict[str, Callable[[], Embedder]] = {"lexical": Letters, "wordllama": WordLlama}


@cache
def embedder(name: str) -> Embedder:
    """The embedder of this name (`WorkSettings.embedder`), loaded once.

    Raises:
        ConfigError: no embedder has this name.
        ServiceError: it is not installed on this machine.
    """
    if name not in _KNOWN:
        raise ConfigError(f"unknown embedder {name!r}: known: {', '.join(_KNOWN)}")
    return _KNOWN[name]()
