"""The model that is looked at, with its tokenizer.

Three families: "gpt2" (GPT-2's parts and names, in a folder or the hub's local cache), "own" (the
course's own layout, for heads that do not divide) and "other" (any causal model of transformers, with
which only those figures are drawn that do not need the course's own forward pass).

A model speaks through the GPT of lesson 05 where that is written, else through transformers.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..engine.errors import CourseError
from ..engine.weight_files import FULL_NAMES, cached_folder, read_settings, read_weights
from .library import Library, require

DISTIL = "distilgpt2"
OWN = "our own small model"
TOKENIZER_FILES = ["tokenizer*.json", "tokenizer.model", "vocab.json", "merges.txt"]
DEMO = Path("runs") / "demo"
RESTING = 30  # the most tokens that a figure with a row or column for each can show
LARGE = 20_000_000  # numbers; figures that train or sort do half as much with such a model


class Subject:
    """A model in a folder. Its parts are loaded when a figure asks for them.

    name: what figures call it. said: a sentence about why it is this one, or "".
    """

    def __init__(self, library: Library, folder: Path, name: str, said: str = "") -> None:
        self.library, self.folder, self.name, self.said = library, folder, name, said
        self.given: Any = None  # a GPT with other weights than the folder's
        settings = read_settings(folder)
        self.settings = settings
        self.config: Any = None  # a GPTConfig, where the family is "gpt2" or "own"
        self.family, self.why = "other", ""
        if settings.get("format") == "course-gpt":
            from ..engine.pretrained import make_config

            values = {key: value for key, value in settings.items() if key != "format"}
            try:
                self.config = make_config(values, folder / "config.json")
            except (KeyError, TypeError):
                raise CourseError(f"{folder / 'config.json'} has fields too many or few") from None
            self.family = "own"
        elif settings.get("model_type", "gpt2") == "gpt2":
            from ..engine.pretrained import gpt2_config

            try:
                self.config, self.family = gpt2_config(settings, folder / "config.json"), "gpt2"
            except CourseError as error:
                self.why = str(error)
        if self.config is not None:
            self.block_size, self.vocab_size = self.config.block_size, self.config.vocab_size
        else:
            self.block_size = int(settings.get("max_position_embeddings") or 1024)
            self.vocab_size = int(settings.get("vocab_size") or 0)

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's tokenizer, or GPT-2's where the folder has none and the size says so."""
        from ..engine.tokenizers import load_tokenizer

        names = {file.name for file in self.folder.iterdir()}
        if {"vocab.json", "merges.txt"} <= names or {"tokenizer.json", "tokenizer.model"} & names:
            tokenizer = load_tokenizer(str(self.folder))
        elif self.vocab_size == 50257:
            tokenizer = load_tokenizer("gpt2")
        else:
            raise CourseError(
                f"{self.folder} holds no tokenizer (vocab.json and merges.txt, tokenizer.json or "
                "tokenizer.model); copy the model's tokenizer into it"
            )
        if tokenizer.vocab_size > self.vocab_size:
            raise CourseError(
                f"{self.folder}: the tokenizer has {tokenizer.vocab_size:,} tokens, the model only "
                f"{self.vocab_size:,}; they do not belong together"
            )
        return tokenizer

    def encode(self, text: str, option: str = "--text") -> list[int]:
        """The ids of a text that the model can read at once. Raises CourseError with a sentence."""
        ids = self.tokenizer.encode(text)
        if not ids:
            raise CourseError(f"{option} is empty; give it some words")
        if len(ids) > self.block_size:
            raise CourseError(
                f"{option} has {len(ids):,} tokens, and {self.name} sees {self.block_size:,} at most; "
                "shorten it"
            )
        return ids

    @cached_property
    def raw(self) -> dict[str, torch.Tensor]:
        """The weights as the file holds them, under GPT-2's names with "transformer." in front."""
        self.refuse_others()
        if self.given is not None:
            raise CourseError(f"{self.name} is in no file")
        return {
            name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}": tensor
            for name, tensor in read_weights(self.folder).items()
        }

    def refuse_others(self) -> None:
        """Raise CourseError for a model that the course's own forward pass cannot run."""
        if self.family == "other":
            kind = self.settings.get("model_type", "unknown")
            reason = f" ({self.why})" if self.why else f", and {self.name} is of the kind {kind}"
            raise CourseError(
                f"this figure runs the model through the course's own code, which computes GPT-2's "
                f"family only{reason}; try --model distilgpt2"
            )

    @property
    def token_table(self) -> torch.Tensor:
        """The embedding of every token, (V, C)."""
        if self.family == "other":
            return self.theirs.get_input_embeddings().weight.detach()
        return self.raw["transformer.wte.weight"]

    @property
    def place_table(self) -> torch.Tensor | None:
        """The learned embedding of every position, (block_size, C), where the model has one."""
        return None if self.family == "other" else self.raw["transformer.wpe.weight"]

    def fill(self, module: nn.Module, prefix: str) -> nn.Module:
        """Load the weights that begin with `prefix` into a module of the lessons, and return it."""
        turned = self.family == "gpt2"  # GPT-2's files hold linear weights as (inputs, outputs)
        state = {}
        for name, wanted in module.state_dict().items():
            tensor = self.raw[f"{prefix}{name}"]
            linear = wanted.dim() == 2 and name.rpartition(".")[0].endswith(
                ("_attn", "_proj", "_fc")
            )
            state[name] = tensor.mT if turned and linear else tensor
        module.load_state_dict(state)
        return module.eval()

    @cached_property
    def ours(self) -> Any:
        """The model as lesson 05's GPT. Raises NotWrittenError."""
        self.refuse_others()
        require(self.library, "attention", "blocks", "model")
        if self.given is not None:
            return self.given
        from ..engine.pretrained import load_model

        return load_model(self.folder)

    @cached_property
    def theirs(self) -> Any:
        """The model as transformers computes it."""
        if self.family == "own":
            raise CourseError(
                f"{self.name} is in the course's own layout, which transformers cannot load; finish "
                "lesson 05 first"
            )
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            return AutoModelForCausalLM.from_pretrained(
                self.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
            ).eval()
        except Exception as error:  # the library has many ways to say what is wrong with a folder
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise CourseError(f"transformers cannot load {self.folder} ({reason})") from None

    @property
    def is_ours(self) -> bool:
        """Whether the model speaks through lesson 05."""
        return self.family != "other" and self.library.is_written("attention", "blocks", "model")

    @cached_property
    def speaker(self) -> nn.Module:
        """What lessons 09 and 10 ask of a model: speaker(ids (B, T)) -> (logits (B, T, V), ...)."""
        return self.ours if self.is_ours else _AsOurs(self.theirs)

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> torch.Tensor:
        """The logits of every place of a text, (T, V)."""
        return self.speaker(torch.tensor([list(ids)]))[0][0].float()

    @torch.no_grad()
    def streams(self, ids: Sequence[int]) -> list[torch.Tensor]:
        """What enters each block, (T, C) each."""
        tensor = torch.tensor([list(ids)])
        if not self.is_ours:
            self.refuse_others()
            states = self.theirs(tensor, output_hidden_states=True).hidden_states
            return [state[0] for state in states[: self.config.n_layer]]
        seen: list[torch.Tensor] = []
        blocks = self.ours.transformer.h
        hooks = [
            block.register_forward_pre_hook(lambda _, x: seen.append(x[0][0])) for block in blocks
        ]
        try:
            self.ours(tensor)
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def norm(self, x: torch.Tensor, layer: int, name: str) -> torch.Tensor:
        """A layer's norm on x (..., C): by torch, as lesson 03's figures need no lesson 04."""
        where = f"transformer.h.{layer}.{name}"
        eps = self.config.layer_norm_epsilon
        scale, shift = self.raw[f"{where}.weight"], self.raw[f"{where}.bias"]
        return F.layer_norm(x, x.shape[-1:], scale, shift, eps)

    @cached_property
    def parameters(self) -> int:
        """How many numbers the model learned."""
        model = self.ours if self.is_ours else self.theirs
        return sum(parameter.numel() for parameter in model.parameters())

    @property
    def is_large(self) -> bool:
        """Whether it takes minutes where our own model takes seconds, as DistilGPT-2 does."""
        return self.parameters > LARGE


