"""A step of training: our trainer's against transformers' model in a plain PyTorch loop.

The same batch, shape, threads and precision on both sides, without dropout. Ours is what the
capstone runs (`TrainingForward`, `train_step`, the trainer's optimiser); theirs is the loop that
transformers' documentation shows: autocast, `loss.backward()`, clipping, `torch.optim.AdamW`.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch

from ..devices import cpu_multiplies_bf16
from .contender import Contender
from .measure import Spread, interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row

SHAPE = {"vocab_size": 50257, "block_size": 128, "n_layer": 6, "n_head": 6, "n_embd": 384}
TINY = {"vocab_size": 512, "block_size": 16, "n_layer": 1, "n_head": 2, "n_embd": 32}
BATCH = 8
OWN_VOCABULARY = 4096

# Contenders: settings are {"shape", "batch_size", "precision", "threads"} and, if wanted, "device",
# "compiled", "optimizer".


def ours(settings: dict[str, Any]) -> Callable[[], float]:
    """One step of our trainer."""
    from ...model import GPT, GPTConfig
    from ...trainer import TrainConfig, train_step
    from ..acceleration import TrainingForward, use_fast_parts
    from ..optimizers import build_optimizer

    device, batch = _begin(settings)
    model = use_fast_parts(GPT(GPTConfig(**settings["shape"])).to(device)).train()
    forward = TrainingForward(model, settings["precision"], settings.get("compiled", False))
    kind = settings.get("optimizer", "adamw")
    optimizer = build_optimizer(model, TrainConfig(steps=1), kind, device)
    optimizer.set_learning_rate(1e-4)

    def work() -> float:
        loss, _ = train_step(forward, optimizer, [batch], max_norm=1.0)  # type: ignore[arg-type]
        return loss.item()  # waits for a GPU

    return work


def transformers_loop(settings: dict[str, Any]) -> Callable[[], float]:
    """One step of the loop that transformers' documentation shows."""
    from transformers import GPT2Config, GPT2LMHeadModel

    device, (inputs, _) = _begin(settings)
    shape = settings["shape"]
    wanted: dict[str, Any] = {
        **{name: shape[name] for name in ("vocab_size", "n_layer", "n_head", "n_embd")},
        **{"n_positions": shape["block_size"], "use_cache": False},
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
    }
    model: Any = GPT2LMHeadModel(GPT2Config(**wanted))
    model = model.to(device).train()
    call = torch.compile(model) if settings.get("compiled") else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, weight_decay=0.1, fused=device.type == "cuda"
    )
    half = settings["precision"] == "bf16"

    def work() -> float:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = call(inputs, labels=inputs).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return work


def _begin(settings: dict[str, Any]) -> tuple[torch.device, tuple[torch.Tensor, torch.Tensor]]:
    """Set the threads and make the batch."""
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    device, shape = torch.device(settings.get("device", "cpu")), settings["shape"]
    size = (settings["batch_size"], shape["block_size"] + 1)
    ids = torch.randint(shape["vocab_size"], size)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    return device, (inputs.to(device), targets.to(device))


def matrix_weights(shape: dict[str, int]) -> tuple[int, int]:
    """Weights of the blocks' matrices, and of the head: each is multiplied once for every token."""
    return 12 * shape["n_layer"] * shape["n_embd"] ** 2, shape["vocab_size"] * shape["n_embd"]


def step_flops(shape: dict[str, int], tokens: int) -> float:
    """Operations of one step: 6 for each weight and token, and 12 T C a layer for attention.

    Forward 2, backward 4 (Kaplan et al. 2020); attention's masked half is counted, as is usual.
    """
    blocks, head = matrix_weights(shape)
    attention = 12 * shape["n_layer"] * shape["block_size"] * shape["n_embd"]
    return tokens * (6.0 * (blocks + head) + attention)


# Rows.


