"""Lesson 05 with one walk through the blocks that forward, hidden_states and logit_lens share.

The loss lists the places that count in plain Python and picks them out by number.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from .attention import LayerCacheLike
from .blocks import Block, LayerNorm
from .embeddings import TokenEmbedding

IGNORE = -1  # a target with this id is not scored

# The weights that GPT-2's files hold the other way round, (inputs, outputs): its layers were
# written as convolutions of width 1 ("Conv1D").
TURNED_WEIGHTS = (
    "attn.c_attn.weight",
    "attn.c_proj.weight",
    "mlp.c_fc.weight",
    "mlp.c_proj.weight",
)


@dataclass
class GPTConfig:
    """The shape of a model. What is not said is GPT-2's smallest."""

    vocab_size: int = 50257  # V
    block_size: int = 1024  # the longest text that fits, in tokens
    n_layer: int = 12  # blocks
    n_head: int = 12  # heads in each
    n_embd: int = 768  # C
    n_inner: int | None = None  # inner width of the MLP; None: 4 * n_embd
    dropout: float = 0.0
    layer_norm_epsilon: float = 1e-5
    tie_weights: bool = True  # the head shares the token table

    def __post_init__(self) -> None:
        """Refuse shapes that cannot be."""
        for name in ("vocab_size", "block_size", "n_layer", "n_head", "n_embd"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.n_head > self.n_embd:
            raise ValueError(f"{self.n_head} heads are too many for n_embd = {self.n_embd}")
        if self.n_inner is not None and self.n_inner < 1:
            raise ValueError(f"n_inner must be at least 1 or None, not {self.n_inner}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")


class CacheLike(Protocol):
    """What lesson 09 will hand to the model: the keys and values of all layers."""

    @property
    def length(self) -> int:
        """How many tokens are in it already."""
        ...

    def __getitem__(self, layer: int) -> LayerCacheLike:
        """The part of one layer."""
        ...


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, over the targets that are to be scored."""
    rows, right = logits.float().flatten(end_dim=1), targets.flatten()
    listed = [place for place, target in enumerate(right.tolist()) if target != IGNORE]
    places = torch.tensor(listed, dtype=torch.long, device=right.device)  # (N,)
    log_p = rows[places].log_softmax(dim=1)  # (N, V)
    return -log_p[torch.arange(len(listed), device=right.device), right[places]].mean()


class GPT(nn.Module):
    """A decoder-only transformer with GPT-2's parts, under GPT-2's names."""

    def __init__(self, config: GPTConfig) -> None:
        """Given: make all parts, then initialise them."""
        super().__init__()
        self.config = config
        token_table = TokenEmbedding(config.vocab_size, config.n_embd)
        shape = (config.n_embd, config.n_head, config.n_inner)
        blocks = [
            Block(*shape, config.dropout, config.layer_norm_epsilon) for _ in range(config.n_layer)
        ]
        # Any: type checkers cannot see what a ModuleDict holds
        self.transformer: Any = nn.ModuleDict(
            {
                "wte": token_table,
                "wpe": TokenEmbedding(config.block_size, config.n_embd),
                "drop": nn.Dropout(config.dropout),
                "h": nn.ModuleList(blocks),
                "ln_f": LayerNorm(config.n_embd, config.layer_norm_epsilon),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_weights:
            self.lm_head.weight = token_table.weight
        self.loss = next_token_loss
        self.initialise_weights()

    def initialise_weights(self) -> None:
        """Give every parameter its first value, as GPT-2 does."""
        named = dict(self.named_parameters())
        linear = [name for name in named if "ln_" not in name]
        for name in sorted(linear):
            parameter, std = named[name], 0.02
            if name.endswith("attn.c_proj.weight") or name.endswith("mlp.c_proj.weight"):
                std /= math.sqrt(2 * len(self.transformer.h))
            if name.endswith("weight"):
                with torch.no_grad():
                    torch.nn.init.normal_(parameter).mul_(std)
            else:
                torch.nn.init.constant_(parameter, 0)

    def check_ids(self, ids: torch.Tensor, start: int) -> None:
        """Given: raise ValueError for ids that the model has no vector for."""
        if ids.dim() != 2 or ids.numel() == 0:
            raise ValueError(f"ids must be (batch, time) and not empty, not {tuple(ids.shape)}")
        if start + ids.shape[1] > self.config.block_size:
            raise ValueError(
                f"{start + ids.shape[1]} tokens are more than block_size = {self.config.block_size}"
            )
        if ids.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = (int(extreme) for extreme in ids.aminmax())
            if low < 0 or high >= self.config.vocab_size:
                wrong = low if low < 0 else high
                raise ValueError(f"no token {wrong}: ids go from 0 to {self.config.vocab_size - 1}")

    def embed(self, ids: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Turn ids into what enters the first block."""
        self.check_ids(ids, start)
        length = ids.shape[1]
        places = torch.tensor(list(range(start, start + length)), device=ids.device)  # (T,)
        positions = self.transformer.wpe(places).expand(len(ids), length, -1)  # (B, T, C)
        return self.transformer.drop(torch.add(self.transformer.wte(ids), positions))

    def walk(self, ids: torch.Tensor, cache: CacheLike | None = None) -> Iterator[torch.Tensor]:
        """Yield the stream as it enters the first block, then behind each."""
        x = self.embed(ids, 0 if cache is None else cache.length)
        yield x
        for layer, block in enumerate(self.transformer.h):
            x = block(x) if cache is None else block(x, cache[layer])
            yield x

    def speak(self, x: torch.Tensor) -> torch.Tensor:
        """Norm and head: the logits (B, T, V) of a state (B, T, C)."""
        return self.lm_head(self.transformer.ln_f(x))

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next, and, given the truth, how wrong that was."""
        *_, x = self.walk(ids, cache)
        if last_only:
            x = x[:, x.shape[1] - 1 :]
        logits = self.speak(x)
        return logits, self.loss(logits, targets) if targets is not None else None

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once."""
        different = {id(parameter): parameter for parameter in self.parameters()}
        return sum(math.prod(parameter.shape) for parameter in different.values())

    @staticmethod
    def from_pretrained(name_or_folder: str | Path, network: bool = True) -> "GPT":
        """Load a model of the GPT-2 family: a name on the hub (local cache first) or a folder."""
        from .engine.pretrained import load_pretrained  # not above: it imports this file

        return load_pretrained(name_or_folder, network=network)

    def save_pretrained(self, folder: str | Path, end_of_text: int | None = None) -> None:
        """Write the folder so that transformers' GPT2LMHeadModel can load it too."""
        from .engine.pretrained import save_gpt2

        save_gpt2(self, folder, end_of_text=end_of_text)

    def hidden_states(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return the stream on its way: as it enters the first block, and behind each block."""
        return list(self.walk(ids))

    def logit_lens(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what the model would say if it had to stop behind each block."""
        return [self.speak(state) for state in self.walk(ids)]


def convert_gpt2_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a GPT-2 file under the names, and the way round, that `GPT` expects."""
    converted = {}
    for name, tensor in state.items():
        match name.split("."):
            case [*_, "attn", "bias" | "masked_bias"]:
                continue
            case [*_, "attn", "c_attn" | "c_proj", "weight"] | [
                *_,
                "mlp",
                "c_fc" | "c_proj",
                "weight",
            ]:
                tensor = torch.swapaxes(tensor, 0, 1).contiguous()
        if name.split(".")[0] in ("transformer", "lm_head"):
            converted[name] = tensor
        else:
            converted["transformer." + name] = tensor
    with contextlib.suppress(KeyError):  # a part of a file may hold no table to tie the head to
        converted.setdefault("lm_head.weight", converted["transformer.wte.weight"])
    return converted
