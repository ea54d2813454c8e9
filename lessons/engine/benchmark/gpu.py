"""Training on a GPU: bf16, compiled, fused; ours against transformers' model with the same loop.

The share of the peak is that of the peak which a plain product of matrices reaches here, not of the
one in the data sheet.
"""

from contextlib import ExitStack
from typing import Any

from ..presets import PRESETS
from .contender import Contender
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row
from .training_step import TINY, step_flops

# Windows in a batch: 64 k tokens, and 32 k where the logits of GPT-2's vocabulary are 6 GB.
BATCHES = {"small": 512, "medium": 256, "large": 64, "124M": 32}
TARGETS = {"small": 1_500_000, "124M": 400_000}  # tokens/s on one H200


def shapes() -> dict[str, dict[str, int]]:
    """The shapes: three presets, and GPT-2's own."""
    names = ("block_size", "n_layer", "n_head", "n_embd")
    found = {
        preset: {"vocab_size": 50257, **{name: getattr(PRESETS[preset], name) for name in names}}
        for preset in ("small", "medium", "large")
    }
    gpt2 = {"block_size": 1024, "n_layer": 12, "n_head": 12, "n_embd": 768}
    return found | {"124M": {"vocab_size": 50257, **gpt2}}


def rows(options: BenchmarkOptions) -> list[Row]:
    """A row for each shape and side; sentences where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        sentence = "no CUDA device here: run the same command where there is one"
        return [_empty(name, sentence) for name in BATCHES]
    return on_device("cuda", shapes(), BATCHES, options)


def on_device(
    device: str,
    wanted: dict[str, dict[str, int]],
    batches: dict[str, int],
    options: BenchmarkOptions,
    compiled: bool = True,
) -> list[Row]:
    """Measure each shape on a device. (On a CPU with tiny shapes this is a test.)"""
    size = 64 if device == "cpu" else 8192
    settings = {"size": size, "precision": "bf16", "times": 20, "threads": options.threads}
    with Contender("machine:product", device=device, **settings) as product:
        seconds = interleave({"product": product}, options.rounds(7), warmup=2)["product"]
    peak = 20 * 2 * size**3 / spread(seconds).median
    return [
        _measured(device, name, shape, batches[name], peak, options, compiled)
        for name, shape in wanted.items()
    ]


def _measured(
    device: str,
    name: str,
    shape: dict[str, int],
    batch_size: int,
    peak: float,
    options: BenchmarkOptions,
    compiled: bool,
) -> Row:
    common: dict[str, Any] = {
        "shape": shape,
        "batch_size": batch_size,
        "precision": "bf16",
        "compiled": compiled,
        "device": device,
        "threads": options.threads,
    }
    with ExitStack() as stack:
        sides = {
            "ours": stack.enter_context(
                Contender("training_step:ours", our_process=True, **common)
            ),
            "theirs": stack.enter_context(Contender("training_step:transformers_loop", **common)),
        }
        seconds = interleave(sides, options.rounds(15), warmup=5)
    tokens = batch_size * shape["block_size"]
    speed = {side: spread([tokens / s for s in taken]) for side, taken in seconds.items()}
    share = step_flops(shape, tokens) / spread(seconds["ours"]).median / peak
    ratio = ratios(seconds["theirs"], seconds["ours"])
    empty = _empty(name, "")
    return Row(
        **{
            **empty.__dict__,
            "ours": speed["ours"],
            "theirs": speed["theirs"],
            "figure": speed["ours"],
            "limit": f"compute: {step_flops(shape, 1) / 1e9:.2f} billion operations a token, "
            f"{share:.0%} of the {peak / 1e12:,.0f} trillion a second that a plain bf16 product of "
            f"{8192 if device != 'cpu' else 64} squared reaches here",
            "note": f"{ratio.median:.2f}x transformers, batches of {batch_size} windows",
        }
    )


def _empty(name: str, missing: str) -> Row:
    return Row(
        name=f"gpu-{name}",
        work=f"training step on a GPU, {name}, bf16, compiled, fused AdamW",
        against="transformers' model with the same loop, compiled too",
        unit="tokens/s",
        figure_unit="tokens/s",
        target=TARGETS.get(name),
        missing=missing,
    )


TINY_SHAPES = {"tiny": TINY}
