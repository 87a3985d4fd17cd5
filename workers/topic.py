"""How near two texts are in topic: a cosine of embeddings, by the embedder that the run names."""

from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from db.errors import ServiceError
from workers.text import pieces, unspaced

Vector = NDArray[np.float32]
Embedder = Callable[[str], Vector]

_LEXICAL_SIZE = 4096
_loading = Lock()


def similarity(embedder: str, a: str, b: str) -> float:
    """Cosine of the two texts, about 0 for unrelated ones; 1 where one of them holds nothing to compare ("Is it?").

    Raises:
        ServiceError: the run names an embedder that this machine does not have.
    """
    embed = _embedder(embedder)
    first, second = embed(a), embed(b)
    return float(first @ second) if first.any() and second.any() else 1.0


def _embedder(name: str) -> Embedder:
    # Two threads loading the weights together would double the memory for nothing.
    with _loading:
        return _wordllama() if name == "wordllama" else lexical


@cache
def _wordllama() -> Embedder:
    try:
        import wordllama
    except ImportError:
        raise ServiceError(
            "this run embeds with wordllama, which is not installed here: pip install 'instructree[local]'"
        ) from None
    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)

    def embed(text: str) -> Vector:
        return _unit(np.asarray(model.embed([text])[0], dtype=np.float32))

    return embed


@lru_cache(64)  # a litter is held against one anchor
def lexical(text: str) -> Vector:
    """Without an embedding model: letter trigrams of the longer words, pairs where no spaces are written, hashed.

    Not to be written to: the next who asks gets the same.
    """
    places = [place for piece in pieces(text) for place in _places(piece)]
    counts = np.bincount(np.array(places, dtype=np.intp), minlength=_LEXICAL_SIZE)
    return _unit(counts.astype(np.float32))


@lru_cache(4096)
def _places(piece: str) -> tuple[int, ...]:
    """Where the parts of a word are counted."""
    size = 2 if unspaced(piece) else 3
    if size == 3 and len(piece) <= size:
        return ()
    return tuple(crc32(piece[i : i + size].encode()) % _LEXICAL_SIZE for i in range(len(piece) - size + 1))


def _unit(vector: Vector) -> Vector:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector
