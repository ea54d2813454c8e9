"""Small fakes that a check hands to the learner's code. They live on the learner's side.

A check names them: `lesson.toy("pieces", ["On", "ce"])`. The code under test gets the object. Each
file holds the toys of one subject, and says in `TOYS` how they are called.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

TOYS: dict[str, Callable[..., Any]] = {}
for _found in pkgutil.iter_modules(__path__):
    _new = importlib.import_module(f"{__name__}.{_found.name}").TOYS
    if _twice := sorted(TOYS.keys() & _new.keys()):
        raise ValueError(f"two toys are called {_twice[0]!r}, one of them in {_found.name}.py")
    TOYS |= _new
