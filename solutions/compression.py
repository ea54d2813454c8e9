"""Lesson 13: compression. The same model, smaller: fewer bits, fewer weights, fewer layers.

Three ways, which can be combined. *Quantisation* keeps every weight, but only as the nearest of
255 steps: one byte in place of four. *Pruning* sets those weights to zero that are closest to it
already. *Distillation* trains a smaller model (the student) to say what a larger one (the teacher)
says, with all of its doubts: where the teacher finds "cat" likely and "dog" nearly as likely, the
text itself only shows which of the two came. DistilGPT-2 was made so: it began as the layers 0, 2,
4, 7, 9 and 11 of GPT-2, and learned from GPT-2's softened probabilities and from text.

A row of a weight (O, I) in eight bits. The largest number, whatever its sign, becomes 127 or -127:

    row      0.30   -1.27    0.84    0.002        scale = 1.27 / 127 = 0.01
    int8       30    -127      84        0
    read as  0.30   -1.27    0.84    0.00         no number moves by more than scale / 2

Shapes: O outputs, I inputs of a linear layer; B batch, T time, V vocabulary.

Sources: Jacob et al. (2018), arXiv:1712.05877, and Dettmers et al. (2022), arXiv:2208.07339, for
int8; Han et al. (2015), arXiv:1506.02626, for magnitude pruning; Mishra et al. (2021),
arXiv:2104.08378, for 2:4; Hinton et al. (2015), arXiv:1503.02531, and Sanh et al. (2019),
arXiv:1910.01108, for distillation.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .model import IGNORE, next_token_loss

# Core.


def size_in_bytes(model: nn.Module) -> int:
    """Return how many bytes the parameters and buffers of a model take, each counted once.

    A tied head is the embedding table under a second name: it takes no room of its own. Pruned
    weights take as much room as others: a zero is stored like any number.

    1. `model.parameters()` and `model.buffers()` name a shared tensor once. A tensor knows how many
       numbers it holds (`numel()`), and how many bytes one of them takes (`element_size()`).
    """
    # <solution>
    tensors = [*model.parameters(), *model.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    # </solution>


def quantize_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Round each row to whole numbers from -127 to 127, on a scale of its own.

    weight: (..., I), any float type, finite; a row is what stands along the last dimension. The
    arithmetic is float32.
    Returns (numbers (..., I), int8, scales (...), float32): number * scale is the weight again, but
    for scale / 2 at most. A row of zeros has the scale 0. Neither result carries a gradient.

    1. A row's scale is its largest magnitude, divided by 127. (Symmetric: 0 stays exactly 0, and
       -128, which int8 has too, is never used.)
    2. Divide by the scale and `round` to the nearest: `.to(torch.int8)` alone cuts the digits off.
       The shapes (..., I) and (...) fit together after `unsqueeze(-1)`.
    3. In a row of zeros the quotient is 0 / 0, nan, and int8 has none: `nan_to_num` makes it 0.
    """
    # <solution>
    weight = weight.detach().float()
    scale = weight.abs().amax(dim=-1) / 127  # (...)
    numbers = (weight / scale.unsqueeze(-1)).nan_to_num()  # 0 / 0 is nan
    return numbers.round().to(torch.int8), scale
    # </solution>


