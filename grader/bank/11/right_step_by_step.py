"""Lesson 11 with a turn that is put together from sums of angles, and attention over groups of heads."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .attention import (
    LayerCacheLike,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from .model import GPT, CacheLike, next_token_loss

# What Meta's own files call the parts, and what Hugging Face's (and ours) do.
META_NAMES = {
    "tok_embeddings": "embed_tokens",
    "attention_norm": "input_layernorm",
    "attention": "self_attn",
    "wq": "q_proj",
    "wk": "k_proj",
    "wv": "v_proj",
    "wo": "o_proj",
    "ffn_norm": "post_attention_layernorm",
    "feed_forward": "mlp",
    "w1": "gate_proj",
    "w2": "down_proj",
    "w3": "up_proj",
    "output": "lm_head",
}


@dataclass
class LlamaConfig:
    """The shape of a model. What is not said is TinyLlama's, with 1.1 billion parameters."""

    vocab_size: int = 32000  # V
    block_size: int = 2048  # the longest text that fits, in tokens
    n_layer: int = 22  # blocks
    n_head: int = 32  # H, heads of queries in each
    n_kv_head: int = 4  # G, heads of keys and values; divides n_head
    n_embd: int = 2048  # C
    n_inner: int = 5632  # I, inner width of the MLP
    rope_theta: float = (
        10000.0  # the slowest pair of channels turns about once in 2 pi theta places
    )
    rms_norm_eps: float = 1e-5
    tie_weights: bool = False  # the head shares the token table
    dropout: float = 0.0  # of attention weights; Llama itself is trained without
    head_size: int | None = None  # D, an even number; None: n_embd // n_head

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "block_size", "n_layer", "n_head", "n_kv_head", "n_embd", "n_inner")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.n_head % self.n_kv_head:
            raise ValueError(
                f"{self.n_head} heads of queries cannot share {self.n_kv_head} heads of keys "
                "evenly: n_kv_head must divide n_head"
            )
        if self.channels_per_head < 2 or self.channels_per_head % 2:
            raise ValueError(
                f"a head of {self.channels_per_head} channels cannot be turned in pairs: choose "
                "n_embd and n_head (or head_size) so that it is an even number"
            )
        if not self.rope_theta > 0:
            raise ValueError(f"rope_theta must be above 0, not {self.rope_theta}")
        if not self.rms_norm_eps >= 0:
            raise ValueError(f"rms_norm_eps must be at least 0, not {self.rms_norm_eps}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")

    @property
    def channels_per_head(self) -> int:
        """D, the head size, also where `head_size` is left to n_embd and n_head."""
        return self.n_embd // self.n_head if self.head_size is None else self.head_size


