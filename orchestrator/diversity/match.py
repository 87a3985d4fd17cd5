"""What both stages answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The nearest of the texts that are too near: its place in the order of intake (from 0), its similarity (to 1).

    Of equally near ones it is the first that was taken in.
    """

    position: int
    similarity: float
