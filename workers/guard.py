"""The worker's own settings held against the laws, in case somebody changes one of them without the other."""

from collections.abc import Mapping

from db.errors import ConfigError
from db.guard import Finding

_JSON = ("task_serializer", "result_serializer")


def check_settings(conf: Mapping[str, object], *, deadline_s: float) -> Finding:
    """What a Celery configuration does to tasks that may take `deadline_s`. Raises ConfigError when it breaks a law."""
    visibility = _visibility(conf)
    if visibility <= deadline_s:
        raise ConfigError(
            f"visibility_timeout is {visibility:g} s, but a task may take {deadline_s:g} s: "
            "each would be delivered again while it runs; raise VISIBILITY_S above DEADLINE_S"
        )
    accepted = conf.get("accept_content")
    if not isinstance(accepted, list | tuple | set) or set(accepted) != {"json"}:
        raise ConfigError(f"accept_content is {accepted!r}: only json may be accepted, or messages can run code")
    for name in _JSON:
        if conf.get(name) != "json":
            raise ConfigError(f"{name} is {conf.get(name)!r}: only json may be sent")
    if not conf.get("task_acks_late"):
        raise ConfigError(
            "task_acks_late is off: a worker would take every hint there is and sit on it; set it to True"
        )
    prefetch = conf.get("worker_prefetch_multiplier")
    if prefetch != 1:
        raise ConfigError(
            f"worker_prefetch_multiplier is {prefetch}: set it to 1, or workers keep tasks from each other"
        )
    return Finding(
        said=f"visibility {visibility:g} s over a deadline of {deadline_s:g} s, json only, late acks, prefetch 1, "
        f"prefix {_options(conf).get('global_keyprefix', 'none')}"
    )


def _visibility(conf: Mapping[str, object]) -> float:
    """The shortest one wins, whoever set it."""
    found = [_options(conf).get("visibility_timeout"), conf.get("visibility_timeout")]
    given = [float(value) for value in found if isinstance(value, int | float)]
    if len(given) < len(found) or len(set(given)) > 1:
        raise ConfigError(f"visibility_timeout is not the same everywhere ({found}): set it from VISIBILITY_S alone")
    return given[0]


def _options(conf: Mapping[str, object]) -> Mapping[str, object]:
    options = conf.get("broker_transport_options")
    return options if isinstance(options, dict) else {}
