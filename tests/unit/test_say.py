"""What others wrote, such as model ids, on a terminal."""

import pytest

from db.errors import ConfigError
from orchestrator import cli
from orchestrator.cli.say import plain, print_line, say

HOSTILE = "a\x1b]0;owned\x07b\nc\u202ed\u2066e\x9bf"


def test_nothing_of_it_commands_a_terminal_or_turns_its_writing_round(capsys: pytest.CaptureFixture[str]):
    say(HOSTILE)
    print_line(HOSTILE)
    out, err = capsys.readouterr()
    assert out == err == "a?]0;owned?b c?d?e?f\n"


def test_writing_of_all_the_world_stays():
    for text in ("häßlich", "日本語", "مرحبا", "🙂 [bold] {0}", "a  b"):
        assert plain(text) == text


def test_an_error_that_quotes_a_model_id_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch):
    def fail() -> None:
        raise ConfigError(f"endpoint 'default' offers 2 models such as {HOSTILE}")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2
    assert err.count("\n") == 1 and err.endswith("such as a?]0;owned?b c?d?e?f\n")
