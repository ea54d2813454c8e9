"""Writing text, one token after the other, at DistilGPT-2's size, with random weights.

For every token all weights are read once and used once, so what counts is how fast memory is. The
limit is timed beside it: `torch.sum` of the same bytes.
"""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from .contender import Contender
from .machine import not_installed
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row

SHAPE = {"vocab_size": 50257, "block_size": 1024, "n_layer": 6, "n_head": 12, "n_embd": 768}
TINY = {"vocab_size": 50257, "block_size": 64, "n_layer": 1, "n_head": 2, "n_embd": 16}
PROMPT, NEW, QUICK_NEW = 16, 240, 12


def ours(settings: dict[str, Any]) -> Callable[[], list[int]]:
    """Lesson 09's `generate` on the model as the storyteller uses it."""
    from ...generation import generate
    from ...model import GPT, GPTConfig
    from ..acceleration import use_fast_parts

    prompt = _begin(settings)
    torch.manual_seed(0)
    model = use_fast_parts(GPT(GPTConfig(**settings["shape"]))).eval()
    if "save" in settings:
        from ..vocabulary import END_OF_TEXT, gpt2_merges, write_bpe_files

        model.save_pretrained(settings["save"], end_of_text=50256)
        write_bpe_files(settings["save"], gpt2_merges(), {END_OF_TEXT: 50256})
    cached = settings.get("cached", True)
    return lambda: generate(model, prompt, settings["new"], use_cache=cached)[0].tolist()


def transformers_generate(settings: dict[str, Any]) -> Callable[[], list[int]]:
    """transformers' `generate` with its cache, on the same weights."""
    from transformers import GPT2LMHeadModel
    from transformers.utils import logging

    prompt = _begin(settings)
    logging.disable_progress_bar()
    model = GPT2LMHeadModel.from_pretrained(settings["load"]).eval()
    length = {"max_new_tokens": settings["new"], "min_new_tokens": settings["new"]}

    def work() -> list[int]:
        ids = model.generate(
            prompt, do_sample=False, use_cache=True, pad_token_id=50256, eos_token_id=None, **length
        )
        return ids[0].tolist()

    return work


def ctranslate2_generate(settings: dict[str, Any]) -> Callable[[], list[int]]:
    """CTranslate2's, in fp32, on the same weights."""
    import ctranslate2

    prompt = _begin(settings)
    folder = Path(settings["load"])
    converted = folder.with_name("ctranslate2")
    if not converted.exists():
        ctranslate2.converters.TransformersConverter(str(folder)).convert(str(converted))
    generator = ctranslate2.Generator(
        str(converted), compute_type="float32", intra_threads=settings["threads"], inter_threads=1
    )
    tokens = generator_tokens(converted, prompt[0].tolist())

    def work() -> list[int]:
        (result,) = generator.generate_batch(
            [tokens],
            max_length=settings["new"],
            min_length=settings["new"],
            sampling_topk=1,
            include_prompt_in_result=False,
        )
        return [*prompt[0].tolist(), *result.sequences_ids[0]]

    return work


def generator_tokens(converted: Path, ids: list[int]) -> list[str]:
    """The tokens by which CTranslate2 knows these ids."""
    import json

    names = json.loads((converted / "vocabulary.json").read_text(encoding="utf-8"))
    return [names[i] for i in ids]


def read_weights(settings: dict[str, Any]) -> Callable[[], float]:
    """`torch.sum` of as many bytes as a token reads: the limit."""
    torch.set_num_threads(settings["threads"])
    numbers = torch.ones(settings["floats"])
    return lambda: numbers.sum().item()


def _begin(settings: dict[str, Any]) -> torch.Tensor:
    torch.set_num_threads(settings["threads"])
    generator = torch.Generator().manual_seed(1)
    return torch.randint(settings["shape"]["vocab_size"], (1, PROMPT), generator=generator)


def weights_read(shape: dict[str, int]) -> int:
    """Numbers that a token reads: the blocks, and the tied table once, as the head."""
    width, layers = shape["n_embd"], shape["n_layer"]
    return layers * (12 * width**2 + 13 * width) + shape["vocab_size"] * width


def rows(options: BenchmarkOptions) -> list[Row]:
    """Cached decoding against transformers, CTranslate2 and our own without a cache."""
    shape = TINY if options.quick else SHAPE
    new = QUICK_NEW if options.quick else NEW
    folder = options.out / "decoding" / "model"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    common = {"shape": shape, "new": new, "threads": options.threads}
    floats = weights_read(shape)
    missing = not_installed("ctranslate2")
    with ExitStack() as stack:

        def side(work: str, **settings: Any) -> Contender:
            return stack.enter_context(Contender(f"decoding:{work}", **common, **settings))

        sides = {"ours": side("ours", our_process=True, save=str(folder))}
        sides["ours"]()  # now the weights are there for the others
        mine = sides["ours"].last["value"]
        sides["transformers"] = side("transformers_generate", load=str(folder))
        if not missing:
            sides["ctranslate2"] = side("ctranslate2_generate", load=str(folder))
        sides["sum"] = side("read_weights", floats=floats)
        seconds = interleave(sides, options.rounds(7))
        differ = [k for k in sides if k not in ("ours", "sum") and sides[k].last["value"] != mine]
        uncached = {
            "cached": sides["ours"],
            "uncached": side("ours", cached=False, our_process=True),
        }
        slow = interleave(uncached, options.rounds(3), warmup=0 if options.quick else 1)
    per_token = spread(seconds["sum"]).median
    gigabytes = 4 * floats / 1e9
    at_most = 1 / per_token
    speed = {name: [new / s for s in taken] for name, taken in seconds.items()}
    reached = spread(speed["ours"]).median / at_most
    limit = (
        f"bandwidth: {gigabytes:.2f} GB of weights for every token, which `torch.sum` reads at "
        f"{gigabytes / per_token:.1f} GB/s, so {at_most:.1f} tokens/s at most; ours is at {reached:.0%}"
    )
    work = f"cached decoding, {shape['n_layer']} layers, {shape['n_embd']} wide, {new} new tokens, fp32"
    made = []
    for name, against, target in (
        ("transformers", "transformers' `generate` with its cache", 1.4),
        ("ctranslate2", "CTranslate2, fp32", 0.7),
    ):
        row: dict[str, Any] = {
            "name": f"decode-{name}",
            "work": work,
            "against": against,
            "target": target,
        }
        if name == "ctranslate2" and missing:
            made.append(Row(**row, missing=missing))
            continue
        made.append(
            Row(
                **row,
                unit="tokens/s",
                ours=spread(speed["ours"]),
                theirs=spread(speed[name]),
                figure=ratios(speed["ours"], speed[name]),
                limit=limit,
                note="the tokens differ from some place on, where two are as good as equal"
                if name in differ
                else "the same tokens",
            )
        )
    made.append(
        Row(
            name="decode-uncached",
            work=work,
            against="ours without the cache",
            unit="tokens/s",
            ours=spread([new / s for s in slow["cached"]]),
            theirs=spread([new / s for s in slow["uncached"]]),
            figure=ratios(slow["uncached"], slow["cached"]),
            target=5.0,
            limit=f"without it a token costs all {PROMPT} to {PROMPT + new} before it again: "
            "compute instead of bandwidth",
        )
    )
    shutil.rmtree(folder.parent, ignore_errors=True)
    return made
