"""What a part refuses to start with: libraries, addresses, passwords, servers and settings that would break a law."""

import ssl
from collections.abc import Mapping

import pytest
from celery import Celery

from db import broker, guard
from db.broker import server_of
from db.errors import ConfigError, ServiceError, UserError
from workers import app
from workers.guard import check_settings

VALKEY = {"redis_version": "7.2.4", "valkey_version": "9.1.2", "redis_mode": "standalone", "role": "master"}
REDIS = {"redis_version": "7.0.15", "redis_mode": "standalone", "role": "master"}
FULL = {"maxmemory": 1 << 20, "maxmemory_policy": "noeviction"}
SERVER = server_of("redis://:pw@cache.example:6380/0")


def refusal(error: pytest.ExceptionInfo[UserError]) -> str:
    """The one line that the user sees."""
    text = str(error.value)
    assert "\n" not in text
    return text


# -- libraries


def test_the_installed_libraries_are_new_enough() -> None:
    said = guard.check_libraries().said
    assert all(f"{name} " in said for name in guard.LIBRARIES)


def test_an_old_or_missing_library_is_named_with_the_command_that_mends_it() -> None:
    with pytest.raises(ConfigError) as old:
        guard.check_libraries({"celery": (99, 1)})
    assert "celery" in refusal(old) and "pip install --upgrade 'celery>=99.1'" in refusal(old)
    with pytest.raises(ConfigError) as missing:
        guard.check_libraries({"no-such-library": (1,)})
    assert "no-such-library is not installed" in refusal(missing)


# -- the address of the broker


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://guest@rabbit:5672//", ("amqp://", "INSTRUCTREE_BROKER_URL")),
        ("valkey://:pw@h:6379/0", ("valkey://", "write redis://")),
        ("valkeys://:pw@h:6379/0", ("write rediss://",)),
        ("unix:///run/redis.sock", ("write redis+socket:///",)),
        ("localhost:6379", ("localhost://",)),
        ("", ("has no scheme",)),
        ("redis://h:port/0", ("not an address",)),
        ("redis://h/0?visibility_timeout=5", ("visibility_timeout", "take it out")),
    ],
)
def test_an_address_that_would_not_do_is_refused(url: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        server_of(url)
    assert all(word in refusal(error) for word in ("INSTRUCTREE_REDIS_URL", *words))


@pytest.mark.parametrize(
    ("url", "where", "local"),
    [
        ("redis://:s3cret@127.0.0.1:6380/0", "127.0.0.1:6380", True),
        ("redis://localhost", "localhost:6379", True),
        ("redis://[::1]:6379/0", "::1:6379", True),
        ("rediss://u:s3cret@cache.example/0?ssl_cert_reqs=required", "cache.example:6379", False),
        ("redis+socket://:s3cret@/run/valkey.sock?virtual_host=2", "/run/valkey.sock", True),
        ("redis://10.0.0.7/0", "10.0.0.7:6379", False),
    ],
)
def test_an_address_is_taken_apart_and_shows_no_password(url: str, where: str, local: bool) -> None:
    server = server_of(url)
    assert (str(server), server.local) == (where, local)
    assert "s3cret" not in f"{server!r} {server}"


def test_a_server_with_tls_must_show_a_certificate_unless_the_address_says_otherwise() -> None:
    """Kombu's own default is to ask for none."""

    def asked(url: str) -> object:
        celery = Celery(broker=url, set_as_current=False)
        celery.conf.broker_use_ssl = broker.tls(url)
        return celery.connection_for_write().ssl

    assert asked("rediss://h/0") == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert asked("rediss://h/0?ssl_ca_certs=/ca") == {"ssl_ca_certs": "/ca"}  # redis-py asks, where kombu sets nothing
    assert asked("rediss://h/0?ssl_cert_reqs=none") == {"ssl_cert_reqs": ssl.CERT_NONE}
    assert not asked("redis://h/0")


def test_a_variable_that_would_take_the_place_of_the_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere/0")
    assert Celery(broker="redis://here/0", set_as_current=False).connection_for_write().hostname == "elsewhere"
    with pytest.raises(ConfigError) as error:
        guard.check_broker("redis://here/0", {"CELERY_BROKER_URL": "redis://elsewhere/0"})
    assert "CELERY_BROKER_URL" in refusal(error) and "unset it" in refusal(error)


@pytest.mark.parametrize("password", ["changeme", "Redis", "guest", "operator"])
def test_a_password_that_everybody_tries_first_is_refused_off_this_machine(password: str) -> None:
    with pytest.raises(ConfigError) as error:
        guard.check_broker(f"redis://operator:{password}@cache.example/0", {})
    assert "cache.example:6379" in refusal(error) and "change it" in refusal(error)
    assert password not in refusal(error).replace("INSTRUCTREE_REDIS_URL", "")


def test_a_broker_without_password_or_certificate_is_doubted_only_off_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "facts", lambda url, named: VALKEY)
    (no_password,) = guard.check_broker("redis://cache.example/0", {}).warnings
    assert "no password" in no_password and "requirepass" in no_password
    (no_certificate,) = guard.check_broker("rediss://:long-one@cache.example/0?ssl_cert_reqs=CERT_NONE", {}).warnings
    assert "ssl_cert_reqs=none" in no_certificate
    assert guard.check_broker("redis://127.0.0.1/0", {}).warnings == ()
    assert guard.check_broker("redis://:changeme@127.0.0.1/0", {}).warnings == ()


