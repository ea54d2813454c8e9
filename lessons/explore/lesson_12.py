"""Lesson 12: what is scored, what a fine-tuned model gains and forgets, ranks, and preferences."""

from typing import Any

import torch

from ..engine.errors import CourseError
from .drawing import BLUE, GREEN, GREY, LINE_HEIGHT, ORANGE, lay_out, lines_of, new_figure
from .gallery import Drawn, Figure, Table, View
from .library import require
from .tokens import drawable
from .tuned import DPO_STEPS, RANK, ROWS, STEPS, preferred, share_of, tuned

TITLE = "fine-tuning"
PER_LINE = 56
USES = ("bigram", "attention", "blocks", "model", "trainer", "finetuning")


def a_row(view: View) -> tuple[Any, list[str]]:
    """A recipe as ids, with its loss mask, and the pieces of text that the ids stand for."""
    from ..engine.finetuning.forms import row_of
    from ..engine.finetuning.recipes import recipe

    made = recipe(view.wishes.seed, 3)
    tokenizer = view.subject.tokenizer
    row = row_of(made.prompt, made.answer, tokenizer)
    if len(row.ids) > view.subject.block_size:
        raise CourseError(f"a recipe does not fit into {view.subject.block_size} tokens")
    pieces = [drawable_lines(tokenizer.decode([i])) for i in row.ids[:-1]]
    return row, [*pieces, "<end>"]


def drawable_lines(text: str) -> str:
    """The text with its line ends, and signs that the fonts have."""
    return "\n".join(drawable(part) for part in text.split("\n"))


def draw_scored(view: View) -> Drawn:
    """A prompt and its answer: only the answer is scored."""
    require(view.library, "finetuning")
    from ..engine.finetuning.forms import batch_of
    from ..finetuning import supervised_loss
    from ..model import IGNORE

    row, pieces = a_row(view)
    inputs, targets = batch_of([row], torch.device("cpu"))
    with torch.no_grad():
        logits = view.subject.speaker(inputs)[0].float()
    surprise = -logits[0].log_softmax(-1).gather(1, targets[0].clamp(min=0)[:, None])[:, 0]
    scored = targets[0] != IGNORE
    shares: list[float | None] = [None]
    shares += [
        min(1.0, float(s) / 8) if on else None for s, on in zip(surprise, scored, strict=True)
    ]
    figure, axes = new_figure(0.5 + LINE_HEIGHT * 1.35 * lines_of(pieces, PER_LINE))
    lay_out(axes, pieces, shares, PER_LINE)
    loss = float(supervised_loss(logits, targets))
    following = torch.tensor(row.ids[1:]).unsqueeze(0)  # with the prompt
    everything = float(supervised_loss(logits, following))
    n_scored = int(scored.sum())
    alt = (
        f"A recipe in {len(row.ids)} tokens. The {row.prompt_length} of the prompt are on white: they are "
        f"read and not scored. The {n_scored} of the answer are coloured, the lighter the more they "
        f"surprise the model; their mean surprise, the loss, is {loss:.2f} nats."
    )
    order = surprise.masked_fill(~scored, -1).argsort(descending=True)[:6].tolist()
    rows = [(pieces[i + 1].replace("\n", "\\n"), f"{float(surprise[i]):.2f}") for i in order]
    tables = [Table("the most surprising tokens of the answer", ("token", "nats"), rows, (1,))]
    note = f"Loss of the answer {loss:.2f} nats; with the prompt scored as well it would be {everything:.2f}."
    return Drawn(figure, alt, tables, [note])


