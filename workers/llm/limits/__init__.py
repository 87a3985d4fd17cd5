"""Who may ask a model now: limits of one process, and limits that all workers share through Redis."""

from workers.llm.limits.fleet import RedisLimiter
from workers.llm.limits.take import Limiter, ProcessLimiter, Take

__all__ = ["Limiter", "ProcessLimiter", "RedisLimiter", "Take"]
