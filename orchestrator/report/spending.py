"""What the roles of a run cost together, and in which order they are told."""

from collections.abc import Iterable

from orchestrator.report.model import RoleSpend


def price(spend: Iterable[RoleSpend], spent: int) -> int | None:
    """What was spent, unless some role's price is unknown: a sum that leaves calls out is no price."""
    return None if any(role.nusd is None and role.calls for role in spend) else spent


def ranked(spend: Iterable[RoleSpend]) -> tuple[RoleSpend, ...]:
    """The role that used most tokens first."""
    return tuple(sorted(spend, key=lambda role: (-(role.tokens_in + role.tokens_out), role.role)))
