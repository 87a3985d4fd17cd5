"""The scripted model: the same answers for the same questions, plausible ones, counted, and broken on purpose."""

import asyncio
import json
import re
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from workers.judges.expected import expectation
from workers.llm.scripted import answers, writing
from workers.llm.scripted.answers import Temper, chance_of
from workers.llm.scripted.injections import INJECTIONS
from workers.llm.scripted.server import Script, ScriptedServer
from workers.prompting import quoted, render

SEED_TEXTS = (
    "Describe how bees make honey.",
    "What is the capital of Norway?",
    "Give three tips for staying healthy.",
    "Write a Python function that reverses a list.",
)
METHOD = "Add one key constraint to #The Given Prompt#."


def chat(text: str, **options: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **options}


def evolve(instruction: str, method: str = METHOD, seed: int = 1) -> str:
    return answers.chat(chat(render("chat/evolve.j2", instruction=instruction, method=method)), seed).text


def rubric(*texts: str, parent: str | None = None) -> str:
    dimensions = [{"name": name, "meaning": "m", "low": "l", "high": "h"} for name in ("quality", "complexity")]
    candidates = [{"id": "ABCDEFGH"[i], "text": text} for i, text in enumerate(texts)]
    return render("chat/rubric.j2", dimensions=dimensions, candidates=candidates, parent=parent)


@pytest.mark.parametrize("seed_text", SEED_TEXTS)
def test_evolutions_are_longer_distinct_and_on_topic(seed_text: str):
    made = {evolve(seed_text, f"{METHOD} {i}") for i in range(12)}
    assert len(made) == 12
    for text in made:
        assert len(text) > len(seed_text) and "\n" not in text
        assert all(word in text for word in writing.topic_words(seed_text))


def test_evolution_can_go_on():
    text = SEED_TEXTS[0]
    for _ in range(8):
        longer = evolve(text)
        assert longer != text and 4 <= len(longer.split()) <= 200
        text = longer


def test_the_same_question_has_the_same_answer_and_another_seed_another():
    assert evolve(SEED_TEXTS[0]) == evolve(SEED_TEXTS[0])
    assert evolve(SEED_TEXTS[0]) != evolve(SEED_TEXTS[0], seed=2)


def test_a_brand_new_one_is_another_task():
    text = evolve("Describe how bees make honey.", "Create a brand new one of the same domain.")
    assert not text.startswith("Describe how bees") and "bees" in text


def test_siblings_are_scored_whether_or_not_a_schema_is_given():
    question = rubric(
        "Say hello.", "Compare three banks, justify each claim with evidence and give a table with 4 columns."
    )
    schema = {"response_format": {"type": "json_schema", "json_schema": {"name": "scores", "schema": {}}}}
    for options in ({}, schema):
        scores = json.loads(answers.chat(chat(question, **options), 1).text)["scores"]
        assert [item["id"] for item in scores] == ["A", "B"]
        assert all(set(item) == {"id", "quality", "complexity"} for item in scores)
        assert all(1 <= item[name] <= 6 for item in scores for name in ("quality", "complexity"))
        assert scores[0]["complexity"] < scores[1]["complexity"]


def test_the_parent_is_an_anchor_and_gets_no_score():
    scores = json.loads(answers.chat(chat(rubric("Say hello.", parent="Say hi.")), 1).text)["scores"]
    assert [item["id"] for item in scores] == ["A"]


def test_scores_grow_along_evolutions_with_some_noise():
    parents, children = [], []
    for i in range(40):
        text = SEED_TEXTS[i % len(SEED_TEXTS)]
        parents.append(writing.grade(text, "complexity", chance_of(1, i)))
        children.append(writing.grade(evolve(text, f"{METHOD} {i}"), "complexity", chance_of(2, i)))
    assert statistics.mean(children) > statistics.mean(parents) + 0.5
    assert len({round(value, 2) for value in parents}) > 10


def test_tags_are_one_to_six():
    candidates = [{"id": "A", "text": "Say hello."}, {"id": "B", "text": evolve(evolve(SEED_TEXTS[3]))}]
    items = json.loads(answers.chat(chat(render("chat/tags.j2", candidates=candidates)), 1).text)["tags"]
    assert [item["id"] for item in items] == ["A", "B"]
    assert all(1 <= len(item["tags"]) <= 6 and len(set(item["tags"])) == len(item["tags"]) for item in items)
    assert len(items[0]["tags"]) < len(items[1]["tags"])


