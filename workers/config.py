"""What the hands obey: endpoints, roles, judges and guards of one run, frozen with it.

An endpoint has two halves. Its *address* (where it is, which key opens it) comes from the operator's own environment on
each machine and is never stored. Its *traits* (model, style, prices, limits) are part of the run.
"""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

NUSD_PER_USD = 1_000_000_000
# Stands for the only model that an endpoint offers, until somebody has asked it which one that is.
ANY_MODEL = "(the only one)"


# One answer may take, at the worst, two attempts, a second question and more room for each; and then some waiting.
_ROUNDS, _WAITING_S = 8, 120.0
_LONGEST_TIMEOUT_S = 600.0
# No task of any run may take longer: what is set for all of them (Celery's visibility timeout) must be longer still.
LONGEST_DEADLINE_S = _ROUNDS * _LONGEST_TIMEOUT_S + _WAITING_S


class Settings(BaseModel):
    """A frozen group of options that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Role(StrEnum):
    """What a model is used for."""

    EVOLVER = "evolver"
    JUDGE = "judge"
    RESPONDER = "responder"


class Style(StrEnum):
    """How a model is spoken to: chat messages, or a few-shot text to be continued (base and scorer models)."""

    CHAT = "chat"
    COMPLETION = "completion"


class Endpoint(Settings):
    """The traits of one endpoint."""

    model: str = Field(min_length=1, max_length=200)
    style: Style = Style.CHAT
    json_mode: Literal["schema", "object", "text"] = "schema"
    usd_per_million_in: float | None = Field(default=None, ge=0, le=10_000)
    usd_per_million_out: float | None = Field(default=None, ge=0, le=10_000)
    concurrency: int = Field(default=32, ge=1, le=4096)
    requests_per_minute: float | None = Field(default=None, gt=0, le=10_000_000)
    tokens_per_minute: float | None = Field(default=None, gt=0, le=10_000_000_000)
    timeout_s: float = Field(default=120, gt=0, le=_LONGEST_TIMEOUT_S)

    @property
    def priced(self) -> bool:
        return self.usd_per_million_in is not None and self.usd_per_million_out is not None

    def nusd(self, tokens_in: int, tokens_out: int) -> int | None:
        """The price of one call in nano-dollars, rounded up; None when it is not known."""
        if self.usd_per_million_in is None or self.usd_per_million_out is None:
            return None
        thousandths = tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out
        return -int(-thousandths * 1000 // 1)


class RoleSettings(Settings):
    """Which endpoint plays a role, and how it is asked to sample."""

    endpoint: str = "default"
    temperature: float = Field(default=0.7, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1, le=32_768)
    max_prompt_tokens: int = Field(default=4096, ge=64, le=1_000_000)
    demonstrations: int = Field(default=4, ge=0, le=16)
    penalty: float = Field(default=0.0, ge=-2, le=2)
    # Sampling options that only this kind of server knows, such as llama.cpp's DRY; sent as they are.
    extra: dict[str, float | int | str | bool] = {}


class JudgeSettings(RoleSettings):
    """The judge does not play dice. Its prompt holds siblings and their parent: six texts of about 4,000 characters."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=1, le=32_768)
    max_prompt_tokens: int = Field(default=8192, ge=64, le=1_000_000)


class ResponderSettings(RoleSettings):
    """An answer is longer than an instruction."""

    max_tokens: int = Field(default=1024, ge=1, le=32_768)


class Roles(Settings):
    """Temperature 0.7 for the evolver is the paper's (papers.md, 1.5)."""

    evolver: RoleSettings = RoleSettings()
    judge: JudgeSettings = JudgeSettings()
    responder: ResponderSettings = ResponderSettings()


class Judges(Settings):
    """Which scorer gives which dimension (design, section 7)."""

    quality: Literal["rubric", "expected"] = "rubric"
    complexity: Literal["rubric", "expected"] = "rubric"
    diversity: Literal["tags"] = "tags"
    max_tags: int = Field(default=6, ge=1, le=50)
    # Per dimension (intercept, slope) that puts an expected score on the scale of the grades 1 to 6; order stays.
    scale: dict[Literal["quality", "complexity"], tuple[float, float]] = {}
    reasks: int = Field(default=1, ge=0, le=3)

    @field_validator("scale")
    @classmethod
    def _rising(cls, scale: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (_, slope) in scale.items():
            if slope <= 0:
                raise ValueError(f"the slope for {name} must be above 0, or the order of scores turns round")
        return scale


class Guards(Settings):
    """The limits beyond which an evolved text is rejected. Likenesses are on 0..1, topics are cosines.

    `copied` is for what was added to the parent against what a demonstration added, `copied_whole` for whole texts.
    The defaults of the topics are for the lexical embedder.
    """

    unchanged: float = Field(default=0.9, gt=0, le=1)
    copied: float = Field(default=0.65, gt=0, le=1)
    copied_whole: float = Field(default=0.6, gt=0, le=1)
    topic: float = Field(default=0.1, ge=-1, le=1)
    brand_new_topic: float = Field(default=-1.0, ge=-1, le=1)
    min_added_words: int = Field(default=3, ge=0, le=100)
    repetitive: float = Field(default=0.3, gt=0, le=1)
    min_words: int = Field(default=4, ge=1, le=1000)
    max_words: int = Field(default=200, ge=1, le=10_000)
    max_characters: int = Field(default=8000, ge=20, le=100_000)


class WorkSettings(Settings):
    """Everything a worker needs to know about a run."""

    endpoints: dict[str, Endpoint]
    roles: Roles = Roles()
    judges: Judges = Judges()
    guards: Guards = Guards()
    embedder: Literal["wordllama", "lexical"] = "lexical"

    def role(self, role: Role) -> RoleSettings:
        settings: RoleSettings = getattr(self.roles, role.value)
        return settings

    def endpoint(self, role: Role) -> Endpoint:
        return self.endpoints[self.role(role).endpoint]

    @property
    def priced(self) -> bool:
        return all(self.endpoint(role).priced for role in Role)

    @property
    def deadline_s(self) -> float:
        """After how many seconds a task must be stuck: longer than its calls can take by their own time limits."""
        return _ROUNDS * max(self.endpoint(role).timeout_s for role in Role) + _WAITING_S
