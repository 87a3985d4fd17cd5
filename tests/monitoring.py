"""What dashboards and alert rules ask, and a Prometheus to ask it of."""

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import yaml

from tests.programs import ROOT, tool

MONITORING = ROOT / "deploy" / "monitoring"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]


def panels() -> list[tuple[str, str]]:
    """(title, expression) of everything that a dashboard asks."""
    dashboards = [json.loads(path.read_text()) for path in sorted((MONITORING / "grafana/dashboards").glob("*.json"))]
    every = [panel for dashboard in dashboards for panel in dashboard["panels"]]
    return [(panel["title"], target["expr"]) for panel in every for target in panel.get("targets", ())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    url: str

    def get(self, path: str) -> Any:
        """The data of an answer of its interface. Raises HTTPError where it refuses the question."""
        with urlopen(f"{self.url}/api/v1/{path}", timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]

    def ask(self, expression: str) -> list[Any]:
        """What an expression gives now."""
        found: list[Any] = self.get(f"query?query={quote(expression)}")["result"]
        return found

    def healthy(self, count: int) -> bool:
        """Whether it has scraped so many targets, all of them well, and more than once."""
        try:
            scraped = self.ask("sum(up)"), self.ask("min(count_over_time(up[1m]))")
        except OSError:
            return False
        return all(found for found in scraped) and [int(f[0]["value"][1]) for f in scraped] >= [count, 3]


@contextmanager
def prometheus(folder: Path, port: int, targets: Sequence[str]) -> Iterator[Prometheus]:
    """A real Prometheus with the configuration and the rules of deploy/monitoring, on these targets, once a second."""
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / "alerts.yml")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command: list[str | Path] = [
        *(tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            yield _listening(Prometheus(url=f"http://127.0.0.1:{port}"), len(targets))
        finally:
            server.terminate()


def _listening(server: Prometheus, count: int) -> Prometheus:
    deadline = time.monotonic() + 60
    while not server.healthy(count):
        assert time.monotonic() < deadline, "Prometheus has not scraped every target within a minute"
        time.sleep(0.5)
    return server
