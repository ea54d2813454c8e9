"""The learner's library: one package spread over this folder and the numbered ones.

`lessons/03/attention.py` is imported as `lessons.attention`, and what nobody is meant to write stands
in `lessons/engine/`. The folders are searched in the order of the lessons. `COURSE_PATH`, where it
is set, replaces the list (folders separated as in PATH, relative ones seen from the project's
root), so that processes started by spawn, torchrun or a test runner all see the same modules:

    COURSE_PATH=lessons/05:solutions:lessons    lesson 05 over the reference of the others
"""

import os
from pathlib import Path

_here = Path(__file__).resolve().parent


def _search_path() -> list[str]:
    chosen = os.environ.get("COURSE_PATH")
    if chosen:
        return [str((_here.parent / folder).resolve()) for folder in chosen.split(os.pathsep)]
    return [str(_here), *sorted(str(p) for p in _here.glob("[0-9][0-9]") if p.is_dir())]


__path__ = _search_path()
