"""What the hands obey: endpoints, roles, judges and guards of one run, frozen with it.

An endpoint has two halves. Its *address* (where it is, which key opens it) comes from the operator's own environment on
each machine and is never stored. Its *traits* (model, style, prices, limits) are part of the run.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from workers.generation.settings import GenerationSettings
from workers.operators.custom import BUILT_IN_OPERATORS as BUILT_IN_OPERATORS
from workers.operators.custom import CONTAMINATION as CONTAMINATION
from workers.operators.custom import EVOL_OPERATORS as EVOL_OPERATORS
from workers.operators.custom import GENERAL_OPERATORS as GENERAL_OPERATORS
from workers.operators.custom import MINED_PREFIX as MINED_PREFIX
from workers.operators.custom import MOST_OPERATORS as MOST_OPERATORS
from workers.operators.custom import CustomOperator as CustomOperator
from workers.operators.custom import Origin as Origin
from workers.settings import Settings as Settings
from workers.training.settings import StudentSettings

NUSD_PER_USD = 1_000_000_000
# Stands for the only model that an endpoint offers, until somebody has asked it which one that is.
ANY_MODEL = "(the only one)"


# One answer may take, at the worst, two attempts, a second question and more room for each; and then some waiting.
_ROUNDS, _WAITING_S = 8, 120.0
_LONGEST_TIMEOUT_S = 600.0
# No task of any run may take longer: what is set for all of them (Celery's visibility timeout) must be longer still.
LONGEST_DEADLINE_S = _ROUNDS * _LONGEST_TIMEOUT_S + _WAITING_S


class Role(StrEnum):
    """What a model is used for. Scorers are judges of one dimension, at an endpoint of their own where one is named."""

    EVOLVER = "evolver"
    JUDGE = "judge"
    RESPONDER = "responder"
    GENERATOR = "generator"
    EXAMINER = "examiner"
    QUALITY_SCORER = "quality_scorer"
    COMPLEXITY_SCORER = "complexity_scorer"


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
    # For presence alone, where it is not to be that of `penalty`, which is for frequency as well.
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    # Sampling options that only this kind of server knows, such as llama.cpp's DRY; sent as they are.
    extra: dict[str, float | int | str | bool] = Field(default_factory=dict)


class JudgeSettings(RoleSettings):
    """The judge does not play dice. Its prompt holds siblings and their parent: six texts of about 4,000 characters."""

    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=1024, ge=1, le=32_768)
    max_prompt_tokens: int = Field(default=8192, ge=64, le=1_000_000)


class ResponderSettings(RoleSettings):
    """An answer is longer than an instruction."""

    max_tokens: int = Field(default=1024, ge=1, le=32_768)


class GeneratorSettings(RoleSettings):
    """Self-Instruct's (papers.md, 3.1): 1,024 tokens for the list, its top_p and its presence penalty."""

    top_p: float = Field(default=0.5, gt=0, le=1)
    max_tokens: int = Field(default=1024, ge=1, le=32_768)
    presence_penalty: float | None = Field(default=2.0, ge=-2, le=2)


class Roles(Settings):
    """Temperature 0.7 for the evolver is the paper's (papers.md, 1.5), for the generator Self-Instruct's.

    The examiner is the held-out judge, which no search sees. What is not set for it is as for the judge.
    """

    evolver: RoleSettings = RoleSettings()
    judge: JudgeSettings = JudgeSettings()
    responder: ResponderSettings = ResponderSettings()
    generator: GeneratorSettings = GeneratorSettings()
    examiner: JudgeSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _examined_as_judged(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("examiner"), dict):
            return given
        judge = given.get("judge", {})
        below = judge.model_dump() if isinstance(judge, JudgeSettings) else judge
        return {**given, "examiner": {**below, **given["examiner"]}} if isinstance(below, dict) else given


Dimension = Literal["quality", "complexity"]
# The judge that steers the search, or the one that it never sees.
Bench = Literal["search", "held_out"]
GRADES = range(1, 7)
INSTRUCTION = "{instruction}"
_PLACEHOLDER = re.compile(r"\{[a-z_]+\}")
# "from 1 to 10", "a score between 0 and 5", "scale: 1-10".
_RANGE = re.compile(
    r"\b(?:scales?|from|between|scor(?:es?|ing)|grades?|rat(?:e|ed|ing)|marks?)\b[^.\n\d]{0,40}?"
    r"(\d+)\s*(?:-|–|to|and|\.\.)\s*(\d+)",
    re.IGNORECASE,
)


