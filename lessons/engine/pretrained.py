"""Models on disk: the GPT-2 family from the hub, its cache or a folder, and the way back.

Two layouts, both a `config.json` and weights in safetensors (nothing pickled is ever loaded):

- GPT-2's: names and orientation of transformers' GPT2LMHeadModel, which loads what we save;
- our own ("format": "course-gpt"), for the shapes that transformers refuses (7 heads on 384).

`save_model` chooses and `load_model` reads both. Weights are 32-bit floats in memory and in what we
write; 16-bit files are widened. Every way in which a folder can be wrong ends in one CourseError.
"""

import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..model import GPT, TURNED_WEIGHTS, GPTConfig, convert_gpt2_weights
from .errors import CourseError
from .files import write_json
from .weight_files import (
    INDEX,
    SIZES,
    WEIGHTS,
    cached_folder,
    check_computed,
    check_head,
    check_share,
    check_size,
    check_switch,
    read_settings,
    read_weights,
    write_for_transformers,
    write_weights,
)

OWN_FORMAT = "course-gpt"
HUB_FILES = ["config.json", WEIGHTS, INDEX, "model-*.safetensors"]

# Fields that change the computation, each with what lesson 05 computes; the first is the default.
COMPUTED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
    "pruned_heads": (None, {}),
}
HEAD = "lm_head.weight"


def load_pretrained(name_or_folder: str | Path, network: bool = True) -> GPT:
    """Load a model from a folder, or by its hub name: from the local cache, else from the hub.

    network: whether the hub may be asked. Without it nothing is sent, and nothing waits.
    """
    return load_model(find_folder(str(name_or_folder), network))


def load_model(folder: str | Path) -> GPT:
    """Load a model in either layout, in evaluation mode, on the CPU."""
    folder = Path(folder)
    if not folder.is_dir():
        raise CourseError(f"no folder {folder}; name one that holds config.json and {WEIGHTS}")
    settings = read_settings(folder)
    if settings.get("format") == OWN_FORMAT:
        return load_own(folder)
    config = gpt2_config(settings, folder / "config.json")
    state = read_weights(folder)
    table = state.get("transformer.wte.weight", state.get("wte.weight"))
    check_head(state.get(HEAD), table, config.tie_weights, folder)
    if config.tie_weights:
        state.pop(HEAD, None)
    if any(state[name].dim() != 2 for name in state if name.endswith(TURNED_WEIGHTS)):
        raise CourseError(f"{folder}: a weight that should be a matrix is not; the file is damaged")
    return build(config, convert_gpt2_weights(state), folder)


def save_model(model: GPT, folder: str | Path, end_of_text: int | None = None) -> None:
    """Save in GPT-2's layout where transformers can hold the model, else in our own."""
    if heads_divide(model.config):
        save_gpt2(model, folder, end_of_text)
    else:
        save_own(model, folder)


def heads_divide(config: GPTConfig) -> bool:
    """Whether transformers can hold a model of this shape."""
    return config.n_embd % config.n_head == 0


def save_gpt2(model: GPT, folder: str | Path, end_of_text: int | None = None) -> None:
    """Save for transformers' GPT2LMHeadModel. end_of_text: the id that ends a text."""
    config, folder = model.config, Path(folder)
    if not heads_divide(config):
        raise CourseError(
            f"transformers cannot hold this model: its {config.n_head} heads do not divide n_embd "
            f"= {config.n_embd}; save it in the course's own layout (save_own) or choose other sizes"
        )
    state = dict(model.state_dict())
    if config.tie_weights:
        del state[HEAD]
    for name in state:
        if name.endswith(TURNED_WEIGHTS):
            state[name] = state[name].t()
    settings = {
        "architectures": ["GPT2LMHeadModel"],
        **{name: values[0] for name, values in COMPUTED.items() if values[0] is not None},
        **{theirs: getattr(config, ours) for ours, theirs, _ in SIZES},
        "layer_norm_epsilon": config.layer_norm_epsilon,
        "tie_word_embeddings": config.tie_weights,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), config.dropout),
    }
    write_for_transformers(folder, state, settings, end_of_text)


def save_own(model: GPT, folder: str | Path) -> None:
    """Save in our own layout: lesson 05's names and orientation, any number of heads."""
    state = dict(model.state_dict())
    if model.config.tie_weights:
        del state[HEAD]
    write_weights(state, Path(folder) / WEIGHTS)
    write_json(Path(folder) / "config.json", {"format": OWN_FORMAT, **asdict(model.config)})


