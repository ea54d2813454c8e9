"""Whose code draws: the learner's where it is written, the reference's where that is at hand.

A lesson's module counts as written when every step that the pictures use has more in it than the
stub's `raise NotImplementedError`. One that is not is replaced as a whole by `solutions/NAME.py`,
before anything imports it. Stretch steps are looked at one by one (`stretch`): a module without them
is finished all the same.
"""

import ast
import importlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from traceback import extract_tb
from typing import Any

from ..engine.errors import CourseError

PACKAGE = __name__.partition(".")[0]  # "lessons" or "solutions"
ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "solutions"

# What the pictures use of each lesson's module. Stretch steps are asked for where they are drawn.
USED = {
    "bigram": "softmax cross_entropy bigram_counts bigram_logits gradient_step babble",
    "tokenizer": "BPETokenizer.decode_bytes BPETokenizer.decode BPETokenizer.encode_piece "
    "BPETokenizer.encode",
    "embeddings": "TokenEmbedding.forward sinusoidal_positions Embeddings.forward nearest_tokens",
    "attention": "causal_mask scaled_dot_product_attention split_heads merge_heads "
    "CausalSelfAttention.forward",
    "blocks": "LayerNorm.forward gelu MLP.forward Block.forward",
    "model": "next_token_loss GPT.initialise_weights GPT.embed GPT.forward GPT.num_parameters "
    "convert_gpt2_weights",
    "data": "split_documents pack windows get_batch",
    "trainer": "learning_rate parameter_groups train_step estimate_loss should_stop",
    "samplers": "greedy temperature top_k top_p repetition_penalty sample",
    "generation": "next_token_logits generate LayerCache.append measure_step trace",
    "perplexity": "strided_windows score perplexity bits_per_byte next_token_accuracy "
    "top_predictions",
    "modern": "RMSNorm.forward rotary SwiGLU.forward GroupedQueryAttention.forward "
    "LlamaBlock.forward",
    "finetuning": "mask_prompt sequence_log_probability supervised_loss LoRALinear.begin "
    "LoRALinear.forward count_parameters dpo_loss",
    "compression": "quantize_rows QuantizedLinear.forward QuantizedLinear.error_bound "
    "prune_by_magnitude distillation_loss",
    "tinystories": "recipe ablation",
}


class NotWrittenError(Exception):
    """A step that a picture needs is not written, and there is no reference. The message names it."""


@dataclass
class Library:
    """The lesson modules that this process works with."""

    files: dict[str, Path] = field(default_factory=dict)  # module -> the file that is used
    unwritten: dict[str, list[str]] = field(default_factory=dict)  # module -> steps still to write
    stand_ins: set[str] = field(default_factory=set)  # modules that the reference stands in for

    def is_theirs(self, module: str) -> bool:
        """Whether the learner's own file is used."""
        return module in self.files and REFERENCE not in self.files[module].parents

    def is_written(self, *modules: str) -> bool:
        """Whether all that the pictures use of these modules is there, from either of the two."""
        return all(
            module in self.files and not set(USED[module].split()) & set(self.unwritten[module])
            for module in modules
        )

    def whose(self, modules: Iterable[str]) -> str:
        """Say in half a sentence whose code these modules are."""
        modules = [module for module in modules if module in self.files]
        theirs = [module for module in modules if self.is_theirs(module)]
        others = [module for module in modules if not self.is_theirs(module)]
        parts = [f"your {_names(theirs)}"] if theirs else []
        parts += [f"the reference's {_names(others)}"] if others else []
        return " and ".join(parts)

    def place(self, module: str) -> str:
        """The path of a module's file as the learner knows it."""
        file = self.files[module]
        return str(file.relative_to(ROOT)) if ROOT in file.parents else str(file)

    def explain(self, error: Exception, modules: Iterable[str]) -> str | None:
        """A sentence for an error that the learner's own code caused, or None where it did not."""
        theirs = [module for module in modules if self.is_theirs(module)]
        what = f"{type(error).__name__}: {_first_line(error)}"
        for frame in reversed(extract_tb(error.__traceback__)):
            for module in self.files:
                if self.is_theirs(module) and Path(frame.filename).resolve() == self.files[module]:
                    where = f"{self.place(module)}, line {frame.lineno}, in {frame.name}"
                    return f"your code stopped with {what} ({where}); {_judge(self.files[module])}"
        if theirs:
            return (
                f"what your {_names(theirs)} gave could not be drawn ({what}); "
                f"{_judge(self.files[theirs[-1]])}"
            )
        return None


