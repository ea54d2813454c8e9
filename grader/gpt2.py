"""GPT-2 in torch's own functions: what a whole model of the learner's is compared with.

It takes weights by GPT-2's names, either the way round that `nn.Linear` holds them or the way
GPT-2's files do, and computes in 64 bits unless it is told otherwise.
"""

import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]


def weight_shapes(
    vocab_size: int,
    block_size: int,
    n_layer: int,
    n_head: int,
    n_embd: int,
    n_inner: int | None = None,
    tie_weights: bool = True,
    **others: float,
) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every weight of a GPT, as `nn.Linear` holds it: (outputs, inputs).

    The arguments are GPTConfig's; dropout and epsilon change no shape. A tied head is not listed.
    """
    wide, inner = n_inner or 4 * n_embd, n_embd // n_head * n_head
    linear = {
        "attn.c_attn": (3 * inner, n_embd),
        "attn.c_proj": (n_embd, inner),
        "mlp.c_fc": (wide, n_embd),
        "mlp.c_proj": (n_embd, wide),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocab_size, n_embd),
        "transformer.wpe.weight": (block_size, n_embd),
    }
    for layer in range(n_layer):
        for name, shape in linear.items():
            shapes[f"transformer.h.{layer}.{name}.weight"] = shape
            shapes[f"transformer.h.{layer}.{name}.bias"] = shape[:1]
        for norm in ("ln_1", "ln_2"):
            for kind in ("weight", "bias"):
                shapes[f"transformer.h.{layer}.{norm}.{kind}"] = (n_embd,)
    shapes |= {f"transformer.ln_f.{kind}": (n_embd,) for kind in ("weight", "bias")}
    if not tie_weights:
        shapes["lm_head.weight"] = (vocab_size, n_embd)
    return shapes


def gpt2_states(
    weights: Weights,
    ids: torch.Tensor,
    n_head: int,
    eps: float = 1e-5,
    as_in_files: bool = False,
    dtype: torch.dtype = torch.float64,
) -> list[torch.Tensor]:
    """Return the stream: as it enters the first block, and behind each block, all (B, T, C).

    ids: (B, T). as_in_files: the linear weights are (inputs, outputs), as GPT-2's files hold them.
    """
    w = {name: weight.to(dtype) for name, weight in weights.items()}
    width = w["transformer.wte.weight"].shape[1]

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        matrix = w[f"{name}.weight"]
        return F.linear(x, matrix.T if as_in_files else matrix, w[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return F.layer_norm(x, (width,), w[f"{name}.weight"], w[f"{name}.bias"], eps)

    places = torch.arange(ids.shape[1])
    x = F.embedding(ids, w["transformer.wte.weight"]) + w["transformer.wpe.weight"][places]
    states = [x]
    while (block := f"transformer.h.{len(states) - 1}") + ".ln_1.weight" in w:
        parts = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn").chunk(3, dim=-1)
        size = parts[0].shape[-1] // n_head
        heads = [torch.stack(part.split(size, dim=-1), dim=1) for part in parts]  # (B, H, T, D)
        found = F.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + linear(torch.cat(found.unbind(1), dim=-1), f"{block}.attn.c_proj")
        thought = F.gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"), approximate="tanh")
        x = x + linear(thought, f"{block}.mlp.c_proj")
        states.append(x)
    return states


def gpt2_head(weights: Weights, state: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Return the logits (B, T, V) of a state (B, T, C): the last norm, then the head."""
    w = {name: weight.to(state.dtype) for name, weight in weights.items() if ".h." not in name}
    scale, shift = w["transformer.ln_f.weight"], w["transformer.ln_f.bias"]
    normed = F.layer_norm(state, state.shape[-1:], scale, shift, eps)
    return F.linear(normed, w.get("lm_head.weight", w["transformer.wte.weight"]))


def gpt2_logits(
    weights: Weights, ids: torch.Tensor, n_head: int, eps: float = 1e-5
) -> torch.Tensor:
    """Return the logits (B, T, V) for ids (B, T), in 32 bits."""
    return gpt2_head(weights, gpt2_states(weights, ids, n_head, eps)[-1], eps).float()
