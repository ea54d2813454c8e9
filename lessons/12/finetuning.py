# lesson 12, stub 7dbac12c54b3 (yours to fill in)
"""Lesson 12: fine-tuning. How a model that can write learns what you want it to write.

    python -m lessons.finetuning --help        # with your own code, on a model that is there already
    python -m solutions.finetuning --help      # with the reference

A trained model goes on with any text. Two things turn it into one that does as it is told, and both
begin from its weights. *Supervised fine-tuning* shows it prompts with good answers and trains as
before, except that only the answers are scored. *Direct preference optimisation* (DPO) shows it two
answers to the same prompt, one of which people like better, and moves their probabilities apart.

Neither needs to move all the weights. LoRA freezes them and puts a small detour beside a layer: two
thin matrices A and B, whose product is added to what the layer computes. B begins with zeros, so at
first nothing changes; afterwards the product can be added to the weight itself (merged), and the
layer costs what it did before.

Shapes: B batch, T time, V vocabulary, R rank.

Sources: Ouyang et al. (2022), arXiv:2203.02155, for the two stages; Hu et al. (2021),
arXiv:2106.09685, for LoRA; Rafailov et al. (2023), arXiv:2305.18290, for DPO; Mitchell (2023), "A
note on DPO with noisy preferences", for its label smoothing.
"""

if __name__ == "__main__" and not __package__:
    raise SystemExit("run this instead: pytest lessons/12, or python -m lessons.finetuning")

from collections.abc import Sequence

import torch
from torch import nn

# Core: supervised fine-tuning.