def draw_forgetting(view: View) -> Drawn:
    """What is gained on recipes, and lost on stories, with LoRA and with all weights."""
    require(view.library, *USES)
    from ..finetuning import count_parameters

    runs = tuned(view)
    figure, (left, right) = new_figure(3.2, 1, 2)
    rows, said = [], []
    for (name, (model, history)), colour, dash, mark in zip(
        runs.items(), (BLUE, ORANGE), ("-", "--"), ("o", "s"), strict=True
    ):
        steps = [row["step"] for row in history]
        for axes, key in ((left, "answers"), (right, "ordinary")):
            axes.plot(
                steps, [row[key] for row in history], color=colour, linestyle=dash, marker=mark,
                label=name,
            )  # fmt: skip
        trained, everything = count_parameters(model)
        first, last = history[0], history[-1]
        rows.append((name, f"{trained:,}", f"{trained / everything:.1%}", f"{first['answers']:.2f}",
                     f"{last['answers']:.2f}", f"{first['ordinary']:.2f}", f"{last['ordinary']:.2f}"))  # fmt: skip
        said.append(
            f"{name} ({trained:,} numbers): recipes from {first['answers']:.2f} to {last['answers']:.2f}, "
            f"stories from {first['ordinary']:.2f} to {last['ordinary']:.2f}"
        )
    left.set(xlabel="step", ylabel="loss (nats per token)", title="held-out recipes")
    right.set(xlabel="step", title="stories")
    left.legend()
    columns = (
        "method",
        "trained",
        "of all",
        "recipes, before",
        "after",
        "stories, before",
        "after",
    )
    n_steps = share_of(view, STEPS)
    alt = f"Loss over {n_steps} steps of fine-tuning on recipes. {'; '.join(said)} nats per token."
    return Drawn(
        figure, alt, [Table("gained and forgotten", columns, rows, (1, 2, 3, 4, 5, 6))],
        [f"{n_steps} steps of {ROWS} recipes: seconds; a real run is python -m solutions.finetuning."],
    )  # fmt: skip


def changes(view: View) -> dict[str, torch.Tensor]:
    """What full fine-tuning changed in each matrix of the blocks: name -> singular values."""
    model, _ = tuned(view)["full"]
    before = dict(view.subject.ours.named_parameters())
    found = {}
    for name, parameter in model.named_parameters():
        if ".h." in name and parameter.dim() == 2:
            found[name] = torch.linalg.svdvals((parameter - before[name]).detach().float())
    return found


def draw_rank(view: View) -> Drawn:
    """How much of a full change a detour of low rank could have made."""
    require(view.library, *USES)
    by_kind: dict[str, list[torch.Tensor]] = {}
    for name, values in changes(view).items():
        kind = ".".join(name.split(".")[3:-1])
        by_kind.setdefault(kind, []).append((values**2).cumsum(0) / (values**2).sum())
    figure, axes = new_figure(3.4)
    rows, said = [], []
    shapes = {".".join(n.split(".")[3:-1]): tuple(p.shape) for n, p in
              view.subject.ours.named_parameters() if ".h.0." in n and p.dim() == 2}  # fmt: skip
    styles = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (GREY, ":", "D"))
    ranks = [1, 2, 4, 8, 16, 32, 64]
    for (kind, shares), (colour, dash, mark) in zip(by_kind.items(), styles, strict=False):
        mean = torch.stack(shares).mean(0)
        shown = [r for r in ranks if r <= len(mean)]
        axes.plot(
            shown, [100 * float(mean[r - 1]) for r in shown], color=colour, linestyle=dash,
            marker=mark, label=kind,
        )  # fmt: skip
        outputs, inputs = shapes[kind]
        at = [r for r in (1, 8, 32) if r <= len(mean)]
        rows.append((kind, f"{inputs} -> {outputs}", f"{inputs * outputs:,}",
                     f"{RANK * (inputs + outputs):,}", *(f"{float(mean[r - 1]):.0%}" for r in at)))  # fmt: skip
        said.append(f"{kind}: " + ", ".join(f"rank {r} {float(mean[r - 1]):.0%}" for r in at))
    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, list(map(str, ranks)))
    axes.set(xlabel="rank", ylabel="share of the change (%)", ylim=(0, 102))
    axes.legend(loc="lower right")
    columns = ("layer", "shape", "numbers", f"LoRA, rank {RANK}",
               *(f"rank {r}" for r in (1, 8, 32) if r <= max(len(s[0]) for s in by_kind.values())))  # fmt: skip
    alt = (
        "What full fine-tuning changed in the weights, and how much of it (squared) a matrix of low "
        f"rank could hold, a line for each kind of layer. {'; '.join(said)}."
    )
    table = Table("the change and its rank", columns, rows, tuple(range(2, len(columns))))
    return Drawn(figure, alt, [table])


