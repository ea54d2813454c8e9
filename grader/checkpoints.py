"""The judge's own look at a trained model: is it whole, is it theirs, how good is it really?

No code of the learner's runs here, and nothing pickled is ever read: weights come as tensors by name
or as safetensors, and the forward pass is the judge's own (`gpt2.py`). The model is measured on fresh
ministories, made from a seed that nobody knew when it was trained. A model that is better on its
run's held-out stories than on fresh ones of the same kind has learned from what should judge it.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open

from lessons.engine.errors import CourseError
from lessons.engine.files import read_json
from lessons.engine.ministories import stories
from lessons.engine.weight_files import SIZES, read_settings, weight_files

from .baseline import LARGEST, Baseline, find_baseline, read_config, stand_in
from .gpt2 import Weights, gpt2_head, gpt2_states, weight_shapes

OWN_FORMAT = "course-gpt"  # our layout, for shapes that transformers refuses
TURNED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
HELD_OUT = "ministories, validation"  # what a run calls the held-out stories that it made itself
LOGITS_AT_ONCE = 2**24  # 64 MB
WORK = 1e11  # multiplications and additions for one look: some seconds on one core
FEWEST, MOST = 16, 200  # stories of each kind
NAMED = 3  # how many faults of one kind are named

# Matrices of models that were trained apart, from other seeds, have a cosine near 0: at most 0.04 in
# the blocks and 0.17 in a table, of all that we compared. (Two short runs from the same seed had 0.72:
# they began alike.) A copy that was scaled, rounded to 8 bits or trained a little stays above 0.95.
COPIED = 0.5
# What chance allows between two sets of stories: five times the standard error of the difference
# (one honest model in three million), and 1 % for what choosing the best checkpoint gains.
CHANCE, CHOICE = 5.0, 0.01


@dataclass(frozen=True)
class Model:
    """A trained model as the judge holds it.

    config: for `weight_shapes`, and layer_norm_epsilon. as_in_files: the linear weights are (inputs,
    outputs), as in GPT-2's files.
    """

    weights: Weights
    config: dict[str, Any]
    as_in_files: bool = False

    @property
    def block_size(self) -> int:
        """How many tokens it sees at once."""
        return self.config["block_size"]

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, T, V) for ids (B, T)."""
        eps = self.config.get("layer_norm_epsilon", 1e-5)
        sizes = self.config["n_head"], eps, self.as_in_files, torch.float32
        return gpt2_head(self.weights, gpt2_states(self.weights, ids, *sizes)[-1], eps)


