"""The compose file, read as text: there may be no docker engine here, but each of these faults can be read."""

import re

import pytest
import typer.main
import yaml
from sqlalchemy.engine import make_url

from tests.compose import COMPOSE, SERVICES, TEXT, Unset, command, environment, filled
from tests.programs import ROOT
from workers.llm.address import DEFAULT, address_of, addresses

SCREENS = {"grafana", "flower", "console"}
OURS = ["migrate", "orchestrator", "worker", "cli"]
# The least that a .env has to say.
LEAST = {"POSTGRES_PASSWORD": "p", "VALKEY_PASSWORD": "v", "OPENAI_BASE_URL": "https://models.example.org/v1"}
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()

every_service = pytest.mark.parametrize("name", SERVICES)
our_services = pytest.mark.parametrize("name", OURS)


def seconds(duration: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([sm])", duration).groups()  # type: ignore[union-attr]
    return int(number) * (60 if unit == "m" else 1)


def parse(arguments: list[str]) -> None:
    """Parses a command line as `instructree` would, without running it; raises where it would print a usage error."""
    from orchestrator.cli import app

    group = typer.main.get_command(app)
    context = group.make_context("instructree", list(arguments))
    name, command, rest = group.resolve_command(context, arguments)  # type: ignore[attr-defined]
    assert command is not None
    command.make_context(name, rest, parent=context)


def test_it_starts_what_a_run_needs() -> None:
    always = {name for name, service in SERVICES.items() if "profiles" not in service}
    assert always == {"postgres", "valkey", *OURS} - {"cli"}
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["valkey"]["image"] == "valkey/valkey:9"
    assert len({SERVICES[name]["image"] for name in OURS}) == 1


@our_services
def test_command_is_a_command_line_of_ours(name: str) -> None:
    parse(command(name, LEAST))


def test_slots_and_queues_of_workers_are_set_in_env() -> None:
    assert command("worker", LEAST) == ["worker", "--slots=16", "--queues="]
    told = command("worker", LEAST | {"WORKER_SLOTS": "64", "WORKER_QUEUES": "expand,evaluate"})
    assert told == ["worker", "--slots=64", "--queues=expand,evaluate"]
    parse(told)


def test_the_console_is_a_command_line_of_ours_behind_a_profile() -> None:
    console = SERVICES["console"]
    parse(command("console", LEAST))
    assert console["profiles"] == ["console"] and console["build"]["args"] == {"REQUIREMENTS": "console"}
    assert "endpoints" not in console["networks"]
    assert console["depends_on"] == SERVICES["orchestrator"]["depends_on"]


@our_services
def test_health_check_is_a_command_line_of_ours(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if check.get("disable"):
        assert name in {"migrate", "cli"}
        return
    assert check["test"][:2] == ["CMD", "instructree"]
    parse(check["test"][2:])


@every_service
def test_health_is_checked(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if not check.get("disable"):
        assert seconds(check["timeout"]) <= seconds(check["interval"])
        assert check["retries"] >= 3


@every_service
def test_nothing_is_published(name: str) -> None:
    assert not {"expose", "network_mode", "privileged", "pid"} & set(SERVICES[name])
    # What a person looks at, from this very host.
    ports = SERVICES[name].get("ports", [])
    if name == "tls":  # what stands before the console, encrypted, where it is asked for
        assert ports == ["443:8443"] and SERVICES[name]["profiles"] == ["tls"]
        return
    assert all(port.startswith("127.0.0.1:") for port in ports) if name in SCREENS else not ports


@every_service
def test_rights_are_few(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), "a numeric user that is not root"
    assert service["mem_limit"] and service["pids_limit"]
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])


@every_service
def test_stops_in_good_order(name: str) -> None:
    assert seconds(SERVICES[name]["stop_grace_period"]) >= 30


def test_workers_can_be_many_and_end_their_calls() -> None:
    worker = SERVICES["worker"]
    assert "container_name" not in worker and "hostname" not in worker
    assert seconds(worker["stop_grace_period"]) > 60


def test_migration_comes_first_and_once() -> None:
    assert SERVICES["migrate"]["restart"] != "unless-stopped"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("orchestrator", "worker", "cli"):
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "postgres": {"condition": "service_healthy"},
            "valkey": {"condition": "service_healthy"},
        }


def test_what_lets_other_hosts_join_goes_on_top_of_the_file() -> None:
    (shown,) = re.findall(
        r"```yaml\n(services:\n  postgres:.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL
    )
    override = yaml.safe_load(shown)
    for name, service in override["services"].items():
        assert set(SERVICES[name]["networks"]) < set(service["networks"])
        # Nothing is published from a network that is internal only.
        assert any(not (override["networks"] | COMPOSE["networks"])[net].get("internal") for net in service["networks"])
        assert all(re.fullmatch(r"10\.0\.0\.1:(\d+):\1", port) for port in service["ports"])
    assert {name: service["ports"][0].rpartition(":")[2] for name, service in override["services"].items()} == {
        name: str(make_url(environment("worker", LEAST)[variable]).port)
        for name, variable in (("postgres", "INSTRUCTREE_DATABASE_URL"), ("valkey", "INSTRUCTREE_REDIS_URL"))
    }


def test_databases_are_reached_from_inside_only() -> None:
    assert COMPOSE["networks"]["memory"]["internal"] is True
    for name in ("postgres", "valkey", "migrate"):
        assert SERVICES[name]["networks"] == ["memory"]