def test_a_response_speaks_of_the_instruction_and_is_cut_where_it_must_be():
    question = chat(render("chat/respond.j2", instruction="Describe how bees make honey."))
    made = answers.chat(question, 1)
    assert "bees" in made.text and made.finish_reason == "stop" and len(made.text.split()) > 20
    short = answers.chat({**question, "max_tokens": 5}, 1)
    assert short.finish_reason == "length" and short.tokens_out == 5


def few_shot(label: str, last: str = "") -> str:
    return f"Task: Name a colour.\n{label}: Red.\n\nTask: {SEED_TEXTS[0]}\n{label}:{last}"


def test_few_shot_prompts_are_continued():
    stop = {"model": "scripted", "stop": ["\n"]}
    evolved = answers.completion({**stop, "prompt": few_shot("The same task with a goal added")}, 1).text
    assert evolved.startswith(f" {SEED_TEXTS[0]}") and "\n" not in evolved
    tags = answers.completion({**stop, "prompt": few_shot("Intents")}, 1).text
    assert 1 <= len(tags.split(",")) <= 6
    response = answers.completion({**stop, "prompt": few_shot("Answer")}, 1).text
    assert "bees" in response and not response.startswith(f" {SEED_TEXTS[0]}")
    begun = answers.completion({**stop, "prompt": few_shot("The same task", f" {SEED_TEXTS[0]} Make sure")}, 1).text
    assert "Describe" not in begun and "bees" in begun and begun.endswith(".")


@pytest.mark.parametrize(("last", "token"), [("", r" [1-6]"), (" ", r"[1-6]")])
def test_a_scoring_prompt_gets_a_distribution_over_the_grades(last: str, token: str):
    made = answers.completion({"prompt": few_shot("Difficulty", last), "logprobs": 20, "max_tokens": 1}, 1)
    assert made.alternatives is not None and re.fullmatch(token, made.text)
    assert sum(bool(re.fullmatch(token, name)) for name in made.alternatives) == 6
    assert 1 < graded(made.alternatives) < 4


def test_the_grades_of_a_scoring_prompt_follow_the_text():
    plain, rich = (
        answers.completion({"prompt": f"Task: {text}\nDifficulty: ", "logprobs": 10}, 1).alternatives
        for text in ("Say hello.", evolve(evolve(evolve(SEED_TEXTS[3]))))
    )
    assert graded(plain) + 1 < graded(rich)


def graded(alternatives: Mapping[str, float] | None) -> float:
    grade = expectation(alternatives or {})
    assert isinstance(grade, float)
    return grade


def test_near_texts_have_near_embeddings():
    def cosine(a: str, b: str) -> float:
        return sum(x * y for x, y in zip(answers.embedding(a), answers.embedding(b), strict=True))

    assert cosine("bees make honey", "honey that bees make") > 0.8
    assert abs(cosine("bees make honey", "interest rates rose sharply")) < 0.6


def test_the_official_client_understands_the_server():
    async def ask() -> None:
        async with ScriptedServer() as server, openai.AsyncOpenAI(base_url=server.base_url, api_key="k") as client:
            assert [model.id async for model in client.models.list()] == ["scripted"]
            said = await client.chat.completions.create(model="scripted", messages=[{"role": "user", "content": "Hi"}])
            assert said.choices[0].message.content and said.usage and said.usage.total_tokens > 0
            scored = await client.completions.create(model="scripted", prompt="Task: A\nScore: ", logprobs=5)
            logprobs = scored.choices[0].logprobs
            assert logprobs and logprobs.top_logprobs and len(logprobs.top_logprobs[0]) == 5
            vectors = await client.embeddings.create(model="scripted", input=["a b", "c"], encoding_format="float")
            assert [len(item.embedding) for item in vectors.data] == [64, 64]

    asyncio.run(ask())


async def statuses(server: ScriptedServer, *bodies: object, key: str | None = None) -> list[int]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        found = []
        for body in bodies:
            data = body if isinstance(body, str) else json.dumps(body)
            async with session.post(f"{server.base_url}/chat/completions", data=data) as response:
                found.append(response.status)
                await response.read()
        return found


