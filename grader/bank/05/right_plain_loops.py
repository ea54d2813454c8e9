"""Lesson 05 in plain loops: text by text, place by place, layer by number, name by name."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from .attention import LayerCacheLike
from .bigram import cross_entropy
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
    rows, right = [], []
    for text_logits, text_targets in zip(logits, targets, strict=True):  # (T, V), (T,)
        counts = text_targets != IGNORE
        rows.append(text_logits[counts])
        right.append(text_targets[counts])
    return cross_entropy(torch.cat(rows).to(torch.float32), torch.cat(right))


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
        n_layer = self.config.n_layer
        nn.init.normal_(self.transformer.wte.weight, 0.0, 0.02)
        nn.init.normal_(self.transformer.wpe.weight, 0.0, 0.02)
        if not self.config.tie_weights:
            nn.init.normal_(self.lm_head.weight, 0.0, 0.02)
        for i in range(n_layer):
            block = self.transformer.h[i]
            for layer in [block.attn.c_attn, block.mlp.c_fc]:
                nn.init.normal_(layer.weight, 0.0, 0.02)
                nn.init.constant_(layer.bias, 0.0)
            for layer in [block.attn.c_proj, block.mlp.c_proj]:
                nn.init.normal_(layer.weight, 0.0, 0.02 / math.sqrt(n_layer + n_layer))
                nn.init.constant_(layer.bias, 0.0)

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
        columns = []
        for t in range(ids.shape[1]):
            column = self.transformer.wte(ids[:, t])  # (B, C)
            columns.append(column + self.transformer.wpe.weight[start + t])
        return self.transformer.drop(torch.stack(columns, dim=1))  # (B, T, C)

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next, and, given the truth, how wrong that was."""
        start = 0
        if cache is not None:
            start = cache.length
        x = self.embed(ids, start)
        for i in range(self.config.n_layer):
            block = self.transformer.h[i]
            if cache is None:
                x = block(x)
            else:
                x = block(x, cache[i])
        x = self.transformer.ln_f(x)
        if last_only:
            x = x[:, [x.shape[1] - 1], :]  # (B, 1, C)
        logits = self.lm_head(x)
        loss = None
        if targets is not None:
            loss = self.loss(logits, targets)
        return logits, loss

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once."""
        total = 0
        for _, parameter in self.named_parameters():
            size = 1
            for length in parameter.shape:
                size = size * length
            total += size
        return total

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
        states = [self.embed(ids)]
        for i in range(len(self.transformer.h)):
            states += [self.transformer.h[i](states[i])]
        return states

    def logit_lens(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what the model would say if it had to stop behind each block."""
        answers = []
        for state in self.hidden_states(ids):
            normal = self.transformer.ln_f(state)
            answers.append(self.lm_head(normal))
        return answers


def convert_gpt2_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a GPT-2 file under the names, and the way round, that `GPT` expects."""
    converted = {}
    for name in state:
        mask = False
        for end in [".attn.bias", ".attn.masked_bias"]:
            if name.endswith(end):
                mask = True
        turned = False
        for end in TURNED_WEIGHTS:
            if name.endswith(end):
                turned = True
        new_name = name
        if name != "lm_head.weight" and name[: len("transformer.")] != "transformer.":
            new_name = "transformer." + name
        if turned:
            columns = [state[name][:, j] for j in range(state[name].shape[1])]
            converted[new_name] = torch.stack(columns)
        elif not mask:
            converted[new_name] = state[name]
    has_head = "lm_head.weight" in converted
    if not has_head and "transformer.wte.weight" in converted:
        converted["lm_head.weight"] = converted["transformer.wte.weight"]
    return converted
