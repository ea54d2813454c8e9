"""Letting a model write, with lesson 08's choices, whoever computes it."""

from typing import Any

import torch

from ..engine.errors import CourseError
from .library import require


def write_on(view: Any, ids: list[int], tokens: int, settings: dict[str, Any]) -> list[int]:
    """What the model adds to `ids` under some decoding settings, up to the end of a text.

    The choice of each token is lesson 08's `sample` or `greedy`. The loop around it is lesson 09's, or
    that of transformers where lesson 09 or 05 is not written or the model is of another family.
    """
    require(view.library, "samplers")
    subject, end = view.subject, view.subject.tokenizer.end_of_text
    chooser = _chooser(settings, view.wishes.seed)
    prompt = torch.tensor([ids])
    if subject.is_ours and view.library.is_written("generation"):
        from ..generation import generate

        out = generate(subject.ours, prompt, tokens, chooser, stop_token=end)[0].tolist()
    else:
        room = subject.block_size - len(ids)
        out = _by_transformers(subject.theirs, prompt, min(tokens, room), chooser, end)
    added = out[len(ids) :]
    return added[: added.index(end)] if end in added else added


def _chooser(settings: dict[str, Any], seed: int) -> Any:
    from ..samplers import greedy, min_p, sample

    if settings.get("greedy"):
        return lambda logits, ids: greedy(logits.float())
    generator = torch.Generator().manual_seed(seed)
    kept = {name: value for name, value in settings.items() if name != "greedy"}
    if "min_p" in kept:
        min_p(torch.zeros(1, 2), kept["min_p"])  # a stretch step: says so where it is not written
    return lambda logits, ids: sample(logits.float(), ids, generator=generator, **kept)


def _by_transformers(
    model: Any, prompt: torch.Tensor, tokens: int, choose: Any, end: int
) -> list[int]:
    from transformers import LogitsProcessor, LogitsProcessorList

    class Chosen(LogitsProcessor):
        """Leaves only the token that lesson 08 chose."""

        def __call__(self, ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            chosen = choose(logits, ids)
            alone = torch.full_like(logits, -torch.inf)
            return alone.scatter(1, chosen.unsqueeze(1), 0.0)

    if tokens < 1:
        raise CourseError("the prompt fills the model's whole context; shorten it")
    out = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=tokens, do_sample=False,
        logits_processor=LogitsProcessorList([Chosen()]), eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    return out[0].tolist()


def surprises(subject: Any, ids: list[int], start: int) -> torch.Tensor:
    """The model's plain surprise, in bits, at each token from place `start` on (one look at all)."""
    window = ids[-subject.block_size :]
    first = max(start - (len(ids) - len(window)), 1)
    logs = subject.logits(window).log_softmax(dim=-1)
    chosen = torch.tensor(window[first:])
    return -logs[first - 1 : -1].gather(1, chosen.unsqueeze(1)).squeeze(1) / torch.tensor(2.0).log()
