"""Figures as people read them. An absent figure is an en dash, never a zero."""

from datetime import UTC, datetime
from math import isfinite

NONE = "–"
_MINUS = "\u2212"
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def number(value: float | None, digits: int = 2) -> str:
    """A score or mean with a fixed number of digits."""
    if value is None or not isfinite(value):
        return NONE
    return f"{value:,.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int = 2) -> str:
    """A difference, always with its sign; what rounds to zero is ±0."""
    if value is None or not isfinite(value):
        return NONE
    shown = f"{value:+,.{digits}f}"
    return f"±{shown[1:]}" if float(shown.replace(",", "")) == 0 else shown.replace("-", _MINUS)


def whole(value: int | None) -> str:
    return NONE if value is None else f"{value:,}".replace("-", _MINUS)


def percent(share: float | None) -> str:
    return NONE if share is None or not isfinite(share) else f"{share * 100:.0f}%"


def dollars(nusd: int | None) -> str:
    """Nano-dollars as dollars with as many digits as say something; zero means that nothing charges for the models."""
    if nusd is None:
        return "unknown"
    usd = nusd / 1_000_000_000
    if nusd == 0:
        return "0 (local)"
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}" if usd >= 0.0001 else f"${usd:.9f}".rstrip("0")


def duration(seconds: float | None) -> str:
    """In the two largest units: 7 h 48 min, 4 min 12 s, 3.2 s, 340 ms."""
    if seconds is None or not isfinite(seconds):
        return NONE
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole_s = round(seconds)
    hours, minutes = whole_s // 3600, whole_s // 60 % 60
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {whole_s % 60} s"


def moment(when: datetime | None) -> str:
    """A day and minute, in UTC. A time without a zone is taken as UTC."""
    if when is None:
        return NONE
    utc = when.astimezone(UTC) if when.tzinfo else when
    return f"{utc.day} {_MONTHS[utc.month - 1]} {utc.year}, {utc:%H:%M} UTC"


def clock(when: datetime) -> str:
    """An hour and minute, in UTC."""
    return f"{when.astimezone(UTC):%H:%M}"


def words(name: str) -> str:
    """A name from the database as words: copied_demonstration becomes "copied demonstration"."""
    return name.replace("_", " ")


def axis(value: float) -> str:
    """A tick label without trailing zeros."""
    return f"{value:.4f}".rstrip("0").rstrip(".").replace("-", _MINUS) if abs(value) < 1e6 else f"{value:.3g}"
