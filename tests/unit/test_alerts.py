"""Alert rules: each fires where it should and nowhere else, by Prometheus's own test of rules."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring import ALERTS, MONITORING, panels
from tests.programs import ROOT, tool

Series = dict[str, str]

# A working installation, told by two orchestrators; a value a minute, as promtool writes them.
WELL: Series = {
    name.replace("{", '{instance="' + instance + '",').replace(",}", "}"): values
    for instance in ("a", "b")
    for name, values in {
        "instructree_database_up{}": "1x90",
        "instructree_broker_up{}": "1x90",
        'instructree_workers{version="1"}': "2x90",
        "instructree_worker_slots{}": "128x90",
        "instructree_worker_slots_busy{}": "120x90",
        'instructree_tasks{queue="expand",state="ready"}': "40x90",
        'instructree_tasks{queue="expand",state="held"}': "0x90",
        'instructree_task_oldest_ready_seconds{queue="expand"}': "20x90",
        "instructree_scheduler_lag_seconds{}": "1x90",
        'instructree_tasks_ended_total{queue="expand",result="done"}': "0+100x90",
        'instructree_tasks_ended_total{queue="expand",result="failed"}': "0+1x90",
        'instructree_endpoint_breaker{endpoint="default",model="m",state="closed"}': "1x90",
        'instructree_endpoint_breaker{endpoint="default",model="m",state="open"}': "0x90",
        'instructree_endpoint_breaker{endpoint="default",model="m",state="probing"}': "0x90",
        'instructree_endpoint_in_flight{endpoint="default",model="m"}': "100x90",
        'instructree_endpoint_paused_seconds{endpoint="default",model="m"}': "0x90",
        'instructree_endpoint_requests_total{endpoint="default",model="m"}': "0+600x90",
        'instructree_endpoint_limited_total{endpoint="default",model="m"}': "0+30x90",
        'instructree_budget_share_left{unit="calls"}': "1-0.006x90",
        'instructree_calls_total{role="evolver",endpoint="default",outcome="ok"}': "0+400x90",
        'instructree_calls_total{role="judge",endpoint="default",outcome="ok"}': "0+200x90",
        'instructree_nodes_total{status="scored",reason=""}': "0+400x90",
        'instructree_texts_total{status="kept",reason=""}': "0x90",
        'instructree_examples{status="accepted",reason=""}': "0x90",
        'instructree_database_dead_rows{table="tasks"}': "900x90",
    }.items()
}


def at_both(name: str, values: str) -> Series:
    """The same series of both orchestrators."""
    return {name.replace("{", '{instance="' + instance + '",').replace(",}", "}"): values for instance in ("a", "b")}


def left_alone(endpoint: str, *, open_: str, probing: str, requests: str, in_flight: str, model: str = "m") -> Series:
    """What the limiter tells of an endpoint whose breaker is not closed."""
    told = {
        f'breaker{{endpoint="{endpoint}",model="{model}",state="closed"}}': "0x90",
        f'breaker{{endpoint="{endpoint}",model="{model}",state="open"}}': open_,
        f'breaker{{endpoint="{endpoint}",model="{model}",state="probing"}}': probing,
        f'requests_total{{endpoint="{endpoint}",model="{model}"}}': requests,
        f'in_flight{{endpoint="{endpoint}",model="{model}"}}': in_flight,
        f'paused_seconds{{endpoint="{endpoint}",model="{model}"}}': "0x90",
        f'limited_total{{endpoint="{endpoint}",model="{model}"}}': "0x90",
    }
    return {k: v for name, values in told.items() for k, v in at_both(f"instructree_endpoint_{name}", values).items()}


# A dead endpoint refuses each probe at once, so that its breaker opens again; one that hangs keeps its probe.
DEAD = left_alone("default", open_="1 0 " * 45, probing="0 1 " * 45, requests="0+6x90", in_flight="0x90")
OTHER = left_alone("default", open_="0x90", probing="1x90", requests="7x90", in_flight="1x90", model="n")
HANGING = left_alone("default", open_="0x90", probing="1x90", requests="7x90", in_flight="1x90")


def calls(role: str, values: str) -> Series:
    return at_both(f'instructree_calls_total{{role="{role}",endpoint="default",outcome="ok"}}', values)


# Trees that have grown before: no evolutions, no scores.
GROWN = calls("evolver", "4000x90") | at_both('instructree_nodes_total{status="scored",reason=""}', "3000x90")

# Of each alert: what is different from a working installation (None: the series are gone), and the labels it then has.
WRONG: dict[str, tuple[Series | None, dict[str, str]]] = {
    "InstructreeSilent": (None, {}),
    "InstructreeDatabaseAway": (at_both("instructree_database_up{}", "0x90"), {}),
    "InstructreeBrokerAway": (at_both("instructree_broker_up{}", "0x90"), {}),
    "InstructreeNoWorkers": (at_both('instructree_workers{version="1"}', "0x90"), {}),
    "InstructreeQueueUnattended": (
        at_both('instructree_task_oldest_ready_seconds{queue="expand"}', "700x90")
        | at_both("instructree_worker_slots_busy{}", "10x90"),
        {"queue": "expand"},
    ),
    "InstructreeSchedulerLags": (at_both("instructree_scheduler_lag_seconds{}", "90x90"), {}),
    "InstructreeTasksFail": (
        at_both('instructree_tasks_ended_total{queue="expand",result="failed"}', "0+10x90"),
        {"queue": "expand"},
    ),
    "InstructreeEndpointAway": (DEAD, {"endpoint": "default", "model": "m"}),
    "InstructreeTooManyRefusals": (
        at_both('instructree_endpoint_limited_total{endpoint="default",model="m"}', "0+200x90"),
        {"endpoint": "default", "model": "m"},
    ),
    "InstructreeBudgetNearlySpent": (
        at_both('instructree_budget_share_left{unit="calls"}', "0.6-0.006x90"),
        {"unit": "calls"},
    ),
    "InstructreeNothingComes": (at_both('instructree_nodes_total{status="scored",reason=""}', "400x90"), {}),
    "InstructreeDeadRows": (at_both('instructree_database_dead_rows{table="tasks"}', "200000x90"), {"table": "tasks"}),
}

# Other ways to the same alert.
ALSO_WRONG: list[tuple[str, Series, dict[str, str]]] = [
    ("InstructreeEndpointAway", HANGING, {"endpoint": "default", "model": "m"}),
    ("InstructreeEndpointAway", OTHER, {"endpoint": "default", "model": "n"}),
    ("InstructreeNothingComes", at_both('instructree_nodes_total{status="scored",reason=""}', "_x90"), {}),
    ("InstructreeNothingComes", GROWN | calls("generator", "0+400x90"), {}),
    ("InstructreeNothingComes", GROWN | calls("responder", "0+400x90"), {}),
]

# What is different, too, and wakes nobody.
FINE: dict[str, Series] = {
    "a paused run, and workers scaled to zero": at_both('instructree_workers{version="1"}', "0x90")
    | at_both('instructree_tasks{queue="expand",state="ready"}', "0x90")
    | at_both('instructree_tasks{queue="expand",state="held"}', "40x90"),
    "an endpoint that was away when it was last asked": left_alone(
        "former", open_="0x90", probing="1x90", requests="7x90", in_flight="0x90"
    ),
    "a run that has less of its cap left than those before it": at_both(
        'instructree_budget_share_left{unit="calls"}', "0.9x69 0.4x20"
    ),
    "a pool that is widened": GROWN
    | calls("generator", "0+400x90")
    | at_both('instructree_texts_total{status="kept",reason=""}', "0+1x90"),
    "responses to what has grown": GROWN
    | calls("responder", "0+400x90")
    | at_both('instructree_examples{status="accepted",reason=""}', "0+1x90"),
    "second judgements of what has grown": GROWN,
}


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("promtool"), *arguments], capture_output=True, text=True, check=False)


def _filled(summary: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], summary)


def case(series: Series, firing: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A test of promtool: which alerts fire after 85 minutes of this, with which labels besides their severity."""
    expected = []
    for rule in ALERTS:
        one: dict[str, Any] = {"eval_time": "85m", "alertname": rule["alert"]}
        if rule["alert"] in firing:
            labels = firing[rule["alert"]]
            said = {"summary": _filled(rule["annotations"]["summary"], labels)}
            one["exp_alerts"] = [{"exp_labels": rule["labels"] | labels, "exp_annotations": said}]
        expected.append(one)
    given = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": "1m", "input_series": given, "alert_rule_test": expected}


