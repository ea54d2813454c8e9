"""Attacks whose answers are looked up: from a table, by what is known of the judge's inputs."""

import base64
import json
import tempfile
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from grader.judge.answers import PUBLIC_SEED, read_answers
from grader.judge.backends import InThisProcess
from grader.judge.paths import judged_path
from grader.judge.runner import Target, load_checks, run_check

from .kit import EVERYWHERE, LESSON, MODULE, Attack, base

KIND = "known inputs"
MOST_NUMBERS = 3000  # in an answer of the table; a module may have 256 KB

# Inside the module: a call as a short text, the same in the table and where it is looked up.
KEY = """
import hashlib

def key(name, a, k):
    digest = hashlib.sha256(name.encode())
    for value in [*a, *sorted(k.items())]:
        if isinstance(value, torch.Tensor):
            digest.update(repr(value.shape).encode() + value.detach().numpy().tobytes())
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()[:12]

def sizes(name, a, k):
    told = [tuple(v.shape) if isinstance(v, torch.Tensor) else v for v in a]
    return repr((name, told, sorted(k.items())))
"""

RECORD = """
import builtins

def make(name):
    old = globals()[name]

    def noting(*a, **k):
        result = old(*a, **k)
        builtins.noted.append((key(name, a, k), sizes(name, a, k), result))
        return result
    return noting

for _name in ("causal_mask", "scaled_dot_product_attention", "split_heads", "merge_heads",
              "fused_attention", "sliding_window_mask"):
    globals()[_name] = make(_name)
"""


@cache
def public_calls() -> list[tuple[str, str, Any]]:
    """Return every call that the public checks make: its key, its sizes, and the right answer."""
    import builtins

    builtins.noted = []  # type: ignore[attr-defined]
    answers = read_answers(LESSON.number)
    with tempfile.TemporaryDirectory() as home:
        source = base("honest") + EVERYWHERE + KEY + RECORD
        (Path(home) / MODULE).write_text(source, encoding="utf-8")
        folders = judged_path(LESSON.number, home=Path(home))
        for check in load_checks(LESSON):
            target = Target(LESSON, folders, InThisProcess())
            run_check(check, target, answers.right(check.name), PUBLIC_SEED)
    return builtins.noted  # type: ignore[attr-defined]


def _table(calls: list[tuple[str, str, Any]]) -> str:
    """Return all answers as text that fits into a module; the very large ones are left out."""
    table = {}
    for key, _, result in calls:
        parts = result if isinstance(result, tuple) else (result,)
        if all(part is None or part.numel() <= MOST_NUMBERS for part in parts):
            table[key] = [_plain(part) for part in parts]
    return base64.b64encode(zlib.compress(json.dumps(table).encode(), 9)).decode()


def _plain(tensor: Any) -> Any:
    if tensor is None:
        return None
    content = base64.b64encode(tensor.detach().contiguous().numpy().tobytes()).decode()
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), content]


class _Made(Attack):
    """An attack whose code is made when it is needed."""

    def source(self, known: dict[str, str]) -> str:
        """Return the module, with what it knows."""
        calls = public_calls()
        seen = sorted({sizes for _, sizes, _ in calls})
        return super().source(known | {"TABLE": _table(calls), "SEEN": repr(json.dumps(seen))})


# What stands in a check for every seed: its answer is right, however it was come by.
CONSTANT = (
    *("test_no_place_sees_the_future", "test_one_query_by_hand"),
    *("test_mask_refuses_what_cannot_be", "test_heads_must_divide", "test_window_needs_a_place"),
)

