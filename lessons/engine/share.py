"""`share.html`: a trained model as one page that runs it, to send to friends.

Everything is in the file: the scripts that the course's site uses (`site/widgets/`), the weights in one
byte each, and the tokenizer. It asks nobody for anything.
"""

import copy
import json
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..model import GPT, TURNED_WEIGHTS
from .errors import CourseError
from .files import read_json, write_atomically
from .page_model import check_size, page_data
from .pretrained import heads_divide
from .run_folder import RunFolder
from .stories import Storyteller, openings

SCRIPTS = Path(__file__).parents[2] / "site" / "widgets"
PROMPT = "Once upon a time"


def write_share(run: RunFolder, teller: Storyteller) -> Path:
    """Write the page beside the run's report. Raises CourseError for what a page cannot run."""
    check_size(teller.model)
    check_architecture(teller.model)
    data = page_data(teller.model, teller.tokenizer)
    delivery = f"course.deliver('own', {json.dumps(data, separators=(',', ':'))});"
    n_parameters = teller.model.num_parameters()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("share.html.j2").render(
        title=f"A story model of {n_parameters / 1e6:.1f} million parameters"
        if n_parameters >= 100_000
        else f"A story model of {n_parameters:,} parameters",
        prompt=first_prompt(run, teller),
        facts=facts(run, teller),
        # course.js starts the widgets as soon as it runs, so the others must come before the page's
        # own end; each stands in a script of its own, where "</script" may not be written.
        scripts=[Markup(script) for script in (script_text("course.js"), script_text("story.js"),
                                               delivery.replace("<", "\\u003c"))],
    )  # fmt: skip
    path = run.path / "share.html"
    with write_atomically(path) as file:
        file.write(page)
    return path


def check_architecture(model: GPT) -> None:
    """Refuse a model that does not compute what the page computes: GPT-2, and nothing else.

    transformers' GPT-2 gets the weights and is asked for the same logits. It has no heads that do not
    divide the width; of such a model only the names and shapes of the weights are looked at.
    """
    config = model.config
    if not isinstance(model, GPT):
        raise CourseError(
            "the page computes what GPT-2 computes, and this model is a Llama (--arch llama); only a "
            "GPT as in lesson 05 can be shared"
        )
    with torch.device("meta"):
        plain = GPT(config)
    found, expected = model.state_dict(), plain.state_dict()
    other = sorted(
        name
        for name in found.keys() | expected.keys()
        if name not in found or name not in expected or found[name].shape != expected[name].shape
    )
    why = f"it has other parts ({other[0]})" if other else ""
    if not why and heads_divide(config):
        ids = torch.arange(min(24, config.block_size)) * 7919 % config.vocab_size
        with torch.no_grad():
            own = copy.deepcopy(model).float().cpu().eval()(ids.unsqueeze(0))[0]
            difference = float((own - gpt2_logits(model, ids.unsqueeze(0))).abs().max())
        if not difference <= 1e-3 * max(1.0, float(own.abs().max())):
            why = f"its logits would be {difference:.2g} off"
    if why:
        raise CourseError(
            f"the page computes what GPT-2 computes, and this model does something else: {why}; only "
            "a GPT as in lesson 05 can be shared"
        )


def gpt2_logits(model: GPT, ids: torch.Tensor) -> torch.Tensor:
    """What transformers' GPT-2 makes of (B, T) ids with the model's weights: (B, T, V)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = model.config
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.block_size,
            n_embd=config.n_embd,
            n_layer=config.n_layer,
            n_head=config.n_head,
            n_inner=config.n_inner,
            layer_norm_epsilon=config.layer_norm_epsilon,
            tie_word_embeddings=config.tie_weights,
        )
    ).eval()
    state = {name: tensor.float().cpu() for name, tensor in model.state_dict().items()}
    theirs.load_state_dict(
        {name: t.mT if name.endswith(TURNED_WEIGHTS) else t for name, t in state.items()}
    )
    return theirs(ids).logits


def script_text(name: str) -> str:
    """One of the site's scripts, fit to stand in a page."""
    try:
        text = (SCRIPTS / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CourseError(
            f"{SCRIPTS / name} is missing, and the page is made of it; take it from the course's "
            "repository again"
        ) from None
    if "</script" in text.lower() or "<!--" in text:
        raise AssertionError(f"{name} cannot stand inside a page")
    return text


def first_prompt(run: RunFolder, teller: Storyteller) -> str:
    """How the page's first story begins: as a text of the run's own held-out data does."""
    from .prepared import load_prepared

    try:
        _, val_tokens, _ = load_prepared(run.data)
    except CourseError:  # the data may have been deleted: they are large
        return PROMPT
    return openings(val_tokens, teller.tokenizer)[0]


def facts(run: RunFolder, teller: Storyteller) -> list[tuple[str, str]]:
    """What friends may want to know of the model: (name, value)."""
    config: Any = teller.model.config
    known = [
        (
            "Shape",
            f"{teller.model.num_parameters():,} parameters: {config.n_layer} layers of "
            f"{config.n_head} heads, {config.n_embd} channels, {config.vocab_size:,} tokens, "
            f"of which it sees {config.block_size} at a time; here with one byte per weight",
        )
    ]
    if run.metrics.exists():
        metrics = read_json(run.metrics)
        known += [
            ("Trained on", f"{metrics['train_tokens']:,} tokens of {Path(metrics['data']).name}"),
            ("Bits per byte of text it had not seen", f"{metrics['bits_per_byte']:.2f}"),
        ]
    return known