def draw_margins(view: View) -> Drawn:
    """Pairs of endings before and after a little DPO, which here prefers the sad ones."""
    require(view.library, *USES)
    found = preferred(view)
    (chosen, rejected), (chosen_now, rejected_now) = found["before"], found["after"]
    was, now = (chosen - rejected).numpy(), (chosen_now - rejected_now).numpy()
    half = len(was) // 2
    figure, axes = new_figure(4.2)
    low, high = min(was.min(), now.min()) - 2, max(was.max(), now.max()) + 2
    axes.plot([low, high], [low, high], color=GREY, linestyle=":", marker="", label="unchanged")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot(was[:half], now[:half], color=BLUE, linestyle="", marker="o", label="new pairs")
    axes.plot(
        was[half:], now[half:], color=ORANGE, linestyle="", marker="^",
        label="situations never trained on",
    )  # fmt: skip
    axes.set(
        xlabel="before: sad minus happy (nats)", ylabel="after", xlim=(low, high), ylim=(low, high)
    )
    axes.legend(loc="lower right")
    rows = [
        (name, len(part_was), f"{(part_was > 0).mean():.0%}", f"{(part_now > 0).mean():.0%}",
         f"{(part_now - part_was).mean():+.1f}")
        for name, part_was, part_now in (
            ("new pairs", was[:half], now[:half]),
            ("situations never trained on", was[half:], now[half:]),
        )
    ]  # fmt: skip
    fell = float((chosen_now - chosen).mean()), float((rejected_now - rejected).mean())
    alt = (
        f"{len(was)} pairs of endings: the log-probability of the sad one minus that of the happy one, "
        f"before (across) and after (upwards) {share_of(view, DPO_STEPS)} steps of DPO that prefers sad ones. "
        + "; ".join(
            f"{name}: the sad one is ahead in {b} before and {a} after" for name, _, b, a, _ in rows
        )
        + "."
    )
    columns = ("pairs", "number", "sad ahead, before", "after", "moved by (nats)")
    note = (
        f"The log-probability of the sad answers moved by {fell[0]:+.1f} nats on average, that of the "
        f"happy ones by {fell[1]:+.1f}: only the difference is in the loss."
    )
    return Drawn(figure, alt, [Table("preferences", columns, rows, (1, 2, 3, 4))], [note])


FIGURES = (
    Figure(
        "scored",
        "What is scored",
        "The prompt is read and not scored: nobody wants a model that asks. Light tokens surprise; "
        "the first ones of the answer, and the numbers, are what it has to learn.",
        draw_scored,
        ("finetuning",),
    ),
    Figure(
        "forgetting",
        "Gained, and forgotten",
        "Both lines on the left fall. Watch what the stories pay for it on the right.",
        draw_forgetting,
        ("finetuning", "trainer"),
    ),
    Figure(
        "rank",
        "How much fits into a low rank",
        "A small rank holds a good part of what full fine-tuning changed, for a few per cent of the "
        "numbers. What it cannot hold may not be needed: compare the losses above.",
        draw_rank,
        ("finetuning", "trainer"),
    ),
    Figure(
        "margins",
        "Before and after DPO",
        "Above the dotted line a pair has moved towards the preferred answer; above 0 that answer is "
        "the more probable one. DPO does not know good from bad: here it was asked for sad ends.",
        draw_margins,
        ("finetuning", "trainer"),
    ),
)
