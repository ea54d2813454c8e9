"""How the cost of training grows: over the context, the layers and the vocabulary."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..devices import cpu_multiplies_bf16
from .contender import Contender
from .measure import Spread, interleave, spread
from .settings import BenchmarkOptions
from .training_step import BATCH, SHAPE, TINY, step_flops

SWEEPS = {
    "block_size": (64, 128, 256, 512, 1024),
    "n_layer": (1, 2, 4, 6, 8, 12),
    "vocab_size": (512, 4096, 16384, 32768, 50257),
}
QUICK_SWEEPS = {"block_size": (8, 16), "n_layer": (1, 2), "vocab_size": (64, 128)}
LABELS = {"block_size": "context, tokens", "n_layer": "layers", "vocab_size": "vocabulary, tokens"}
# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6b6b6b"


@dataclass(frozen=True)
class Point:
    """One shape, timed."""

    varied: str
    value: int
    tokens_per_second: Spread
    memory_mb: float  # the most at once, the whole process
    flops_per_token: float


def measure_growth(options: BenchmarkOptions) -> list[Point]:
    """Time our training step for every value of every sweep, 1,024 tokens a step."""
    base = TINY if options.quick else SHAPE
    tokens = BATCH * base["block_size"]
    precision = "bf16" if cpu_multiplies_bf16() else "fp32"
    points = []
    for varied, values in (QUICK_SWEEPS if options.quick else SWEEPS).items():
        for value in values:
            shape = base | {varied: value}
            batch_size = max(1, tokens // shape["block_size"])
            settings: dict[str, Any] = {"shape": shape, "batch_size": batch_size}
            settings |= {"precision": precision, "threads": options.threads, "our_process": True}
            with Contender("training_step:ours", **settings) as side:
                taken = interleave({"ours": side}, options.rounds(5), warmup=2)["ours"]
                memory = side.last["peak_mb"]
            seen = batch_size * shape["block_size"]
            speed = spread([seen / s for s in taken])
            points.append(Point(varied, value, speed, memory, step_flops(shape, 1)))
    return points


def as_json(points: list[Point]) -> list[dict[str, Any]]:
    """The points as plain values."""
    return [asdict(point) for point in points]


def from_json(kept: list[dict[str, Any]]) -> list[Point]:
    """The points again."""
    return [Point(**{**p, "tokens_per_second": Spread(**p["tokens_per_second"])}) for p in kept]


def draw_growth(points: list[Point], file: Path) -> None:
    """Speed above, memory below, a column for each thing that is varied."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots(2, len(LABELS), sharex="col", sharey="row", squeeze=False)
    for column, (varied, label) in enumerate(LABELS.items()):
        some = [point for point in points if point.varied == varied]
        if not some:
            continue
        values = [point.value for point in some]
        speed, memory = axes[0][column], axes[1][column]
        medians = [point.tokens_per_second.median for point in some]
        low = [point.tokens_per_second.low for point in some]
        high = [point.tokens_per_second.high for point in some]
        speed.fill_between(values, low, high, color=BLUE, alpha=0.25, linewidth=0)
        speed.plot(values, medians, color=BLUE, marker="o", label="measured")
        # what the operations alone would do, from the first point on
        alone = [medians[0] * some[0].flops_per_token / point.flops_per_token for point in some]
        speed.plot(values, alone, color=GREY, linestyle="--", label="by operations alone")
        memory.plot(values, [p.memory_mb for p in some], color=ORANGE, marker="s", label="memory")
        for axis in (speed, memory):
            axis.grid(axis="y", alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        if varied != "n_layer":
            memory.set_xscale("log", base=2)
            memory.set_xticks(values, [f"{value:,}" for value in values], rotation=30)
            memory.minorticks_off()
        else:
            memory.set_xticks(values)
        memory.set_xlabel(label)
    for row in axes:  # once all lines are there: the columns share it
        row[0].set_ylim(bottom=0)
    axes[0][0].set_ylabel("tokens/s")
    axes[1][0].set_ylabel("memory, MB")
    axes[0][0].legend(frameon=False, fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def growth_table(points: list[Point]) -> str:
    """The same as Markdown, for readers who do not see the figure."""
    lines = ["| varied | value | tokens/s | memory, MB |", "|---|---|---|---|"]
    lines += [
        f"| {LABELS[p.varied].partition(',')[0]} | {p.value:,} | {p.tokens_per_second.median:,.0f} "
        f"| {p.memory_mb:,.0f} |"
        for p in points
    ]
    return "\n".join(lines)
