"""A model with its tokenizer: text in, text out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..generation import Step, generate, stream, trace
from ..model import GPT
from ..perplexity import top_predictions
from ..samplers import beam_search, greedy, sample
from .acceleration import use_fast_parts
from .checkpoints import load_weights
from .errors import CourseError
from .tokenizers import load_tokenizer


class Storyteller:
    """Tells stories in text. Every method leaves the model as it was."""

    def __init__(self, model: GPT, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.device = next(model.parameters()).device

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | None = None) -> "Storyteller":
        """Load a checkpoint folder (model and tokenizer). Raises CourseError."""
        folder = Path(folder)
        model = load_weights(folder)
        tokenizer = load_tokenizer(str(folder))
        if tokenizer.vocab_size > model.config.vocab_size:
            raise CourseError(
                f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, the model only "
                f"{model.config.vocab_size}; they do not belong together"
            )
        return cls(use_fast_parts(model.to(device or "cpu")), tokenizer)

    def generate(
        self,
        prompt: str = "Once upon a time",
        max_new_tokens: int = 200,
        *,
        seed: int = 0,
        beams: int | None = None,
        greedily: bool = False,
        **settings: Any,
    ) -> str:
        """Return the prompt and its continuation, up to the end of the story.

        `settings` are the sampler's (`temperature`, `top_k`, `top_p`, `min_p`,
        `repetition_penalty`); with `greedily` the most probable token is taken each time, with
        `beams` the most probable whole continuation is searched.
        """
        ids = self._encode(prompt)
        if beams:
            out = self._beam_search(ids, max_new_tokens, beams)
        else:
            choose = self._chooser(seed, greedily, settings)
            out = generate(
                self.model, ids, max_new_tokens, choose, stop_token=self.tokenizer.end_of_text
            )[0].tolist()
        if self.tokenizer.end_of_text in out[1:]:
            out = out[: out.index(self.tokenizer.end_of_text, 1)]
        return self.tokenizer.decode(out)

    def stream(
        self,
        prompt: str,
        max_new_tokens: int = 200,
        *,
        seed: int = 0,
        greedily: bool = False,
        **settings: Any,
    ) -> Iterator[str]:
        """Yield the prompt, then the continuation piece by piece as it is written.

        A character whose bytes are spread over several tokens comes when it is whole.
        """
        ids = self._encode(prompt)
        choose = self._chooser(seed, greedily, settings)
        written = ids[0].tolist()
        shown = self.tokenizer.decode(written)
        yield shown
        end = self.tokenizer.end_of_text
        for new in stream(self.model, ids, max_new_tokens, choose, stop_token=end):
            if int(new) == end:
                break
            written.append(int(new))
            text = self.tokenizer.decode(written)
            if text.startswith(shown) and not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text

    def top_predictions(self, prompt: str, k: int) -> list[tuple[str, float]]:
        """The k most probable next tokens after the prompt, with their probabilities."""
        predictions = top_predictions(self.model, self._encode(prompt)[0], k)
        return [(self.tokenizer.decode([token]), p) for token, p in predictions]

    def trace(
        self,
        prompt: str,
        max_new_tokens: int = 200,
        *,
        seed: int = 0,
        greedily: bool = False,
        **settings: Any,
    ) -> list[tuple[str, Step]]:
        """The tokens of one continuation, each with the model's confidence and entropy there."""
        prompt_ids = self._encode(prompt)
        choose = self._chooser(seed, greedily, settings)
        end = self.tokenizer.end_of_text
        ids = generate(self.model, prompt_ids, max_new_tokens, choose, stop_token=end)
        steps = trace(self.model, ids, start=prompt_ids.size(1))
        return [(self.tokenizer.decode([step.token]), step) for step in steps]

    def _encode(self, prompt: str) -> torch.Tensor:
        ids = self.tokenizer.encode(prompt)
        if not ids:
            raise CourseError(
                'the prompt is empty; begin a story, for example --prompt "Once upon a time"'
            )
        context = self.model.config.block_size
        if len(ids) > context:
            raise CourseError(
                f"the prompt has {len(ids)} tokens, the model sees {context} at most; shorten it"
            )
        return torch.tensor([ids], device=self.device)  # (1, T)

    def _chooser(self, seed: int, greedily: bool, settings: dict[str, Any]) -> Any:
        if greedily:
            return lambda logits, ids: greedy(logits.float())
        generator = torch.Generator(device=self.device).manual_seed(seed)
        settings = {"temperature": 1.0} | settings
        check_sampling(settings)
        return lambda logits, ids: sample(logits.float(), ids, generator=generator, **settings)

    def _beam_search(self, ids: torch.Tensor, max_new_tokens: int, beams: int) -> list[int]:
        context = self.model.config.block_size

        @torch.inference_mode()
        def next_logits(rows: torch.Tensor) -> torch.Tensor:  # (B, T) -> (B, V)
            return self.model(rows[:, -context:], last_only=True)[0][:, -1]

        end = self.tokenizer.end_of_text
        best, _ = beam_search(next_logits, ids[0], beams, max_new_tokens, stop_token=end)
        return best.tolist()


def check_sampling(settings: dict[str, Any]) -> None:
    """Refuse sampler settings that mean nothing, each with a sentence."""
    rules = {
        "temperature": (lambda x: x > 0, "above 0; for the most probable token use --greedy"),
        "top_k": (lambda x: x >= 1, "at least 1"),
        "top_p": (lambda x: 0 < x <= 1, "in (0, 1]"),
        "min_p": (lambda x: 0 <= x <= 1, "in [0, 1]"),
        "repetition_penalty": (lambda x: x > 0, "above 0; 1 changes nothing"),
    }
    for name, value in settings.items():
        accepts, wanted = rules[name]
        if value is not None and not accepts(value):
            raise CourseError(f"--{name.replace('_', '-')} must be {wanted} (it was {value})")


def openings(tokens: np.ndarray, tokenizer: Any, count: int = 3, words: int = 5) -> list[str]:
    """The first words of the first documents of a text: fixed prompts that fit any data."""
    head = tokens[:20_000].tolist()
    prompts: list[str] = []
    begin = 0
    while begin < len(head) and len(prompts) < count:
        rest = head[begin:]
        end = begin + (
            rest.index(tokenizer.end_of_text) if tokenizer.end_of_text in rest else len(rest)
        )
        text = tokenizer.decode(head[begin : min(end, begin + 60)])
        prompt = " ".join(text.split()[:words])
        if prompt and "\ufffd" not in prompt and prompt not in prompts:
            prompts.append(prompt)
        begin = end + 1
    return prompts or ["The"]
