"""Diversity across the whole run: no text is accepted that says what an accepted one has said. Pure: nothing is stored.

`Gate` asks two stages, the cheap one first: shared sequences of words (ROUGE-L), then the angle between embeddings.
Each can be used alone: `LexicalPool` with `rouge_tokens` decides exactly as the package rouge-score does.
"""

from orchestrator.diversity.embedders import Embedder, embedder
from orchestrator.diversity.embedding import EmbeddingPool
from orchestrator.diversity.gate import Candidate, Gate, GateSettings, Near, Stage, TextId, Verdict
from orchestrator.diversity.lexical import LexicalPool
from orchestrator.diversity.match import Match
from orchestrator.diversity.tokens import all_tokens, rouge_tokens

__all__ = [
    "Candidate",
    "Embedder",
    "EmbeddingPool",
    "Gate",
    "GateSettings",
    "LexicalPool",
    "Match",
    "Near",
    "Stage",
    "TextId",
    "Verdict",
    "all_tokens",
    "embedder",
    "rouge_tokens",
]
