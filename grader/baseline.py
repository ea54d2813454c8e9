"""The model that a learner's own is measured by: DistilGPT-2, or a small GPT-2 in its place.

The real weights come from the folder COURSE_BASELINE or from the local Hugging Face cache; nothing
is fetched from here. Where there are none, and wherever an answer must be the same on every machine,
a small model of the same layout stands in, with answers that transformers gave for it
(`python -m grader baseline` wrote both). Which one it is, the header of a run says.
"""

import os
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from lessons.engine.errors import CourseError
from lessons.engine.weight_files import (
    SIZES,
    cached_folder,
    read_settings,
    read_weights,
    weight_files,
)

from .gpt2 import gpt2_head, gpt2_states, weight_shapes

HUB_NAME = "distilbert/distilgpt2"
VARIABLE = "COURSE_BASELINE"
STAND_IN = Path(__file__).with_name("answers") / "baseline"
RECORDED = "answers.safetensors"  # what transformers gives for the stand-in
HOW_TO_GET_IT = (
    "`python -m grader doctor --fetch` brings it (350 MB), or "
    f"{VARIABLE} names a folder that holds it"
)

# What greedy decoding gives, the first two ids being the prompt: published in transformers' own
# tests, for the GPT-2 family's sizes by their layers.
PUBLISHED = {
    6: "464 1893 286 262 1578 1829 11 290 262 1893 286 262 1578 7526 11 423 587 287 262 2635",
    12: "464 3290 373 1043 287 257 2214 1474 262 16246 286 2688 290 2688 27262 13 198 198 464 3290",
}
PUBLISHED_NAMES = {6: "DistilGPT-2", 12: "GPT-2"}
PUBLISHED_SIZES = {"vocab_size": 50257, "block_size": 1024, "n_head": 12, "n_embd": 768}

LARGEST = 2**24  # no size of any model is beyond it; a broken file's may be


@dataclass(frozen=True)
class Baseline:
    """A model of the GPT-2 family on this machine.

    real: whether these are a real model's weights, not the stand-in's. config: for GPTConfig.
    """

    folder: Path
    real: bool
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """What the model is called, as far as its sizes tell."""
        if self.published:
            return PUBLISHED_NAMES[self.config["n_layer"]]
        sizes = f"{self.config['n_layer']} layers, {self.config['n_embd']} wide"
        return f"a GPT-2 of {sizes}" if self.real else f"a small GPT-2 ({sizes})"

    @property
    def sentence(self) -> str:
        """Which model it is and, where it is not the real one, how to get that."""
        if self.real:
            return f"baseline: {self.name}, from {self.folder}"
        return (
            f"baseline: {self.name} stands in for DistilGPT-2, which is not on this machine "
            f"({HOW_TO_GET_IT})"
        )

    @property
    def small(self) -> "Baseline":
        """The stand-in, whose answers are recorded: the same on every machine."""
        return stand_in()

    @cached_property
    def weights(self) -> dict[str, torch.Tensor]:
        """Name -> tensor, under the names and the way round of the file. Raises CourseError."""
        weights = read_weights(self.folder)
        wanted = weight_shapes(**self.config)
        for name, shape in wanted.items():
            found = weights.get(name, weights.get(name.removeprefix("transformer.")))
            if found is None or sorted(found.shape) != sorted(shape):
                what = "is not in the weights" if found is None else f"is {tuple(found.shape)}"
                raise CourseError(
                    f"{self.folder} is damaged: {name} {what}; copy or download it again"
                )
        return weights

    @cached_property
    def recorded(self) -> dict[str, torch.Tensor]:
        """Of the stand-in: "ids" (B, T), their "logits" (B, T, V), and "greedy", a text of ids."""
        try:
            return load_file(STAND_IN / RECORDED)
        except (OSError, SafetensorError) as error:
            raise CourseError(
                f"grader/answers/baseline/{RECORDED} is damaged ({error}); "
                "`git checkout grader/answers` brings it back"
            ) from None

    @property
    def ids(self) -> torch.Tensor:
        """Ids (B, T) for which the stand-in's logits are recorded."""
        return self.recorded["ids"]

    @property
    def logits(self) -> torch.Tensor:
        """What transformers' GPT2LMHeadModel gives for them with the stand-in's weights."""
        return self.recorded["logits"]

    @property
    def greedy(self) -> list[int]:
        """Five ids, and how transformers continues them with the stand-in's weights."""
        return self.recorded["greedy"].tolist()

    @property
    def published(self) -> list[int]:
        """What is published for a model of these sizes: two ids and how it continues them."""
        sizes = {name: self.config[name] for name in PUBLISHED_SIZES}
        text = PUBLISHED.get(self.config["n_layer"], "") if sizes == PUBLISHED_SIZES else ""
        return list(map(int, text.split()))

    @cached_property
    def missing(self) -> str:
        """Why what is published cannot be checked here; empty where it can."""
        if not self.real:
            return "it needs DistilGPT-2's real weights, which are not on this machine"
        if not self.published:
            return f"nothing is published for {self.name} ({self.folder}), only for DistilGPT-2"
        weights = {_with_prefix(name): weight for name, weight in self.weights.items()}
        ids = torch.tensor([self.published])
        with torch.no_grad():
            sizes = self.config["n_head"], self.config["layer_norm_epsilon"]
            state = gpt2_states(weights, ids[:, :-1], *sizes, True, torch.float32)[-1]
            guesses = gpt2_head(weights, state[:, 1:], sizes[1]).argmax(-1)
        if guesses.equal(ids[:, 2:]):
            return ""
        return (
            f"{self.folder} has {self.name}'s sizes and other weights: they do not continue a text "
            "as published"
        )


def find_baseline() -> Baseline:
    """Return DistilGPT-2 from COURSE_BASELINE or the local cache, else its small stand-in.

    Raises CourseError where COURSE_BASELINE names something that is no model: never the stand-in in
    silence. The weights themselves are read when somebody asks for them.
    """
    named = os.environ.get(VARIABLE)
    if named:
        folder = Path(named).expanduser().absolute()
        if not folder.is_dir():
            raise CourseError(f"{VARIABLE} names {named}, which is not a folder; {HOW_TO_GET_IT}")
        try:
            return _open(folder)
        except CourseError as error:
            raise CourseError(f"{VARIABLE}: {error}") from None
    cached = cached_folder(HUB_NAME)
    return _open(cached) if cached else stand_in()


@cache
def stand_in() -> Baseline:
    """Return the small model that is always there."""
    return Baseline(STAND_IN, False, read_config(STAND_IN))


@cache  # so that 300 MB are read once a run
def _open(folder: Path) -> Baseline:
    weight_files(folder)  # raises where there are none
    return Baseline(folder, folder != STAND_IN, read_config(folder))


def read_config(folder: Path) -> dict[str, Any]:
    """Return what GPTConfig needs from a folder's config.json. Raises CourseError."""
    settings, file = read_settings(folder), folder / "config.json"
    if settings.get("model_type") != "gpt2":
        raise CourseError(f"{file} describes no GPT-2 (model_type {settings.get('model_type')!r})")
    config = {ours: settings.get(theirs, default) for ours, theirs, default in SIZES}
    config["layer_norm_epsilon"] = settings.get("layer_norm_epsilon", 1e-5)
    config["tie_weights"] = settings.get("tie_word_embeddings", True)
    for name, value in config.items():
        if value is None and name == "n_inner":
            continue
        if not isinstance(value, int | float) or not 0 <= value <= LARGEST:
            raise CourseError(f"{file}: {name} cannot be {value!r}")
    return config


def _with_prefix(name: str) -> str:
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"
