"""Names and chance, both pure functions of what they stand for.

A node's key is fixed when the node is proposed, so it does not depend on which answer arrives first. A random choice is
a hash of (seed, key, purpose, ordinal): there is no generator whose state could be lost (search.md, 5.2).
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")

_KEY_BYTES = 12


def _digest(parts: tuple[object, ...], size: int) -> bytes:
    return blake2b("\x1f".join(map(str, parts)).encode(), digest_size=size).digest()


def root_key(seed: int, ordinal: int) -> str:
    """The key of the root of tree `ordinal` in a run with this seed."""
    return _digest(("root", seed, ordinal), _KEY_BYTES).hex()


def child_key(parent: str, operator: str, ordinal: int) -> str:
    """The key of the `ordinal`-th child of `parent`, made by `operator`."""
    return _digest(("child", parent, operator, ordinal), _KEY_BYTES).hex()


def draw(seed: int, *place: object) -> float:
    """A number in [0, 1), uniform over places and always the same for one place."""
    return int.from_bytes(_digest((seed, *place), 8)) / 2**64


def sample(items: Sequence[T], count: int, seed: int, *place: object) -> list[T]:
    """`count` of `items` (all, if there are fewer) in random order, without replacement."""
    order = sorted(range(len(items)), key=lambda i: (draw(seed, *place, i), i))
    return [items[i] for i in order[:count]]
