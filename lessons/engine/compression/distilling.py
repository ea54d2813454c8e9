"""A student of fewer layers, and the training loop that everything in the table shares."""

import re
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ...compression import apply_masks, distillation_loss
from ...trainer import TrainConfig, learning_rate, train_step
from ..acceleration import use_fast_parts
from ..batches import BatchSource
from ..devices import PRECISIONS
from ..errors import CourseError
from ..optimizers import build_optimizer
from .options import MIX, OPTIMIZER, TEMPERATURE

# "transformer.h.3.attn.c_attn.weight", "model.layers.3.mlp.up_proj.weight"
_LAYER = re.compile(r"^(transformer\.h|model\.layers)\.(\d+)\.")
REPORTED = 5  # lines per training where there is no terminal


@dataclass(frozen=True)
class Recipe:
    """How a small model is trained. Everything that is compared has the same steps and batches."""

    steps: int
    batch_size: int
    block_size: int
    lr: float  # of what begins with trained weights
    scratch_lr: float  # of what begins with random ones
    temperature: float = TEMPERATURE
    mix: float = MIX
    optimizer: str = OPTIMIZER
    weight_decay: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    seconds: float
    losses: list[float]  # of the last steps of each fifth

    def facts(self) -> dict[str, Any]:
        """The same for a file."""
        return {"seconds": round(self.seconds, 1), "losses": [round(x, 4) for x in self.losses]}


def every_other(n_layer: int) -> list[int]:
    """The layers 0, 2, 4, ...: half of them, or the larger half."""
    return list(range(0, n_layer, 2))


def student_config(config: Any, n_layer: int) -> Any:
    """The teacher's shape with fewer layers, and without dropout: a short training needs none."""
    return replace(config, n_layer=n_layer, dropout=0.0)


def make_student(teacher: Any, layers: list[int] | None, seed: int) -> Any:
    """A student with copies of the teacher's tables, norms and these layers; None: random weights.

    Sanh et al. (2019) took every other layer for DistilBERT; for DistilGPT-2 they kept 0, 2, 4, 7, 9
    and 11 of GPT-2's twelve.
    """
    copies = None if layers is None else weights_of_layers(teacher, layers)
    n_layer = len(every_other(teacher.config.n_layer) if layers is None else layers)
    torch.manual_seed(seed)
    student = type(teacher)(student_config(teacher.config, n_layer))
    if copies is not None:
        student.load_state_dict(copies)
    return student


def weights_of_layers(teacher: Any, layers: list[int]) -> dict[str, torch.Tensor]:
    """The teacher's weights with these layers only, numbered anew."""
    places = {old: new for new, old in enumerate(layers)}
    if not layers or len(places) != len(layers) or sorted(layers) != layers:
        raise CourseError(f"--layers must name different layers in rising order, not {layers}")
    if not 0 <= layers[0] <= layers[-1] < teacher.config.n_layer:
        raise CourseError(
            f"--layers goes from 0 to {teacher.config.n_layer - 1} here; {layers} does not fit"
        )
    state = {}
    for name, tensor in teacher.state_dict().items():
        found = _LAYER.match(name)
        if found is None:
            state[name] = tensor.clone()
        elif int(found[2]) in places:
            state[f"{found[1]}.{places[int(found[2])]}.{name[found.end() :]}"] = tensor.clone()
    return state


class Lesson(nn.Module):
    """`lesson(inputs, targets) -> (None, loss)`: of the student alone, or beside its teacher."""

    def __init__(self, student: Any, teacher: Any, recipe: Recipe, precision: str) -> None:
        super().__init__()
        self.student = student
        self.teacher = (teacher,)  # in a tuple, so that its weights are none of ours
        self.recipe, self.dtype = recipe, PRECISIONS[precision]

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[None, torch.Tensor]:
        """Inputs and targets (B, T) -> the mean loss."""
        (teacher,) = self.teacher
        kind = inputs.device.type
        with torch.autocast(kind, self.dtype) if self.dtype else nullcontext():
            if teacher is None or self.recipe.mix == 0:
                return None, self.student(inputs, targets)[1]
            with torch.no_grad():
                told, _ = teacher(inputs)
            said, _ = self.student(inputs)
            loss = distillation_loss(said, told, targets, self.recipe.temperature, self.recipe.mix)
        return None, loss


def train_small(
    student: Any,
    tokens: np.ndarray,
    recipe: Recipe,
    *,
    teacher: Any = None,
    masks: dict[str, torch.Tensor] | None = None,
    from_scratch: bool = False,
    precision: str = "fp32",
    quiet: bool = False,
    label: str = "training",
) -> Trained:
    """Train a model for `recipe.steps` steps on windows of the text, and leave it in evaluation mode.

    teacher: learn from it too (`distillation_loss`). masks: weights that stay zero all the way.
    """
    device = next(student.parameters()).device
    rate = recipe.scratch_lr if from_scratch else recipe.lr
    config = TrainConfig(
        steps=recipe.steps, batch_size=recipe.batch_size, peak_lr=rate, final_lr=0.0,
        warmup=max(1, min(60, recipe.steps // 5)), weight_decay=recipe.weight_decay,
        seed=recipe.seed,
    )  # fmt: skip
    optimizer: Any = build_optimizer(student, config, recipe.optimizer, device)
    lesson = Lesson(use_fast_parts(student), teacher, recipe, precision)
    lesson.train()
    if teacher is not None:
        teacher.eval()
    batches = BatchSource(
        tokens, recipe.block_size, recipe.batch_size, 1, recipe.seed, device, slice(None)
    )
    losses: list[float] = []
    torch.manual_seed(recipe.seed)
    began = time.perf_counter()
    bar = tqdm(total=recipe.steps, desc=label, unit="step", disable=quiet or None)
    for step, micro_batches in batches.steps(0, recipe.steps):
        optimizer.set_learning_rate(
            learning_rate(step, steps=config.steps, warmup=config.warmup,
                          peak_lr=config.peak_lr, final_lr=config.final_lr)
        )  # fmt: skip
        loss, _ = train_step(lesson, optimizer, micro_batches, config.max_norm)
        if masks:
            apply_masks(student, masks)
        bar.update(1)
        if (step + 1) % max(1, recipe.steps // REPORTED) == 0:
            losses.append(_finite(float(loss), step, rate))
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
            if bar.disable and not quiet:
                print(f"{label}: step {step + 1}/{recipe.steps}  loss {losses[-1]:.3f}", flush=True)
    bar.close()
    seconds = time.perf_counter() - began
    student.eval()
    return Trained(seconds, losses)


def _finite(loss: float, step: int, rate: float) -> float:
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise CourseError(
            f"the loss is {loss} at step {step + 1}: training has diverged at a peak rate of "
            f"{rate:g}; take a lower --lr (or --scratch-lr)"
        )
    return loss
