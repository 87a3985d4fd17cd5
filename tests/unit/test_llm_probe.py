"""A look at an endpoint before anything is spent."""

import asyncio

import pytest

from db.errors import ServiceError
from workers.config import Endpoint, Style
from workers.llm.address import Address
from workers.llm.probe import Probe, list_models, probe
from workers.llm.scripted.faults import SeededPlan
from workers.llm.scripted.server import Script, ScriptedServer


def look(
    script: Script | None = None,
    *,
    key: str | None = None,
    model: str = "scripted",
    path: str = "",
    name: str = "default",
) -> Probe:
    async def ask() -> Probe:
        async with ScriptedServer(script) as server:
            address = Address(base_url=server.base_url + path, api_key=key)
            try:
                return await probe(address, Endpoint(model=model), name=name)
            finally:
                assert server.stats["paid_total"] == 0

    return asyncio.run(ask())


def told(script: Script | None = None, *, name: str = "default", **options: str) -> str:
    with pytest.raises(ServiceError) as caught:
        look(script, name=name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_endpoint_says_what_it_offers_and_nothing_is_paid():
    assert look(Script(models=("scripted", "other"), key="k"), key="k").models == ("scripted", "other")
    assert look(Script(models=("/models/small.gguf",)), model="small.gguf").models == ("/models/small.gguf",)


def test_both_styles_are_knocked_at():
    async def ask() -> None:
        async with ScriptedServer() as server:
            address = Address(base_url=server.base_url)
            await probe(address, Endpoint(model="scripted", style=Style.COMPLETION))
            assert server.stats["requests"] == {"/v1/models": 1, "/v1/completions": 1}
            assert await list_models(address) == ("scripted",)

    asyncio.run(ask())


def test_a_wrong_key_is_told_without_the_key():
    message = told(Script(key="right"), key="sk-wrong-canary")
    assert message.startswith("endpoint 'default' at http://127.0.0.1:") and "canary" not in message
    assert message.endswith("does not take this API key: set OPENAI_API_KEY")
    assert told(Script(key="right")).endswith("wants an API key: set OPENAI_API_KEY")
    assert "endpoints.judge.api_key_env" in told(Script(key="right"), name="judge")


def test_a_missing_model_is_told_with_some_that_are_there():
    message = told(Script(models=tuple(f"model-{i}" for i in range(9))), model="gpt-x")
    assert "has no model 'gpt-x'; it offers model-0, model-1, model-2, model-3, model-4 and 4 more" in message
    assert message.endswith("set endpoints.default.model to one of them")


def test_a_wrong_path_is_told():
    assert told(path="/v9").endswith("does not know the path: OPENAI_BASE_URL usually ends with /v1")


def test_nobody_there_is_told_with_the_cure():
    async def ask(name: str) -> None:
        await probe(Address(base_url="http://127.0.0.1:9/v1"), Endpoint(model="m"), name=name)

    with pytest.raises(ServiceError, match=r"at http://127\.0\.0\.1:9/v1 is not ready .*point OPENAI_BASE_URL to"):
        asyncio.run(ask("default"))
    with pytest.raises(
        ServiceError, match=r"point endpoints\.judge\.base_url in the file that INSTRUCTREE_CONFIG names"
    ):
        asyncio.run(ask("judge"))


def test_a_busy_endpoint_will_do():
    assert look(Script(rate=0.001, burst=1, plan=SeededPlan(fail_share=1.0))).models == ("scripted",)
