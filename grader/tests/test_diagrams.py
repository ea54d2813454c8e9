"""The numbers in the site's drawings are those that the library computes."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from solutions import samplers
from solutions.data import pack
from solutions.model import GPT, GPTConfig, next_token_loss
from solutions.perplexity import strided_windows

DIAGRAMS = Path(__file__).parents[2] / "site" / "diagrams"
SVG = "{http://www.w3.org/2000/svg}"


def words(name: str) -> list[str]:
    """Return the texts of a drawing in order."""
    return [text.text or "" for text in ElementTree.parse(DIAGRAMS / name).iter(f"{SVG}text")]


def shares(config: GPTConfig) -> tuple[int, list[str]]:
    """Return how many parameters a model has, and in which shares the four large parts hold them."""
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        model = GPT(config)
    parts = dict.fromkeys(("wte", "wpe", ".attn.", ".mlp."), 0)
    for name, parameter in model.named_parameters():
        for part in parts:
            parts[part] += parameter.numel() * (part in name)
    total = model.num_parameters()
    return total, [f"{100 * count / total:.1f} %" for count in parts.values()]


@pytest.mark.parametrize("path", sorted(DIAGRAMS.glob("*.svg")), ids=lambda path: path.stem)
def test_a_drawing_can_be_read(path: Path) -> None:
    """It has a title and a description that its role points to, and no text is too small."""
    root = ElementTree.parse(path).getroot()
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert root.get("role") == "img" and len(ids) == len(set(ids))
    named = {element.get("id"): element.text for element in root if element.get("id")}
    assert all(named.get(name) for name in (root.get("aria-labelledby") or "").split())
    assert {f"{SVG}title", f"{SVG}desc"} <= {element.tag for element in root}
    width = float((root.get("viewBox") or "").split()[2])
    for text in root.iter(f"{SVG}text"):
        # a phone of 390 px leaves 358 for the drawing
        size = float((text.get("font-size") or root.get("font-size") or "16").removesuffix("px"))
        assert size * min(1, 358 / width) >= 10.9, text.text


def test_where_the_parameters_sit() -> None:
    """Both bars of lesson 05 carry the true shares, and are as high as these say."""
    distil = shares(GPTConfig(n_layer=6))
    laptop = shares(GPTConfig(vocab_size=4096, block_size=256, n_layer=4, n_head=4, n_embd=256))
    text = words("parameters.svg")
    for total, parts in (distil, laptop):
        assert f"{total:,}" in text
        assert {parts[0], *parts[2:]} <= set(text)
        assert any(parts[1] in line for line in text)
    bars = ElementTree.parse(DIAGRAMS / "parameters.svg").getroot().findall(f"{SVG}rect")
    heights = [float(bar.get("height", 0)) for bar in bars]
    for column, (_, parts) in zip((heights[:5], heights[5:]), (distil, laptop), strict=True):
        for height, part in zip(column, parts, strict=False):
            assert height / sum(column) == pytest.approx(float(part[:-2]) / 100, abs=6e-4)


def test_from_logits_to_the_loss() -> None:
    """Lesson 05's table of logits gives its probabilities, surprises and loss."""
    text = words("loss.svg")
    numbers = [float(word) for word in text if re.fullmatch(r"\d+", word)]
    logits = torch.tensor(numbers[:16]).reshape(1, 4, 4)
    probabilities = torch.softmax(logits, dim=-1)[0]
    assert [f"{p:.3f}" for p in probabilities.flatten()] == [
        word for word in text if re.fullmatch(r"0\.\d{3}", word)
    ][:16]
    targets = torch.tensor([[1, 2, 3, -1]])
    for place, target in enumerate(targets[0, :3].tolist()):
        assert f"{-probabilities[place, target].log():.3f}" in text
    assert f"loss = {next_token_loss(logits, targets):.3f}" in text


def test_packed_row() -> None:
    """Lesson 06's row is what `pack` makes of its documents."""
    row = [str(number) for number in pack([[11, 12], [], [21, 22, 23]], separator=0)]
    text = words("06-packing.svg")
    begin = text.index("one row, each with its end") + 1
    assert text[begin : begin + 16 : 2] == row


def test_chain_of_filters() -> None:
    """Lesson 08's bars are what the chain makes of the odds 8 : 4 : 2 : 1."""
    stage = torch.tensor([8.0, 4.0, 2.0, 1.0]).log()
    shown = []
    for change in (
        lambda logits: logits,
        lambda logits: samplers.temperature(logits, 2.0),
        lambda logits: samplers.top_k(logits, 3),
        lambda logits: samplers.top_p(logits, 0.7),
    ):
        stage = change(stage)
        shown += [f"{p:.3f}" for p in torch.softmax(stage, dim=-1) if p > 0]
    assert [word for word in words("08-chain.svg") if re.fullmatch(r"0\.\d{3}", word)] == shown


def test_strided_windows() -> None:
    """Lesson 10's windows are those of the plan."""
    root = ElementTree.parse(DIAGRAMS / "10-windows.svg").getroot()
    boxes = [
        (float(box.get("x", 0)), float(box.get("width", 0))) for box in root.findall(f"{SVG}rect")
    ]
    tokens, spans = boxes[:10], boxes[10:]
    left, wide = tokens[0]
    plan = strided_windows(10, block_size=4, stride=2)
    right = [
        span
        for begin, end, first in plan
        for span in ((begin, end - begin), (first, end - first + 1))
    ]
    assert [((x - left) / wide, width / wide) for x, width in spans] == right


@pytest.mark.slow
def test_spread_of_a_fresh_stream() -> None:
    """Lesson 05's curve: what the smaller first weights of c_proj do in 12 layers."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=1000, block_size=64, n_layer=12, n_head=12, n_embd=768)).eval()
    ids = torch.randint(1000, (4, 64))
    spreads = []
    with torch.no_grad():
        for std in (None, 0.02):
            for name, parameter in model.named_parameters():
                if std and name.endswith("c_proj.weight"):
                    torch.nn.init.normal_(parameter, std=std)
            spreads.append(float(model.hidden_states(ids)[-1].std()))
    text = " ".join(words("initialisation.svg"))
    large, small = (float(n) for n in re.findall(r"(?:smaller|0\.02): (\d\.\d\d)", text))
    assert spreads == [pytest.approx(small, rel=0.05), pytest.approx(large, rel=0.05)]
