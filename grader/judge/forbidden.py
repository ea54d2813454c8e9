"""What a step asks for is not to be taken from a library: attention where attention is written.

The syllabus names, for a step, the library functions that would do it (`forbids = ["softmax"]`).
They are looked for twice: in the text of the step, before it runs, by the names that its imports
give them; and among torch's operations while it runs, by whatever name they were called.
"""

import ast
import contextlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from .reading import reached

# What torch runs underneath; a name that ends with * stands for all that begin so.
OPERATIONS = {
    "softmax": ("_softmax", "_log_softmax", "_safe_softmax", "_masked_softmax"),
    "cross_entropy": ("_log_softmax", "nll_loss*"),
    "scaled_dot_product_attention": (
        *("_scaled_dot_product*", "_safe_softmax"),  # the second where there is no fused kernel
        *("_native_multi_head_attention", "_transformer_encoder_layer_fwd"),
    ),
    "layer_norm": (
        *("native_layer_norm", "native_group_norm", "native_batch_norm*"),
        *("_native_batch_norm*", "_batch_norm*", "_fused_rms_norm", "rms_norm"),
    ),
    "gelu": ("gelu",),
    "rms_norm": ("_fused_rms_norm", "rms_norm"),
    "tokenizer": (),
    "schedule": (),
    "muon": (),
}
# What they are called: functions of torch and its packages, methods of tensors, whole packages.
NAMES = {
    "softmax": (
        *("softmax", "log_softmax", "softmin", "gumbel_softmax", "Softmax", "LogSoftmax"),
        *("_softmax", "_log_softmax", "_masked_softmax", "distributions"),
    ),
    "cross_entropy": (
        *("cross_entropy", "nll_loss", "CrossEntropyLoss", "NLLLoss", "log_softmax"),
        *("LogSoftmax", "_log_softmax", "distributions"),
    ),
    "scaled_dot_product_attention": (
        *("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention"),
        *("flex_attention", "TransformerEncoderLayer", "TransformerDecoderLayer"),
    ),
    "layer_norm": (
        *("layer_norm", "LayerNorm", "group_norm", "GroupNorm", "native_layer_norm"),
        *("rms_norm", "RMSNorm", "batch_norm", "instance_norm", "_native_batch_norm_legit"),
    ),
    "gelu": ("gelu", "GELU"),
    "rms_norm": ("rms_norm", "RMSNorm", "LlamaRMSNorm", "_fused_rms_norm"),
    "tokenizer": ("tiktoken", "tokenizers", "sentencepiece", "transformers"),
    "schedule": ("lr_scheduler", "transformers"),
    "muon": ("Muon",),
}
UNSEEN = "?"  # a name that the text does not show
SAID = {
    UNSEEN: "something that its text does not name (or imports what only a judge needs)",
    "tokenizer": "a library's tokenizer",
    "schedule": "a library's schedule",
    "muon": "the library's Muon",
    "gelu": "the library's GELU",
}
LIBRARIES = ("torch", "scipy", "tiktoken", "tokenizers", "sentencepiece", "transformers")
# Parts of torch by which a call is not seen, and what of it is found without its name.
HIDING = ("_python_dispatch", "_C", "ops", "jit", "__dict__")
MOST_RENAMINGS = 4  # of a library: a = torch; b = a.nn; c = b.functional
# Ways to call what stands nowhere in the text, or where the watch is not; no step needs one of them.
UNNAMED = ("eval", "exec", "compile", "__import__", "globals", "locals", "__builtins__")
ELSEWHERE = ("importlib", "threading", "concurrent", "multiprocessing", "subprocess", "asyncio")
JUDGES = ("grader", "gc", "ctypes", "inspect", "builtins")  # nothing of a module's business at all


def watch(forbids: Sequence[str], used: list[str]) -> contextlib.AbstractContextManager[Any]:
    """Note in `used` which of the forbidden functions torch runs, for as long as this is entered."""
    seen_by_torch = [name for name in forbids if OPERATIONS[name]]
    return _Watch(seen_by_torch, used) if seen_by_torch else contextlib.nullcontext()