class Scorer(Settings):
    """A model that was trained to score one dimension, such as DEITA's, or another prompt for scoring by probabilities.

    In `prompt`, `{instruction}` is replaced by the text. The score is the mean of `grades` under the probabilities of
    `tokens` as the next token; without grades each token is the number it reads. `endpoint` is the judge's by default.
    """

    endpoint: str | None = None
    prompt: str | None = Field(default=None, min_length=1, max_length=100_000)
    tokens: tuple[str, ...] = tuple(map(str, GRADES))
    grades: tuple[float, ...] = ()
    logprobs: int = Field(default=20, ge=1, le=1000)

    @property
    def values(self) -> dict[str, float]:
        """What each token stands for, on the scale 1 to 6."""
        return dict(zip(self.tokens, self.grades or map(float, self.tokens), strict=True))

    @model_validator(mode="after")
    def _tokens_are_a_scale(self) -> "Scorer":
        if len(self.tokens) < 2 or len(set(self.tokens)) < len(self.tokens):
            raise ValueError("tokens must be two or more, none twice")
        if any(not token or token != token.strip() for token in self.tokens):
            raise ValueError("tokens are given without spaces round them, and none is empty")
        numbers = all(token.isascii() and token.isdecimal() for token in self.tokens)
        if not self.grades and not numbers:
            raise ValueError(f"tokens {_listed(self.tokens)} are no numbers: say in grades what each stands for")
        if self.grades and len(self.grades) != len(self.tokens):
            raise ValueError(f"{len(self.tokens)} tokens have {len(self.grades)} grades: give one grade for each token")
        values = self.values.values()
        if not all(GRADES[0] <= value <= GRADES[-1] for value in values) or len(set(values)) < len(values):
            raise ValueError("scores are from 1 to 6: say in grades what each token stands for there, each another")
        return self

    @model_validator(mode="after")
    def _prompt_asks_for_them(self) -> "Scorer":
        if self.prompt is None:
            if self.tokens != tuple(map(str, GRADES)):
                raise ValueError(
                    f"our own prompt asks for 1 to 6, not for {_listed(self.tokens)}: give a prompt as well"
                )
            return self
        if self.prompt.count(INSTRUCTION) != 1:
            raise ValueError(f"the prompt must hold {INSTRUCTION} once")
        if others := [name for name in _PLACEHOLDER.findall(self.prompt) if name != INSTRUCTION]:
            raise ValueError(f"the prompt holds {others[0]}, and only {INSTRUCTION} is replaced")
        ranges = {(int(low), int(high)) for low, high in _RANGE.findall(self.prompt)}
        numbers = [int(token) for token in self.tokens if token.isascii() and token.isdecimal()]
        if ranges and numbers and (min(numbers), max(numbers)) not in ranges:
            low, high = sorted(ranges)[0]
            raise ValueError(
                f"the prompt asks for {low} to {high}, the tokens are {_listed(self.tokens)}: make them one scale"
            )
        return self


def _listed(tokens: Iterable[str]) -> str:
    return ", ".join(tokens)


def _rises(name: str, line: tuple[float, float]) -> None:
    if line[1] <= 0:
        raise ValueError(f"the slope for {name} must be above 0, or the order of scores turns round")