@dataclass
class Look:
    """What the judge saw. faults: what is wrong, a sentence each; remarks: what was left out."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    fresh: float | None = None  # bits per byte on fresh stories
    held_out: float | None = None  # and on some of the run's own held-out stories
    own: float | None = None  # what the run says about itself, on all of them

    @property
    def summary(self) -> str:
        """How good the model is, and what was left out."""
        kinds = ("fresh stories", self.fresh), ("held-out stories", self.held_out)
        known = [f"{bits:.3f} on {what}" for what, bits in kinds if bits is not None]
        own = [f"its own report says {self.own:.3f}"] if self.own is not None else []
        measured = [f"bits per byte: {', '.join([*known, *own])}"] if known or own else []
        return "; ".join([*measured, *self.remarks])


# Is it whole?


def read_model(folder: Path) -> Model:
    """Return the model of a folder as it is, whole or not. Raises CourseError where none can be."""
    settings = read_settings(folder)
    as_in_files = settings.get("format") != OWN_FORMAT
    if as_in_files:
        config = read_config(folder)
    else:
        config = {name: settings.get(name) for name, _, _ in SIZES}
        config["layer_norm_epsilon"] = settings.get("layer_norm_epsilon", 1e-5)
        config["tie_weights"] = settings.get("tie_weights", True)
    for name, _, _ in SIZES:
        size = config[name]
        optional = name == "n_inner" and size is None
        if not optional and not (type(size) is int and 1 <= size <= LARGEST):
            raise CourseError(f"{folder / 'config.json'}: {name} cannot be {size!r}")
    weights: Weights = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                weights |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CourseError(f"{path} is damaged or not safetensors ({error})") from None
    layers = {name.split(".")[2] for name in weights if name.startswith("transformer.h.")}
    if len(layers) != config["n_layer"]:  # before anything is made as large as config.json says
        raise CourseError(
            f"{folder}: config.json says {config['n_layer']} layers, the weights have {len(layers)}"
        )
    return Model(weights, config, as_in_files)


def faults_of(model: Model) -> list[str]:
    """Return what is wrong with the weights themselves: names, shapes, kind, nan and inf."""
    wanted = dict(weight_shapes(**model.config))
    if model.as_in_files:
        wanted |= {name: wanted[name][::-1] for name in wanted if name.endswith(TURNED)}
    weights, common = model.weights, [name for name in wanted if name in model.weights]
    faults = [
        *_named("the weights lack", [name for name in wanted if name not in weights]),
        *_named("the weights hold something foreign:", [n for n in weights if n not in wanted]),
    ]
    for name in common:
        found, shape, kind = weights[name], wanted[name], weights[name].dtype
        if tuple(found.shape) != shape:
            faults.append(f"{name} is {tuple(found.shape)}, by the configuration it is {shape}")
        elif kind != torch.float32:
            faults.append(f"{name} holds {str(kind).removeprefix('torch.')}, not float32")
        elif broken := int((~found.isfinite()).sum()):
            faults.append(f"{name} has {broken} numbers (of {found.numel()}) that are nan or inf")
    more = len(faults) - NAMED
    return faults if more < 1 else [*faults[:NAMED], f"and {more} more faults of this kind"]


def _named(what: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return [f"{what} {', '.join(names[:NAMED])}{more}"] if names else []


# Is it theirs?


def copied_from(model: Model, others: Mapping[str, Weights]) -> list[str]:
    """Return a sentence for each of these models from which matrices were taken over.

    others: what a model is called -> its weights, either way round. Scaling and rounding do not
    change a cosine much, and neither does an hour of training. Layers may have changed places.
    """
    found = []
    for called, other in others.items():
        for name, matrix in model.weights.items():
            kind = name.removeprefix("transformer.").split(".", 2)[-1]
            alike = [
                (cosine(matrix, theirs), their_name)
                for their_name, theirs in other.items()
                if theirs.dim() == 2
                and their_name.removeprefix("transformer.").split(".", 2)[-1] == kind
                and sorted(theirs.shape) == sorted(matrix.shape)
            ]
            likeness, their_name = max(alike, default=(0.0, ""))
            if likeness > COPIED:
                found.append(
                    f"{name} is taken over from {called}: its cosine with {their_name} there is "
                    f"{likeness:.3f}, and with models that are trained apart about 0"
                )
                break
    return found


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the size of the cosine between two matrices, the second turned where that fits."""
    ways = [b] if a.shape == b.shape else []
    if a.shape == b.T.shape:
        ways.append(b.T)
    a = a.float().flatten()
    return max(abs(float(F.cosine_similarity(a, way.float().flatten(), dim=0))) for way in ways)


def known_models(model: Model) -> dict[str, Weights]:
    """Return the models on this machine from which this one may have been taken, by width."""
    known: list[Baseline] = [stand_in()]
    with contextlib.suppress(CourseError):  # COURSE_BASELINE is wrong: whoever needs it says so
        known.append(find_baseline())
    width = model.config["n_embd"]
    return {other.name: other.weights for other in known if other.config["n_embd"] == width}


# How good is it?


def fresh_stories(seed: int, count: int) -> list[str]:
    """Return ministories that no run has seen: numbers of runs' own stories end long before."""
    return list(stories(seed, 3_000_000_000, count))