class QuantizedLinear(nn.Module):
    """A linear layer with its weight in eight bits; its inputs too, if `activations`.

    Buffers: `weight` (O, I), int8; `scale` (O,), one per output; `bias` (O,), or None. It is made
    from a trained layer, and learns no more.
    """

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear, activations: bool = False) -> None:
        super().__init__()
        self.activations = activations
        weight, scale = quantize_rows(linear.weight)
        bias = None if linear.bias is None else linear.bias.detach().clone()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the layer makes of x, computed from the int8 weight.

        x: (..., I), any float type. Returns (..., O) in the type of x; inside, all is float32.
        With `activations`, each vector of x is rounded to int8 too, on a scale of its own that is
        found on the spot ("dynamic"): then nothing but whole numbers is multiplied. Without it,
        gradients reach x; rounding stops them.

        1. Multiply with the numbers of the weight as they are, `.float()`, and bring in the scales
           after the sum: there are O of them, where the weight has O * I numbers. (`F.linear(x,
           weight)` is x @ weight.T; `import torch.nn.functional as F` at the top.)
        2. With `activations`, `quantize_rows` does for x what it did for the weight. A sum then
           lacks two scales, that of its vector and that of its output. Multiply as float32 here
           too: 100 * 100 does not fit into int8.
        3. The bias, where there is one, was never rounded and has no scale, so it comes last.
        """
        # <solution>
        dtype, scale = x.dtype, self.scale  # (O,)
        if self.activations:
            x, x_scale = quantize_rows(x)  # (..., I), (...)
            scale = x_scale.unsqueeze(-1) * scale  # (..., O)
        y = F.linear(x.float(), self.weight.float()) * scale  # (..., O)
        if self.bias is not None:
            y = y + self.bias
        return y.to(dtype)
        # </solution>

    def error_bound(self, x: torch.Tensor) -> torch.Tensor:
        """Return how far each output can be from that of the layer in full precision, at most.

        x: (..., I). Returns (..., O), float32, from x and the rounded weight alone: the weight in
        full precision is gone. (The rounding of float32 itself comes on top, and is far smaller.)

        1. A weight is off by at most scale / 2, so weight * x by at most scale / 2 * |x|. Add up
           over the inputs: in the worst case, no two errors cancel.
        2. With `activations`, x is off as well, by at most half of its vector's scale. What it is
           multiplied with is the weight as it is read, number * scale; add up their magnitudes.
        """
        # <solution>
        bound = self.scale / 2 * x.float().abs().sum(dim=-1, keepdim=True)  # (..., O)
        if self.activations:
            _, x_scale = quantize_rows(x)
            magnitudes = self.weight.float().abs().sum(dim=1) * self.scale  # (O,)
            bound = bound + x_scale.unsqueeze(-1) / 2 * magnitudes
        return bound
        # </solution>


def prune_by_magnitude(
    weights: dict[str, torch.Tensor], sparsity: float, scope: str = "global"
) -> dict[str, torch.Tensor]:
    """Say which weights stay when the smallest go: masks, True where a weight is kept.

    weights: tensors of any shapes, by name. sparsity: the share that goes, 0 to 1; of n weights it
    is round(sparsity * n), with Python's round. scope: "global" compares all weights with each
    other, so that some tensors lose more than others; "layer" takes its share from each tensor.
    Small is what is close to zero, whatever its sign. Among equals those go first that stand first:
    in an earlier tensor, or earlier in the same one, row by row.
    Returns a mask for every name, of the same shape, in the same order; `weights` stay as they are.
    Raises ValueError for another sparsity or scope, and where there is no tensor.

    1. Both scopes are the same work on groups of names: one group of all, or a group for each name.
    2. Lay a group's magnitudes end to end (`flatten`, `torch.cat`). Sort them, and the first
       round(sparsity * n) go: `argsort(stable=True)` leaves equals in order. (A threshold would
       take all equals or none.)
    3. Cut the long mask into pieces (`split`), and give each piece its shape (`view`).
    """
    # <solution>
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity must be between 0 and 1, not {sparsity}")
    if scope not in ("global", "layer"):
        raise ValueError(f"scope must be 'global' or 'layer', not {scope!r}")
    if not weights:
        raise ValueError("there are no weights to prune")
    masks = {}
    for names in [list(weights)] if scope == "global" else [[name] for name in weights]:
        group = [weights[name] for name in names]
        magnitudes = torch.cat([weight.detach().abs().flatten() for weight in group])
        kept = torch.ones_like(magnitudes, dtype=torch.bool)
        kept[magnitudes.argsort(stable=True)[: round(sparsity * len(kept))]] = False
        pieces = kept.split([weight.numel() for weight in group])
        for name, piece in zip(names, pieces, strict=True):
            masks[name] = piece.view(weights[name].shape)
    return masks
    # </solution>


def apply_masks(model: nn.Module, masks: dict[str, torch.Tensor]) -> None:
    """Given: set the weights of a model to zero where their mask says False.

    They can still learn: a training that goes on after pruning calls this after every step.
    """
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def sparsity_report(weights: dict[str, torch.Tensor]) -> dict[str, tuple[int, int, float]]:
    """Count the zeros: of each tensor and, under the name "all", of all of them together.

    weights: tensors by name, or masks. Returns name -> (zeros, numbers, share of zeros), plain
    numbers, in the order of `weights`, "all" last. Where there are no numbers, the share is 0.

    1. The share of all is not the mean of the shares: a small tensor must not count as much as a
       large one.
    """
    # <solution>
    counts = {name: (int((w == 0).sum()), w.numel()) for name, w in weights.items()}
    zeros, numbers = (sum(count[i] for count in counts.values()) for i in (0, 1))
    counts["all"] = (zeros, numbers)
    return {name: (z, n, z / n if n else 0.0) for name, (z, n) in counts.items()}
    # </solution>


def distillation_loss(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 2.0,
    mix: float = 0.5,
) -> torch.Tensor:
    """Return the loss of a student that learns from a teacher, and from the text itself.

        mix * temperature^2 * KL(teacher || student)  +  (1 - mix) * cross-entropy

    The divergence is the mean over the tokens of sum over V of p * (log p - log q), with p of the
    teacher and q of the student, both softmax(logits / temperature): 0 where they agree.
    A temperature above 1 flattens both, so that what the teacher holds unlikely is heard too; the
    gradient shrinks by its square, and the factor makes up for that. The cross-entropy (lesson 05's
    `next_token_loss`) is that of the student as it is, at temperature 1.

    student_logits, teacher_logits: (B, T, V), any float type; computed in float32. targets: (B, T);
    where one is IGNORE (-1), the place counts in neither part. (If none counts: nan.) Returns
    a scalar; the teacher gets no gradient. What the teacher holds impossible (a logit of -inf) adds
    nothing to the sum.
    Raises ValueError for a temperature that is not above 0, and for a mix outside of 0 to 1.
    Sources: Hinton et al. (2015), section 2; Sanh et al. (2019), section 2, for DistilBERT and
    DistilGPT-2 (a third part there pulls the hidden states of both into one direction).

    1. Keep the scored rows only, (N, V), of both: `targets != IGNORE` picks them. (`from .model
       import IGNORE, next_token_loss` at the top.)
    2. `F.log_softmax` of both, divided by the temperature. The log of a softmax would be -inf
       where a probability is too small for a float.
    3. p is exp of the teacher's. 0 * inf is nan, so put 0 where p is 0: `torch.where`.
    4. Sum over V, mean over the N rows, then mix.
    """
    # <solution>
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    if not 0 <= mix <= 1:
        raise ValueError(f"mix must be between 0 and 1, not {mix}")
    scored = targets != IGNORE  # (B, T)
    student = F.log_softmax(student_logits[scored].float() / temperature, dim=1)  # (N, V)
    teacher = F.log_softmax(teacher_logits[scored].detach().float() / temperature, dim=1)
    p = teacher.exp()
    terms = torch.where(p > 0, p * (teacher - student), 0.0)  # (N, V)
    divergence = terms.sum(dim=1).mean()
    hard = next_token_loss(student_logits, targets)
    return mix * temperature**2 * divergence + (1 - mix) * hard
    # </solution>


# Stretch.


def prune_n_m(weight: torch.Tensor, n: int = 2, m: int = 4) -> torch.Tensor:
    """Say which weights stay when of every m neighbours in a row only the n largest do.

    Zeros in no order save hardly any time. With 2 of every 4, hardware knows where to look: such a
    row takes half the room, and 2 bits a number for its place, and some graphics cards skip the
    zeros.

    weight: (O, I); neighbours are inputs 0 .. m - 1, m .. 2m - 1, ... of one row. n: how many stay,
    0 to m. Largest is what is furthest from zero; among equals, those that stand first go first.
    Returns the mask (O, I), True where a weight is kept.
    Raises ValueError where I is no multiple of m, for m below 1 and for another n.

    1. `view` makes groups of the last dimension. (`reshape`, if the tensor has been turned.)
    2. In each group the m - n smallest go. `argsort` twice tells each number its rank.
    """
    # <solution>
    if m < 1 or not 0 <= n <= m:
        raise ValueError(f"n must be between 0 and m, and m at least 1, not {n}:{m}")
    if weight.shape[-1] % m != 0:
        raise ValueError(f"the rows of {tuple(weight.shape)} cannot be cut into groups of {m}")
    magnitudes = weight.detach().abs().reshape(-1, m)  # (O * I / m, m)
    rank = magnitudes.argsort(dim=1, stable=True).argsort(dim=1)  # 0: the smallest
    return (rank >= m - n).view(weight.shape)
    # </solution>


if __name__ == "__main__":
    from .engine.compression.command import main

    raise SystemExit(main())
