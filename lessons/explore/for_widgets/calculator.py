"""Data for the learning-rate and batch calculator: the presets, machines, and GPT-3 for scale."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...engine.presets import PRESETS, Preset
from ...engine.report import GPT3_FLOPS
from ...engine.settings import resolve
from ...model import GPT

FILE = "calculator"
BUDGET = {FILE: 12_000}

GPT2_VOCABULARY = 50_257
# As in the presets' own expectations: a GPU is taken to reach 30 % of its data sheet's peak.
REACHED = 0.3
# Peak of dense 16-bit arithmetic in TFLOP/s, and watts, from NVIDIA's data sheets.
GPUS = [
    ("one T4 (fp16)", 65.0, 70),
    ("one A100 (bf16)", 312.0, 400),
    ("one H200 (bf16)", 989.0, 700),
]
CPU_WATTS = 30  # a guess: two busy cores of a laptop


def make(folder: Path) -> dict[str, object]:
    """Return `presets`, `machines` and `gpt3`. `folder` is not looked at.

    A preset holds what the command line would take: shape, batch, steps, rates, and what the
    course expects of it. A machine: name, TFLOP/s that it reaches, watts, where the speed is from.
    """
    presets = [one_preset(name, preset) for name, preset in PRESETS.items()]
    return {
        FILE: {
            "presets": presets,
            "machines": [_two_cores(), *(
                {"name": name, "tflops": round(REACHED * peak, 1), "watts": watts,
                 "basis": f"{REACHED:.0%} of the data sheet's {peak:g}"}
                for name, peak, watts in GPUS
            )],
            # Brown et al. 2020, table 2.1 and appendix D
            "gpt3": {"parameters": 175e9, "tokens": 300e9, "tokens_per_step": 3.2e6, "flops": GPT3_FLOPS},
        }
    }  # fmt: skip


def one_preset(name: str, preset: Preset) -> dict[str, Any]:
    """What the widget fills its fields with."""
    settings = resolve({"preset": name})
    shape = {key: settings.model[key] for key in ("n_layer", "n_head", "n_embd", "n_inner", "block_size")}  # fmt: skip
    train = {key: settings.train[key] for key in ("batch_size", "accumulation", "steps", "warmup", "peak_lr", "final_lr")}  # fmt: skip
    return {
        "name": name,
        "origin": preset.origin,
        "vocab_size": vocabulary(preset.tokenizer),
        **shape,
        **train,
        "expect": [asdict(expectation) for expectation in preset.expect],
    }


def vocabulary(tokenizer: str) -> int:
    """The number of tokens of a preset's tokenizer: "gpt2", "bpe:4096", "sentencepiece:8000"."""
    kind, _, size = tokenizer.partition(":")
    return GPT2_VOCABULARY if kind == "gpt2" else int(size)


def _two_cores() -> dict[str, Any]:
    """The speed at which the laptop preset was measured: 6 N D operations in its hours."""
    laptop = PRESETS["laptop"]
    measured = next(one for one in laptop.expect if one.basis == "measured")
    model = GPT(resolve({"preset": "laptop"}).model_config(vocabulary(laptop.tokenizer)))
    flops = 6 * model.num_parameters() * measured.tokens
    return {
        "name": measured.hardware,
        "tflops": float(f"{flops / (measured.hours * 3600) / 1e12:.2g}"),
        "watts": CPU_WATTS,
        "basis": "measured with the laptop preset",
    }
