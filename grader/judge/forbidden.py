"""What a step asks for is not to be taken from a library: attention where attention is written.

The syllabus names, for a step, the library functions that would do it (`forbids = ["softmax"]`).
They are looked for twice: in the text of the step, before it runs, by the names that its imports
give them; and among torch's operations while it runs, by whatever name they were called.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# What torch runs underneath; a name that ends with * stands for all that begin so.
OPERATIONS = {
    "softmax": ("_softmax", "_log_softmax", "_safe_softmax"),
    "cross_entropy": ("_log_softmax", "nll_loss*"),
    "scaled_dot_product_attention": (
        *("_scaled_dot_product*", "_safe_softmax"),  # the second where there is no fused kernel
        *("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    ),
    "layer_norm": ("native_layer_norm", "native_group_norm", "native_batch_norm"),
    "gelu": ("gelu",),
    "tokenizer": (),
    "schedule": (),
    "muon": (),
}
# What they are called: functions of torch and its packages, methods of tensors, whole packages.
NAMES = {
    "softmax": ("softmax", "log_softmax", "softmin", "gumbel_softmax", "Softmax", "LogSoftmax"),
    "cross_entropy": ("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss", "log_softmax"),
    "scaled_dot_product_attention": (
        *("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention"),
        *("flex_attention", "TransformerEncoderLayer", "TransformerDecoderLayer"),
    ),
    "layer_norm": ("layer_norm", "LayerNorm", "group_norm", "GroupNorm", "native_layer_norm"),
    "gelu": ("gelu", "GELU"),
    "tokenizer": ("tiktoken", "tokenizers", "sentencepiece", "transformers"),
    "schedule": ("lr_scheduler", "transformers"),
    "muon": ("Muon",),
}
SAID = {
    "tokenizer": "a library's tokenizer",
    "schedule": "a library's schedule",
    "muon": "the library's Muon",
    "gelu": "the library's GELU",
}
LIBRARIES = ("torch", "scipy", "tiktoken", "tokenizers", "sentencepiece", "transformers")
HIDING = ("_python_dispatch", "_C")  # parts of torch by which a call would not be seen


class Watch(TorchDispatchMode):
    """While this is active, notes which of the forbidden functions torch runs."""

    def __init__(self, forbids: Sequence[str], used: list[str]) -> None:
        super().__init__()
        self.forbids = forbids
        self.used = used

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one operation, and note it."""
        operation = function._schema.name.partition("::")[2]
        for name in self.forbids:
            if name not in self.used and any(_fits(operation, o) for o in OPERATIONS[name]):
                self.used.append(name)
        return function(*args, **(kwargs or {}))


def _fits(operation: str, pattern: str) -> bool:
    begin, star, _ = pattern.partition("*")
    return operation.startswith(begin) if star else operation == pattern


def calls(what: str, name: Any) -> str:
    """Return one sentence on a function that calls a forbidden one; name: whatever a child says."""
    said = SAID.get(str(name), f"the library's {name}" if name in NAMES else "a library's function")
    return f"{what} calls {said}: here it is yours to write"


def found_in_text(file: Path, step: str, forbids: Sequence[str]) -> tuple[str, int] | None:
    """Return the first forbidden name in a step, and in what it calls of the module, with its line."""
    if not forbids:
        return None
    try:
        source = file.read_bytes()
    except OSError:
        return None
    names = {called: name for name in forbids for called in NAMES[name]}
    for dotted, line in _names_of_step(source, step):
        library, *rest = dotted.split(".")
        if library in LIBRARIES or library == "":  # the second: a method of a tensor
            for part in [library, *rest]:
                if part in names:
                    return names[part], line
                if part in HIDING:
                    return forbids[0], line
    return None


@lru_cache(maxsize=256)
def _names_of_step(source: bytes, step: str) -> tuple[tuple[str, int], ...]:
    """Return the dotted names in a step's code, resolved through the module's imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # the check itself says so
    aliases = dict(_imports(tree))
    own = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    named = [
        (_resolve(node, aliases), node) for part in _reached(step, own) for node in _chains(part)
    ]
    return tuple((name, node.lineno) for name, node in named if name)


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (the name in this module, what it stands for) for everything that is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (first, first)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _reached(step: str, own: dict[str, Any]) -> list[ast.AST]:
    """Return a step's function, and those of the module's functions and classes that it names."""
    first, _, method = step.partition(".")
    reached: list[ast.AST] = []
    waiting: list[ast.AST] = [own[first]] if first in own else []
    if method and waiting:
        methods = {n.name: n for n in own[first].body if isinstance(n, ast.FunctionDef)}
        waiting = [methods[m] for m in (method, "__init__") if m in methods]
    while waiting:
        part = waiting.pop()
        reached.append(part)
        for node in ast.walk(part):
            other = own.get(node.id) if isinstance(node, ast.Name) else None
            if other is not None and other not in reached and other not in waiting:
                waiting.append(other)
    return reached


def _chains(part: ast.AST) -> Iterator[ast.Name | ast.Attribute]:
    """Yield every name, with what stands behind its dots."""
    inside: set[int] = set()
    for node in ast.walk(part):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Attribute):
            inside.add(id(node.value)) if isinstance(node.value, ast.Attribute | ast.Name) else None
            yield node
        elif isinstance(node, ast.Name):
            yield node


def _resolve(node: ast.expr, aliases: dict[str, str]) -> str:
    """Return "torch.nn.functional.softmax" for `F.softmax`, ".softmax" for a method of some object."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in aliases:
        return ".".join([aliases[node.id], *parts])
    if isinstance(node, ast.Name) and (node.id == "self" or not parts):
        return ""  # the learner's own
    return f".{parts[-1]}" if parts else ""
