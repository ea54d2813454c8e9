"""The capstone as a notebook for a free GPU of 16 GB (a T4): half precision, planned before it starts."""

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

HEAD = """
# The capstone on a T4: a model of your own, in fp16

A T4 is the GPU that Colab lends for nothing (*Runtime, Change runtime type, T4 GPU*). It has 16 GB of memory and multiplies
half-precision numbers (fp16) eight times as fast as full ones, but it does not know bf16. fp16 has a small range: gradients
below 0.00000006 become 0. So the loss is multiplied by a large number before going backwards, and the gradients are divided by it
afterwards (*loss scaling*). The course does that for you when it hears `--precision fp16`.

This notebook plans, trains, measures, and ends with a page to send to friends. Run the cells from top to bottom. A run can be
interrupted, and goes on where it was.
"""
SETTINGS = """
# What to do. Change what you like, before you run the cells below.
from pathlib import Path

PRESET = "small"        # 30 million parameters; "medium" has 51, and needs more patience
DATA = "tinystories"    # the real data set, 2 GB, needs a network; or a file of your own
MINUTES = 120           # of training; Colab may end a free session after a few hours
PRECISION = "fp16"
MORE = []               # further options, such as ["--seed", "1"]
OUT = "runs/t4"
# "lessons" is your own library, once lessons 00 to 10 and 14 are written; "solutions" the reference, where it is
WHOSE = "solutions" if Path("solutions/tinystories.py").is_file() else "lessons"
"""
GPU = """
import torch

if torch.cuda.is_available():
    gpu = torch.cuda.get_device_properties(0)
    memory = gpu.total_memory
    print(f"{gpu.name}, {memory / 2**30:.1f} GB")
else:
    memory = 16 * 10**9  # planned for a T4 all the same
    print("no GPU here: choose one in the menu (Runtime, Change runtime type), then begin again")
"""
PLAN_TEXT = """
## Does it fit?

The memory of a training step has three large parts: 16 bytes for each parameter (weights, gradients, and AdamW's two
moments), the logits of one micro-batch with their gradients, and what every layer keeps for the way back, about 34 bytes for
each channel of each place (Korthikanti et al., 2022, [arXiv:2205.05198](https://arxiv.org/abs/2205.05198)). The first two are your
`batch_budget` of lesson 14. Where all that is more than the GPU has, take half the micro-batch and twice the accumulation: the
step stays the same, only its memory shrinks.
"""
PLAN = '''
import importlib

from lessons.engine.presets import PRESETS

tinystories = importlib.import_module(f"{WHOSE}.tinystories")
preset = PRESETS[PRESET]
kind, _, size = preset.tokenizer.partition(":")
vocab_size = int(size) if size else 50_257
width, layers, block_size = preset.n_embd, preset.n_layer, preset.block_size
n_parameters = 12 * layers * width**2 + (13 * layers + vocab_size + block_size + 2) * width


def needs(batch_size, accumulation):
    """Bytes of one training step, about."""
    budget = tinystories.batch_budget(
        1, batch_size=batch_size, accumulation=accumulation, block_size=block_size,
        n_parameters=n_parameters, vocab_size=vocab_size,
    )
    return budget.memory_bytes + 34 * batch_size * block_size * width * layers


batch_size, accumulation = preset.train.get("batch_size", 16), preset.train.get("accumulation", 1)
while needs(batch_size, accumulation) > 0.75 * memory and batch_size > 1:
    batch_size, accumulation = batch_size // 2, accumulation * 2
planned = needs(batch_size, accumulation)
print(f"{PRESET}: {n_parameters / 1e6:.1f} million parameters")
print(f"{batch_size} x {accumulation} windows a step, about {planned / 1e9:.1f} of {memory / 1e9:.1f} GB")
assert planned <= 0.75 * memory, "this preset does not fit into this memory: take a smaller one"
'''
TRAIN_TEXT = """
## Train

It prepares the text first (once), then says how many steps fit into the time. Stop it with the square button, run the cell again,
and it goes on.
"""
TRAIN = """
options = ["--out", OUT, "--preset", PRESET, "--data", DATA, "--minutes", str(MINUTES)]
options += ["--precision", PRECISION, "--batch-size", str(batch_size), "--accumulation", str(accumulation), *MORE]
command = " ".join(options)
!{sys.executable} -m {WHOSE}.tinystories run {command}
"""
MEASURE_TEXT = """
## What came of it

The numbers of the whole held-out text, and the memory that was really needed beside what was planned.
"""
MEASURE = """
import json

metrics = json.loads((Path(OUT) / "metrics.json").read_text())
for name, value in metrics.items():
    if isinstance(value, (int, float, str)):
        print(f"{name:24} {value}")
held = metrics["peak_memory_mb"] / 1000
print(f"\\nplanned {planned / 1e9:.1f} GB, held at most {held:.1f} GB, of {memory / 1e9:.1f} GB")
"""
TELL_TEXT = """
## Let it tell

Change the beginning, and run the cell as often as you like.
"""
TELL = """
model = tinystories.load(OUT)
print(model.generate("Once upon a time", max_new_tokens=150))
"""
SHARE_TEXT = """
## Send it to friends

The first line writes `share.html`, one page with your own model in it, which runs in any browser without a network. In Colab, the
second line hands the page to you; the folder of the run is worth keeping too.
"""
SHARE = """
!{sys.executable} -m {WHOSE}.tinystories report --out {OUT} --share
if "google.colab" in sys.modules:
    from google.colab import files

    files.download(f"{OUT}/share.html")
"""


def capstone_cells(setup: str) -> list[NotebookNode]:
    """Return the notebook's cells. setup: what finds and installs the course."""
    steps = [
        (HEAD, setup),
        ("## Settings", SETTINGS),
        ("## The GPU", GPU),
        (PLAN_TEXT, PLAN),
        (TRAIN_TEXT, TRAIN),
        (MEASURE_TEXT, MEASURE),
        (TELL_TEXT, TELL),
        (SHARE_TEXT, SHARE),
    ]
    cells = []
    for text, code in steps:
        cells += [new_markdown_cell(text.strip()), new_code_cell(code.strip())]
    cells[3].metadata["tags"] = [
        "parameters"
    ]  # what a test, or papermill, puts its own in place of
    return cells