def test_the_server_refuses_as_others_do_and_counts():
    async def ask() -> None:
        async with ScriptedServer(Script(key="right")) as server:
            assert await statuses(server, {}, chat("a"), key="wrong") == [401, 401]
            bad = [{}, [], "{", "[" * 100_000, {"model": 3, "messages": []}, {"model": "other", "messages": []}]
            assert await statuses(server, *bad, key="right") == [400, 400, 400, 400, 400, 404]
            assert await statuses(server, chat("a"), chat("b"), chat("a"), key="right") == [200, 200, 200]
            async with aiohttp.ClientSession() as session:
                root = server.base_url.removesuffix("/v1")
                stats = await (await session.get(f"{root}/stats")).json()
                assert (await session.get(f"{root}/health")).status == 200
            assert stats == {**server.stats, "answered_last_second": stats["answered_last_second"]}
            assert (stats["paid_total"], stats["repaid"], len(stats["bodies"])) == (3, 1, 2)
            assert stats["statuses"] == {"401": 2, "400": 5, "404": 1, "200": 3}

    asyncio.run(ask())


def test_marking_what_is_quoted_saves_a_gullible_judge():
    def grades(text: str, temper: Temper) -> list[tuple[int, int]]:
        made = answers.chat(chat(rubric(text, "Say goodbye."), max_tokens=4096), 1, temper=temper)
        return [(item["quality"], item["complexity"]) for item in json.loads(made.text)["scores"]]

    texts = [f"Say hello. {injection}" for injection in INJECTIONS]
    fooled = [text for text in texts if grades(text, Temper.GULLIBLE)[0] == (6, 6)]
    assert fooled and all(">>>" in text for text in fooled)
    for text in texts:
        honest = grades(quoted(text), Temper.HONEST)
        assert grades(quoted(text), Temper.GULLIBLE) == honest
        assert len(honest) == 2 and honest[0] != (6, 6)


@contextmanager
def start(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The endpoint as a process, which is gone when the block ends, however it ends."""
    command = [sys.executable, "-m", "workers.llm.scripted", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_prints_its_address_serves_and_stops_when_told():
    with start("--port", "0", "--model", "tiny") as first:
        assert first.stdout is not None
        url = first.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1", url)
        with urllib.request.urlopen(f"{url}/models", timeout=10) as response:
            assert json.load(response)["data"][0]["id"] == "tiny"
        with start("--port", url.split(":")[2].split("/")[0]) as second:
            assert second.wait(timeout=30) == 2 and second.stderr is not None
            assert re.fullmatch(r"port \d+ cannot be used: .*\n", second.stderr.read())
        first.terminate()
        assert first.wait(timeout=10) == 0


def stats_of(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats", timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def asking(url: str, text: str) -> urllib.request.Request:
    return urllib.request.Request(f"{url}/chat/completions", data=json.dumps(chat(text)).encode())


def test_the_count_outlives_a_kill(tmp_path: Path):
    """The endpoint is killed over an answer that it is sending; the next one on its port knows what was paid."""
    journal = str(tmp_path / "journal")
    with start("--journal", journal) as first:
        assert first.stdout is not None
        url = first.stdout.readline().strip()
        urllib.request.urlopen(asking(url, "whole"), timeout=10).close()
        assert stats_of(url)["paid_total"] == 1
    again = ("--journal", journal, "--port", url.split(":")[2].split("/")[0])
    with start(*again, "--drip-share", "1", "--drip-s", "3600") as second:
        assert second.stdout is not None and second.stdout.readline().strip() == url
        with urllib.request.urlopen(asking(url, "begun"), timeout=10) as answer:
            assert answer.read(1)
            assert (stats_of(url)["paid_total"], stats_of(url)["spoiled"]) == (2, 0)
            second.kill()
    with start(*again) as third:
        assert third.stdout is not None and third.stdout.readline().strip() == url
        stats = stats_of(url)
        assert (stats["paid_total"], stats["repaid"], stats["spoiled_by"]) == (2, 0, {"killed": 1})
        urllib.request.urlopen(asking(url, "begun"), timeout=10).close()
        assert (stats_of(url)["repaid"], stats_of(url)["repaid_unexplained"]) == (1, 0)
        urllib.request.urlopen(asking(url, "whole"), timeout=10).close()
        assert (stats_of(url)["repaid"], stats_of(url)["repaid_unexplained"]) == (2, 1)


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path):
    with start("--journal", str(tmp_path / "nowhere" / "journal")) as server:
        assert server.wait(timeout=30) == 2 and server.stderr is not None
        assert re.fullmatch(r".*/nowhere/journal cannot be used: No such file or directory\n", server.stderr.read())
