"""LoRA on chosen layers of a model, saved alone, in the layout of Hugging Face's PEFT.

    adapter_config.json            which layers, rank, alpha
    adapter_model.safetensors      A and B of each, nothing else

`peft.PeftModel.from_pretrained(model, folder)` loads what is written here, and gives the same logits;
`load_adapter` reads what PEFT wrote, as far as it is plain LoRA. A and B stand the same way round in
both. What does not is the weight beside them: GPT-2's layers in transformers are "Conv1D", whose
weights are (inputs, outputs), which PEFT has to be told ("fan_in_fan_out") before it merges.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from ...finetuning import LoRALinear, add_adapters
from ..errors import CourseError
from ..files import read_json, write_atomically, write_json

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # what PEFT puts before every name
GPT2_LAYERS = ("c_attn", "c_proj", "c_fc")  # every matrix inside a block
LLAMA_LAYERS = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)  # fmt: skip

# What changes the computation in ways that LoRALinear does not know, and the values that do not.
PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "modules_to_save": (None, []),
    "layers_to_transform": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "lora_bias": (False, None),
    "exclude_modules": (None, []),
    "target_parameters": (None, []),
}


def default_layers(model: nn.Module) -> tuple[str, ...]:
    """The linear layers inside the blocks, by the ends of their names."""
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    return LLAMA_LAYERS if "q_proj" in names else GPT2_LAYERS


def check_layers(model: nn.Module, layers: Sequence[str]) -> list[str]:
    """The names of all linear layers. Raises CourseError where one of `layers` is the end of none."""
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for layer in layers:
        if not any(f".{name}".endswith(f".{layer}") for name in linears):
            ends = sorted({name.rpartition(".")[2] for name in linears} - {"lm_head"})
            raise CourseError(
                f"no layer is called {layer}; --layers takes some of {', '.join(ends)}"
            )
        if layer.rpartition(".")[2] == "lm_head":
            raise CourseError("--layers lm_head: its table is the tokens' too; choose other layers")
    return linears


def put_adapters(
    model: nn.Module, layers: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put LoRA on the layers whose names end so, freeze all else, and return their whole names.

    The work is lesson 12's `add_adapters`; where that stretch step is not written, the same here.
    Raises CourseError for names that mean no layer, and for the head.
    """
    linears = check_layers(model, layers)
    try:
        return add_adapters(model, list(layers), rank, alpha, dropout)
    except NotImplementedError:
        pass
    chosen = [n for n in linears if any(f".{n}".endswith(f".{layer}") for layer in layers)]
    model.requires_grad_(False)
    for name in chosen:
        holder, _, last = name.rpartition(".")
        linear = model.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        setattr(model.get_submodule(holder), last, LoRALinear(linear, rank, alpha, dropout))
    return chosen


def adapters_of(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapters in a model, by the names of their layers."""
    return {n: module for n, module in model.named_modules() if isinstance(module, LoRALinear)}


def save_adapter(
    model: nn.Module, folder: str | Path, layers: Sequence[str], base: str, about: dict[str, str]
) -> None:
    """Write the adapters of `model` in PEFT's layout.

    layers: the ends of names that were asked for. base: what the model is called (a name on the hub,
    or the name of its folder). about: kept in the head of the weights' file, where PEFT ignores it.
    """
    adapters = adapters_of(model)
    first = next(iter(adapters.values()))
    rank = first.lora_A.shape[0]
    state = {}
    for name, adapter in adapters.items():
        for part, matrix in (("lora_A", adapter.lora_A), ("lora_B", adapter.lora_B)):
            state[f"{PREFIX}{name}.{part}.weight"] = (
                matrix.detach().to("cpu", torch.float32).contiguous()
            )
    with write_atomically(Path(folder) / WEIGHTS, "wb") as file:
        file.write(save(state, {"format": "pt"} | about))
    write_json(
        Path(folder) / CONFIG,
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "target_modules": list(layers),
            "r": rank,
            "lora_alpha": _plain(first.scale * rank),
            "lora_dropout": first.dropout.p,
            "fan_in_fan_out": any(".h." in name for name in adapters),  # GPT-2's Conv1D
            "bias": "none",
            "inference_mode": True,
        },
    )


def _plain(number: float) -> float | int:
    """16, not 16.0: PEFT writes whole alphas so."""
    return int(number) if number == int(number) else number


def read_adapter(
    folder: str | Path,
) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, str]]:
    """(configuration, matrices by name, what stands in the file's head). Raises CourseError."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f"no folder {folder}; name one that holds {CONFIG} and {WEIGHTS}")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise CourseError(f"{folder / CONFIG} does not describe an adapter")
    for name, plain in PLAIN.items():
        if config.get(name, plain[0]) not in plain:
            raise CourseError(
                f"{folder / CONFIG}: {name} is {config[name]!r}, which lesson 12 does not compute"
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, (int, float)):
        raise CourseError(f"{folder / CONFIG}: r is {rank!r} and lora_alpha {alpha!r}")
    if not (folder / WEIGHTS).is_file():
        raise CourseError(f"{folder} has no {WEIGHTS}; nothing pickled (.bin) is ever loaded")
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CourseError(
            f"{folder / WEIGHTS} is damaged or not safetensors ({error}); take another copy"
        ) from None
    return config, {name.removeprefix(PREFIX): matrix for name, matrix in state.items()}, about


def load_adapter(model: nn.Module, folder: str | Path) -> list[str]:
    """Put a saved adapter on a model that has none, and return the names of the layers.

    Reads what we and what PEFT wrote. Raises CourseError where it does not fit the model.
    """
    config, state, _ = read_adapter(folder)
    names = sorted({name.rpartition(".lora_")[0] for name in state})
    rank, alpha = config["r"], float(config["lora_alpha"])
    if config.get("use_rslora"):  # PEFT then divides by the root of the rank
        alpha *= math.sqrt(rank)
    modules = dict(model.named_modules())
    for name in names:
        if not isinstance(modules.get(name), nn.Linear):
            raise CourseError(
                f"{folder} has an adapter for {name}, and this model has no such layer"
            )
    placed = put_adapters(model, names, rank, alpha, float(config.get("lora_dropout") or 0.0))
    for name in placed:
        adapter = model.get_submodule(name)
        for part in ("lora_A", "lora_B"):
            matrix, own = state.pop(f"{name}.{part}.weight", None), getattr(adapter, part)
            if matrix is None or matrix.shape != own.shape:
                shape = "nothing" if matrix is None else tuple(matrix.shape)
                raise CourseError(
                    f"{folder}: {part} of {name} is {shape}, and should be {tuple(own.shape)}"
                )
            with torch.no_grad():
                own.copy_(matrix)
    if state:
        raise CourseError(f"{folder} holds {next(iter(state))}, which is no part of plain LoRA")
    return placed


def merge_adapters(model: nn.Module) -> None:
    """Add every adapter to its layer's weight and leave plain layers behind: an ordinary model."""
    for name, adapter in adapters_of(model).items():
        adapter.merge()
        holder, _, last = name.rpartition(".")
        setattr(model.get_submodule(holder), last, adapter.base)
