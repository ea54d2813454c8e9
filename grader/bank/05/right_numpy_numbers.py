"""Lesson 05 with numpy for places and counts, random numbers copied in, clones of all weights."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
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
    # torch wants the classes in the second dimension: (B, V, T) beside (B, T)
    losses = F.cross_entropy(
        logits.float().movedim(-1, 1), targets, ignore_index=IGNORE, reduction="none"
    )
    return losses[targets != IGNORE].mean()


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
        residual = {
            parameter
            for block in self.transformer.h
            for parameter in (block.attn.c_proj.weight, block.mlp.c_proj.weight)
        }
        norms = {p for m in self.modules() if isinstance(m, LayerNorm) for p in m.parameters()}
        for parameter in self.parameters():
            with torch.no_grad():
                if parameter in norms:
                    pass
                elif parameter.ndim == 1:
                    parameter.fill_(0)
                elif parameter in residual:
                    depth = float(np.sqrt(2 * self.config.n_layer))
                    parameter.copy_(torch.randn_like(parameter) * 0.02 / depth)
                else:
                    parameter.copy_(torch.randn_like(parameter) * 0.02)

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
        places = torch.from_numpy(np.arange(start, start + ids.shape[1])).to(ids.device)
        positions = self.transformer.wpe.weight.index_select(0, places)  # (T, C)
        tokens = self.transformer.wte.weight.index_select(0, ids.flatten())  # (B * T, C)
        return self.transformer.drop(tokens.unflatten(0, ids.shape) + positions[None])

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next, and, given the truth, how wrong that was."""
        kept = iter(()) if cache is None else map(cache.__getitem__, itertools.count())
        x = self.embed(ids, start=0 if cache is None else cache.length)
        for block in self.transformer.h:
            x = block(x, next(kept, None))
        x = self.transformer.ln_f(x)
        x = x.split([x.shape[1] - 1, 1], dim=1)[1] if last_only else x
        logits = x @ self.lm_head.weight.mT
        loss = self.loss(logits, targets) if targets is not None else None
        return (logits, loss)

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once."""
        return int(np.sum([np.prod(parameter.shape) for parameter in self.parameters()]))

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
        states = [self.embed(ids)] * (self.config.n_layer + 1)
        for layer, block in enumerate(self.transformer.h, start=1):
            states[layer] = block(states[layer - 1])
        return states

    def logit_lens(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what the model would say if it had to stop behind each block."""
        states = self.hidden_states(ids)
        logits = self.lm_head(self.transformer.ln_f(torch.cat(states)))  # ((n_layer + 1) * B, T, V)
        return list(logits.split(len(ids)))


def convert_gpt2_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a GPT-2 file under the names, and the way round, that `GPT` expects."""
    prefix, head = "transformer.", "lm_head.weight"
    bare = {name.removeprefix(prefix): tensor.clone() for name, tensor in state.items()}
    own_head = bare.pop(head, None)
    converted = {}
    for name, tensor in bare.items():
        place, _, kind = name.rpartition(".")
        if place.endswith(".attn") and kind in ("bias", "masked_bias"):
            continue
        if name.endswith(TURNED_WEIGHTS):
            tensor = torch.stack(tensor.unbind(dim=1))
        converted[prefix + name] = tensor
    if own_head is None:
        own_head = bare.get("wte.weight")
    if own_head is not None:
        converted[head] = own_head
    return converted