def mask_prompt(
    ids: torch.Tensor, prompt_lengths: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut rows of prompt and answer into inputs and targets, with only the answers to be scored.

    ids: (B, T), int64, T at least 2: in each row a prompt, its answer, and padding up to T (any ids;
    some pad with the token that also ends an answer). prompt_lengths: (B,), int64, how many ids of
    the row are prompt, 0 or more. lengths: (B,), int64, how many are prompt and answer together.
    Returns inputs and targets, both (B, T - 1), int64. The target at place t is id number t + 1 of
    the row where that belongs to the answer, IGNORE (-1) where it is prompt or padding; the inputs
    are the ids themselves. The first id of a row has nothing before it and is no target.
    What was passed in stays as it was. Raises ValueError where not
    0 <= prompt_length <= length <= T.

    Predict first: A row holds a prompt of 3 tokens and an answer of 4. How many of its 6 targets
    are scored: 3 or 4?

    1. The inputs are all ids but the last of each row, the targets all but the first.
    2. A row of places (`torch.arange`), compared with a column of lengths, (B, 1), fills a table
       (B, T). A token belongs to the answer if it stands behind the prompt and before the end.
    3. Ask that of the *target*: the place where the first token of the answer is predicted reads
       the last token of the prompt. (`masked_fill` makes a copy. IGNORE is lesson 05's: `from .model
       import IGNORE` at the top, or write -1.)
    """
    raise NotImplementedError("lesson 12: mask_prompt")


def sequence_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how probable each row's targets are altogether: the sum of their log-probabilities.

    logits: (B, T, V), of any float type; the sum is computed in 32 bits. targets: (B, T), int64,
    IGNORE (-1) where a place is not scored. Returns (B,), float32: 0 for a row without any. What
    stands in the logits of a place that is not scored (some may be -inf) makes no difference.

    Predict first: A model gives each token of an answer the probability 1/2. The answer has 10
    tokens. Is its log-probability log(1/2), 10 log(1/2), or log(1/2) / 10?

    1. The logits become 32 bits wide first (`float`), then log-probabilities: `torch.log_softmax`
       does it in one, without the overflow that a softmax and then its logarithm would have.
    2. `gather` picks one of them per place; it wants targets of one more dimension, (B, T, 1), and
       knows no id -1: put any other there for now.
    3. Where the target is IGNORE, the log-probability counts as 0 (`torch.where`: a product with 0
       would make nan of -inf). Sum over time.
    """
    raise NotImplementedError("lesson 12: sequence_log_probability")


def supervised_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean surprise, in nats, over all targets of the batch that are to be scored.

    Each token counts the same, whether its answer is long or short. logits, targets: as for
    `sequence_log_probability`. Returns a scalar, float32. Raises ValueError where nothing at all is
    to be scored: a mean of nothing is nan, and one step along nan would spoil every weight.

    Predict first: One answer of 1 token surprises by 3 nats, one of 9 tokens by 1 nat each. Is the
    loss 2, or 1.2?

    1. The log-probabilities of all rows together, divided by the number of scored targets. Surprise
       is the negative of that.
    """
    raise NotImplementedError("lesson 12: supervised_loss")


# Core: LoRA.


class LoRALinear(nn.Module):
    """A frozen linear layer and, beside it, a detour of low rank that learns.

    It computes base(x) + scale * B A dropout(x), where scale = alpha / rank: with it, the same
    learning rate does for any rank.

    Attributes: `base`, the layer; `lora_A` (rank, in) and `lora_B` (out, rank), the detour's two
    matrices; `scale`; `dropout`, which works on what goes into the detour; `unmerged`: None, or,
    while the detour is merged, (the weight without it,).
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank must be at least 1, not {rank}")
        self.base = linear
        weight = linear.weight  # new_empty: of its type and on its device
        self.lora_A = nn.Parameter(weight.new_empty(rank, linear.in_features))
        self.lora_B = nn.Parameter(weight.new_empty(linear.out_features, rank))
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        # in a tuple, so that torch does not take the kept weight for one more parameter
        self.unmerged: tuple[torch.Tensor] | None = None
        self.train(linear.training)
        self.begin()

    def begin(self) -> None:
        """Freeze the layer and give the detour its first values: at first it adds nothing.

        A is normal with standard deviation 1 / sqrt(inputs), so that A x is about as large as the
        numbers of x; B is 0. `__init__` ends with this call; the matrices are there, but nobody has
        filled them yet. Source: Hu et al. (2021), section 4.1.

        Predict first: B begins with zeros, A with random numbers. In the first step of training,
        which of the two gets a gradient that is not 0?

        1. Neither the weight of `base` nor its bias (if it has one) gets gradients any more.
           (`requires_grad_` of a module does all its parameters.)
        2. `nn.init.normal_(parameter, std=...)` and `nn.init.zeros_` fill a parameter in place. If
           both were 0, each would keep the other from ever learning. Why?
        """
        raise NotImplementedError("lesson 12: LoRALinear.begin")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer computes, and the detour's part of it on top.

        x: (..., in). Returns (..., out). While merged, the layer's weight has the detour in it.

        Predict first: A layer has 768 inputs and 768 outputs: 589,824 weights. How many numbers has
        its detour of rank 8?

        1. Merged: `self.base` alone.
        2. Otherwise x goes through dropout, then A, then B: row vectors meet transposed matrices.
           Narrow first: x A^T has `rank` numbers, B A as many as the whole weight.
        3. Times `self.scale`, added to `self.base` of x as it came, without dropout.
        """
        raise NotImplementedError("lesson 12: LoRALinear.forward")

    def merge(self) -> None:
        """Put the detour into the weight of `base`: the same results, at the old layer's price.

        `unmerged` keeps the weight as it was. A layer that is merged already stays as it is.

        Predict first: W is (out, in), A (rank, in), B (out, rank). Which product can be added to W:
        A B or B A?

        1. Nothing to do if something is kept already.
        2. Keep the layer's weight, as it is, in a tuple: (self.base.weight,).
        3. Give `base` a new weight, an `nn.Parameter` with requires_grad=False: the old one plus
           scale * B A, which is (out, in) like the weight. Not in place: the old one is kept, and
           other layers may use it too, as the token table does in a model with a tied head.
           (`detach`, or torch.no_grad, so that no gradients hang on it.)
        """
        raise NotImplementedError("lesson 12: LoRALinear.merge")

    def unmerge(self) -> None:
        """Take the detour out again: the weight is bit for bit what it was before `merge`.

        Subtracting would not do that: (a + b) - b is not always a, since every sum is rounded. A
        layer that is not merged stays as it is.

        Predict first: In 32 bits, 1 + 1e8 - 1e8 is computed from left to right. Is the result 1?

        1. Put back what was kept, and keep nothing any more.
        """
        raise NotImplementedError("lesson 12: LoRALinear.unmerge")


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of the model are trained, and how many it has in all.

    A parameter that several layers share counts once. Trained are those with requires_grad.

    Predict first: A table of 1,000 vectors with 64 numbers each is also the head of the model. How
    many numbers are that: 64,000 or 128,000?

    1. `model.parameters()` yields each parameter once, `numel` counts its numbers.
    """
    raise NotImplementedError("lesson 12: count_parameters")


# Core: learning from preferences.


def dpo_loss(
    policy_chosen: torch.Tensor,
    policy_rejected: torch.Tensor,
    reference_chosen: torch.Tensor | None,
    reference_rejected: torch.Tensor | None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss of pairs of answers: is the better one more probable than it was?

    The four are log-probabilities of whole answers, (B,), as from `sequence_log_probability`: of the
    one that was chosen and of the one that was rejected, under the model that learns (the policy)
    and under the model from which it began (the reference). Both references None: without reference,
    as if it found the two equally probable.
    beta: how closely the policy is held to the reference, above 0. label_smoothing: the probability
    with which a pair is taken to stand the wrong way round, 0 to 0.5.
    Returns a scalar, also finite (with gradients) for margins of thousands. Raises ValueError for
    other values of beta and label_smoothing, and when only one reference is given.
    Source: Rafailov et al. (2023), equation 7; Mitchell (2023) for the smoothing.

    Predict first: Training with DPO begins with the policy equal to the reference. How large is the
    loss in the first step?

    1. The margin: by how much the policy's log-ratio, chosen over rejected, exceeds the
       reference's; times beta.
    2. The model's probability that the pair is right is sigmoid(margin), that it is the wrong way
       round sigmoid(-margin). The loss of a pair is minus the logarithm of the first. With
       smoothing the two losses are mixed, (1 - label_smoothing) to label_smoothing.
    3. `nn.functional.logsigmoid` is log(sigmoid(...)) without the overflow. Mean over the pairs.
    """
    raise NotImplementedError("lesson 12: dpo_loss")


# Stretch: extra points, needed by nothing.


def add_adapters(
    model: nn.Module, names: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> list[str]:
    """Put a `LoRALinear` in the place of each chosen linear layer, and freeze all else.

    names: whole last parts of layers' names: "c_proj" means transformer.h.0.attn.c_proj,
    transformer.h.0.mlp.c_proj and so on, "attn.c_proj" only the first kind, "proj" neither. rank,
    alpha, dropout: as for `LoRALinear`. Layers that are adapters already stay, and so do their
    parts.
    Returns the names of the layers replaced, in the order of the model. Raises ValueError, which
    says all the names that no linear layer bears, and then the model is as it was.

    Predict first: A GPT has layers called attn.c_proj and mlp.c_proj in each of its 12 blocks. How
    many adapters does the name "c_proj" make?

    1. `model.named_modules()` gives every module with its whole name; keep those that are an
       `nn.Linear`, in a list: the model must not change while you walk through it. Leave out the
       `base` of an adapter.
    2. A name is meant if it is equal to a chosen one or ends with "." and a chosen one. Look for
       names that mean no layer before you change anything.
    3. Freeze the whole model. Then, for each chosen layer: `get_submodule` finds the module that
       holds it, and `setattr` puts the adapter there. (In the model itself, the holder is "".)
    4. Adapters that were there before learn on.
    """
    raise NotImplementedError("lesson 12: add_adapters")


if __name__ == "__main__":
    from .engine.finetuning.commands import main

    raise SystemExit(main())
