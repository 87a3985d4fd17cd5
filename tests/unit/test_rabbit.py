"""The address of a RabbitMQ: taken apart, refused where it will not do, and handed to Celery."""

import ssl

import pytest
from celery import Celery

from db import broker, guard, rabbit
from db.errors import ConfigError, ServiceError
from orchestrator.cli import console


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("amqp://", ("not an address",)),
        ("amqp://h:port/v", ("not an address",)),
        ("amqp://h/v?heartbeat=5", ("heartbeat", "take it out")),
        ("amqp://h/v?ssl_ca_certs=/ca.pem", ("ssl_ca_certs", "take it out")),
        ("amqps://h/v?ssl_cert_reqs=none", ("ssl_cert_reqs", "take it out")),
    ],
)
def test_an_address_that_would_not_do_is_refused(url: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        rabbit.server_of(url)
    assert all(word in str(error.value) for word in ("INSTRUCTREE_BROKER_URL", *words))


def test_the_limits_stay_in_a_valkey_and_the_refusal_says_where_a_rabbitmq_is_named() -> None:
    with pytest.raises(ConfigError, match="a RabbitMQ is named in INSTRUCTREE_BROKER_URL"):
        broker.server_of("amqp://u:p@h/v")


def test_an_address_is_taken_apart_and_shows_no_password() -> None:
    server = rabbit.server_of("amqp://u%40h:s3cr%2Fet@far.example/instructree")
    assert (server.user, server.password, server.path) == ("u@h", "s3cr/et", "instructree")
    assert str(server) == "far.example:5672"
    assert "s3cr" not in repr(server) and not server.local
    assert rabbit.server_of("amqps://localhost").port == 5671
    assert rabbit.server_of("amqp://localhost").path == "/"


def test_tls_asks_for_a_certificate_of_the_servers_own_name() -> None:
    url = "amqps://u:p@far.example/instructree?ssl_ca_certs=/etc/ours.pem"
    app = Celery(set_as_current=False)
    app.conf.update(rabbit.settings(url))
    line = app.connection_for_write()
    assert line.hostname == "far.example" and line.virtual_host == "instructree"
    assert line.ssl == {
        "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": "far.example", "ca_certs": "/etc/ours.pem"
    }  # fmt: skip
    assert rabbit.settings("amqp://localhost")["broker_use_ssl"] is None


def test_a_password_that_everybody_knows_is_refused_beyond_this_machine() -> None:
    for url in ("amqp://far.example", "amqp://guest:guest@far.example", "amqp://rabbit:rabbit@far.example"):
        with pytest.raises(ConfigError, match="one that everybody tries first"):
            guard.check_rabbit(url)


def test_another_server_that_speaks_the_protocol_or_an_old_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for product, version in (("RabbitMQ", "3.6.10"), ("Other", "9.0")):
        monkeypatch.setattr(rabbit, "facts", lambda url, p=product, v=version: {"product": p, "version": v})
        with pytest.raises(ServiceError, match=r"RabbitMQ 3\.8 or newer"):
            guard.check_rabbit("amqp://localhost")


def test_the_console_asks_the_server_with_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTRUCTREE_BROKER_URL", "amqp://rabbit-host/instructree")
    monkeypatch.setenv("INSTRUCTREE_REDIS_URL", "redis://valkey-host/0")
    assert console._broker() == "redis://valkey-host/0"
