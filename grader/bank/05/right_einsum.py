"""Lesson 05 with products of matrices: one-hot rows times the tables, einsum for head and lens.

The loss picks the targets' log-probabilities with a table of True and False.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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
    log_probabilities = F.log_softmax(logits.float(), dim=-1)  # (B, T, V)
    tokens = torch.arange(logits.shape[-1], device=logits.device)
    hits = targets.unsqueeze(-1) == tokens  # (B, T, V), nowhere True where the target is IGNORE
    return -log_probabilities[hits].mean()


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
        for name, parameter in self.named_parameters():
            match name.split(".")[-2:]:
                case [("ln_1" | "ln_2" | "ln_f"), _]:
                    pass
                case [_, "bias"]:
                    parameter.data.zero_()
                case ["c_proj", "weight"]:
                    parameter.data.normal_(
                        mean=0.0, std=0.02 / math.sqrt(2.0 * self.config.n_layer)
                    )
                case _:
                    parameter.data.normal_(mean=0.0, std=0.02)

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
        tokens, positions = self.transformer.wte.weight, self.transformer.wpe.weight
        which = F.one_hot(ids, len(tokens)).to(tokens.dtype)  # (B, T, V)
        places = start + torch.arange(ids.shape[1], device=ids.device)
        where = F.one_hot(places, len(positions)).to(positions.dtype)  # (T, block_size)
        x = torch.einsum("btv,vc->btc", which, tokens) + torch.einsum("tp,pc->tc", where, positions)
        return self.transformer.drop(x)

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next, and, given the truth, how wrong that was."""
        first = 0
        if cache is not None:
            first = cache.length
        x = self.embed(ids, start=first)
        for layer in range(len(self.transformer.h)):
            x = self.transformer.h[layer](x, cache[layer] if cache is not None else None)
        x = self.transformer.ln_f(x[:, -1:] if last_only else x)
        logits = torch.einsum("btc,vc->btv", x, self.lm_head.weight)
        return logits, (None if targets is None else self.loss(logits, targets))

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once."""
        return sum(math.prod(parameter.size()) for _, parameter in self.named_parameters())

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

        def behind(states: list[torch.Tensor], layer: int) -> list[torch.Tensor]:
            if layer == self.config.n_layer:
                return states
            return behind([*states, self.transformer.h[layer](states[-1])], layer + 1)

        return behind([self.embed(ids)], 0)

    def logit_lens(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what the model would say if it had to stop behind each block."""
        states = self.transformer.ln_f(torch.stack(self.hidden_states(ids), dim=1))  # (B, L, T, C)
        logits = torch.einsum("bltc,vc->lbtv", states, self.lm_head.weight)
        return [logits[layer] for layer in range(len(logits))]


def convert_gpt2_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a GPT-2 file under the names, and the way round, that `GPT` expects."""
    converted = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[-2:] in (["attn", "bias"], ["attn", "masked_bias"]):
            continue
        if ".".join(parts[-3:]) in TURNED_WEIGHTS:
            tensor = torch.einsum("io->oi", tensor).contiguous()
        if parts[0] not in ("transformer", "lm_head"):
            parts.insert(0, "transformer")
        converted[".".join(parts)] = tensor
    head, table = "lm_head.weight", "transformer.wte.weight"
    if head in converted or table not in converted:
        return converted
    return {**converted, head: converted[table]}