class _AsOurs(nn.Module):
    """A model of transformers in the form in which the lessons call theirs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.model(ids).logits, None


def choose_subject(library: Library, wanted: str | None, download: bool) -> Subject:
    """The model that was asked for, or the best that is at hand, with a sentence about it."""
    if wanted is not None:
        return named_subject(library, wanted, download)
    folder = cached_folder(DISTIL)
    if folder is not None:
        return Subject(
            library, folder, "DistilGPT-2", "no --model: DistilGPT-2 is in the local cache."
        )
    from ..engine.storyteller import storyteller_folder

    why = "no --model, and DistilGPT-2 is not in the local cache"
    try:
        small = storyteller_folder()
    except CourseError as error:
        demo = DEMO / "checkpoints" / "best"
        if not demo.is_dir():
            raise CourseError(
                f"no --model, no DistilGPT-2 in the local cache, and {error}; or begin a model of "
                "your own: make demo"
            ) from None
        return Subject(
            library, demo, f"the demo's model ({DEMO})", f"{why}: this is the demo's model."
        )
    return Subject(
        library, small, OWN, f"{why}: this is {OWN}, which has read children's stories only."
    )


def named_subject(library: Library, wanted: str, download: bool) -> Subject:
    """A model by its name or folder. Raises CourseError where it is not at hand."""
    from ..engine.pretrained import find_folder

    path = Path(wanted).expanduser()
    best = path / "checkpoints" / "best"
    if best.is_dir():  # a run's folder
        return Subject(library, best, path.name)
    if not path.exists() and download:
        fetch(wanted)
    try:
        folder = find_folder(wanted, network=False)
    except CourseError as error:
        more = "" if download else "; or say --download, where there is a network"
        raise CourseError(f"--model: {error}{more}") from None
    return Subject(library, folder, path.resolve().name if path.is_dir() else wanted)


def fetch(name: str) -> None:
    """Bring a model and its tokenizer from the hub into the local cache."""
    from huggingface_hub import snapshot_download

    from ..engine.pretrained import download

    if cached_folder(name) is None:
        download(name)
    try:
        snapshot_download(FULL_NAMES.get(name, name), allow_patterns=TOKENIZER_FILES)
    except Exception:  # the model is here; a GPT-2 vocabulary needs no file
        return


def random_subject(like: Subject, seed: int) -> Subject:
    """A model of the same shape that has learned nothing."""
    other = Subject(like.library, like.folder, "untrained, same shape")
    torch.manual_seed(seed)
    if like.is_ours:
        from ..model import GPT

        other.given = GPT(like.config).eval()
    else:
        from transformers import AutoModelForCausalLM

        other.theirs = AutoModelForCausalLM.from_config(like.theirs.config).eval()
    return other


def describe(subject: Subject) -> str:
    """The model in a line: name and sizes."""
    if subject.config is None:
        return f"{subject.name} ({json.dumps(subject.settings.get('model_type'))[1:-1]})"
    c = subject.config
    return (
        f"{subject.name}: {c.n_layer} layers, {c.n_head} heads, {c.n_embd} channels, "
        f"{c.vocab_size:,} tokens, context {c.block_size:,}"
    )
