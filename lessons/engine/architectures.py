"""The two kinds of model that the engine trains: GPT-2's (lesson 05) and Llama's (lesson 11).

Both are called and loaded alike, so nearly everything else need not know which one it has. Lesson 11
is imported only where a Llama is asked for: whoever has not come so far can do without.
"""

from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from ..model import GPT, GPTConfig
from . import pretrained
from .errors import CourseError
from .weight_files import read_settings

NAMES = {"gpt2": "GPT-2", "llama": "Llama"}
ROUND_TO = 8  # inner widths that fill the processor's registers
LLAMA_ONLY = ("n_kv_head", "rope_theta")
INT8_FORMAT = "course-int8"  # what `compression/saving.py` writes


def modern() -> ModuleType:
    """Lesson 11. Raises CourseError where this course does not hold it."""
    try:
        from .. import modern as found
    except ImportError as error:
        if error.name is not None and not error.name.endswith(
            ("modern", __package__.split(".")[0])
        ):
            raise
        raise CourseError(
            "this course does not hold lesson 11 (modern.py), which a Llama is made of; use --arch gpt2"
        ) from None
    return found


def architecture_of(model: Any) -> str:
    """Say "gpt2" or "llama": only Llama's configuration has heads of keys and values."""
    return "llama" if hasattr(getattr(model, "config", None), "n_kv_head") else "gpt2"


def make_config(arch: str, vocab_size: int, shape: dict[str, Any]) -> Any:
    """The model's configuration: a GPTConfig or a LlamaConfig. Raises CourseError."""
    make = GPTConfig if arch == "gpt2" else modern().LlamaConfig
    try:
        return make(vocab_size=vocab_size, **shape)
    except ValueError as error:
        raise CourseError(f"no {NAMES[arch]} of this shape: {error}") from None


def make_model(config: Any) -> Any:
    """A new model of that configuration."""
    return GPT(config) if isinstance(config, GPTConfig) else modern().Llama(config)


def llama_shape(shape: dict[str, Any], wishes: dict[str, Any]) -> dict[str, Any]:
    """A GPT's shape with Llama's parts: about as many parameters, so that the two can be compared.

    shape: GPTConfig's fields but the vocabulary. wishes: what a person really said.
    SwiGLU has three matrices where GPT-2's MLP has two, so its inner width is two thirds (8/3 of the
    model's width). Two heads of queries share one of keys and values, where that comes out even.
    """
    n_head, usual = shape["n_head"], shape["n_inner"] or 4 * shape["n_embd"]
    inner = max(ROUND_TO, round(2 * usual / 3 / ROUND_TO) * ROUND_TO)
    return shape | {
        "n_inner": wishes.get("n_inner", inner),
        "n_kv_head": wishes.get("n_kv_head", n_head // 2 if n_head % 2 == 0 else n_head),
        "rope_theta": wishes.get("rope_theta", 10000.0),
        "tie_weights": True,  # as our GPTs, and as SmolLM2
    }


def load_model(folder: str | Path) -> Any:
    """Load a model of either kind, in int8 too, from a folder; in evaluation mode, on the CPU."""
    folder = Path(folder)
    settings = read_settings(folder) if (folder / "config.json").exists() else {}
    if settings.get("format") == INT8_FORMAT:
        from .compression.saving import load_int8

        return load_int8(folder)
    if settings.get("model_type") == "llama":
        modern()  # says so where there is none
        from .llama_files import load_llama

        return load_llama(folder, network=False)
    return pretrained.load_model(folder)


def load_any(name_or_folder: str | Path, network: bool = True) -> Any:
    """The same by a hub name too: from the local cache, else, where `network` allows it, the hub."""
    return load_model(pretrained.find_folder(str(name_or_folder), network))


def save_model(model: Any, folder: str | Path, end_of_text: int | None = None) -> None:
    """Save a model of either kind: for transformers wherever it can hold the shape."""
    if architecture_of(model) == "llama":
        from .llama_files import write_llama

        write_llama(model, folder, end_of_text)
    else:
        pretrained.save_model(model, folder, end_of_text)


def describe(config: Any) -> str:
    """A model's shape in a few words."""
    values = asdict(config)
    shared = f" (keys and values of {values['n_kv_head']})" if "n_kv_head" in values else ""
    return (
        f"{values['n_layer']} layers, {values['n_head']} heads{shared}, {values['n_embd']} channels, "
        f"context {values['block_size']:,}"
    )
