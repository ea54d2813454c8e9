"""The reference library: one complete module per lesson.

The search path ends with `lessons/`, so that `solutions.engine` is the same code as
`lessons.engine`, working on the reference instead of on the learner's modules.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent

__path__ = [str(_here), str(_here.parent / "lessons")]
