"""`instructree calibrate` and the look at judges before a run, against a real server that answers by a script."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from db.errors import ConfigError
from orchestrator.cli.judge import Wanted, calibrate_judge
from workers.config import Endpoint, Judges, Style, WorkSettings
from workers.doctor import check_endpoints
from workers.llm.scripted.server import Script, ScriptedServer

EXPECTED = ["endpoints.default.style=completion", "judges.quality=expected", "judges.complexity=expected"]
PRICES = ["endpoints.default.usd_per_million_in=1.0", "endpoints.default.usd_per_million_out=1.0"]


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """A scripted model on a thread of its own."""
    ready, done = Event(), Event()
    found: list[str] = []

    async def serve() -> None:
        async with ScriptedServer(Script()) as server:
            found.append(server.base_url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    yield found[0]
    done.set()
    thread.join()


@pytest.fixture
def endpoint(base_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_BASE_URL", base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("COLUMNS", "160")
    return base_url


def test_all_figures_are_printed(endpoint: str, capsys: pytest.CaptureFixture[str]):
    assert calibrate_judge(None, PRICES, Wanted())
    said = capsys.readouterr().out
    head, *_ = [line for line in said.splitlines() if "repeat noise" in line]
    assert head.split("  ")[0].strip() == "dimension"
    quality = next(line for line in said.splitlines() if line.strip().startswith("quality") and "±" in line)
    # Noise, shift and bias of a judge that looks at the text alone are nothing; 28 calls gave 272 scores.
    assert re.search(r"quality +0\.00 +0\.00 +[+-]0\.00 ± 0\.00 +0\.10 +\d+\.\d+ +0\.0\d+ ", quality)
    assert "noise of quality and complexity over 2 judgements of each item" in said
    assert "search judge, scripted" in said


def test_judges_by_probabilities_are_asked_alone(endpoint: str, capsys: pytest.CaptureFixture[str]):
    assert calibrate_judge(None, EXPECTED, Wanted(held_out=True))
    said = capsys.readouterr().out
    assert "position bias of quality and complexity: none, each text is asked about by itself" in said
    assert "what changed: demonstrations in another order" in said
    assert "held-out judge, scripted" in said


def test_drift_is_shown_against_an_earlier_file(endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "calibration.json"
    assert calibrate_judge(None, EXPECTED, Wanted(out=path))
    capsys.readouterr()
    assert calibrate_judge(None, EXPECTED, Wanted(against=path))
    said = capsys.readouterr().out
    assert re.search(r"quality +AUC +(0\.\d\d|1\.00) +\1 +0\.00", said)
    assert "moved" not in said
    # One that ranked well and has the scale upside down now.
    made = json.loads(path.read_text())
    made["rankings"][1]["auc"] = 0.9
    path.write_text(json.dumps(made))
    turned = "judges.scorers.complexity={prompt = 'Task: {instruction}\\nComplexity:', grades = [6, 5, 4, 3, 2, 1]}"
    assert not calibrate_judge(None, [*EXPECTED, turned], Wanted(against=path, as_json=True, repeats=0))
    after = capsys.readouterr()
    assert json.loads(after.out)["judgements"] == 1
    assert "this judge ranked complexity before and no longer does" in after.err
    assert "ranked quality before" not in after.err


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"rankings": 3}'])
def test_a_file_that_is_no_calibration_is_named_before_anything_is_asked(text: str, tmp_path: Path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"other\.json: is not what `instructree calibrate --out` writes"):
        calibrate_judge(None, [], Wanted(against=path))
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read"):
        calibrate_judge(None, [], Wanted(against=tmp_path / "none.json"))


# -- before a run


def settings(judges: Judges, style: Style = Style.CHAT) -> WorkSettings:
    return WorkSettings(endpoints={"default": Endpoint(model="scripted", style=style)}, judges=judges)


def environment(base_url: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "k"}


def test_an_endpoint_that_gives_log_probabilities_is_taken(base_url: str):
    work = settings(Judges(quality="expected", complexity="expected"), Style.COMPLETION)
    assert check_endpoints(work, environment(base_url)) == work
    assert check_endpoints(work, environment(base_url), bench="held_out") == work


def test_one_that_gives_none_is_found_out_before_the_run(base_url: str):
    """The scripted model does not give them in chat."""
    judges = Judges(quality="expected")
    with pytest.raises(ConfigError, match="gives no log-probabilities, by which quality is scored"):
        check_endpoints(settings(judges), environment(base_url))
    said: list[str] = []
    falling = settings(judges.model_copy(update={"without_logprobs": "fallback"}))
    assert check_endpoints(falling, environment(base_url), say=said.append).judges.quality == "rubric"
    assert said == ["quality: the endpoint gives no log-probabilities; scored by the rubric instead"]
