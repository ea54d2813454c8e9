"""What an attack is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

from grader.bank import solution_of
from grader.stub_store import stub_of
from grader.syllabus import find_lesson

LESSON = find_lesson("03")
STEPS = tuple(step.name for step in LESSON.steps)
MODULE = "attention.py"
EASY = ("causal_mask", "split_heads", "merge_heads")  # steps of which a half-honest one is capable

# Checks that ask for a ValueError and for little else: whoever raises one everywhere passes them.
ERRORS = ("test_mask_refuses_what_cannot_be", "test_heads_must_divide", "test_window_needs_a_place")

# For attacks: puts make(name) in the place of every function that is to be written.
EVERYWHERE = """

def everywhere(make):
    for name in ("causal_mask", "scaled_dot_product_attention", "split_heads", "merge_heads",
                 "fused_attention", "sliding_window_mask"):
        globals()[name] = make(name)
    CausalSelfAttention.forward = make("forward")

"""


def as_file(place: Path, source: str) -> Path:
    """Hand in the module alone, in a folder of the student's."""
    place.mkdir(parents=True)
    (place / MODULE).write_text(source, encoding="utf-8")
    return place


@dataclass(frozen=True)
class Attack:
    """One hostile submission, and what must hold when it has been judged."""

    name: str
    kind: str  # the class of attack, in the words of the threat model
    tries: str  # one sentence
    code: str  # put after the base; @WORLD@, @ROOT@, @PORT@ and @SOCKET@ are filled in
    base: str = "stub"  # "stub", "honest" or "half"
    before: str = ""  # put before the base
    earns: tuple[str, ...] = ()  # steps whose points its values earn, at most
    checks: tuple[str, ...] = ()  # single checks beside them that it may pass by right
    exactly: bool = False  # these points and no fewer: what is honest in it is not harmed
    seconds: float = 60.0  # wall clock for all of it, on a slow machine
    hand_in: Callable[[Path, str], Path] = as_file
    refused: str = ""  # a part of the sentence, where it is not even run
    fools: bool = False  # whether it is known to fool an ordinary pytest grader
    open: str = ""  # why it gets more than it earns, as long as nothing stops it

    def source(self, known: dict[str, str]) -> str:
        """Return the module that is handed in. known: what is filled in."""
        text = f"{dedent(self.before)}\n{base(self.base)}\n{EVERYWHERE}\n{dedent(self.code)}"
        for name, value in known.items():
            text = text.replace(f"@{name}@", value)
        return text


@cache
def base(name: str) -> str:
    """Return the source that an attack stands on."""
    stub, honest = stub_of(LESSON), solution_of(LESSON)
    if name == "half":
        names = ", ".join(EASY)
        return f"{honest}\n\ndel scaled_dot_product_attention, fused_attention\n" + dedent(f"""
            def scaled_dot_product_attention(q, k, v, mask=None, dropout_p=0.0):
                return v, v  # only {names} are right

            def fused_attention(q, k, v, mask=None, dropout_p=0.0):
                return v, None

            def sliding_window_mask(n_queries, n_keys=None, window=1, device=None):
                return causal_mask(n_queries, n_keys, device)

            def _forward(self, x, cache=None):
                return x

            CausalSelfAttention.forward = _forward
            """)
    return {"stub": stub, "honest": honest}[name]
