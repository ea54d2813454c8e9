"""Two runs side by side in a report: the same tokens, measured and coloured, and the same prompts.

    python -m solutions.tinystories report --out runs/llama --beside runs/gpt2

Only runs whose held-out text and tokenizer are the same, byte for byte, can stand beside each other:
then each token of the one is a token of the other, and losses can be compared.
"""

from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

from .architectures import NAMES, describe
from .errors import CourseError
from .files import read_json
from .logs import duration, read_log
from .prepared import load_prepared
from .run_folder import RunFolder
from .stories import Storyteller, openings

SHOWN_TOKENS = 120  # a paragraph
STORY_TOKENS = 80
LARGEST_DIFFERENCE = 2.0  # nats; from here on the colour grows no stronger


def compare_runs(run: RunFolder, teller: Storyteller, other: RunFolder) -> dict[str, Any]:
    """What the report's section on two runs shows. Raises CourseError where they do not compare."""
    check_measured(other, run)
    _, val_tokens, meta = load_prepared(run.data)
    same_tokens(meta, load_prepared(other.data)[2], other)
    second = Storyteller.load(other.best, teller.device)
    names = names_of(run, other)
    tellers = dict(zip(names, (teller, second), strict=True))
    both = [(read_json(r.metrics), read_log(r.log_jsonl)) for r in (run, other)]
    curves = {
        name: [row for row in records if "val_loss" in row]
        for name, (_, records) in zip(names, both, strict=True)
    }
    shown = val_tokens[
        : 1 + min(SHOWN_TOKENS, *(t.model.config.block_size for t in tellers.values()))
    ]
    return {
        "names": names,
        "lead": lead(names, [metrics for metrics, _ in both]),
        "rows": rows(names, [metrics for metrics, _ in both], [teller, second]),
        "differences": differences(run, other),
        "curves_svg": Markup(draw_curves(curves)),
        "curves_text": curves_in_words(curves),
        "tokens": token_by_token(torch.from_numpy(shown.astype("int64")), tellers),
        "stories": stories(tellers, openings(val_tokens, teller.tokenizer)),
    }


def check_measured(other: RunFolder, run: RunFolder) -> None:
    """Raise CourseError unless `other` is a measured run that can stand beside `run`."""
    if other.path.resolve() == run.path.resolve():
        raise CourseError(f"--beside {other.path} is the run itself; name another one")
    other.settings()  # says so where there is no run
    if not other.metrics.exists():
        raise CourseError(
            f"{other.path} has not been measured yet; first: evaluate --out {other.path}"
        )


def same_tokens(meta: dict[str, Any], others: dict[str, Any], other: RunFolder) -> None:
    """Refuse runs that were measured on other tokens."""
    for what, name in (("tokenizer_sha256", "tokenizer"), ("val_sha256", "held-out text")):
        if meta[what] != others[what]:
            raise CourseError(
                f"{other.path} has another {name}, so its losses cannot be compared; make both runs "
                "with the same --data, --valid, --tokenizer and --seed"
            )


def names_of(*runs: RunFolder) -> list[str]:
    """What to call the runs: by their architectures where these differ, else by their folders."""
    names = [NAMES[run.settings().arch] for run in runs]
    return names if len(set(names)) == len(names) else [run.path.resolve().name for run in runs]


def lead(names: list[str], metrics: list[dict[str, Any]]) -> str:
    """The result in two sentences, with what weakens it."""
    first, second = (each["bits_per_byte"] for each in metrics)
    tokens = [each["train_tokens"] for each in metrics]
    if tokens[0] == tokens[1]:
        said = f"After {tokens[0]:,} training tokens each, "
        caution = "One run each: another seed moves such numbers too, by a few parts in a thousand."
    else:
        said = f"After {tokens[0]:,} and {tokens[1]:,} training tokens, "
        caution = "They have not read equally much: compare them where the curves have."
    return (
        f"{said}{names[0]} needs {first:.3f} bits per byte and {names[1]} {second:.3f} on the same "
        f"held-out text ({100 * (first / second - 1):+.1f} %). {caution}"
    )


