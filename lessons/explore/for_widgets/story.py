"""Data for the story widget: our own small model, whole, to run in the page."""

from pathlib import Path

from ...engine.page_model import page_data
from . import load

FILE = "story"
# With story.js and course.js the page stays under 6,000,000 bytes. A byte per weight is 4.3 million,
# and base64 makes four letters of three bytes.
BUDGET = {FILE: 5_950_000}


def make(folder: Path) -> dict[str, object]:
    """The model in `folder` as `engine/page_model.py` writes it for story.js."""
    model, tokenizer = load(folder)
    return {FILE: page_data(model, tokenizer)}