class Judges(Settings):
    """Which scorer gives which dimension (design, section 7)."""

    quality: Literal["rubric", "expected"] = "rubric"
    complexity: Literal["rubric", "expected"] = "rubric"
    diversity: Literal["tags"] = "tags"
    max_tags: int = Field(default=6, ge=1, le=50)
    # Of a dimension of kind `expected`: another prompt, other tokens, an endpoint of its own.
    scorers: dict[Dimension, Scorer] = Field(default_factory=dict)
    # What to do where an endpoint gives no log-probabilities: stop, or take the rubric if the judge can chat.
    without_logprobs: Literal["stop", "fallback"] = "stop"
    # Per dimension (intercept, slope) that puts an expected score on the scale of the grades 1 to 6; order stays.
    scale: dict[Dimension, tuple[float, float]] = Field(default_factory=dict)
    held_out_scale: dict[Dimension, tuple[float, float]] = Field(default_factory=dict)
    # The same for the second judgement, the third ...; a later one has the last of them, or that of the first.
    later_scale: dict[Dimension, tuple[tuple[float, float], ...]] = Field(default_factory=dict)
    reasks: int = Field(default=1, ge=0, le=3)
    # So often siblings are scored again, in another order, while the best two of them, or one and the parent, are
    # closer than `undecided` points of the summed score.
    repeats: int = Field(default=0, ge=0, le=3)
    undecided: float = Field(default=0.5, gt=0, le=18)

    @field_validator("scale", "held_out_scale")
    @classmethod
    def _rising(cls, scale: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, line in scale.items():
            _rises(name, line)
        return scale

    @field_validator("later_scale")
    @classmethod
    def _rising_later(cls, scale: dict[str, tuple[tuple[float, float], ...]]) -> Any:
        for name, lines in scale.items():
            for line in lines:
                _rises(name, line)
        return scale

    @model_validator(mode="after")
    def _scorers_are_used(self) -> "Judges":
        for name in self.scorers:
            if self.kind(name) != "expected":
                raise ValueError(f"scorers.{name} is only for judges.{name} = 'expected', which is 'rubric'")
        return self

    def kind(self, dimension: Dimension) -> str:
        return self.quality if dimension == "quality" else self.complexity


DIMENSIONS: tuple[Dimension, ...] = ("quality", "complexity")
_SCORERS: dict[Dimension, Role] = {"quality": Role.QUALITY_SCORER, "complexity": Role.COMPLEXITY_SCORER}
_SCORED: dict[Role, Dimension] = {role: dimension for dimension, role in _SCORERS.items()}


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
    # The four elimination rules of Evol-Instruct (docs/operators.md), besides the guards above.
    eliminate: bool = False


class WorkSettings(Settings):
    """Everything a worker needs to know about a run."""

    endpoints: dict[str, Endpoint]
    roles: Roles = Roles()
    judges: Judges = Judges()
    guards: Guards = Guards()
    embedder: Literal["wordllama", "lexical"] = "lexical"
    generation: GenerationSettings = GenerationSettings()
    student: StudentSettings = StudentSettings()
    # What `operators_file` held when the run began; workers never see the file.
    operators: dict[str, CustomOperator] = Field(default_factory=dict)

    @field_validator("endpoints")
    @classmethod
    def _endpoints_can_be_told_from_their_models(cls, found: dict[str, Endpoint]) -> dict[str, Endpoint]:
        """Figures name them as `default (model)`."""
        for name in found:
            if " (" in name:
                raise ValueError(f"endpoint {name!r} has ' (' in its name: choose one without it")
        return found

    @field_validator("operators")
    @classmethod
    def _operators_are_their_own(cls, found: dict[str, CustomOperator]) -> dict[str, CustomOperator]:
        for name, operator in found.items():
            if name != operator.name:
                raise ValueError(f"operator {operator.name!r} is filed under {name!r}")
            if name in BUILT_IN_OPERATORS:
                raise ValueError(f"operator {name!r} is built in: choose another name")
        if len(found) > MOST_OPERATORS:
            raise ValueError(f"{len(found)} operators; at most {MOST_OPERATORS} are allowed")
        return found

    def role(self, role: Role) -> RoleSettings:
        """How a role is asked: the examiner and the scorers as the judge, where nothing else is said."""
        if role is Role.EXAMINER:
            return self.roles.examiner or self.roles.judge
        if role in _SCORED:
            scorer = self.judges.scorers.get(_SCORED[role])
            own = scorer.endpoint if scorer else None
            return self.roles.judge if own is None else self.roles.judge.model_copy(update={"endpoint": own})
        settings: RoleSettings = getattr(self.roles, role.value)
        return settings

    def scores(self, dimension: Dimension) -> Role:
        """Which role gives the expected score of a dimension."""
        scorer = self.judges.scorers.get(dimension)
        return _SCORERS[dimension] if scorer and scorer.endpoint else Role.JUDGE

    def repeats(self, dimension: Dimension) -> int:
        """How often it may be scored again: not where the very same question would be asked.

        Only the built-in few-shot prompt and the rubric have an order to change.
        """
        few_shot = self.endpoint(self.scores(dimension)).style is Style.COMPLETION
        scorer = self.judges.scorers.get(dimension)
        again = self.judges.kind(dimension) == "rubric" or (few_shot and (scorer is None or scorer.prompt is None))
        return self.judges.repeats if again else 0

    def check_judges(self) -> None:
        """Raises ValueError where a judge cannot be asked at its endpoint."""
        rubrics = [name for name in DIMENSIONS if self.judges.kind(name) == "rubric"]
        if rubrics and self.endpoint(Role.JUDGE).style is not Style.CHAT:
            raise ValueError("the rubric judge needs a chat endpoint; use judges 'expected' with style 'completion'")

    def endpoint(self, role: Role) -> Endpoint:
        return self.endpoints[self.role(role).endpoint]

    @property
    def priced(self) -> bool:
        return all(self.endpoint(role).priced for role in Role)

    @property
    def deadline_s(self) -> float:
        """After how many seconds a task must be stuck: longer than its calls can take by their own time limits."""
        return _ROUNDS * max(self.endpoint(role).timeout_s for role in Role) + _WAITING_S