class _Watch(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return (
            False  # else torch imports its compiler, three seconds' worth, at the first operation
        )

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
    """Return the first forbidden name in a step, and in what it calls of the module, with its line.

    UNSEEN stands for ways to call something that the text does not name.
    """
    if not forbids:
        return None
    try:
        source = file.read_bytes()
    except OSError:
        return None
    names = {called: name for name in forbids for called in NAMES[name]}
    watched = any(OPERATIONS[name] for name in forbids)
    for dotted, line in _names_of_step(source, step):
        library, *rest = dotted.split(".")
        if library in LIBRARIES or library == "":  # the second: a method of a tensor
            for part in [library, *rest]:
                if part in names:
                    return names[part], line
                if part in HIDING and library:
                    return UNSEEN, line
        if library == UNSEEN or library in JUDGES or (watched and library in ELSEWHERE):
            return UNSEEN, line
    return None


@lru_cache(maxsize=256)
def _names_of_step(source: bytes, step: str) -> tuple[tuple[str, int], ...]:
    """Return the dotted names in a step's code, resolved through the module's imports."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()  # the check itself says so
    aliases = dict(_imports(tree))
    for _ in range(MOST_RENAMINGS):
        aliases |= dict(_renamed(tree, aliases))
    first = step.partition(".")[0]
    if not (parts := reached(tree, step)):  # the module has it, but does not make it
        return ((aliases.get(first, UNSEEN), 1),)
    named = [(_resolve(node, aliases), node) for part in parts for node in _chains(part)]
    named += [(_of_the_judge(node, aliases), node) for node in ast.walk(tree)]
    return tuple((name, node.lineno) for name, node in named if name)  # type: ignore[attr-defined]


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


def _renamed(tree: ast.AST, aliases: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (name, what it stands for) where a library or a part of it is given a name: `F2 = F`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            library = _resolve(node.value, aliases)
            for target in node.targets if library.partition(".")[0] in LIBRARIES else []:
                if isinstance(target, ast.Name):
                    yield target.id, library


def _of_the_judge(node: ast.AST, aliases: dict[str, str]) -> str:
    """Return what stands anywhere in a module only to reach the judge: "" for all that does not."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = getattr(node, "module", "") or ""
        first = (
            {name.name.partition(".")[0] for name in node.names}
            if not module
            else {module.partition(".")[0]}
        )
        return next(
            (name for name in JUDGES if name in first and not getattr(node, "level", 0)), ""
        )
    if isinstance(node, ast.Attribute) and _resolve(node, aliases) in (
        "sys.modules",
        "sys._getframe",
    ):
        return UNSEEN
    return ""


def _chains(part: ast.AST) -> Iterator[ast.expr]:
    """Yield every name with what stands behind its dots, and calls that look a name up."""
    inside: set[int] = set()
    for node in ast.walk(part):
        if id(node) in inside:
            continue
        if isinstance(node, ast.Attribute):
            inside.add(id(node.value)) if isinstance(node.value, ast.Attribute | ast.Name) else None
            yield node
        elif isinstance(node, ast.Name | ast.Call):
            yield node


def _resolve(node: ast.expr, aliases: dict[str, str]) -> str:
    """Return "torch.nn.functional.softmax" for `F.softmax`, ".softmax" for a method of some object."""
    if isinstance(node, ast.Call):
        return _looked_up(node, aliases)
    if isinstance(node, ast.Name) and node.id in UNNAMED and isinstance(node.ctx, ast.Load):
        return UNSEEN
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Name) and node.id in aliases:
        return ".".join([aliases[node.id], *parts])
    if isinstance(node, ast.Name) and (node.id == "self" or not parts):
        return ""  # the learner's own
    return f".{parts[-1]}" if parts else ""


def _looked_up(call: ast.Call, aliases: dict[str, str]) -> str:
    """Return what `getattr(torch, "softmax")` gets; UNSEEN where the name is put together."""
    called = call.func.id if isinstance(call.func, ast.Name) else ""
    if called == "vars" and call.args and isinstance(call.args[0], ast.Name | ast.Attribute):
        return UNSEEN if _resolve(call.args[0], aliases).partition(".")[0] in LIBRARIES else ""
    if called != "getattr" or len(call.args) < 2:
        return ""
    of, name = call.args[:2]
    if isinstance(name, ast.Constant):
        library = _resolve(of, aliases) if isinstance(of, ast.Name | ast.Attribute) else ""
        return f"{library}.{name.value}"
    return UNSEEN if isinstance(name, ast.BinOp | ast.JoinedStr | ast.Call) else ""