def _names(modules: Iterable[str]) -> str:
    return ", ".join(f"{module}.py" for module in modules)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _judge(file: Path) -> str:
    number = file.parent.name
    return f"what does pytest lessons/{number} say?" if number.isdigit() else "is it finished?"


class _StandIns(MetaPathFinder):
    """Lets the reference's file be found under the learner's name."""

    def __init__(self, files: dict[str, Path]) -> None:
        self.names = {f"{PACKAGE}.{module}": file for module, file in files.items()}

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """The reference's file, for the modules that it stands in for."""
        file = self.names.get(fullname)
        return spec_from_file_location(fullname, file) if file else None


def choose_library() -> Library:
    """Look at every lesson's file, and decide. Must come before a lesson's module is imported."""
    library = Library()
    replaced = {}
    for module, used in USED.items():
        spec = find_spec(f"{PACKAGE}.{module}")
        reference = REFERENCE / f"{module}.py"
        if spec is not None and spec.origin is not None:
            file = Path(spec.origin).resolve()
            library.files[module], library.unwritten[module] = file, unwritten_steps(file)
        # a file that Python cannot read has no steps that could be told apart: see unwritten_steps
        if not library.is_written(module) and reference.is_file():
            library.files[module], library.unwritten[module] = reference.resolve(), []
            library.stand_ins.add(module)
            replaced[module] = reference
        library.unwritten.setdefault(module, used.split())
    if replaced:
        sys.meta_path.insert(0, _StandIns(replaced))
    return library


def unwritten_steps(file: Path) -> list[str]:
    """The functions in which the stub's `raise NotImplementedError` is still what is reached.

    Raises CourseError where the file is not Python.
    """
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise CourseError(
            f"{file}, line {error.lineno}: this is not Python ({error.msg}); mend it first"
        ) from None
    except (UnicodeDecodeError, ValueError):
        raise CourseError(f"{file} is not UTF-8 text; save it as UTF-8") from None
    return list(_unwritten(tree.body, ""))


def _unwritten(body: list[ast.stmt], prefix: str) -> Iterable[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _unwritten(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            for statement in node.body:
                if isinstance(statement, ast.Return):
                    break
                if isinstance(statement, ast.Raise) and "NotImplementedError" in ast.dump(
                    statement
                ):
                    yield prefix + node.name
                    break


def require(library: Library, *modules: str) -> None:
    """Raise NotWrittenError, naming the first step to write, unless these modules are usable."""
    for module in modules:
        if module not in library.files:
            raise NotWrittenError(f"the module {module}.py, which this course does not hold")
        missing = [step for step in USED[module].split() if step in library.unwritten[module]]
        if missing:
            raise NotWrittenError(f"{missing[0]} in {library.place(module)}")


def stretch(library: Library, module: str, name: str) -> Any:
    """A stretch step: the module's own where it is written, else the reference's.

    A method comes as a plain function that takes the object first. Raises NotWrittenError.
    """
    package = PACKAGE
    if name in library.unwritten.get(module, [name]):
        if PACKAGE == "solutions" or not (REFERENCE / f"{module}.py").is_file():
            place = library.place(module) if module in library.files else f"{module}.py"
            raise NotWrittenError(f"{name} in {place} (a stretch step)")
        package = "solutions"
    found: Any = importlib.import_module(f"{package}.{module}")
    for part in name.split("."):
        found = getattr(found, part)
    return found


def first_step(error: NotImplementedError) -> str:
    """What a stub's error asks for: "lesson 05: GPT.forward" -> "GPT.forward of lesson 05"."""
    match = re.fullmatch(r"lesson (\d\d): (.+)", str(error))
    return f"{match[2]} of lesson {match[1]}" if match else str(error) or "a step"
