"""What a run uses when nothing is configured: the local stack's small model, spoken to in the way that measured best.

The figures behind each number are in `docs/local-model.md`.
"""

from typing import Any

from orchestrator.stack import LocalModel

LOCAL_MODEL = LocalModel()


def local_settings() -> dict[str, Any]:
    """Options for a small base model: few-shot completion, expected scores, no price."""
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
            "evolver": {"temperature": 0.7, "max_tokens": 96, "demonstrations": 3},
            "judge": {"temperature": 0.0, "max_tokens": 40},
            "responder": {"temperature": 0.5, "max_tokens": 160, "demonstrations": 2},
        },
        "judges": {"quality": "expected", "complexity": "expected"},
        "embedder": "wordllama",
    }