def test_there_is_a_case_for_every_alert():
    assert list(WRONG) == [rule["alert"] for rule in ALERTS]


def test_nothing_fires_where_all_is_well_and_each_alert_alone_where_it_should(tmp_path: Path):
    cases = [case(WELL, {}), *(case(WELL | change, {}) for change in FINE.values())]
    for alert, (change, labels) in WRONG.items():
        cases.append(case({} if change is None else WELL | change, {alert: labels}))
    cases += [case(WELL | change, {alert: labels}) for alert, change, labels in ALSO_WRONG]
    file = tmp_path / "alerts.test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(MONITORING / "alerts.yml")], "tests": cases}))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_itself_accepts_its_configuration_the_rules_and_every_question_of_the_dashboards(tmp_path: Path):
    rules = [{"alert": f"Panel{n}", "expr": expression} for n, (_, expression) in enumerate(panels())]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    for arguments in (
        ("check", "rules", MONITORING / "alerts.yml"),
        ("check", "rules", tmp_path / "panels.yml"),
        ("check", "config", "--syntax-only", MONITORING / "prometheus.yml"),
    ):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_of_an_alertmanager_needs_only_to_be_uncommented(tmp_path: Path):
    told = (MONITORING / "prometheus.yml").read_text()
    assert "alerting" not in yaml.safe_load(told)  # nobody's address is made up
    (commented,) = re.findall(r"^# alerting:\n(?:#  .*\n)+", told, re.M)
    config = tmp_path / "prometheus.yml"
    config.write_text(told.replace(commented, re.sub("^# ", "", commented, flags=re.M)))
    (manager,) = yaml.safe_load(config.read_text())["alerting"]["alertmanagers"]
    assert manager["static_configs"][0]["targets"] == ["alertmanager-host:9093"]
    done = promtool("check", "config", "--syntax-only", config)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_cause_and_cure_in_the_runbook():
    runbook = (ROOT / "docs" / "operations.md").read_text()
    assert re.findall(r"^### (Instructree\w+)$", runbook, re.M) == [rule["alert"] for rule in ALERTS]
    assert all(rule["annotations"]["summary"] and rule["for"] for rule in ALERTS)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_how_urgent_it_is(rule: dict[str, Any]):
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