def load_own(folder: str | Path) -> GPT:
    """Load what `save_own` wrote."""
    folder = Path(folder)
    settings = read_settings(folder)
    where = folder / "config.json"
    if settings.pop("format", None) != OWN_FORMAT:
        raise CourseError(f'{where} is not in the course\'s own layout ("format": "{OWN_FORMAT}")')
    names = {field.name for field in fields(GPTConfig)}
    if settings.keys() != names:
        wrong = ", ".join(sorted(settings.keys() ^ names))
        raise CourseError(f"{where} has fields too many or too few: {wrong}")
    config = make_config(settings, where)
    state = read_weights(folder)
    if config.tie_weights and "transformer.wte.weight" in state:
        state[HEAD] = state["transformer.wte.weight"]
    return build(config, state, folder)


def find_folder(name: str, network: bool) -> Path:
    """The folder of a model: `name` itself, or where the hub's local cache keeps it."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CourseError(f"{name} is a file; name the folder that holds config.json and {WEIGHTS}")
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):  # no hub name: it was meant as a folder
        raise CourseError(f"no folder {name}; name one that holds config.json and {WEIGHTS}")
    found = cached_folder(name)
    if found is None and network:
        found = download(name)
    if found is None:
        raise CourseError(
            f"no folder {name}, and no model of that name with safetensors in the local cache; "
            f"{how_to_go_on(name)}"
        )
    return found


def download(name: str) -> Path:
    """Bring the configuration and the safetensors of a model from the hub into the local cache."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except Exception as error:  # whatever a network can do, and the hub's many names for it
        reason = str(error).strip().split("\n")[0]
        raise CourseError(
            f"no folder {name}, and the hub did not deliver it ({type(error).__name__}: {reason}); "
            f"{how_to_go_on(name)}"
        ) from None


def how_to_go_on(name: str) -> str:
    """The end of a sentence about a model that is not at hand."""
    return f"give the path of a folder, or run `hf download {name}` where there is a network"


def gpt2_config(settings: dict[str, Any], where: Path) -> GPTConfig:
    """GPT-2's configuration as ours; refuses what lesson 05 does not compute."""
    check_computed(settings, COMPUTED, "this GPT", where)
    ours = {ours: settings.get(theirs, default) for ours, theirs, default in SIZES}
    ours["dropout"] = settings.get("resid_pdrop", 0.1)  # GPT-2 has three, in practice all equal
    ours["layer_norm_epsilon"] = settings.get("layer_norm_epsilon", 1e-5)
    ours["tie_weights"] = settings.get("tie_word_embeddings", True)
    return make_config(ours, where)


def make_config(values: dict[str, Any], where: Path) -> GPTConfig:
    """A GPTConfig of values from a file, none of which can be trusted."""
    for name, _, default in SIZES:
        if values[name] is not None or default is not None:
            check_size(values[name], name, where)
    for name in ("dropout", "layer_norm_epsilon"):
        check_share(values[name], name, where)
    check_switch(values["tie_weights"], "tied weights", where)
    try:
        return GPTConfig(**values)
    except ValueError as error:
        raise CourseError(f"{where}: {error}") from None


def build(config: GPTConfig, state: dict[str, torch.Tensor], where: Path) -> GPT:
    """A model of that shape with exactly these tensors."""
    check_layers(state, "transformer.h.", config.n_layer, where)
    with torch.device("meta"):  # shapes only: no memory, no random numbers for nothing
        model = GPT(config)
    fill(model, state, where)
    if config.tie_weights:
        model.lm_head.weight = model.transformer.wte.weight
    return model.eval()


def check_layers(state: dict[str, torch.Tensor], prefix: str, n_layer: int, where: Path) -> None:
    """Compare the number of layers, before a model is made: config.json may claim millions."""
    layers = {name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)}
    if len(layers) != n_layer:
        raise CourseError(
            f"{where}: config.json says {n_layer} layers, the weights have {len(layers)}"
        )


def fill(model: nn.Module, state: dict[str, torch.Tensor], where: Path) -> None:
    """Put exactly these tensors into a model. Raises CourseError where names or shapes differ."""
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    for problem, names in (
        ("lack", wanted.keys() - state.keys()),
        ("have unknown tensors:", state.keys() - wanted.keys()),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CourseError(
                f"{where}: the weights {problem} {', '.join(sorted(names)[:3])}{more}"
            )
    for name, shape in wanted.items():
        if state[name].shape != shape:
            raise CourseError(
                f"{where}: {name} is {tuple(state[name].shape)}, but by config.json {tuple(shape)}"
            )
    model.load_state_dict(state, assign=True)