# -- what the broker says of itself


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (VALKEY, "Valkey 9.1.2 at cache.example:6380, no memory limit"),
        (VALKEY | FULL, "Valkey 9.1.2 at cache.example:6380, noeviction"),
        (REDIS, "Redis 7.0.15 at cache.example:6380, no memory limit"),
        (REDIS | {"maxmemory": 0, "maxmemory_policy": "allkeys-lru"}, "Redis 7.0.15 at cache.example:6380, no memory"),
    ],
)
def test_a_server_that_keeps_what_it_is_given_will_do(info: Mapping[str, object], said: str) -> None:
    finding = guard.judge_server(info, SERVER)
    assert finding.said.startswith(said) and finding.warnings == ()


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (REDIS | {"redis_version": "6.0.16"}, ("Redis 6.0.16", "6.2", "upgrade")),
        (VALKEY | {"valkey_version": "7.1.0"}, ("Valkey 7.1.0", "7.2")),
        ({}, ("Redis 0", "6.2")),
        (
            REDIS | FULL | {"maxmemory_policy": "volatile-lru"},
            ("volatile-lru", "CONFIG SET maxmemory-policy noeviction"),
        ),
        (REDIS | {"redis_mode": "cluster"}, ("cluster",)),
        (VALKEY | {"role": "slave"}, ("replica", "primary")),
    ],
)
def test_a_server_that_would_lose_hints_is_refused(info: Mapping[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(ServiceError) as error:
        guard.judge_server(info, SERVER)
    assert all(word in refusal(error) for word in ("cache.example:6380", *words))


def test_a_managed_server_that_does_not_tell_is_used_with_a_warning() -> None:
    finding = guard.judge_server(None, SERVER)
    assert "could not be checked" in finding.said
    assert "maxmemory-policy" in finding.warnings[0]


# -- the worker's own settings


def test_the_workers_settings_break_no_law() -> None:
    said = app.check_settings().said
    assert "json only" in said and "late acks" in said and "prefetch 1" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"visibility_timeout": 600, "broker_transport_options": {"visibility_timeout": 600}},
            ("600 s", "VISIBILITY_S"),
        ),
        ({"visibility_timeout": 9000}, ("not the same",)),
        ({"broker_transport_options": {}}, ("not the same",)),
        ({"accept_content": ["json", "pickle"]}, ("pickle", "only json")),
        ({"accept_content": None}, ("only json",)),
        ({"task_serializer": "pickle"}, ("task_serializer", "pickle")),
        ({"task_acks_late": False}, ("task_acks_late",)),
        ({"worker_prefetch_multiplier": 4}, ("worker_prefetch_multiplier", "set it to 1")),
    ],
)
def test_a_setting_that_breaks_a_law_is_refused(change: dict[str, object], words: tuple[str, ...]) -> None:
    good = {
        "visibility_timeout": 900,
        "broker_transport_options": {"visibility_timeout": 900},
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
    }
    assert "900 s over a deadline of 600 s" in check_settings(good, deadline_s=600).said
    with pytest.raises(ConfigError) as error:
        check_settings(good | change, deadline_s=600)
    assert all(word in refusal(error) for word in words)


# -- queues


def test_a_queue_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(ConfigError) as wrong:
        app.queue_names("expand, expnd")
    assert refusal(wrong).startswith("--queues: no queue 'expnd'; there are expand, evaluate")
    assert app.queue_names(" expand,evaluate ,") == ("expand", "evaluate")
