"""Lesson 11: modern blocks. What today's models changed about GPT-2, and why so little of it.

Llama, Mistral, Qwen, SmolLM: under the names there is one design, and it is the block of lesson 04
with four parts exchanged. The norm no longer subtracts the mean (`RMSNorm`). Positions are no
longer added to the tokens: queries and keys are turned like the hands of a clock, so that only the
distance between two places counts (`rotary`). The MLP has a gate (`SwiGLU`). And several heads of
queries share one head of keys and values, which makes the cache of lesson 09 smaller
(`GroupedQueryAttention`). No layer has a bias any more. With Hugging Face's names for everything,
the weights of such models fit in:

    model = Llama.from_pretrained("HuggingFaceTB/SmolLM2-135M")

Shapes: B batch, T time, C channels (n_embd), H heads of queries, G heads of keys and values
(n_kv_head), D head size, I inner width of the MLP (n_inner), K keys, V size of the vocabulary.

Sources: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019); Su et al., "RoFormer:
Enhanced Transformer with Rotary Position Embedding" (2021); Shazeer, "GLU Variants Improve
Transformer" (2020); Ainslie et al., "GQA: Training Generalized Multi-Query Transformer Models from
Multi-Head Checkpoints" (2023); Touvron et al., "LLaMA: Open and Efficient Foundation Language
Models" (2023), which puts them together.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
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


# Yours, from here on. What stands in __init__ is given.


class RMSNorm(nn.Module):
    """Bring every vector to a root mean square of 1, then scale each channel.

    LayerNorm without the mean and without the bias: what it spares is time, what it loses seems not
    to be missed. Attributes: `weight` (C,), at first ones; `eps`.
    """

    def __init__(self, n_embd: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x / sqrt(mean of x^2 + eps) * weight, each vector by itself.

        x: (..., C), of any float type. Returns the same shape and type. The squares and their mean
        are computed in 32 bits at least: in 16 bits the square of 300 is infinite already.
        Source: Zhang and Sennrich (2019), equation 4; eps stands where Llama has it.

        1. 16-bit numbers become 32 bits wide first. (`x.float()`; 64-bit ones may stay as they are:
           torch.promote_types(x.dtype, torch.float32) is the wider type of the two.)
        2. Square, mean over the last dimension (`keepdim=True`), eps, root. No mean is subtracted.
        3. Divide, scale by weight, and go back to the type of x.
        """
        # <solution>
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean_square = wide.square().mean(dim=-1, keepdim=True)  # (..., 1)
        normal = wide / torch.sqrt(mean_square + self.eps)
        return (normal * self.weight).to(x.dtype)
        # </solution>


def rotary(
    x: torch.Tensor, start: int = 0, theta: float = 10000.0, layout: str = "halves"
) -> torch.Tensor:
    """Turn each vector by its place in the text: the product of two then knows their distance only.

    The D channels of a head make D / 2 pairs. A pair is a point in the plane, and at place p pair
    number i is turned by the angle p * theta^(-2i / D): the first pair fast, the last slowly. Place
    0 stays as it is, and no vector changes its length.

    x: (B, H, T, D), at the places start .. start + T - 1. layout: which channels make pair i.
    "halves": i and i + D / 2, what Hugging Face's checkpoints want; "pairs": 2i and 2i + 1, as in
    the paper and in Meta's own files. Weights made for one speak nonsense with the other.
    Returns the shape and type of x; the angles are computed in 32 bits, whatever x is.
    Raises ValueError for an odd D and for any other layout. Source: Su et al. (2021), equation 34.

    1. All angles, (T, D / 2), are a column of places times a row of speeds, as in lesson 02.
       (`dtype=torch.float32` in `torch.arange`: in 16 bits, places 2048 and 2049 are one.)
    2. Take the first and the second channel of every pair, (B, H, T, D / 2) each.
    3. Turn: first' = first cos - second sin, second' = second cos + first sin.
    4. Put both back to where they came from. (`torch.cat` joins halves; `torch.stack` with
       `flatten` lays pairs.) 16 bits times 32 bits gives 32: back to the type of x.
    """
    # <solution>
    length, width = x.shape[-2:]
    if width % 2:
        raise ValueError(f"{width} channels cannot be turned in pairs")
    if layout not in ("halves", "pairs"):
        raise ValueError(f"layout must be 'halves' or 'pairs', not {layout!r}")
    places = torch.arange(start, start + length, dtype=torch.float32, device=x.device)
    even_channels = torch.arange(0, width, 2, dtype=torch.float32, device=x.device)
    angles = places.unsqueeze(1) * theta ** (-even_channels / width)  # (T, D / 2)
    cos, sin = angles.cos(), angles.sin()
    if layout == "halves":
        first, second = x.chunk(2, dim=-1)  # (B, H, T, D / 2)
    else:
        first, second = x[..., 0::2], x[..., 1::2]
    turned = first * cos - second * sin, second * cos + first * sin
    joined = (
        torch.cat(turned, dim=-1) if layout == "halves" else torch.stack(turned, -1).flatten(-2)
    )
    return joined.to(x.dtype)  # (B, H, T, D)
    # </solution>


