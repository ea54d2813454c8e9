"""Llama in torch's own functions: what the learner's modern blocks are compared with.

It takes weights by Hugging Face's names, computes in 64 bits, and turns its queries and keys as
complex numbers, which is how Meta's own code does it.
"""

from typing import Any

import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]


def block_shapes(
    n_head: int,
    n_kv_head: int,
    n_embd: int,
    n_inner: int,
    head_size: int | None = None,
    **others: Any,
) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every weight of one block. The arguments are LlamaConfig's."""
    size = n_embd // n_head if head_size is None else head_size
    return {
        "input_layernorm.weight": (n_embd,),
        "self_attn.q_proj.weight": (n_head * size, n_embd),
        "self_attn.k_proj.weight": (n_kv_head * size, n_embd),
        "self_attn.v_proj.weight": (n_kv_head * size, n_embd),
        "self_attn.o_proj.weight": (n_embd, n_head * size),
        "post_attention_layernorm.weight": (n_embd,),
        "mlp.gate_proj.weight": (n_inner, n_embd),
        "mlp.up_proj.weight": (n_inner, n_embd),
        "mlp.down_proj.weight": (n_embd, n_inner),
    }


def llama_shapes(
    vocab_size: int, n_layer: int, n_embd: int, tie_weights: bool = False, **others: Any
) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every weight of a Llama. A tied head is not listed."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab_size, n_embd)}
    for layer in range(n_layer):
        of_block = block_shapes(n_embd=n_embd, **others)
        shapes |= {f"model.layers.{layer}.{name}": shape for name, shape in of_block.items()}
    shapes["model.norm.weight"] = (n_embd,)
    return shapes if tie_weights else shapes | {"lm_head.weight": (vocab_size, n_embd)}


def turned(
    x: torch.Tensor, start: int = 0, theta: float = 10000.0, layout: str = "halves"
) -> torch.Tensor:
    """Return x (..., T, D), each pair of channels turned by its place, in 64 bits."""
    x, width = x.double(), x.shape[-1]
    halves = layout == "halves"
    pairs = torch.stack(x.split(width // 2, -1), -1) if halves else x.unflatten(-1, (-1, 2))
    places = torch.arange(start, start + x.shape[-2], dtype=torch.float64)
    speeds = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(places, speeds)
    points = torch.view_as_complex(pairs.contiguous()) * torch.polar(
        torch.ones_like(angles), angles
    )
    pairs = torch.view_as_real(points)
    return torch.cat(pairs.unbind(-1), -1) if halves else pairs.flatten(-2)


def llama_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """Return x (..., C) with a root mean square of 1, scaled, in 64 bits."""
    return F.rms_norm(x.double(), x.shape[-1:], weight.double(), eps)


def llama_attention(
    x: torch.Tensor,
    weights: Weights,
    n_head: int,
    n_kv_head: int,
    rope_theta: float = 10000.0,
    layout: str = "halves",
    **others: Any,
) -> torch.Tensor:
    """Return what attention finds, (B, T, C), in 64 bits. weights: "q_proj.weight", ..."""
    w = {name: weight.double() for name, weight in weights.items()}

    def heads(name: str, number: int) -> torch.Tensor:
        rows = F.linear(x.double(), w[f"{name}.weight"])
        return torch.stack(rows.split(rows.shape[-1] // number, dim=-1), dim=1)  # (B, H, T, D)

    q = turned(heads("q_proj", n_head), 0, rope_theta, layout)
    k = turned(heads("k_proj", n_kv_head), 0, rope_theta, layout)
    v = heads("v_proj", n_kv_head)
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return F.linear(torch.cat(found.unbind(1), dim=-1), w["o_proj.weight"])


def llama_mlp(x: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Return what the gated MLP makes of x, in 64 bits. weights: "gate_proj.weight", ..."""
    gate, up, down = (
        weights[f"{name}.weight"].double() for name in ("gate_proj", "up_proj", "down_proj")
    )
    return F.linear(F.silu(F.linear(x.double(), gate)) * F.linear(x.double(), up), down)


def llama_block(x: torch.Tensor, weights: Weights, **config: Any) -> torch.Tensor:
    """Return the stream behind one block, (B, T, C), in 64 bits. config: as in LlamaConfig."""
    eps = config.get("rms_norm_eps", 1e-5)
    read = llama_norm(x, weights["input_layernorm.weight"], eps)
    x = x.double() + llama_attention(read, part_of(weights, "self_attn."), **config)
    read = llama_norm(x, weights["post_attention_layernorm.weight"], eps)
    return x + llama_mlp(read, part_of(weights, "mlp."))


def llama_logits(weights: Weights, ids: torch.Tensor, **config: Any) -> torch.Tensor:
    """Return the logits (B, T, V) for ids (B, T), in 32 bits. config: as in LlamaConfig."""
    table = weights["model.embed_tokens.weight"]
    x = F.embedding(ids, table).double()
    for layer in range(config["n_layer"]):
        x = llama_block(x, part_of(weights, f"model.layers.{layer}."), **config)
    x = llama_norm(x, weights["model.norm.weight"], config.get("rms_norm_eps", 1e-5))
    return F.linear(x, weights.get("lm_head.weight", table).double()).float()


def part_of(weights: Weights, prefix: str) -> Weights:
    """Return the weights whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }
