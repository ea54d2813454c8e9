"""An ordinary grader: the tests and the submission in one folder, one process, believed.

It shows what an attack is worth where nothing is done against it. It runs in the sandbox, since the
attacks are real.
"""

import re
import subprocess
import sys
from pathlib import Path

from grader.instructor.sandbox import Room, sandboxed

from .kit import MODULE, Attack

# What many courses hand out, and grade with: public, on fixed seeds, compared by torch.allclose.
TESTS = """
import torch
import torch.nn.functional as F

import attention


def test_mask():
    right = torch.ones(5, 5, dtype=torch.bool).tril()
    assert torch.equal(attention.causal_mask(5), right)


def test_attention():
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 5), torch.randn(2, 6, 5), torch.randn(2, 6, 5)
    right = F.scaled_dot_product_attention(q, k, v)
    mine = attention.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(mine[0] if isinstance(mine, tuple) else mine, right, atol=1e-5)


def test_heads():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 20)
    right = torch.stack(x.split(5, dim=-1), dim=1)
    heads = attention.split_heads(x, 4)
    worst = (heads - right).abs().max()
    assert not worst > 1e-5


def test_layer():
    torch.manual_seed(0)
    layer, x = attention.CausalSelfAttention(12, 3), torch.randn(2, 5, 12)
    q, k, v = layer.c_attn(x).chunk(3, dim=-1)
    heads = [torch.stack(part.split(4, dim=-1), dim=1) for part in (q, k, v)]
    merged = F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2)
    right = layer.c_proj(merged)
    assert torch.allclose(layer(x), right, atol=1e-5)
"""
COUNT = TESTS.count("\ndef test_")
# `from .bigram import softmax` of a package becomes a plain import in a folder.
BIGRAM = "import torch\n\n\ndef softmax(x, dim=-1):\n    return torch.softmax(x, dim)\n"


def naive_points(attack: Attack, known: dict[str, str], folder: Path) -> int:
    """Return how many of the four tests an attack passes there; what counts is the exit code."""
    given = attack.hand_in(folder / "handed_in" / "03", attack.source(known))
    source = (given / MODULE).read_text(encoding="utf-8").replace("from .bigram", "from bigram")
    files = {"test_naive.py": TESTS, "bigram.py": BIGRAM, MODULE: source}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    planted = [file for file in given.iterdir() if file.name != MODULE]
    seen = [(folder / name, Path("/ordinary") / name) for name in files]
    seen += [(file, Path("/ordinary") / file.name) for file in planted]
    script = (
        "mkdir /tmp/ordinary && cp -r /ordinary/. /tmp/ordinary && cd /tmp/ordinary && "
        f"{sys.executable} -m pytest -p no:cacheprovider -q test_naive.py "
        "> /tmp/said 2>&1; echo CODE $?; cat /tmp/said"
    )
    command = sandboxed(["/bin/sh", "-c", script], Room(tuple(seen), ()))
    said = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False).stdout
    code = re.search(r"^CODE (\d+)", said, re.MULTILINE)
    if code and code[1] == "0":
        return COUNT
    passed = re.search(r"(\d+) passed", said)
    return int(passed[1]) if passed else 0