class SwiGLU(nn.Module):
    """The MLP with a gate: one layer says what to pass on, another how far its door is open.

    Attributes: `gate_proj` and `up_proj` (C -> I), `down_proj` (I -> C), all without bias. Three
    layers instead of two: with I = 8/3 C it has as many parameters as GPT-2's MLP with 4 C.
    """

    def __init__(self, n_embd: int, n_inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(n_embd, n_inner, bias=False)
        self.up_proj = nn.Linear(n_embd, n_inner, bias=False)
        self.down_proj = nn.Linear(n_inner, n_embd, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return down(silu(gate(x)) * up(x)), where silu(z) = z * sigmoid(z).

        x: (..., C). Returns the same shape. Source: Shazeer (2020), equation 6, without its biases
        ("Swish" with beta 1 is silu).

        1. Two layers read x. Only the gate goes through silu: write it out, or call `F.silu`.
           (`import torch.nn.functional as F` at the top of the file.)
        2. Multiply number by number, then narrow.
        """
        # <solution>
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        # </solution>


class GroupedQueryAttention(nn.Module):
    """Attention with rotary positions, in which several heads of queries share keys and values.

    Attributes: `q_proj` (C -> H * D), `k_proj` and `v_proj` (C -> G * D), `o_proj` (H * D -> C),
    none with a bias; `n_head` (H), `n_kv_head` (G), `rope_theta`, `dropout`; `attend`, the function
    that computes attention, as in lesson 03: it gets queries, keys and values of H heads each. With
    G = H it is ordinary attention, with G = 1 all heads share one ("multi-query").
    """

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
        """Let every place look at itself and at what came before.

        x: (B, T, C), at the places start .. start + T - 1. cache: None, or an object that keeps
        what was there before, so that x holds only what is new; `cache.append(k, v)` takes the new
        keys and values, (B, G, T, D), and returns old and new ones together, (B, G, K, D).
        Returns (B, T, C). Source: Ainslie et al. (2023), section 2.2.

        1. Queries into H heads, keys and values into G. (Lesson 03's `split_heads`; add what you
           need of lesson 03 to the import at the top of the file.)
        2. Turn queries and keys, from place `start` on, with `self.rope_theta`. Values stay: they
           are what is handed over, not where it stands.
        3. With a cache, exchange k and v for all of them: turned once, never again, and still only
           G heads of them. That is the point of it.
        4. Now give every query head its keys: heads 0 .. H / G - 1 share the first of the G, the
           next H / G the second, ... (`repeat_interleave`)
        5. The rest is lesson 03's: the mask (none for a single query), `self.attend` (dropout only
           in training), `merge_heads`, and `o_proj`.
        """
        # <solution>
        q = rotary(split_heads(self.q_proj(x), self.n_head), start, self.rope_theta)
        k = rotary(split_heads(self.k_proj(x), self.n_kv_head), start, self.rope_theta)
        v = split_heads(self.v_proj(x), self.n_kv_head)  # (B, G, T, D)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, G, K, D)
        sharing = self.n_head // self.n_kv_head
        k, v = (part.repeat_interleave(sharing, dim=1) for part in (k, v))  # (B, H, K, D)
        n_queries, n_keys = q.shape[2], k.shape[2]
        mask = causal_mask(n_queries, n_keys, device=x.device) if n_queries > 1 else None
        output, _ = self.attend(q, k, v, mask, self.dropout if self.training else 0.0)
        return self.o_proj(merge_heads(output))  # (B, T, C)
        # </solution>


class LlamaBlock(nn.Module):
    """One layer of Llama: attention, then the MLP, each behind a norm and beside a straight way.

    Attributes: `input_layernorm`, `self_attn`, `post_attention_layernorm`, `mlp`: Hugging Face's
    names, though both norms are RMSNorms, and the second stands before the MLP.
    """

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.n_embd, config.rms_norm_eps)
        self.self_attn = GroupedQueryAttention(config)
        self.post_attention_layernorm = RMSNorm(config.n_embd, config.rms_norm_eps)
        self.mlp = SwiGLU(config.n_embd, config.n_inner)

    def forward(
        self, x: torch.Tensor, start: int = 0, cache: LayerCacheLike | None = None
    ) -> torch.Tensor:
        """Add to the stream what attention finds, then what the MLP makes of it.

        x: (B, T, C), the stream. start, cache: handed on to the attention. Returns (B, T, C).

        1. As in lesson 04: each part reads the stream through its norm, and adds to the stream.
        """
        # <solution>
        x = x + self.self_attn(self.input_layernorm(x), start, cache)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x
        # </solution>


class Llama(nn.Module):
    """Given: a whole model of these blocks, under Hugging Face's names; it is used like a `GPT`.

    Attributes: `config`; `model`, holding `embed_tokens` (the token table), `layers` (the blocks)
    and `norm` (the last one); `lm_head`; `loss`, the function that scores logits. There is no table
    of positions: every attention layer turns its queries and keys itself.
    """

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


# Stretch: extra points, needed by nothing.


def pairs_to_halves(weight: torch.Tensor, n_head: int) -> torch.Tensor:
    """Reorder the rows of a query or key layer, so that "halves" turns what "pairs" turned before.

    weight: (n_head * D, C), whose rows stand in each head as pair 0's first, pair 0's second,
    pair 1's first, ... Returns a new tensor of that shape, in which all firsts of a head stand
    before all seconds. Raises ValueError where the rows cannot be cut into n_head heads of pairs.
    Queries and keys change their order alike, so their products, and all that follows, stay.

    1. Rows into (head, pair, which of the two), a swap, and back.
    """
    # <solution>
    rows, width = weight.shape
    if rows % (2 * n_head):
        raise ValueError(f"{rows} rows cannot be cut into {n_head} heads of pairs")
    pairs = weight.reshape(n_head, rows // n_head // 2, 2, width)
    return pairs.transpose(1, 2).reshape(rows, width)
    # </solution>


def convert_llama_weights(
    state: dict[str, torch.Tensor], n_head: int, n_kv_head: int
) -> dict[str, torch.Tensor]:
    """Return the weights of a Llama file, Hugging Face's or Meta's own, as `Llama` expects them.

    state: name -> tensor. Stays as it is. n_head, n_kv_head: as in `LlamaConfig`.
    Returns a new dictionary that `Llama.load_state_dict` takes.

    1. Leave out what is computed, not learned: names that end in `rotary_emb.inv_freq` (old files
       of Hugging Face's) or `rope.freqs` (Meta's).
    2. Meta's queries and keys, `...wq.weight` and `...wk.weight`, stand in pairs: turn them with
       `pairs_to_halves`. How many heads does each have?
    3. Meta's names become ours, part by part: META_NAMES says how. (`split(".")`, `".".join`)
    4. Some files hold the model without its head; their names lack "model." in front. Add it to
       every name that does not begin with it, but not to `lm_head.weight`.
    5. Where there is no `lm_head.weight`, the head is tied: it is `model.embed_tokens.weight`.
    """
    # <solution>
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
    # </solution>


if __name__ == "__main__":
    from .engine.smollm import main

    raise SystemExit(main())
