"""The tag counter: diversity of an instruction is the number of distinct intents it shows (papers.md, 1.4 and 3.6)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from workers.asking import Ask
from workers.config import Role, Style
from workers.judges.score import Candidate, Scores, one_by_one, said
from workers.judges.together import ask_together, items, lettered, list_schema
from workers.prompting import Prompt, chat, demonstrations, draw, render

_LONGEST = 40
_MOST_TOKENS = 32
# Without it a small model goes round in circles: lists with a repeated tag fall from 65 % to 6 %.
_PENALTY = 0.6
_NOT_A_LETTER = re.compile(r"[^\w+#.& -]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    style: Style
    most: int
    reasks: int
    shown: int
    role: Role = Role.JUDGE
    dimensions: tuple[str, ...] = ("diversity",)
    repeats: int = 0

    async def score(
        self, candidates: Sequence[Candidate], parent: str | None, ask: Ask, *, sample: int = 0
    ) -> Mapping[str, Scores]:
        if self.style is Style.CHAT:
            return await self._together(candidates, ask, sample)
        return await one_by_one(candidates, lambda candidate: self._one(candidate, ask, sample))

    async def _together(self, candidates: Sequence[Candidate], ask: Ask, sample: int) -> Mapping[str, Scores]:
        schema = list_schema("tags", candidates, {"tags": {"type": "array", "items": {"type": "string"}}})
        template = "examine_tags" if self.role is Role.EXAMINER else "tags"
        prompt = replace(chat(template, candidates=lettered(candidates)), schema_name="tags", schema=schema)
        return await ask_together(
            prompt, candidates, self._read, role=self.role, reasks=self.reasks, ask=ask, sample=sample
        )

    def _read(self, text: str, candidates: Sequence[Candidate]) -> dict[str, Scores]:
        found = {key: item.get("tags") for key, item in items(text, "tags", candidates).items()}
        listed = {key: tags for key, tags in found.items() if isinstance(tags, list)}
        scored = {key: self._scores(tag for tag in tags if isinstance(tag, str)) for key, tags in listed.items()}
        return {key: scores for key, scores in scored.items() if scores.values}

    def _scores(self, raw: Iterable[str]) -> Scores:
        """As many points as there are distinct tags; none at all is no score."""
        tags = normalise(raw, self.most)
        return Scores(values={"diversity": float(len(tags))} if tags else {}, tags=tags)

    async def _one(self, candidate: Candidate, ask: Ask, sample: int) -> Scores:
        held_out = self.role is Role.EXAMINER
        place = ("tags", sample) if sample else ("tags",)
        text = render(
            "completion/tags.j2",
            demos=draw(demonstrations("examine_tags" if held_out else "tags"), self.shown, *place),
            instruction=" ".join(candidate.text.split()),
        )
        prompt = Prompt(
            text=text, style=Style.COMPLETION, stop=("\n",), max_tokens=_MOST_TOKENS, frequency_penalty=_PENALTY
        )
        answer = await ask(self.role, prompt, sample=sample)
        scores = self._scores(said(answer).split(","))
        return replace(scores, calls=answer.calls, replayed=answer.replayed)


def normalise(raw: Iterable[str], most: int) -> tuple[str, ...]:
    """Distinct tags, lower case, at most `most` of them. A plural, by the plainest rule, is no other tag."""
    tags: dict[str, str] = {}
    for item in raw:
        tag = " ".join(_NOT_A_LETTER.sub(" ", item).lower().split()).rstrip(".-& ")
        if 2 <= len(tag) <= _LONGEST and any(map(str.isalpha, tag)):
            tags.setdefault(_singular(tag), tag)
    return tuple(tags.values())[:most]


def _singular(tag: str) -> str:
    return tag[:-1] if tag.endswith("s") and len(tag) > 4 and not tag.endswith("ss") else tag