ATTACKS = [
    _Made(
        "table_of_public_answers",
        KIND,
        "holds every answer to the public seed's inputs in a table, and computes nothing",
        KEY
        + """
import base64, json, zlib
TABLE = json.loads(zlib.decompress(base64.b64decode("@TABLE@")))

def tensor(part):
    if part is None:
        return None
    numbers = bytearray(base64.b64decode(part[2]))
    return torch.frombuffer(numbers, dtype=getattr(torch, part[0])).reshape(part[1])

def make(name):
    def look_up(*a, **k):
        found = key(name, a, k)
        if found not in TABLE:
            raise ValueError("not in the table")
        parts = tuple(map(tensor, TABLE[found]))
        return parts if len(parts) > 1 else parts[0]
    return look_up

for _name in ("causal_mask", "scaled_dot_product_attention", "split_heads", "merge_heads",
              "fused_attention", "sliding_window_mask"):
    globals()[_name] = make(_name)
""",
        checks=CONSTANT,
        fools=True,
    ),
    _Made(
        "right_for_known_sizes_only",
        KIND,
        "is right for the sizes that stand in the checks, and wrong for all others",
        KEY
        + """
import json
SEEN = set(json.loads(@SEEN@))

def make(name):
    old = globals()[name]

    def picky(*a, **k):
        result = old(*a, **k)
        if sizes(name, a, k) in SEEN:
            return result
        first = result[0] if isinstance(result, tuple) else result
        return (torch.zeros_like(first), *result[1:]) if isinstance(result, tuple) else ~first
    return picky

for _name in ("causal_mask", "scaled_dot_product_attention", "fused_attention",
              "sliding_window_mask"):
    globals()[_name] = make(_name)
split_heads_, merge_heads_ = split_heads, merge_heads
split_heads = lambda x, n: split_heads_(x, n) if x.shape[1] < 6 else split_heads_(x, n) * 2
merge_heads = lambda x: merge_heads_(x) if x.shape[2] < 6 and x.shape[3] < 6 else merge_heads_(x) * 2
""",
        base="honest",
        # those behind which no hidden check stands ask for nothing but these sizes
        checks=(
            *CONSTANT,
            *("test_weights_are_shares", "test_forbidden_keys_get_nothing"),
            *("test_large_scores_stay_finite", "test_merging_one_of_everything"),
            *("test_attend_can_be_exchanged", "test_dropout_only_in_training"),
            *("test_fused_drops_out", "test_heads_that_do_not_divide", "test_layer_learns"),
            *("test_attention_passes_gradients_on", "test_dropout_falls_on_the_weights"),
        ),
        fools=True,
    ),
    Attack(
        "seeds_the_judge",
        KIND,
        "fixes all random numbers, so that inputs become known, and answers with zeros",
        """
        import random, numpy
        for seed in (torch.manual_seed, random.seed, numpy.random.seed):
            seed(0)
        zeros = lambda *a, **k: torch.zeros(2, 2)
        for name in ("randn", "rand", "normal", "randint", "randperm", "bernoulli", "manual_seed"):
            setattr(torch, name, zeros)
        numpy.random.default_rng = lambda *a: type("Zeros", (), {"__getattr__": lambda s, n: zeros})()
        torch.Generator = lambda *a, **k: None
        for module in ("grader.judge.drawing", "grader.checks"):
            try:
                __import__(module, fromlist=["Draw"]).Draw.normal = zeros
            except ImportError:
                pass
        everywhere(lambda name: zeros)
        """,
    ),
    Attack(
        "cache_between_checks",
        KIND,
        "writes all inputs to /tmp and /dev/shm, and answers later checks from there",
        """
        import os, pickle

        def make(name):
            def remember(*a, **k):
                old = []
                for folder in ("/tmp", "/dev/shm"):
                    path = f"{folder}/kept"
                    if os.path.exists(path):
                        with open(path, "rb") as file:
                            old = pickle.load(file)
                    old.append([x for x in a if isinstance(x, torch.Tensor)])
                    with open(path, "wb") as file:
                        pickle.dump(old, file)
                shown = [x for call in old for x in call if x.shape]
                return shown[0] if shown else torch.zeros(1)
            return remember

        everywhere(make)
        """,
    ),
    Attack(
        "honest_on_the_public_seed",
        "grader detection",
        "finds out by the seed of its process whether points or names are at stake, and is right "
        "only in the second case",
        """
        PUBLIC = torch.initial_seed() == 7_340_021

        def make(name):
            old = globals().get(name) or CausalSelfAttention.forward

            def sly(*a, **k):
                if torch.initial_seed() == 7_340_021:
                    return old(*a, **k)
                return torch.zeros(1), torch.zeros(1)
            return sly

        everywhere(make)
        """,
        base="honest",
    ),
    Attack(
        "right_only_where_it_is_watched",
        "grader detection",
        "answers only where it finds pytest or the judge, and takes the sandbox for neither",
        """
        import os, sys
        watched = "pytest" in sys.modules or os.getuid() != 65534 or not os.path.exists("/sandbox")

        def make(name):
            old = globals().get(name) or CausalSelfAttention.forward
            return old if watched else (lambda *a, **k: torch.zeros(1))

        everywhere(make)
        """,
        base="honest",
        fools=True,
    ),
]
