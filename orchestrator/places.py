"""Where this command's database, broker and models are: named by the environment, or on this machine's local stack."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from db import environment, guard, tracing
from db.engine import check_reachable, open_engine
from db.errors import ServiceError
from db.migrate import check_current, migrate
from orchestrator import notices, stack
from orchestrator.config import key_variables, read_file
from orchestrator.local import LOCAL_MODEL, local_settings
from workers.config import ANY_MODEL

CONFIG_VARIABLE = "INSTRUCTREE_CONFIG"
MODEL_VARIABLE = "OPENAI_MODEL"
LOCAL_WORKERS = 2
NOTHING = stack.Needs(postgres=False, valkey=False, models=())
_ENDPOINT_VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_API_KEY_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Addresses in use. `needs` are the servers of this machine among them; `program_env` is what worker processes on
    this machine need besides.
    """

    database_url: str
    redis_url: str
    needs: stack.Needs
    program_env: Mapping[str, str]

    @property
    def local_programs(self) -> bool:
        """Whether orchestrator and workers run on this machine: where its database or its broker does."""
        return self.needs.postgres or self.needs.valkey

    def environment(self) -> dict[str, str]:
        """The environment as a worker process here will see it."""
        return {**os.environ, **self.program_env}


def has_endpoint(config: Path | None) -> bool:
    """Whether the user names a model endpoint of their own."""
    if any(os.environ.get(name) for name in _ENDPOINT_VARIABLES):
        return True
    return config is not None and bool(read_file(config).get("endpoints"))


def settings(config: Path | None) -> dict[str, Any]:
    """The options that go with where the models are: the local model's, or none but an endpoint to be looked at."""
    if not has_endpoint(config):
        return local_settings()
    if config is not None and read_file(config).get("endpoints"):
        return {}
    return {"endpoints": {"default": {"model": os.environ.get(MODEL_VARIABLE) or ANY_MODEL}}}


def secrets() -> set[str]:
    """Every key and password that this environment, its configuration file and the local stack hold."""
    path = os.environ.get(CONFIG_VARIABLE)
    keys = ["OPENAI_API_KEY", notices.WEBHOOK, *(key_variables(Path(path)) if path else [])]
    local = stack.find()
    urls = [environment.read(environment.DATABASE), environment.read(environment.REDIS)]
    urls.append(environment.read(environment.BROKER))
    urls += [local.database_url, local.redis_url] if local else []
    return {value for key in keys if (value := environment.read(key))} | environment.passwords(urls)


def find_places(config: Path | None, say: stack.Say) -> Places:
    """Takes what the environment names and starts the rest on this machine.

    Raises:
        ServiceError: something local cannot be started.
    """
    own_endpoint = has_endpoint(config)
    needs = stack.Needs(
        postgres=environment.read(environment.DATABASE) is None,
        valkey=environment.read(environment.REDIS) is None,
        models=() if own_endpoint else (LOCAL_MODEL,),
    )
    found = stack.ensure_services(needs, say=say) if needs != NOTHING else None
    return Places(
        database_url=(found and found.database_url if needs.postgres else None) or environment.database_url(),
        redis_url=(found and found.redis_url if needs.valkey else None) or environment.redis_url(),
        needs=needs,
        program_env=program_env(config, found, own_endpoint),
    )


def program_env(config: Path | None, found: stack.Stack | None, own_endpoint: bool) -> dict[str, str]:
    """What the processes must know. Named even when empty, so that a change of endpoint restarts them."""
    named = (
        *_ENDPOINT_VARIABLES,
        *notices.VARIABLES,
        environment.BROKER,
        f"{environment.BROKER}_FILE",
        *tracing.VARIABLES,
    )
    env = {name: os.environ.get(name, "") for name in named}
    env[CONFIG_VARIABLE] = str(config.resolve()) if config else os.environ.get(CONFIG_VARIABLE, "")
    if config is not None:
        env |= {name: os.environ.get(name, "") for name in key_variables(config)}
        # Nobody reads it: it is there to differ when the file does.
        env[f"{CONFIG_VARIABLE}_DIGEST"] = sha256(config.read_bytes()).hexdigest()
    if not own_endpoint and found is not None and LOCAL_MODEL.model.alias in found.model_urls:
        env |= {"OPENAI_BASE_URL": found.model_urls[LOCAL_MODEL.model.alias], "OPENAI_API_KEY": "local"}
    return env


def model_environment(config: Path | None, say: stack.Say) -> dict[str, str]:
    """The environment in which models are found, the local one started if it is needed; no database, no broker."""
    own_endpoint = has_endpoint(config)
    needs = stack.Needs(postgres=False, valkey=False, models=() if own_endpoint else (LOCAL_MODEL,))
    found = None if own_endpoint else stack.ensure_services(needs, say=say)
    return {**os.environ, **program_env(config, found, own_endpoint)}


def ensure_programs(places: Places, say: stack.Say) -> None:
    """Starts the orchestrator and two workers on this machine, unless they run with these very settings."""
    programs = stack.Programs(
        database_url=places.database_url, redis_url=places.redis_url, env=places.program_env, workers=LOCAL_WORKERS
    )
    stack.ensure_programs(programs, say=say)


def tend(places: Places, say: stack.Say) -> None:
    """Starts again what has died on this machine of what is used. What `down` has stopped is not missed.

    Raises:
        ServiceError: it cannot be started, or dies at once.
    """
    died = stack.died()
    servers = stack.Needs(
        postgres=places.needs.postgres and "postgres" in died,
        valkey=places.needs.valkey and "valkey" in died,
        models=tuple(one for one in places.needs.models if f"model-{one.model.alias}" in died),
    )
    programs = places.local_programs and any(map(stack.is_program, died))
    if servers == NOTHING and not programs:
        return
    say(f"{', '.join(died)} died: starting it again")
    if servers != NOTHING:
        stack.ensure_services(servers, say=say)
    if programs:
        ensure_programs(places, say)


def open_places(places: Places) -> Engine:
    """The database, reachable and at this program's schema (a local one is brought to it), and a broker."""
    engine = open_engine(places.database_url)
    check_reachable(engine)
    if places.local_programs:
        migrate(engine)
    check_current(engine)
    guard.check_database(engine)
    guard.check_broker(environment.read(environment.BROKER) or places.redis_url, os.environ, places.redis_url)
    return engine


def existing_engine() -> Engine:
    """The database for a command that only looks: the one named, or that of the running local stack.

    Raises:
        ServiceError: there is none.
    """
    if environment.read(environment.DATABASE):
        engine = open_engine(environment.database_url())
    else:
        found = stack.find()
        if found is None or found.database_url is None:
            raise ServiceError(
                f"the local stack is not running: start it with `instructree up`, or set {environment.DATABASE}"
            )
        engine = open_engine(found.database_url)
    check_reachable(engine)
    check_current(engine)
    return engine
