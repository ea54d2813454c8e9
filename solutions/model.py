"""Lesson 05: the model. Everything so far, stacked: a GPT that can take GPT-2's weights and speak.

Tokens and positions become vectors (lesson 02), a stack of blocks (lesson 04) works on them, a last
norm tidies up, and the head compares every vector with every token: the most similar token is the
best guess for what comes next. The head's table is the embedding table itself (tied weights).
Parameters carry GPT-2's names, so that its weights fit in one by one: `convert_gpt2_weights` does
what little is left, and DistilGPT-2 then speaks through code of your own:

    model = GPT.from_pretrained("distilgpt2")

Shapes: B batch, T time, C channels (n_embd), V size of the vocabulary.

Sources: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), GPT-2; Press
and Wolf, "Using the Output Embedding to Improve Language Models" (2017), for the tied head.
"""

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


# Yours, from here on. What stands in __init__ is given.


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy, in nats, over the targets that are to be scored.

    logits: (B, T, V), of any float type; the loss is computed in 32 bits. targets: (B, T), int64,
    the true next tokens; where one is IGNORE (-1), that place does not count. (If none counts,
    there is no mean: nan, as in torch. See to it here, if your `cross_entropy` cannot.) Returns a
    scalar.

    1. Lesson 00's `cross_entropy` wants rows: (B * T, V) and (B * T,). (`from .bigram import
       cross_entropy` at the top of the file; `flatten` or `reshape` makes rows.)
    2. If some targets are IGNORE, keep only the rows of the others. (Not always: picking rows
       copies them, and with a large vocabulary that is most of the memory.)
    3. 16-bit logits become 32 bits wide before the loss, not after it. (`float`)
    """
    # <solution>
    logits, targets = logits.flatten(0, 1), targets.flatten()  # (B * T, V), (B * T,)
    scored = targets != IGNORE
    if not scored.all():
        logits, targets = logits[scored], targets[scored]
    return cross_entropy(logits.float(), targets)
    # </solution>


class GPT(nn.Module):
    """A decoder-only transformer with GPT-2's parts, under GPT-2's names.

    Attributes: `config`; `transformer`, holding `wte` and `wpe` (tables for tokens and positions),
    `drop`, `h` (the blocks) and `ln_f` (the last norm); `lm_head`; `loss`, the function that scores
    logits: `next_token_loss` as written above, or anything that computes the same sooner.
    """

    def __init__(self, config: GPTConfig) -> None:
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
        """Give every parameter its first value, as GPT-2 does.

        Weights of linear layers and tables are normal with standard deviation 0.02, biases are 0.
        What a layer adds to the stream (the two `c_proj` of each block) begins smaller, by
        1 / sqrt(2 n_layer): there are 2 n_layer such sums, and without this the stream would grow
        with the depth. Source: Radford et al. (2019), section 2.3. `__init__` ends with this call,
        so there is no model before it is written.

        1. `self.named_parameters()` gives every parameter once, with its name. LayerNorms have the
           right values already (1 and 0): leave out the names with "ln_" in them.
        2. For each other one, its name tells whether it is a bias, a `c_proj.weight` or any other
           weight. `nn.init.zeros_` and `nn.init.normal_(parameter, std=...)` fill it in place: a
           tied head stays the token table. (`math.sqrt` needs `import math` at the top.)
        """
        # <solution>
        residual_std = 0.02 / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if "ln_" in name:
                continue
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            else:
                std = residual_std if name.endswith("c_proj.weight") else 0.02
                nn.init.normal_(parameter, std=std)
        # </solution>

    def check_ids(self, ids: torch.Tensor, start: int) -> None:
        """Given: raise ValueError for ids that the model has no vector for.

        Their values are read on the CPU only: a GPU would have to finish all its work first.
        """
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
        """Turn ids into what enters the first block.

        ids: (B, T), int64, standing at the places start .. start + T - 1. Returns (B, T, C).
        Raises ValueError for ids out of range and for more places than block_size.

        1. `self.check_ids` is given.
        2. As `Embeddings` in lesson 02: token plus position, then dropout. Only the first place is
           not always 0.
        """
        # <solution>
        self.check_ids(ids, start)
        places = torch.arange(start, start + ids.shape[1], device=ids.device)  # (T,)
        x = self.transformer.wte(ids) + self.transformer.wpe(places)  # (B, T, C)
        return self.transformer.drop(x)
        # </solution>

    def forward(
        self,
        ids: torch.Tensor,
        targets: torch.Tensor | None = None,
        cache: CacheLike | None = None,
        last_only: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Say for every place which token comes next, and, given the truth, how wrong that was.

        ids: (B, T), int64. targets: (B, T), int64, the token that follows each place, IGNORE (-1)
        where it does not matter; or None. cache: keeps what was computed for the tokens so far;
        then ids holds only the new ones. last_only: only the last place is of interest, as it is
        when writing (the head is a large part of the work: V is 50,257). Then there are no targets.
        Returns logits (B, T, V), or (B, 1, V) with last_only, and the loss (a scalar), or None
        without targets. Raises ValueError as `embed` does.

        1. `self.embed`. With a cache, the first place is `cache.length`.
        2. Through the blocks, one after the other; block number i gets `cache[i]`.
        3. The last norm. With last_only, keep only the last place now, as (B, 1, C).
        4. The head gives the logits, `self.loss` the loss.
        """
        # <solution>
        x = self.embed(ids, start=0 if cache is None else cache.length)  # (B, T, C)
        for layer, block in enumerate(self.transformer.h):
            x = block(x, None if cache is None else cache[layer])
        x = self.transformer.ln_f(x)
        if last_only:
            x = x[:, -1:]  # (B, 1, C)
        logits = self.lm_head(x)  # (B, T, V)
        loss = None if targets is None else self.loss(logits, targets)
        return logits, loss
        # </solution>

    def num_parameters(self) -> int:
        """Return how many numbers the model learns; a table that is shared counts once.

        1. `self.parameters()` yields each parameter once, and `numel` counts its numbers.
        """
        # <solution>
        return sum(parameter.numel() for parameter in self.parameters())
        # </solution>

    # Given: loading and saving.

    @staticmethod
    def from_pretrained(name_or_folder: str | Path, network: bool = True) -> "GPT":
        """Load a model of the GPT-2 family: a name on the hub (local cache first) or a folder.

        network: whether the hub may be asked for what is not in the cache.
        Returns the model in evaluation mode. Raises CourseError with a sentence.
        """
        from .engine.pretrained import load_pretrained  # not above: it imports this file

        return load_pretrained(name_or_folder, network=network)

    def save_pretrained(self, folder: str | Path, end_of_text: int | None = None) -> None:
        """Write the folder so that transformers' GPT2LMHeadModel can load it too.

        end_of_text: the id that ends a text, for the configuration.
        Raises CourseError where the heads do not divide n_embd: transformers has no such model.
        """
        from .engine.pretrained import save_gpt2

        save_gpt2(self, folder, end_of_text=end_of_text)

    # Stretch: extra points, needed by nothing.

    def hidden_states(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return the stream on its way: as it enters the first block, and behind each block.

        ids: (B, T), int64. Returns n_layer + 1 tensors (B, T, C), the last norm not applied.

        1. `forward` without its end, keeping what passes by.
        """
        # <solution>
        states = [self.embed(ids)]
        for block in self.transformer.h:
            states.append(block(states[-1]))
        return states
        # </solution>

    def logit_lens(self, ids: torch.Tensor) -> list[torch.Tensor]:
        """Return what the model would say if it had to stop behind each block.

        ids: (B, T), int64. Returns n_layer + 1 tensors of logits (B, T, V), one per hidden state;
        the last is what `forward` returns.
        Source: nostalgebraist, "interpreting GPT: the logit lens" (2020).

        1. The last norm and the head were made for the last hidden state. Use them on all.
        """
        # <solution>
        return [
            self.lm_head(self.transformer.ln_f(state))  # (B, T, V)
            for state in self.hidden_states(ids)
        ]
        # </solution>


# Yours again: the last step, after which GPT-2's weights fit.


def convert_gpt2_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a GPT-2 file under the names, and the way round, that `GPT` expects.

    state: name -> tensor, as the files of the GPT-2 family hold them. Stays as it is.
    Returns a new dictionary that `GPT.load_state_dict` takes.

    1. Some files hold the model without its head; their names lack "transformer." in front. Add it
       to every name that does not begin with it, but not to `lm_head.weight`.
    2. Leave out `...attn.bias` and `...attn.masked_bias`: old files keep the causal mask under
       these names. (Not `...attn.c_attn.bias`: that one is a real bias.)
    3. A weight whose name ends with one of TURNED_WEIGHTS is the transpose of what `nn.Linear`
       wants. (`contiguous` puts it in order in memory too.)
    4. Where there is no `lm_head.weight`, the head is tied: it is `transformer.wte.weight`.
    """
    # <solution>
    converted = {}
    for name, tensor in state.items():
        if name.endswith((".attn.bias", ".attn.masked_bias")):
            continue
        if not name.startswith(("transformer.", "lm_head.")):
            name = f"transformer.{name}"
        if name.endswith(TURNED_WEIGHTS):
            tensor = tensor.t().contiguous()  # (in, out) -> (out, in)
        converted[name] = tensor
    if "lm_head.weight" not in converted and "transformer.wte.weight" in converted:
        converted["lm_head.weight"] = converted["transformer.wte.weight"]
    return converted
    # </solution>
