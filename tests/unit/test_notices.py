"""Webhook and command: what they send, what they refuse, and that neither can hold anybody up for long."""

import json
import os
import socket
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from db.errors import ConfigError
from db.notices import Notice
from orchestrator.notices import channels, stall_s
from orchestrator.notices.channels import Command, Untold, Webhook
from orchestrator.notices.message import FIGURES, body_of
from tests.listening import SECRET, listening


def webhook(url: str, answer_s: float = 10) -> Webhook:
    return replace(Webhook.of(url, {}), answer_s=answer_s)


def test_a_webhook_is_sent_json():
    with listening() as server:
        webhook(server.url).tell(b'{"event": "done"}')
    assert server.heard == [(f"/hook/{SECRET}", {"event": "done"})]


@pytest.mark.parametrize("code", [301, 307, 404, 500])
def test_an_answer_that_is_no_yes_is_a_failure_and_no_redirect_is_followed(code: int):
    with listening(code) as server, pytest.raises(Untold, match=f"^answered {code}") as failed:
        webhook(server.url).tell(b"{}")
    assert len(server.heard) == 1
    assert SECRET not in str(failed.value)


def test_a_webhook_that_hangs_or_drips_is_left_after_its_time():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(Untold, match=r"no answer within 0\.3 s"):
            webhook(f"http://127.0.0.1:{port}/{SECRET}", 0.3).tell(b"{}")
        assert time.monotonic() - began < 5

        def drip() -> None:
            deaf.accept()[0].close()  # the one that was left
            line, _ = deaf.accept()
            with line:
                for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000:
                    try:
                        line.send(bytes([byte]))
                    except OSError:
                        return
                    time.sleep(0.05)

        dripping = Thread(target=drip)
        dripping.start()
        with pytest.raises(Untold, match=r"no answer within 0\.5 s"):
            webhook(f"http://127.0.0.1:{port}/", 0.5).tell(b"{}")
        dripping.join(10)
        assert not dripping.is_alive()


def test_a_refused_connection_names_no_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Untold, match="cannot be reached") as failed:
        webhook(f"http://127.0.0.1:{port}/{SECRET}").tell(b"{}")
    assert SECRET not in str(failed.value) and failed.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    [
        *(f"ftp://host/{SECRET}", f"https:///{SECRET}", f"http://host:x/{SECRET}", f"https://host/{SECRET} x"),
        *(f"https://host/{SECRET}\n", f"http://example.org/{SECRET}", f"//host/{SECRET}", "https://[::1/x", "x"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_being_quoted(url: str):
    with pytest.raises(ConfigError, match="INSTRUCTREE_WEBHOOK") as refused:
        Webhook.of(url, {})
    assert SECRET not in str(refused.value)


def test_nothing_made_of_a_webhook_shows_more_than_its_host():
    hook = Webhook.of(f"https://user:{SECRET}@hooks.example.org/{SECRET}?{SECRET}", {})
    assert hook.place == "webhook at hooks.example.org"
    assert SECRET not in f"{hook} {hook!r} {hook.place}"
    assert Webhook.of("http://hooks.example.org/x", {"INSTRUCTREE_ALLOW_HTTP": "1"}).host == "hooks.example.org"


def script(folder: Path, text: str) -> str:
    """A command line that runs this, its path with a space in it."""
    path = folder / "a script.py"
    path.write_text(text)
    return f'{sys.executable} "{path}"'


def test_a_command_gets_the_json_on_standard_input_and_no_shell(tmp_path: Path):
    out = tmp_path / "out"
    line = script(tmp_path, "import sys; open(sys.argv[1], 'w').write(sys.stdin.read() + sys.argv[2])")
    Command.of(f"{line} '{out}' '$(touch {tmp_path}/shell)'").tell(b'{"event": "done"}')
    assert out.read_text() == '{"event": "done"}' + f"$(touch {tmp_path}/shell)"
    assert not (tmp_path / "shell").exists()


def test_a_command_that_reads_nothing_is_told_and_one_that_fails_is_not():
    Command.of("true").tell(b"x" * 1_000_000)
    with pytest.raises(Untold, match="ended with code 1"):
        Command.of("false").tell(b"{}")


def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path: Path):
    child = tmp_path / "child"
    line = script(
        tmp_path,
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n",
    )
    began = time.monotonic()
    with pytest.raises(Untold, match="took longer than 3 s and was killed"):
        replace(Command.of(line), patience_s=3).tell(b"{}")
    assert time.monotonic() - began < 20
    state = Path(f"/proc/{child.read_text()}/stat")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "its child lives on"
        time.sleep(0.05)


@pytest.mark.parametrize("line", ["  ", "'", "no-such-program-of-ours --x", os.devnull])
def test_a_command_line_that_is_none_is_refused_at_the_start(line: str):
    with pytest.raises(ConfigError, match="INSTRUCTREE_NOTIFY_COMMAND"):
        Command.of(line)


def test_channels_are_what_the_environment_or_its_files_name(tmp_path: Path):
    (tmp_path / "hook").write_text("https://hooks.example.org/x\n")
    assert channels({}) == []
    both = channels({"INSTRUCTREE_WEBHOOK_FILE": str(tmp_path / "hook"), "INSTRUCTREE_NOTIFY_COMMAND": "true -x"})
    assert [channel.place for channel in both] == ["webhook at hooks.example.org", "command true"]


def test_minutes_until_a_stall_are_told():
    assert stall_s({}) == 900
    assert stall_s({"INSTRUCTREE_STALL_MINUTES": "0"}) is None
    assert stall_s({"INSTRUCTREE_STALL_MINUTES": "2.5"}) == 150
    for wrong in ("soon", "-1", "nan", "1e9"):
        with pytest.raises(ConfigError, match="INSTRUCTREE_STALL_MINUTES"):
            stall_s({"INSTRUCTREE_STALL_MINUTES": wrong})


def test_what_is_said_has_the_figures_and_nothing_that_steers_a_terminal():
    hostile = 'x\x1b[2J\u202e"}</script>\n<!channel>\ud800\x00'
    notice = Notice(
        id=7,
        run_id=1,
        event="paused",
        channel="webhook",
        reason=hostile * 100,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        attempts=1,
    )
    status = dict.fromkeys(FIGURES, 3) | {"name": hostile, "recipe": "idea-mcts", "usd": None}
    said = json.loads(body_of(notice, status))
    assert (said["id"], said["event"], said["at"]) == (7, "paused", "2026-01-02T00:00:00+00:00")
    assert said["figures"] == {name: None if name == "usd" else 3 for name in FIGURES}
    assert said["run"] == hostile  # a name is a name: whoever looks it up needs it whole
    assert len(said["reason"]) == 500
    assert said["text"].isprintable() and said["text"].endswith(": 3 rows, 3 calls.")
    assert b"\x1b" not in body_of(notice, status)
