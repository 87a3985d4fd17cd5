"""The gate of one run: a text that is too near to any text accepted before it is refused, its own ancestors excepted.

A child is nearer to its parent than a paraphrase would be, so measuring it against its own line would end evolution.
Only that line is excepted: siblings, cousins and other trees are not. Which texts are in the pool depends on the order
in which they come, so that order is part of the result: whoever keeps rows keeps each accepted text's version, and
gives the texts back in that order to have the same gate again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from orchestrator.diversity.embedders import Embedder, Vector, embedder
from orchestrator.diversity.embedding import EmbeddingPool
from orchestrator.diversity.lexical import LexicalPool
from orchestrator.diversity.match import Match
from orchestrator.diversity.tokens import all_tokens, rouge_tokens
from workers.contracts import Reason

# A node of a run: the id of its tree, and its key.
TextId = tuple[int, str]

_NO_VECTOR: Vector = np.zeros(0, dtype=np.float32)


class Stage(StrEnum):
    """Which stage has found a text too near."""

    LEXICAL = "lexical"
    EMBEDDING = "embedding"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """From which similarity on a text is too near, by stage; None leaves the stage out.

    `lexical` is ROUGE-L F1, at or (not `inclusive`) above which a text is refused; `every_script` lets it see letters
    that rouge-score drops. `embedding` is a cosine of the vectors of `embedder`.

    Siblings share their parent's whole text, so the values must lie above what that alone makes: additions of 24 words
    to a parent of 85 give siblings of about 0.83 (ROUGE-L) and 0.85 to 0.9 (cosine, either embedder).
    """

    lexical: float | None = 0.9
    inclusive: bool = True
    every_script: bool = True
    embedding: float | None = 0.97
    embedder: str = "lexical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A text on its way into the pool, and the line it descends from, which it may resemble."""

    id: TextId
    text: str
    ancestors: tuple[TextId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """The accepted text that stands in the way, by the stage that has found it."""

    stage: Stage
    id: TextId
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Accepted, or too near to another. `version` is that of the pool it was held against: how many texts that had."""

    id: TextId
    version: int
    near: Near | None

    @property
    def reason(self) -> Reason | None:
        return Reason.DUPLICATE if self.near else None


class Gate:
    """All texts accepted so far in a run. Not for use by several threads at once.

    Raises:
        ConfigError: the embedder is unknown.
        ServiceError: the embedder is not installed on this machine.
        ValueError: a threshold outside (0, 1].
    """

    def __init__(self, settings: GateSettings) -> None:
        self._ids: list[TextId] = []
        self._positions: dict[TextId, int] = {}
        self._lexical: LexicalPool | None = None
        self._embedding: EmbeddingPool | None = None
        self._embed: Embedder | None = None
        if settings.lexical is not None:
            split = all_tokens if settings.every_script else rouge_tokens
            self._lexical = LexicalPool(settings.lexical, inclusive=settings.inclusive, split=split)
        if settings.embedding is not None:
            self._embed = embedder(settings.embedder)
            self._embedding = EmbeddingPool(settings.embedding, self._embed.size)

    @property
    def version(self) -> int:
        """How many texts were taken in. Only `rewind` makes it less."""
        return len(self._ids)

    def take(self, texts: Iterable[tuple[TextId, str]]) -> None:
        """Takes texts in unasked: the seeds of a run, or what was accepted before a restart, in that order."""
        for name, text in texts:
            if name not in self._positions:
                self._take(name, text, self._vector(text))

    def admit(self, candidates: Iterable[Candidate]) -> list[Verdict]:
        """Judges one after the other; each that is accepted is in the pool for the next.

        A text that is in the pool already gets the verdict it had.
        """
        return [self._judge(candidate) for candidate in candidates]

    def rewind(self, version: int) -> None:
        """Back to an earlier version, as when the transaction that was to record the later ones has failed."""
        for name in self._ids[version:]:
            del self._positions[name]
        del self._ids[version:]
        if self._lexical is not None:
            self._lexical.rewind(version)
        if self._embedding is not None:
            self._embedding.rewind(version)

    def _judge(self, candidate: Candidate) -> Verdict:
        known = self._positions.get(candidate.id)
        if known is not None:
            return Verdict(id=candidate.id, version=known, near=None)
        version = self.version
        exempt = [self._positions[name] for name in candidate.ancestors if name in self._positions]
        if self._lexical is not None and (match := self._lexical.near(candidate.text, exempt)):
            return Verdict(id=candidate.id, version=version, near=self._named(Stage.LEXICAL, match))
        vector = self._vector(candidate.text)
        if self._embedding is not None and (match := self._embedding.near(vector, exempt)):
            return Verdict(id=candidate.id, version=version, near=self._named(Stage.EMBEDDING, match))
        self._take(candidate.id, candidate.text, vector)
        return Verdict(id=candidate.id, version=version, near=None)

    def _named(self, stage: Stage, match: Match) -> Near:
        return Near(stage=stage, id=self._ids[match.position], similarity=match.similarity)

    def _vector(self, text: str) -> Vector:
        return self._embed(text) if self._embed is not None else _NO_VECTOR

    def _take(self, name: TextId, text: str, vector: Vector) -> None:
        # What can fail comes first, so that a failure leaves both stages with the same texts.
        if self._embedding is not None:
            self._embedding.add(vector)
        if self._lexical is not None:
            self._lexical.add([text])
        self._positions[name] = len(self._ids)
        self._ids.append(name)