def test_no_password_has_a_default() -> None:
    uses = re.findall(r"\$\{([A-Z_]*PASSWORD[A-Z_]*)(.*?)\}", TEXT)
    assert {name for name, _ in uses} == {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "GRAFANA_PASSWORD", "FLOWER_PASSWORD"}
    for name, rest in uses:
        # Some are needed with their profile only, so the service itself refuses to start without.
        expected = ":-" if name in ("GRAFANA_PASSWORD", "FLOWER_PASSWORD") else ":?"
        assert rest.startswith(expected), f"{name} must stop compose when it is unset or empty"
    for name in ("grafana", "flower"):
        assert f'echo "set {name.upper()}_PASSWORD in .env" >&2; exit 1' in SERVICES[name]["entrypoint"][-1]
    example = (ROOT / ".env.example").read_text()
    assert all(line.endswith("=") for line in example.splitlines() if line and not line.startswith("#"))


def test_every_variable_is_in_the_example() -> None:
    asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", TEXT))
    offered = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert asked == offered


@pytest.mark.parametrize("name", [*OURS, "console"])
def test_addresses_are_of_the_services_here_or_of_another_host(name: str) -> None:
    own = environment(name, LEAST)
    assert own["INSTRUCTREE_DATABASE_URL"] == "postgresql+psycopg2://instructree:p@postgres:5432/instructree"
    assert own["INSTRUCTREE_REDIS_URL"] == "redis://:v@valkey:6379/0"
    there = {
        "INSTRUCTREE_DATABASE_URL": "postgresql://instructree:p@10.0.0.1/instructree",
        "INSTRUCTREE_REDIS_URL": "rediss://:v@10.0.0.1/0",
    }
    assert environment(name, LEAST | there).items() >= there.items()


@pytest.mark.parametrize("missing", LEAST)
@our_services
def test_what_a_run_cannot_do_without_stops_compose(name: str, missing: str) -> None:
    with pytest.raises(Unset, match=f"^{missing}: set {missing} in .env$"):
        environment(name, {key: value for key, value in LEAST.items() if key != missing})


@pytest.mark.parametrize("name", ["orchestrator", "worker", "cli"])
def test_a_file_of_endpoints_and_their_keys_reaches_those_who_speak_to_models(name: str) -> None:
    service, (config,) = SERVICES[name], SERVICES[name]["configs"]
    source = COMPOSE["configs"][config["source"]]["file"]
    assert filled(source, {"INSTRUCTREE_CONFIG": "night.toml"}) == "night.toml"
    assert environment(name, LEAST | {"INSTRUCTREE_CONFIG": "night.toml"})["INSTRUCTREE_CONFIG"] == config["target"]
    # None is named: nothing is read, and what is mounted all the same is a file that is there.
    assert environment(name, LEAST)["INSTRUCTREE_CONFIG"] == "" and (ROOT / filled(source, {})).is_file()
    assert service["env_file"] == [{"path": "keys.env", "required": False}]
    assert "/keys.env" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", ["orchestrator", "worker"])
def test_traces_can_be_switched_on_in_env(name: str) -> None:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "INSTRUCTREE_TRACES": "0.1"}
    assert environment(name, LEAST | told).items() >= told.items()
    chosen = SERVICES[name]["build"]["args"]["REQUIREMENTS"]
    assert (filled(chosen, {}), filled(chosen, {"REQUIREMENTS": "otel"})) == ("core", "otel")
    assert "opentelemetry-exporter-otlp-proto-http==" in (ROOT / "requirements/otel.txt").read_text()


def test_keys_of_models_reach_nobody_else() -> None:
    assert {name for name, service in SERVICES.items() if "env_file" in service} == {"orchestrator", "worker", "cli"}


@our_services
def test_the_endpoint_that_the_example_shows_can_be_used(name: str) -> None:
    (shown,) = re.findall(r"http://host\.docker\.internal\S+", (ROOT / ".env.example").read_text())
    given = {"OPENAI_BASE_URL": shown.replace("PORT", "8080"), "INSTRUCTREE_ALLOW_HTTP": "1"}
    assert (
        address_of(addresses(environment(name, LEAST | given)), DEFAULT).base_url
        == "http://host.docker.internal:8080/v1"
    )


def test_valkey_keeps_what_it_is_given_and_hides_its_password() -> None:
    script = SERVICES["valkey"]["command"][-1]
    server = script.splitlines()[0]
    assert "--appendonly yes" in server and "--maxmemory-policy noeviction" in server
    assert "PASSWORD" not in server, "an argument is visible to whoever lists the processes"


def test_image_runs_the_wheel_and_no_sources() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    copied = re.findall(r"^COPY (.*)", last, re.MULTILINE)
    assert copied == ["--from=environment /opt/instructree /opt/instructree"]
    assert re.search(r"^USER \d+:\d+$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["instructree"]' in last
    folder = re.search(r"^WORKDIR (\S+)$", last, re.MULTILINE)
    assert folder is not None and folder[1] not in {"/", "/data"}


def test_image_installs_by_hash() -> None:
    installs = re.findall(r"pip install ((?:[^\n]*\\\n)*[^\n]*)", DOCKERFILE)
    from_lock = [line for line in installs if " -r" in line or ("\n" in line and "-r " in line)]
    assert len(from_lock) == 2
    assert all("--require-hashes" in line and "--no-deps" in line for line in from_lock)
    assert all("--no-deps" in line for line in installs)


def test_image_health_is_a_command_line_of_ours() -> None:
    found = re.search(r'HEALTHCHECK .*CMD \["instructree", (.*)\]', DOCKERFILE)
    assert found is not None
    parse([part.strip().strip('"') for part in found[1].split(",")])


def test_build_context_is_a_short_list() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    for source in re.findall(r"^COPY ((?!--from).*) \S+$", DOCKERFILE, re.MULTILINE):
        for path in source.split():
            assert f"!{path.split('/')[0]}" in lines, f"the Dockerfile copies {path}, which .dockerignore leaves out"