def rows(
    names: list[str], metrics: list[dict[str, Any]], tellers: list[Storyteller]
) -> list[tuple[str, list[str]]]:
    """The table of measures: (label, one value per run)."""
    forms: tuple[tuple[str, str, str], ...] = (
        ("bits per byte", "bits_per_byte", "{:.4f}"),
        ("loss (nats per token)", "val_loss", "{:.4f}"),
        ("perplexity", "perplexity", "{:,.2f}"),
        ("next token guessed right", "next_token_accuracy", "{:.2%}"),
        ("parameters", "parameters", "{:,}"),
        ("training tokens", "train_tokens", "{:,}"),
        ("tokens per second in training", "tokens_per_second", "{:,.0f}"),
        ("peak memory (MB)", "peak_memory_mb", "{:,.0f}"),
    )
    table = [(label, [form.format(each[key]) for each in metrics]) for label, key, form in forms]
    table.append(("training time", [duration(each["training_seconds"]) for each in metrics]))
    table.append(("shape", [describe(teller.model.config) for teller in tellers]))
    return table


def differences(run: RunFolder, other: RunFolder) -> list[tuple[str, str, str]]:
    """What was asked of the two runs that is not the same: (name, here, there)."""
    found = []
    ours, theirs = (flat(read_json(r.config_file)["settings"]) for r in (run, other))
    for name in sorted(ours.keys() | theirs.keys()):
        here, there = ours.get(name, "none"), theirs.get(name, "none")
        if here != there and name != "steps":  # of the preset; the length in force has a row too
            found.append((name.replace("_", " "), str(here), str(there)))
    return found


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without their groups; files of this machine only by their names."""
    plain: dict[str, Any] = {"arch": "gpt2", "tie_weights": True}
    for name, value in settings.items():
        if name == "length":
            plain["length"] = ", ".join(f"{number:g} {unit}" for unit, number in value.items())
        elif isinstance(value, dict):
            plain |= value
        else:
            plain[name] = Path(value).name if name in ("data", "valid") and value else value
    plain["n_inner"] = plain["n_inner"] or 4 * plain["n_embd"]  # what GPT-2's None means
    return plain


def draw_curves(curves: dict[str, list[dict[str, Any]]]) -> str:
    """The held-out loss of both over the tokens read, as SVG."""
    from .report import as_svg, pyplot

    plt = pyplot()
    figure, axes = plt.subplots(figsize=(10, 3.4), layout="constrained")
    styles = (("#D55E00", "-", "o"), ("#0072B2", "--", "s"))
    for (name, seen), (color, line, marker) in zip(curves.items(), styles, strict=True):
        axes.plot(
            [row["tokens"] / 1e6 for row in seen],
            [row["val_loss"] for row in seen],
            color=color, linestyle=line, marker=marker, markersize=4, label=name,
        )  # fmt: skip
    axes.set(xlabel="training tokens (millions)", ylabel="loss on held-out text (nats per token)")
    axes.legend(frameon=False)
    return as_svg(figure, axes, prefix="beside-")


def curves_in_words(curves: dict[str, list[dict[str, Any]]]) -> str:
    """The same for those who do not see it."""
    said = [
        f"{name} from {seen[0]['val_loss']:.2f} at {seen[0]['tokens']:,} tokens to "
        f"{seen[-1]['val_loss']:.2f} at {seen[-1]['tokens']:,}"
        for name, seen in curves.items()
        if seen
    ]
    return f"Loss on windows of the held-out text: {'; '.join(said)}."


@torch.no_grad()
def token_by_token(ids: torch.Tensor, tellers: dict[str, Storyteller]) -> list[dict[str, Any]]:
    """For every token of a text, (T,), how surprised each model was, and who was less.

    share: from -1 (the first model was much less surprised) to 1 (the second was).
    """
    nats = []
    for teller in tellers.values():
        logits = teller.model(ids[:-1].unsqueeze(0).to(teller.device))[0][0].float().cpu()
        nats.append(-logits.log_softmax(dim=-1).gather(1, ids[1:, None]).squeeze(1))
    tokenizer = next(iter(tellers.values())).tokenizer
    texts = [
        tokenizer.decode_bytes([token]).decode("utf-8", "backslashreplace")
        for token in ids.tolist()
    ]
    found: list[dict[str, Any]] = [{"text": texts[0], "nats": None, "share": 0.0}]
    for text, *values in zip(texts[1:], *(each.tolist() for each in nats), strict=True):
        difference = max(-1.0, min(1.0, (values[0] - values[1]) / LARGEST_DIFFERENCE))
        found.append({"text": text, "nats": values, "share": difference})
    return found


def stories(tellers: dict[str, Storyteller], prompts: list[str]) -> list[dict[str, Any]]:
    """Each prompt continued by both, with the same seed."""
    return [
        {
            "prompt": prompt,
            "told": [
                (
                    name,
                    teller.generate(prompt, STORY_TOKENS, temperature=0.8, top_p=0.95, seed=seed),
                )
                for name, teller in tellers.items()
            ],
        }
        for seed, prompt in enumerate(prompts)
    ]
