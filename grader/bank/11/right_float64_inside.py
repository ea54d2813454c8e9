"""Lesson 11 in 64 bits inside, with indices for everything that changes its place."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .attention import (
    LayerCacheLike,
    causal_mask,
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
        wide = x.to(torch.float64)
        mean_square = torch.sum(wide**2, dim=-1, keepdim=True) / wide.shape[-1]
        return (wide * self.weight * (mean_square + self.eps) ** -0.5).to(x.dtype)


def rotary(
    x: torch.Tensor, start: int = 0, theta: float = 10000.0, layout: str = "halves"
) -> torch.Tensor:
    """Turn each vector by its place in the text: the product of two then knows their distance only."""
    n_pairs, odd = divmod(x.shape[-1], 2)
    if odd:
        raise ValueError("one channel has no partner")
    if layout == "halves":
        order = torch.arange(2 * n_pairs)
    elif layout == "pairs":
        order = torch.cat([torch.arange(0, 2 * n_pairs, 2), torch.arange(1, 2 * n_pairs, 2)])
    else:
        raise ValueError(f"a layout is halves or pairs, not {layout}")
    ordered = x.index_select(-1, order.to(x.device)).double()
    places = torch.arange(x.shape[-2], device=x.device, dtype=torch.float64) + start
    speeds = theta ** -(torch.arange(n_pairs, device=x.device, dtype=torch.float64) / n_pairs)
    angles = places[:, None] * speeds
    angles = torch.cat([angles, angles], dim=-1)
    partner = torch.cat([-ordered[..., n_pairs:], ordered[..., :n_pairs]], dim=-1)
    turned = ordered * angles.cos() + partner * angles.sin()
    return turned.index_select(-1, order.argsort().to(x.device)).to(x.dtype)


class SwiGLU(nn.Module):
    """The MLP with a gate: one layer says what to pass on, another how far its door is open."""

    def __init__(self, n_embd: int, n_inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(n_embd, n_inner, bias=False)
        self.up_proj = nn.Linear(n_embd, n_inner, bias=False)
        self.down_proj = nn.Linear(n_inner, n_embd, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return down(silu(gate(x)) * up(x)), where silu(z) = z * sigmoid(z)."""
        gate, up = self.gate_proj(x).double(), self.up_proj(x).double()
        return self.down_proj((gate * torch.special.expit(gate) * up).to(x.dtype))


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
        q = rotary(split_heads(self.q_proj(x), self.n_head), start, self.rope_theta)
        k = rotary(split_heads(self.k_proj(x), self.n_kv_head), start, self.rope_theta)
        v = split_heads(self.v_proj(x), self.n_kv_head)
        if cache is not None:
            k, v = cache.append(k, v)
        shared = torch.arange(self.n_head, device=x.device).div(
            self.n_head // self.n_kv_head, rounding_mode="floor"
        )
        k, v = k[:, shared], v[:, shared]
        mask = causal_mask(q.shape[2], k.shape[2], device=x.device)
        output, _ = self.attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.o_proj(merge_heads(output))


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
        found = self.self_attn(self.input_layernorm(x), start, cache)
        thought = self.mlp(self.post_attention_layernorm(x + found))
        return x + found + thought


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
    if len(weight) % (2 * n_head):
        raise ValueError("not so many heads of pairs")
    return torch.cat(
        [
            head.view(-1, 2, weight.shape[1]).unbind(1)[which]
            for head in weight.contiguous().chunk(n_head)
            for which in range(2)
        ]
    )


def convert_llama_weights(
    state: dict[str, torch.Tensor], n_head: int, n_kv_head: int
) -> dict[str, torch.Tensor]:
    """Return the weights of a Llama file, Hugging Face's or Meta's own, as `Llama` expects them."""

    def translated(name: str) -> str:
        return ".".join(META_NAMES.get(part, part) for part in name.split("."))

    def prefixed(name: str) -> str:
        return name if name.startswith(("model.", "lm_head.")) else "model." + name

    def reordered(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name.endswith("wq.weight"):
            return pairs_to_halves(tensor, n_head)
        return pairs_to_halves(tensor, n_kv_head) if name.endswith("wk.weight") else tensor

    left_out = ("rotary_emb.inv_freq", "rope.freqs")
    converted = {
        prefixed(translated(name)): reordered(name, tensor)
        for name, tensor in state.items()
        if not name.endswith(left_out)
    }
    table = converted.get("model.embed_tokens.weight")
    return converted if table is None else {"lm_head.weight": table} | converted


if __name__ == "__main__":
    from .engine.smollm import main

    raise SystemExit(main())
