"""What a student reads: an instruction with its answer, as token ids, and which of them it is to learn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Stanford Alpaca's two templates (papers.md, 3.2), for a student whose tokenizer brings no chat template.
_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonText:
    """One instruction, what it is to be carried out on (empty for many), and its answer."""

    instruction: str
    input: str = ""
    output: str

    @property
    def request(self) -> str:
        """Instruction and input as a user would send them."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Token ids of prompt and answer; those from `learn_from` on count into the loss."""

    ids: tuple[int, ...]
    learn_from: int

    @property
    def tokens(self) -> int:
        """How many count."""
        return max(len(self.ids) - self.learn_from, 0)


def encode(text: LessonText, tokenizer: "PreTrainedTokenizerBase", *, max_tokens: int, on_prompt: bool) -> Encoded:
    """Prompt, answer and the end-of-text token, cut at their end to `max_tokens`.

    The two are tokenised apart, so that no token spans their border. The first token of all has nothing before it that
    could predict it and never counts.
    """
    prompt = _prompt_ids(text, tokenizer)
    answer: Sequence[int] = tokenizer(text.output, add_special_tokens=False)["input_ids"] if text.output else ()
    end = () if tokenizer.eos_token_id is None or not answer else (tokenizer.eos_token_id,)
    ids = (*prompt, *answer, *end)[:max_tokens]
    return Encoded(ids=ids, learn_from=1 if on_prompt and answer else max(len(prompt), 1))


def _prompt_ids(text: LessonText, tokenizer: "PreTrainedTokenizerBase") -> Sequence[int]:
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": text.request}]
        written = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        ids: Sequence[int] = tokenizer(written, add_special_tokens=False)["input_ids"]
        return ids
    template = _WITH_INPUT if text.input else _WITHOUT_INPUT
    written = template.format(instruction=text.instruction, input=text.input)
    ids = tokenizer(written, add_special_tokens=True)["input_ids"]
    return ids
