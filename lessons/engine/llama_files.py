"""Llama models on disk: folders, the hub and its cache, and the way back.

One layout, that of transformers' LlamaForCausalLM (SmolLM2, TinyLlama and Llama itself among others):
a `config.json` and weights in safetensors, whole or in several files. Weights are 32-bit floats in
memory and in what we write. Every way in which a folder can be wrong ends in one CourseError, and so
does whatever lesson 11 does not compute: a model that loads is a model that computes the same.
"""

from pathlib import Path
from typing import Any

import torch

from ..modern import Llama, LlamaConfig, convert_llama_weights
from .errors import CourseError
from .pretrained import check_layers, fill, find_folder
from .weight_files import (
    check_computed,
    check_head,
    check_share,
    check_size,
    check_switch,
    read_settings,
    read_weights,
    write_for_transformers,
)

# Our name of a size, transformers', and the value where the file is silent.
LLAMA_SIZES: tuple[tuple[str, str, int | None], ...] = (
    ("vocab_size", "vocab_size", 32000),
    ("block_size", "max_position_embeddings", 2048),
    ("n_layer", "num_hidden_layers", 32),
    ("n_head", "num_attention_heads", 32),
    ("n_kv_head", "num_key_value_heads", None),  # as many as heads
    ("n_embd", "hidden_size", 4096),
    ("n_inner", "intermediate_size", 11008),
    ("head_size", "head_dim", None),  # n_embd // n_head
)

# Fields that change the computation, each with what lesson 11 computes; the first is the default.
COMPUTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "quantization_config": (None,),
    "rope_interleaved": (False, None),
    "partial_rotary_factor": (None, 1.0, 1),
}
TABLE, HEAD = "model.embed_tokens.weight", "lm_head.weight"
UNUSED = "rotary_emb.inv_freq"  # the angles' speeds, which old files keep; they follow from theta


def load_llama(name_or_folder: str | Path, network: bool = True) -> Llama:
    """Load a Llama from a folder, or by its hub name: from the local cache, else from the hub.

    network: whether the hub may be asked. Without it nothing is sent, and nothing waits.
    Returns it in evaluation mode, on the CPU.
    """
    folder = find_folder(str(name_or_folder), network)
    config = llama_config(read_settings(folder), folder / "config.json")
    state = our_names(read_weights(folder), config, folder)
    check_head(state.get(HEAD), state.get(TABLE), config.tie_weights, folder)
    if config.tie_weights and TABLE in state:
        state[HEAD] = state[TABLE]
    check_layers(state, "model.layers.", config.n_layer, folder)
    with torch.device("meta"):  # shapes only: no memory, no random numbers for nothing
        model = Llama(config)
    fill(model, state, folder)
    if config.tie_weights:
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def our_names(
    state: dict[str, torch.Tensor], config: LlamaConfig, where: Path
) -> dict[str, torch.Tensor]:
    """The weights under the names of lesson 11, which are transformers'.

    A file of the model without its head lacks "model." in front. Meta's own names are the business
    of lesson 11's stretch step.
    """
    if "tok_embeddings.weight" in state:
        try:
            return convert_llama_weights(state, config.n_head, config.n_kv_head)
        except (KeyError, ValueError, RuntimeError) as error:
            raise CourseError(f"{where}: these weights do not fit together ({error})") from None
    return {
        name if name.startswith(("model.", "lm_head.")) else f"model.{name}": tensor
        for name, tensor in state.items()
        if not name.endswith(UNUSED)
    }


def llama_config(settings: dict[str, Any], where: Path) -> LlamaConfig:
    """transformers' configuration as ours; refuses what lesson 11 does not compute."""
    check_computed(settings, COMPUTED, "this Llama", where)
    values: dict[str, Any] = {}
    for ours, theirs, default in LLAMA_SIZES:
        value = settings.get(theirs, default)
        if value is not None or default is not None:
            values[ours] = check_size(value, theirs, where)
    values.setdefault("n_kv_head", values["n_head"])
    if values.get("head_size") == values["n_embd"] // values["n_head"]:
        del values["head_size"]  # transformers always writes it
    values["rope_theta"] = rope_theta(settings, where)
    for ours, theirs, silent in (
        ("rms_norm_eps", "rms_norm_eps", 1e-6),
        ("dropout", "attention_dropout", 0.0),
    ):
        values[ours] = check_share(settings.get(theirs, silent), theirs, where)
    tied = settings.get("tie_word_embeddings", False)
    values["tie_weights"] = check_switch(tied, "tie_word_embeddings", where)
    try:
        return LlamaConfig(**values)
    except ValueError as error:
        raise CourseError(f"{where}: {error}") from None


def rope_theta(settings: dict[str, Any], where: Path) -> float:
    """The base of the rotary angles. Old files have `rope_theta`, new ones `rope_parameters`.

    Long-context models stretch the angles (`rope_scaling`, or a `rope_type` other than "default");
    loaded without it they would speak, and slowly lose the thread.
    """
    theta = settings.get("rope_theta", 10000.0)
    for field in ("rope_scaling", "rope_parameters"):
        values = settings.get(field)
        if values is None:
            continue
        if not isinstance(values, dict):
            raise CourseError(f"{where}: {field} cannot be {values!r}")
        kind = values.get("rope_type", values.get("type", "default"))
        if kind != "default" or values.get("partial_rotary_factor", 1.0) != 1.0:
            raise CourseError(
                f"{where}: {field} is {values!r}, which this Llama does not compute; it turns by the "
                'plain angles only (rope_type "default", all channels)'
            )
        theta = values.get("rope_theta", theta)
    if type(theta) not in (int, float) or not 0 < theta < float("inf"):
        raise CourseError(f"{where}: rope_theta cannot be {theta!r}")
    return float(theta)


def save_llama(model: Llama, folder: str | Path, end_of_text: int | None = None) -> None:
    """Save for transformers' LlamaForCausalLM. end_of_text: the id that ends a text.

    Raises CourseError for heads that do not divide n_embd, which transformers refuses.
    """
    config = model.config
    if config.n_embd % config.n_head:
        raise CourseError(
            f"transformers cannot hold this model: its {config.n_head} heads do not divide n_embd "
            f"= {config.n_embd}; choose other sizes"
        )
    write_llama(model, folder, end_of_text)


def write_llama(model: Llama, folder: str | Path, end_of_text: int | None = None) -> None:
    """The same for any number of heads: a checkpoint of ours must be saved in any case."""
    config, state = model.config, dict(model.state_dict())
    if config.tie_weights:
        del state[HEAD]
    sizes = {theirs: getattr(config, ours) for ours, theirs, _ in LLAMA_SIZES}
    settings = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **sizes,
        "head_dim": config.channels_per_head,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": config.dropout,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": None,
        "tie_word_embeddings": config.tie_weights,
    }
    write_for_transformers(Path(folder), state, settings, end_of_text)
