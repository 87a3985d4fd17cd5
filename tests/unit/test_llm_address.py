"""Addresses of endpoints: what the environment and the file may say, and what is told about mistakes."""

from pathlib import Path

import pytest

from db.errors import ConfigError, ServiceError
from workers.llm.address import address_of, addresses, is_loopback

KEY = "sk-canary-123456"


def config(folder: Path, text: str) -> dict[str, str]:
    path = folder / "instructree.toml"
    path.write_text(text)
    return {"INSTRUCTREE_CONFIG": str(path)}


def test_the_default_endpoint_comes_from_the_two_known_variables():
    book = addresses({"OPENAI_BASE_URL": "https://models.test/v1/", "OPENAI_API_KEY": f" {KEY}\n"})
    assert book["default"].base_url == "https://models.test/v1"
    assert book["default"].api_key == KEY


def test_a_key_alone_means_openai_and_nothing_means_nothing():
    assert addresses({"OPENAI_API_KEY": KEY})["default"].base_url.startswith("https://")
    assert addresses({}) == {}


def test_the_key_may_be_in_a_file(tmp_path: Path):
    (tmp_path / "key").write_text(f"{KEY}\n")
    book = addresses({"OPENAI_BASE_URL": "https://models.test/v1", "OPENAI_API_KEY_FILE": str(tmp_path / "key")})
    assert book["default"].api_key == KEY


def test_no_repr_shows_a_key():
    book = addresses({"OPENAI_BASE_URL": "https://models.test/v1", "OPENAI_API_KEY": KEY})
    assert KEY not in repr(book) and KEY not in str(book["default"])


def test_named_endpoints_come_from_the_file_and_traits_there_are_no_concern_of_ours(tmp_path: Path):
    environment = config(
        tmp_path,
        '[endpoints.judge]\nbase_url = "http://127.0.0.1:9/v1"\napi_key_env = "JUDGE_KEY"\nmodel = "m"\n'
        '[endpoints.default]\nmodel = "n"\n[search]\niterations = 3\n',
    )
    book = addresses({**environment, "JUDGE_KEY": KEY, "OPENAI_BASE_URL": "http://localhost:8/v1"})
    assert {name: found.base_url for name, found in book.items()} == {
        "judge": "http://127.0.0.1:9/v1",
        "default": "http://localhost:8/v1",
    }
    assert (book["judge"].api_key, book["default"].api_key) == (KEY, None)


def test_the_environment_wins_over_the_file_and_a_key_alone_does_not(tmp_path: Path):
    environment = config(tmp_path, '[endpoints.default]\nbase_url = "http://127.0.0.1:9/v1"\n')
    assert addresses({**environment, "OPENAI_BASE_URL": "http://[::1]:8/v1"})["default"].base_url == "http://[::1]:8/v1"
    assert addresses({**environment, "OPENAI_API_KEY": KEY})["default"].base_url == "http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://models.test/v1",
        "models.test/v1",
        "http://",
        "https://models.test:99999/v1",
        "file:///etc/passwd",
        "https://a b/",
    ],
)
def test_an_address_that_is_none_is_refused_with_the_variable_and_an_example(url: str):
    with pytest.raises(ConfigError, match=r"^OPENAI_BASE_URL is no address of a model server: expected something like"):
        addresses({"OPENAI_BASE_URL": url})


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError) as refused:
        addresses({"OPENAI_BASE_URL": "https://me:hunter2@models.test/v1"})
    assert "hunter2" not in str(refused.value) and "OPENAI_API_KEY" in str(refused.value)


def test_plain_http_leaves_this_machine_only_by_consent():
    url = {"OPENAI_BASE_URL": "http://models.test/v1"}
    with pytest.raises(ConfigError, match=r"plain http to models\.test .* INSTRUCTREE_ALLOW_HTTP=1"):
        addresses(url)
    assert addresses({**url, "INSTRUCTREE_ALLOW_HTTP": "1"})["default"].base_url == url["OPENAI_BASE_URL"]


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("LOCALHOST.", True),
        ("localhost.evil.test", False),
        ("127.0.0.1.evil.test", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
    ],
)
def test_what_counts_as_this_machine(host: str, here: bool):
    assert is_loopback(host) is here


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("endpoints = 3\n", "endpoints must be tables"),
        ("[endpoints.a]\nbase_url = 3\n", "endpoints.a.base_url must be a text"),
        ('[endpoints.a]\nbase_url = "x"\n', "endpoints.a.base_url is no address"),
        ('[endpoints.a]\nbase_url = "http://127.0.0.1/v1"\napi_key = "k"\n', "endpoints.a.api_key: keys do not belong"),
        ('[endpoints.a]\nbase_url = "http://127.0.0.1/v1"\napi_key_env = "NO"\n', "names NO, which is not set"),
        ("[endpoints\n", "is not a TOML file"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_file_and_key(tmp_path: Path, text: str, told: str):
    with pytest.raises(ConfigError) as refused:
        addresses(config(tmp_path, text))
    assert told in str(refused.value) and "instructree.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_told():
    with pytest.raises(ConfigError, match=r"INSTRUCTREE_CONFIG: /no/such\.toml cannot be read"):
        addresses({"INSTRUCTREE_CONFIG": "/no/such.toml"})


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated(key: str):
    with pytest.raises(ConfigError) as refused:
        addresses({"OPENAI_API_KEY": key})
    assert key not in str(refused.value)


def test_an_endpoint_without_address_says_what_to_set():
    with pytest.raises(ServiceError, match=r"set OPENAI_BASE_URL .* `instructree up`"):
        address_of({}, "default")
    with pytest.raises(ServiceError, match=r"add base_url under \[endpoints\.judge\] to .* INSTRUCTREE_CONFIG"):
        address_of({}, "judge")