def rows(options: BenchmarkOptions) -> list[Row]:
    """The step in fp32 and bf16 against transformers, bf16 against fp32, the small vocabulary."""
    shape = TINY if options.quick else SHAPE
    small = shape | {"vocab_size": shape["vocab_size"] // 4 if options.quick else OWN_VOCABULARY}
    tokens = BATCH * shape["block_size"]
    common = {"batch_size": BATCH, "threads": options.threads}
    size = 64 if options.quick else 2048
    made: list[Row] = []
    for precision in ("fp32", "bf16"):  # not all at once: each side holds two gigabytes
        own = {**common, "precision": precision, "our_process": True}
        seconds = _in_turns(
            {
                "ours": ("training_step:ours", own | {"shape": shape}),
                "small": ("training_step:ours", own | {"shape": small}),
                "theirs": (
                    "training_step:transformers_loop",
                    {**common, "shape": shape, "precision": precision},
                ),
                "helped": ("training_step:transformers_loop", own | {"shape": shape}),
                "peak": ("machine:product", own | {"size": size, "times": 2}),
            },
            options.rounds(9),
        )
        speed = {name: [tokens / s for s in taken] for name, taken in seconds.items()}
        peak = 2 * 2 * size**3 / spread(seconds["peak"]).median
        made.append(_against_transformers(precision, shape, tokens, speed, peak))
        made.append(_small_vocabulary(precision, shape, small, speed))
    both = {
        precision: ("training_step:ours", {**common, "shape": shape, "precision": precision,
                                           "our_process": True})
        for precision in ("fp32", "bf16")
    }  # fmt: skip
    seconds = _in_turns(both, options.rounds(7))
    made.append(_half({name: [tokens / s for s in taken] for name, taken in seconds.items()}))
    if options.compiled:
        made += compiled_rows(options, shape, common)
    return made


def _in_turns(sides: dict[str, tuple[str, dict[str, Any]]], rounds: int) -> dict[str, list[float]]:
    with ExitStack() as stack:
        started = {
            name: stack.enter_context(Contender(work, **settings))
            for name, (work, settings) in sides.items()
        }
        return interleave(started, rounds, warmup=2)


def _named(shape: dict[str, int]) -> str:
    return (
        f"{shape['n_layer']} layers, {shape['n_embd']} wide, context {shape['block_size']}, "
        f"vocabulary {shape['vocab_size']:,}, batch {BATCH}"
    )


def _against_transformers(
    precision: str, shape: dict[str, int], tokens: int, speed: dict[str, list[float]], peak: float
) -> Row:
    mine, theirs = speed["ours"], speed["theirs"]
    helped = ratios(mine, speed["helped"])
    blocks, head = matrix_weights(shape)
    flops = step_flops(shape, tokens)
    at_peak = tokens / (flops / peak)
    emulated = "" if precision == "fp32" or cpu_multiplies_bf16() else ", emulated by this CPU"
    return Row(
        name=f"step-{precision}",
        work=f"training step, {_named(shape)}, {precision}{emulated}",
        against="transformers' GPT2LMHeadModel in a plain PyTorch loop, neither compiled",
        unit="tokens/s",
        ours=spread(mine),
        theirs=spread(theirs),
        figure=ratios(mine, theirs),
        target=1.15,
        limit=(
            f"compute: {flops / 1e9:,.0f} billion operations a step, of which the vocabulary's head "
            f"is {head / (blocks + head):.0%}; at the {peak / 1e9:,.0f} billion a second of a plain "
            f"product of matrices that is {at_peak:,.0f} tokens/s, and ours is at "
            f"{spread(mine).median / at_peak:.0%} of it"
        ),
        note=(
            "the loop given our habits of memory and threads (`process.py`) is "
            f"{helped.median:.2f}x slower than ours"
        ),
    )


def _half(speed: dict[str, list[float]]) -> Row:
    has = cpu_multiplies_bf16()
    return Row(
        name="step-bf16-over-fp32",
        work="the same step of ours in bf16",
        against="ours in fp32",
        unit="tokens/s",
        ours=spread(speed["bf16"]),
        theirs=spread(speed["fp32"]),
        figure=ratios(speed["bf16"], speed["fp32"]),
        target=1.4 if has else None,
        limit="bf16 instructions multiply twice as many numbers at once; norms, softmax, loss and "
        "the optimiser stay in fp32"
        if has
        else "this CPU has no bf16 instructions, so there is nothing to reach",
    )


def _small_vocabulary(
    precision: str, shape: dict[str, int], small: dict[str, int], speed: dict[str, list[float]]
) -> Row:
    by_operations = step_flops(shape, 1) / step_flops(small, 1)
    return Row(
        name=f"step-vocabulary-{precision}",
        work=f"the same step of ours with a vocabulary of {small['vocab_size']:,}, {precision}",
        against=f"ours with {shape['vocab_size']:,}",
        unit="tokens/s",
        ours=spread(speed["small"]),
        theirs=spread(speed["ours"]),
        figure=ratios(speed["small"], speed["ours"]),
        target=2.6,
        limit=(
            f"by operations alone {by_operations:.2f}x; what is more comes from the logits, which "
            "need not be written and read, and from the table's gradient and moments"
        ),
    )


def compiled_rows(
    options: BenchmarkOptions, shape: dict[str, int], common: dict[str, Any]
) -> list[Row]:
    """The same comparison with `torch.compile` on both sides (minutes, before it begins)."""
    made = []
    for precision in ("fp32", "bf16"):
        wanted = {**common, "shape": shape, "precision": precision, "compiled": True}
        with (
            Contender("training_step:ours", our_process=True, **wanted) as mine,
            Contender("training_step:transformers_loop", **wanted) as theirs,
        ):
            seconds = interleave({"ours": mine, "theirs": theirs}, options.rounds(7), warmup=3)
        tokens = BATCH * shape["block_size"]
        speed: dict[str, Spread] = {k: spread([tokens / s for s in v]) for k, v in seconds.items()}
        made.append(
            Row(
                name=f"step-{precision}-compiled",
                work=f"training step, {_named(shape)}, {precision}, compiled",
                against="transformers' GPT2LMHeadModel in a plain PyTorch loop, compiled too",
                unit="tokens/s",
                ours=speed["ours"],
                theirs=speed["theirs"],
                figure=ratios(seconds["theirs"], seconds["ours"]),
                target=1.15,
                limit="as without compiling",
            )
        )
    return made
