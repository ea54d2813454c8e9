"""Makes importing large libraries cheap in a process that is there to be forked."""

import contextlib
import gc
import importlib
from collections.abc import Iterator
from pathlib import Path

# What is imported only when it is first used, and so anew after every fork: a word that stands in
# modules that use it, and what is imported then. An optimizer takes a second, a shape a third of one.
LATE = {
    "optim": "torch._dynamo",
    "broadcast_shapes": "torch.fx.experimental.symbolic_shapes",
    "engine.vocabulary": "lessons.engine.vocabulary",
    "regex": "regex",
}
MAX_BYTES = 1 << 20  # of the module that is looked into


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Import inside of this: nothing that an import makes is rubbish, and looking takes a fifth.

    What is there at the end is never looked at again, so it also stays shared after a fork.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


def import_late(file: Path) -> None:
    """Import what the words of a module let expect; nothing of the module itself is run."""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            text = stream.read(MAX_BYTES)
    except OSError:
        return  # whoever loads it says what is wrong
    for word, module in LATE.items():
        if word in text:
            with contextlib.suppress(ImportError), without_collecting():
                importlib.import_module(module)
