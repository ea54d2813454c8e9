"""Folders of saved models, as far as no model is needed: settings and raw weights, read and written.

The judge reads DistilGPT-2 with these functions too, so nothing here imports a lesson's module.
Every way in which a folder can be wrong ends in one CourseError.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from .errors import CourseError
from .files import read_json, write_atomically, write_json

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"  # of weights in several files
LARGEST = 2**24  # no size of any model is beyond it; a broken file's may be

# Short names that the hub redirects; the cache may know the model by either.
FULL_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "distilgpt2": "distilbert/distilgpt2",
}

# Our name of a size, GPT-2's, and the value where the file is silent.
SIZES = (
    ("vocab_size", "vocab_size", 50257),
    ("block_size", "n_positions", 1024),
    ("n_layer", "n_layer", 12),
    ("n_head", "n_head", 12),
    ("n_embd", "n_embd", 768),
    ("n_inner", "n_inner", None),
)


def cached_folder(name: str) -> Path | None:
    """Where the hub's local cache keeps the model, or None. Looks at the disk only."""
    from huggingface_hub import try_to_load_from_cache

    for known_as in (name, FULL_NAMES.get(name, name)):
        config = try_to_load_from_cache(known_as, "config.json")
        if isinstance(config, str):
            folder = Path(config).parent
            if (folder / WEIGHTS).exists() or (folder / INDEX).exists():
                return folder
    return None


def read_settings(folder: Path) -> dict[str, Any]:
    """The folder's config.json."""
    settings = read_json(folder / "config.json")
    if not isinstance(settings, dict):
        raise CourseError(f"{folder / 'config.json'} does not describe a model")
    return settings


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the folder's safetensors, as 32-bit floats that belong to us alone."""
    state: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                expected = (file.metadata() or {}).get("sha256")
        except FileNotFoundError:
            raise CourseError(f"{folder} lacks {path.name}; copy or download it again") from None
        except (SafetensorError, OSError) as error:
            raise CourseError(
                f"{path} is damaged or not safetensors ({error}); copy or download it again"
            ) from None
        if expected is not None and checksum(tensors) != expected:
            raise CourseError(f"{path} is damaged: its checksum is wrong; take another copy of it")
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                # a copy: what safetensors returns may be the file itself, mapped into memory
                state[name] = tensor.to(torch.float32, copy=True)
            elif not name.endswith((".attn.bias", ".attn.masked_bias")):  # old masks: unused
                raise CourseError(
                    f"{path}: {name} holds {tensor.dtype}, not floating-point numbers"
                )
    return state


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model: one, or those that an index lists."""
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        index = read_json(folder / INDEX)
        names = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict) or not all(
            isinstance(name, str) and name == Path(name).name for name in names.values()
        ):
            raise CourseError(f"{folder / INDEX} is damaged; copy or download it again")
        return [folder / name for name in sorted(set(names.values()))]
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise CourseError(
            f"{folder} holds only pickled weights, which could run any program when loaded, so "
            f"they never are; convert them: transformers' save_pretrained(folder) writes {WEIGHTS}"
        )
    raise CourseError(f"{folder} has no {WEIGHTS}; name the folder of a saved model")


def checksum(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 over names and bytes of contiguous tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_computed(
    settings: dict[str, Any], computed: dict[str, tuple[Any, ...]], who: str, where: Path
) -> None:
    """Refuse what `who` does not compute. computed: field -> what it may be; first, where absent."""
    for name, choices in computed.items():
        value = settings.get(name, choices[0])
        if value not in choices:
            only = " or ".join(repr(choice) for choice in choices if choice is not None) or "none"
            raise CourseError(
                f"{where}: {name} is {value!r}, which {who} does not compute (only {only})"
            )


def check_size(value: Any, name: str, where: Path) -> int:
    """Return a size from a file. Raises CourseError where it is none that a model can have."""
    if type(value) is not int or not 1 <= value <= LARGEST:
        raise CourseError(f"{where}: {name} cannot be {value!r}")
    return value


def check_share(value: Any, name: str, where: Path) -> float:
    """Return a number in [0, 1) from a file. Raises CourseError for anything else."""
    if type(value) not in (int, float) or not 0 <= value < 1:
        raise CourseError(f"{where}: {name} cannot be {value!r}")
    return value


def check_switch(value: Any, name: str, where: Path) -> bool:
    """Return true or false from a file. Raises CourseError for anything else."""
    if type(value) is not bool:
        raise CourseError(f"{where}: {name} cannot be {value!r}")
    return value


def check_head(
    head: torch.Tensor | None, table: torch.Tensor | None, tied: bool, folder: Path
) -> None:
    """Refuse a head (V, C) that does not fit config.json: tied to the token table (V, C), or not."""
    if not tied and head is None:
        raise CourseError(f"{folder}: the weights lack lm_head.weight, and config.json is not tied")
    if tied and head is not None and table is not None and not torch.equal(head, table):
        raise CourseError(
            f"{folder}: config.json says that the head is the token table "
            "(tie_word_embeddings), but the file holds two different ones"
        )


def write_for_transformers(
    folder: Path,
    state: dict[str, torch.Tensor],
    settings: dict[str, Any],
    end_of_text: int | None,
) -> None:
    """Write weights and settings as transformers reads them. end_of_text: the id that ends a text."""
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), end_of_text)
    write_weights(state, folder / WEIGHTS)
    write_json(folder / "generation_config.json", {**ends, "pad_token_id": end_of_text})
    write_json(folder / "config.json", {**settings, **ends, "dtype": "float32"})


def write_weights(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors as 32-bit floats, whole or not at all, with a checksum in the file's head."""
    state = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in state.items()
    }
    # transformers wants "format"; the checksum is ours, since safetensors has none
    metadata = {"format": "pt", "sha256": checksum(state)}
    with write_atomically(path, "wb") as file:
        file.write(save(state, metadata))
