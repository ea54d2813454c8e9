"""Lesson 05 with torch's own functions: its cross-entropy, `F.embedding`, `F.linear`, `apply`.

Modules are told apart by their type, not parameters by their name.
"""

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
    rows = logits.float().reshape(-1, logits.size(-1))  # (B * T, V)
    return F.cross_entropy(rows, targets.reshape(-1), ignore_index=IGNORE)


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

        def first_values(module: nn.Module) -> None:
            if isinstance(module, nn.Linear | TokenEmbedding):
                nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

        self.apply(first_values)
        for block in self.transformer.h:
            for projection in (block.attn.c_proj, block.mlp.c_proj):
                nn.init.normal_(projection.weight, std=0.02 * (2 * self.config.n_layer) ** -0.5)

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
        places = torch.arange(ids.size(1), device=ids.device).add(start).unsqueeze(0)  # (1, T)
        tokens = F.embedding(ids, self.transformer.wte.weight)  # (B, T, C)
        positions = F.embedding(places, self.transformer.wpe.weight)  # (1, T, C)
        return F.dropout(tokens + positions, self.config.dropout, training=self.training)

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next, and, given the truth, how wrong that was."""
        n_layer = len(self.transformer.h)
        caches = [None] * n_layer if cache is None else [cache[layer] for layer in range(n_layer)]
        x = self.embed(ids) if cache is None else self.embed(ids, cache.length)
        for block, kept in zip(self.transformer.h, caches, strict=True):
            x = block(x, cache=kept)
        if last_only:
            x = x[:, -1].unsqueeze(1)  # (B, 1, C)
        logits = F.linear(self.transformer.ln_f(x), self.lm_head.weight)
        if targets is None:
            return logits, None
        return logits, self.loss(logits, targets)

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once."""
        return sum(map(torch.numel, self.parameters()))

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
        x = self.embed(ids)
        states = [x]
        for block in self.transformer.h:
            x = block(x)
            states.append(x)
        return states

    def logit_lens(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what the model would say if it had to stop behind each block."""
        norm, table = self.transformer.ln_f, self.lm_head.weight
        return [F.linear(norm(state), table) for state in self.hidden_states(ids)]


def convert_gpt2_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a GPT-2 file under the names, and the way round, that `GPT` expects."""
    kept = {
        name
        if name.startswith("transformer.") or name == "lm_head.weight"
        else "transformer." + name: w
        for name, w in state.items()
        if not name.endswith(".attn.bias") and not name.endswith(".attn.masked_bias")
    }
    converted = {
        name: w.transpose(0, 1).contiguous() if name.endswith(TURNED_WEIGHTS) else w
        for name, w in kept.items()
    }
    if "transformer.wte.weight" in converted:
        converted.setdefault("lm_head.weight", converted["transformer.wte.weight"])
    return converted
