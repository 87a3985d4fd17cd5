"""What a run uses when nothing is configured: the local stack's small base model, asked in the way that measured best.

Where each number comes from: `docs/local-model.md`.
"""

import os
from typing import Any

from orchestrator.stack import LocalModel

# Few slots: each has to read the judge's long constant beginning once. Two threads where there are two cores.
LOCAL_MODEL = LocalModel(slots=4, context_tokens=2048, threads=max(2, min(4, (os.cpu_count() or 2) - 1)))


def _dry(multiplier: float, allowed_length: int) -> dict[str, float]:
    """llama.cpp's penalty on repeating runs of tokens, the prompt's included: keeps a small model from copying."""
    return {
        "dry_multiplier": multiplier,
        "dry_allowed_length": allowed_length,
        "dry_penalty_last_n": 1024,
    }


def local_settings() -> dict[str, Any]:
    """Options for a small base model: few-shot completion, expected scores on a fitted scale, no price."""
    return {
        "endpoints": {
            "default": {
                "model": LOCAL_MODEL.model.alias,
                "style": "completion",
                "json_mode": "text",
                "usd_per_million_in": 0.0,
                "usd_per_million_out": 0.0,
                "concurrency": LOCAL_MODEL.slots,
                "timeout_s": 300,
            }
        },
        "roles": {
            "evolver": {
                "temperature": 0.8,
                "top_p": 0.95,
                "max_tokens": 80,
                "max_prompt_tokens": 2048,
                "demonstrations": 3,
                "extra": _dry(1.2, 2),
            },
            "judge": {"temperature": 0.0, "max_tokens": 32, "max_prompt_tokens": 2048, "demonstrations": 16},
            "responder": {
                "temperature": 0.5,
                "top_p": 0.95,
                "max_tokens": 160,
                "max_prompt_tokens": 2048,
                "demonstrations": 3,
                "extra": _dry(0.8, 4),
            },
            # Self-Instruct's own presence penalty ends this model's lists after one or two items.
            "generator": {
                "temperature": 0.8,
                "top_p": 0.95,
                "max_tokens": 250,
                "max_prompt_tokens": 2048,
                "presence_penalty": 0.0,
                "extra": _dry(0.8, 3),
            },
        },
        "judges": {
            "quality": "expected",
            "complexity": "expected",
            "scale": {"quality": (-11.9, 4.85), "complexity": (-15.5, 6.05)},
            "later_scale": {"quality": ((-8.72, 3.80), (-8.07, 3.65))},
            "held_out_scale": {"quality": (-8.87, 4.04), "complexity": (-11.96, 4.53)},
        },
        "guards": {"topic": 0.30, "brand_new_topic": 0.10},
        "embedder": "wordllama",
    }