class RMSNorm(nn.Module):
    """Bring every vector to a root mean square of 1, then scale each channel."""

    def __init__(self, n_embd: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x / sqrt(mean of x^2 + eps) * weight, each vector by itself."""
        half = x.dtype in (torch.float16, torch.bfloat16)
        wide = x.float() if half else x
        normal = F.normalize(wide, dim=-1, eps=0.0).nan_to_num(0.0) if not self.eps else wide
        if self.eps:
            normal = wide.div(wide.mul(wide).mean(-1).add(self.eps).sqrt().unsqueeze(-1))
        else:
            normal = normal * x.shape[-1] ** 0.5
        normal = normal.mul(self.weight)
        return normal.to(x.dtype) if half else normal


def rotary(
    x: torch.Tensor, start: int = 0, theta: float = 10000.0, layout: str = "halves"
) -> torch.Tensor:
    """Turn each vector by its place in the text: the product of two then knows their distance only."""
    if x.shape[-1] % 2:
        raise ValueError("an odd head")
    if layout == "pairs":
        mixed = rotary(torch.cat([x[..., 0::2], x[..., 1::2]], dim=-1), start, theta)
        return torch.stack(mixed.chunk(2, dim=-1), dim=-1).reshape(x.shape)
    if layout != "halves":
        raise ValueError(f"{layout!r} is neither 'halves' nor 'pairs'")
    n_pairs = x.shape[-1] // 2
    speeds = torch.logspace(0, -(n_pairs - 1) / n_pairs, n_pairs, base=theta, device=x.device)
    angles = torch.arange(start, start + x.shape[-2], device=x.device)[:, None] * speeds
    a, b = x[..., :n_pairs], x[..., n_pairs:]
    cos, sin = torch.cos(angles), torch.sin(angles)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


class SwiGLU(nn.Module):
    """The MLP with a gate: one layer says what to pass on, another how far its door is open."""

    def __init__(self, n_embd: int, n_inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(n_embd, n_inner, bias=False)
        self.up_proj = nn.Linear(n_embd, n_inner, bias=False)
        self.down_proj = nn.Linear(n_inner, n_embd, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return down(silu(gate(x)) * up(x)), where silu(z) = z * sigmoid(z)."""
        open_by = self.gate_proj(x)
        open_by = 0.5 * open_by * (1 + torch.tanh(open_by / 2))
        return self.down_proj(open_by * self.up_proj(x))


class GroupedQueryAttention(nn.Module):
    """Attention with rotary positions, in which several heads of queries share keys and values."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.n_head, self.n_kv_head = config.n_head, config.n_kv_head
        self.rope_theta = config.rope_theta
        self.dropout = config.dropout
        head_size = config.channels_per_head
        self.q_proj = nn.Linear(config.n_embd, config.n_head * head_size, bias=False)
        self.k_proj = nn.Linear(config.n_embd, config.n_kv_head * head_size, bias=False)
        self.v_proj = nn.Linear(config.n_embd, config.n_kv_head * head_size, bias=False)
        self.o_proj = nn.Linear(config.n_head * head_size, config.n_embd, bias=False)
        self.attend = scaled_dot_product_attention

    def forward(
        self, x: torch.Tensor, start: int = 0, cache: LayerCacheLike | None = None
    ) -> torch.Tensor:
        """Let every place look at itself and at what came before."""
        q = split_heads(self.q_proj(x), self.n_head)
        k, v = (split_heads(layer(x), self.n_kv_head) for layer in (self.k_proj, self.v_proj))
        q = rotary(q, start, self.rope_theta)
        k = rotary(k, start, self.rope_theta)
        if cache is not None:
            k, v = cache.append(k, v)
        group = self.n_head // self.n_kv_head
        k = torch.stack([k] * group, dim=2).flatten(1, 2)
        v = torch.stack([v] * group, dim=2).flatten(1, 2)
        places = torch.arange(k.shape[2], device=x.device)
        mask = places <= places[-x.shape[1] :, None]
        output, _ = self.attend(
            q, k, v, mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return F.linear(merge_heads(output), self.o_proj.weight)


class LlamaBlock(nn.Module):
    """One layer of Llama: attention, then the MLP, each behind a norm and beside a straight way."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.n_embd, config.rms_norm_eps)
        self.self_attn = GroupedQueryAttention(config)
        self.post_attention_layernorm = RMSNorm(config.n_embd, config.rms_norm_eps)
        self.mlp = SwiGLU(config.n_embd, config.n_inner)

    def forward(
        self, x: torch.Tensor, start: int = 0, cache: LayerCacheLike | None = None
    ) -> torch.Tensor:
        """Add to the stream what attention finds, then what the MLP makes of it."""
        stream = x.clone()
        stream = stream + self.self_attn(self.input_layernorm(stream), start, cache)
        stream = stream + self.mlp(self.post_attention_layernorm(stream))
        return stream


class Llama(nn.Module):
    """Given: a whole model of these blocks, under Hugging Face's names; it is used like a `GPT`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        token_table = nn.Embedding(config.vocab_size, config.n_embd)
        # Any: type checkers cannot see what a ModuleDict holds
        self.model: Any = nn.ModuleDict(
            {
                "embed_tokens": token_table,
                "layers": nn.ModuleList(LlamaBlock(config) for _ in range(config.n_layer)),
                "norm": RMSNorm(config.n_embd, config.rms_norm_eps),
            }
        )
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        if config.tie_weights:
            self.lm_head.weight = token_table.weight
        self.loss = next_token_loss
        self.initialise_weights()

    def initialise_weights(self) -> None:
        """First values as in lesson 05; what a layer adds to the stream begins smaller."""
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if "norm" not in name:  # norms begin as ones, and are ones already
                is_residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=residual_std if is_residual else 0.02)

    def check_ids(self, ids: torch.Tensor, start: int) -> None:
        """Raise ValueError for ids that the model has no vector for, and for too many places."""
        GPT.check_ids(self, ids, start)  # type: ignore[arg-type]  # it reads self.config only

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next; arguments and results as in `GPT.forward`."""
        start = 0 if cache is None else cache.length  # before the first layer adds to it
        self.check_ids(ids, start)
        x = self.model.embed_tokens(ids)  # (B, T, C)
        for layer, block in enumerate(self.model.layers):
            x = block(x, start, None if cache is None else cache[layer])
        x = self.model.norm(x)
        if last_only:
            x = x[:, -1:]  # (B, 1, C)
        logits = self.lm_head(x)  # (B, T, V)
        loss = None if targets is None else self.loss(logits, targets)
        return logits, loss

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @staticmethod
    def from_pretrained(name_or_folder: str | Path, network: bool = True) -> "Llama":
        """Load a Llama, by its hub name or from a folder; all as in `GPT.from_pretrained`."""
        from .engine.llama_files import load_llama  # not above: it imports this file

        return load_llama(name_or_folder, network=network)

    def save_pretrained(self, folder: str | Path, end_of_text: int | None = None) -> None:
        """Write the folder so that transformers' LlamaForCausalLM can load it too; see `GPT`."""
        from .engine.llama_files import save_llama

        save_llama(self, folder, end_of_text=end_of_text)


def pairs_to_halves(weight: torch.Tensor, n_head: int) -> torch.Tensor:
    """Reorder the rows of a query or key layer, so that "halves" turns what "pairs" turned before."""
    if weight.shape[0] % n_head or weight.shape[0] // n_head % 2:
        raise ValueError("every head needs an even number of rows")
    out = torch.empty_like(weight)
    size = weight.shape[0] // n_head
    for head in range(0, weight.shape[0], size):
        out[head : head + size // 2] = weight[head : head + size : 2]
        out[head + size // 2 : head + size] = weight[head + 1 : head + size : 2]
    return out


def convert_llama_weights(
    state: dict[str, torch.Tensor], n_head: int, n_kv_head: int
) -> dict[str, torch.Tensor]:
    """Return the weights of a Llama file, Hugging Face's or Meta's own, as `Llama` expects them."""
    converted = {}
    for name, tensor in state.items():
        if name.endswith(("rotary_emb.inv_freq", "rope.freqs")):
            continue
        if name.endswith(("wq.weight", "wk.weight")):
            tensor = pairs_to_halves(tensor, n_head if "wq" in name else n_kv_head)
        name = ".".join(META_NAMES.get(part, part) for part in name.split("."))
        if not name.startswith(("model.", "lm_head.")):
            name = f"model.{name}"
        converted[name] = tensor
    if "lm_head.weight" not in converted and "model.embed_tokens.weight" in converted:
        converted["lm_head.weight"] = converted["model.embed_tokens.weight"]
    return converted


if __name__ == "__main__":
    from .engine.smollm import main

    raise SystemExit(main())
