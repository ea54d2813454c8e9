"""Tables of the presets: their shapes with counted parameters, and what their recipes cost."""

from pathlib import Path

from lessons.engine.logs import duration
from lessons.engine.presets import PRESETS, Preset

from .writing import table as make_table

GPT2_VOCABULARY = 50_257


def table(arguments: list[str], folder: Path) -> str:
    """Return one row per preset; parameters are counted in a model made of it, not quoted."""
    return make_table(
        ["preset", "layers", "heads", "width", "context", "vocabulary", "parameters", "from"],
        [
            [
                f"`{name}`",
                *(preset.n_layer, preset.n_head, preset.n_embd, preset.block_size),
                f"`{preset.tokenizer}`",
                f"{parameters(name, preset):,}",
                preset.origin,
            ]
            for name, preset in PRESETS.items()
        ],
        right="layers heads width context parameters",
    )


def parameters(name: str, preset: Preset) -> int:
    """Count the parameters of a preset's model; nothing is allocated."""
    import torch

    from solutions.engine.settings import resolve
    from solutions.model import GPT

    vocab_size = int(preset.tokenizer.partition(":")[2] or GPT2_VOCABULARY)
    with torch.device("meta"):
        return GPT(resolve({"preset": name}).model_config(vocab_size)).num_parameters()


def recipes(arguments: list[str], folder: Path) -> str:
    """Return one row per expectation: hardware, tokens, time, memory, bits per byte, and how known."""
    return make_table(
        ["preset", "hardware", "tokens", "time", "memory", "bits per byte", "how we know"],
        [
            [
                f"`{name}`",
                *(expect.hardware, f"{expect.tokens / 1e6:,.0f} M"),
                *(duration(expect.hours * 3600), f"{expect.memory_gb:g} GB"),
                *(f"{expect.bits_per_byte:.2f}", expect.basis),
            ]
            for name, preset in PRESETS.items()
            for expect in preset.expect
        ],
        right="tokens",
    )