def nats_of(model: Model, texts: Sequence[Sequence[int]], start: int) -> torch.Tensor:
    """Return the summed loss of each text of ids, each by itself, the id `start` before it.

    Windows stand side by side, as in the course's own evaluation. Returns (N,), in nats.
    """
    size = model.block_size
    rows, owners = [], []
    for owner, ids in enumerate(texts):
        whole = [start, *ids]
        for begin in range(0, len(ids), size):
            row = whole[begin : begin + size + 1]
            rows.append(row + [-1] * (size + 1 - len(row)))
            owners.append(owner)
    table, nats = torch.tensor(rows), torch.zeros(len(texts), dtype=torch.float64)  # (rows, T + 1)
    at_once = max(1, LOGITS_AT_ONCE // (size * model.config["vocab_size"]))
    with torch.no_grad():
        for part, whose in zip(
            table.split(at_once), torch.tensor(owners).split(at_once), strict=True
        ):
            inputs, targets = part[:, :-1].clamp(min=0), part[:, 1:]
            logits = model.logits(inputs).flatten(0, 1)
            losses = F.cross_entropy(logits, targets.flatten(), ignore_index=-1, reduction="none")
            nats.index_add_(0, whose, losses.view(targets.shape).sum(1).double())
    return nats


def bits_per_byte(model: Model, texts: Sequence[str]) -> float:
    """Return the bits per byte of a model whose tokens are bytes."""
    written = [text.encode() for text in texts]
    nats = nats_of(model, [list(text) for text in written], start=ord("\n"))
    return float(nats.sum()) / math.log(2) / sum(map(len, written))


def seen_before(held_out: torch.Tensor, fresh: torch.Tensor) -> str:
    """Return a sentence where stories that should be unseen are easier than fresh ones, else "".

    held_out, fresh: (N,), bits per byte, story by story.
    """
    gap = float(fresh.mean() - held_out.mean())
    error = math.sqrt(float(held_out.var() / len(held_out) + fresh.var() / len(fresh)))
    if gap <= CHANCE * error + CHOICE * float(fresh.mean()):
        return ""
    return (
        f"its held-out stories cost {float(held_out.mean()):.3f} bits per byte, fresh ones of the "
        f"same kind {float(fresh.mean()):.3f}: chance explains {CHANCE * error:.3f} of that at "
        "most. Has it learned from the held-out text?"
    )


# A whole run.


def examine(run: Path, seed: int) -> Look:
    """Look at a run's folder, or at a folder that holds a model. seed: of the fresh stories."""
    look, best = Look(), run / "checkpoints" / "best"
    try:
        model = read_model(best if best.is_dir() else run)
        look.faults += faults_of(model)
        if look.faults:
            return look
        look.faults += copied_from(model, known_models(model))
        if not best.is_dir():
            look.remarks.append("a folder without a run: no held-out text to compare with")
            return look
        meta = read_json(run / "data" / "meta.json")
        if meta["valid"] != HELD_OUT:
            look.remarks.append(
                f"its held-out text is {meta['valid']!r}, and fresh text can only be made for "
                "ministories: that comparison is left out"
            )
            return look
        if (run / "metrics.json").is_file():
            look.own = float(read_json(run / "metrics.json")["bits_per_byte"])
        _compare(look, model, run, meta, seed)
    except CourseError as error:
        look.faults.append(str(error))
    except (KeyError, TypeError, ValueError, OSError) as error:
        look.faults.append(f"{run} is damaged ({type(error).__name__}: {error})")
    return look


def _compare(look: Look, model: Model, run: Path, meta: dict[str, Any], seed: int) -> None:
    tokenizer = read_tokenizer(run / "data" / "tokenizer")
    if tokenizer is None:
        look.remarks.append(
            "its tokenizer is none that the judge reads: fresh stories are left out"
        )
        return
    end, dtype = int(meta["end_of_text"]), np.dtype(meta["dtype"])
    tokens = np.fromfile(run / "data" / "val.bin", dtype=dtype).astype(np.int64)
    count = story_count(model, float(meta["val_tokens"]) / max(1, meta["val_documents"]))
    held_out = [part.tolist() for part in documents_in(tokens, end)][:count]
    fresh = [tokenizer.encode(text).ids for text in fresh_stories(seed, count)]
    largest = max(max(map(max, held_out)), max(map(max, fresh)), end)
    if largest >= model.config["vocab_size"]:
        sizes = f"{largest}, and the model knows {model.config['vocab_size']} tokens"
        look.faults.append(f"tokenizer and model do not belong together: an id is {sizes}")
        return
    bits = []
    for texts in (held_out, fresh):
        written = [len(tokenizer.decode(ids, skip_special_tokens=False).encode()) for ids in texts]
        nats = nats_of(model, [[*ids, end] for ids in texts], start=end)
        bits.append(nats / math.log(2) / torch.tensor(written))
    look.held_out, look.fresh = float(bits[0].mean()), float(bits[1].mean())
    if sentence := seen_before(*bits):
        look.faults.append(sentence)


def read_tokenizer(folder: Path) -> Any:
    """Return the run's tokenizer as the `tokenizers` library reads it; None where it cannot."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    if not (folder / "merges.txt").is_file():
        return None
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    tokenizer = Tokenizer(models.BPE.from_file(*files))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def documents_in(tokens: np.ndarray, end: int) -> list[np.ndarray]:
    """Return the documents in a row of ids, without the id that ends each; empty ones left out."""
    ends = np.flatnonzero(tokens == end)
    return [part[part != end] for part in np.split(tokens, ends + 1) if (part != end).any()]


def story_count(model: Model, tokens: float) -> int:
    """Return how many stories of so many tokens there is time for, of each of two kinds."""
    numbers = sum(weight.numel() for weight in model.weights.values())
    return int(min(MOST, max(FEWEST, WORK / (2 * 2 * numbers * max(tokens, 1.0)))))


def newest_run(folder: Path) -> Path | None:
    """Return the newest finished run among the folders in one, or None."""
    done = sorted(folder.glob("*/metrics.json"), key=lambda file: file.stat().st_mtime)
    return done[-1].parent if done else None
