"""One check against one module: whatever somebody writes, a sentence comes of it, and no harm."""

import dataclasses
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

import lessons.engine.errors
from grader.judge import session
from grader.judge.backends import InAChild, InThisProcess, time_limit
from grader.judge.bench import TimeUpError
from grader.judge.runner import BLOCKED, FAILED, NOT_WRITTEN, PASSED
from grader.tests.tiny_lesson import (
    CHECKS,
    DOUBLE,
    LESSON,
    NAMES,
    RIGHT,
    judged,
    place,
    recorded,
    right_answers,
    state_of_torch,
    with_double,
)


@pytest.fixture(scope="module")
def child():
    backend = InAChild()
    yield backend
    backend.stop()


@pytest.fixture(params=["here", "apart"])
def backend(request):
    return InThisProcess() if request.param == "here" else request.getfixturevalue("child")


@pytest.mark.parametrize("each", CHECKS, ids=lambda each: each.name)
def test_what_is_right_passes(each, backend, tmp_path):
    result = judged(tmp_path, RIGHT, backend, each)
    assert (result.verdict, result.symptom) == (PASSED, "")
    assert result.margin <= 0.1


# Files that cannot be imported, and what is said about them.
NOT_LOADED = {
    "deleted": (None, "tiny.py is not there; `python -m grader reset 03` brings the stub back"),
    "syntax": (with_double("return (2 * x"), "tiny.py:8 is not valid Python: '(' was never closed"),
    "indentation": (with_double(" x\n  y"), "tiny.py:8 is not valid Python: un"),
    "latin-1": ("s = 'café'".encode("latin-1"), "tiny.py:1 is not saved as UTF-8"),
    "utf-16": (RIGHT.encode("utf-16"), "is not saved as UTF-8"),
    "null byte": ("x = 1\0", "tiny.py is not saved as UTF-8"),
    "import": ("import nunpy\n", "tiny.py:1 cannot be imported: ModuleNotFoundError"),
    "name": ("x = undefined\n", "NameError: name 'undefined' is not defined, in `x = undefined`"),
    "input": ("x = input()\n", "it asks for input with `input()`, but nobody is there to type"),
    "exit": ("import sys\nsys.exit(0)\n", "tiny.py:2 ends the whole program as soon as it is"),
    "hard exit": ("import os\nos._exit(0)\n", "tiny.py:2 ends the whole program as soon as it is"),
}


@pytest.mark.parametrize("case", NOT_LOADED)
def test_a_file_that_cannot_be_imported(case, backend, tmp_path):
    source, sentence = NOT_LOADED[case]
    result = judged(tmp_path, source, backend)
    assert result.verdict == BLOCKED
    assert sentence in result.symptom
    assert result.where.startswith("tiny.py")


RAISING = "class Mine(Exception):\n    def __str__(self): raise {}\nraise Mine"
# What somebody may write into `double`, and what is said about it.
FAILING = {
    "nothing": ("pass", "not right yet: the double", "None (is the `return` missing?) came back"),
    "wrong": (
        "return 3 * x",
        "not right yet: the double",
        "12 of 12 numbers differ; first at [0, 0]",
    ),
    "nan": ("return x * float('nan')", "not right yet", "yours has nan (all of 12 numbers)"),
    "itself": ("return x", "not right yet", "the right answer times 0.5"),
    "a view of the input": ("return (2 * x)[:1]", "not right yet", "your shape is (1, 4)"),
    "float64": ("return 2 * x.double()", "not right yet", "your dtype is float64, the right one"),
    "another device": ("return x.to('meta')", "double gives a tensor on the device 'meta'", ""),
    "numpy": ("return 2 * x.numpy()", "double gives a NumPy array", ""),
    "numpy number": ("return x.numpy().sum()", "double gives a NumPy number (float32)", ""),
    "generator": ("return (2 * i for i in x)", "double gives a generator (wrap it in", ""),
    "map": ("return map(abs, x)", "double gives a map object (wrap it in", ""),
    "function": ("return double", "double gives a function (are the brackets", ""),
    "subclass": (
        "class Mine(torch.Tensor): pass\nreturn (2 * x).as_subclass(Mine)",
        "double gives a tensor of a class of its own, Mine",
        "",
    ),
    "huge": ("return x[:1, :1].expand(1 << 20, 1 << 20)", "which is far too large", ""),
    "equal to everything": (
        "class Mine:\n    __eq__ = lambda *a: True\nreturn Mine()",
        "not right yet",
        "an object of the class Mine came back, a tensor is wanted",
    ),
    "deep": (
        "a = []\nfor i in range(9999): a = [a]\nreturn a",
        "double gives a list inside others, more than 100 deep",
        "",
    ),
    "half a character": ("return '\\udc80'", "not right yet", "text came back, a tensor is wanted"),
    "input": ("return input('how many? ') * x", "RuntimeError: it asks for input", "in `return"),
    "exit": ("exit()", "it ends the whole program: leave that out", "in `exit()`"),
    "hard exit": (
        "import os\nos._exit(0)",
        "it ends the whole program: leave that out",
        "_exit(0)",
    ),
    "recursion": ("return double(x)", "RecursionError: maximum recursion", "in `return double(x)`"),
    "assertion": ("assert x is None", "AssertionError", "in `assert x is None`"),
    "several lines": ("raise ValueError('one\\ntwo')", "ValueError: one", "two\nin `raise"),
    "an error without words": (RAISING.format("ValueError"), "Mine: (an object of the class", ""),
    "an error that exits": (RAISING.format("SystemExit"), "Mine: (an object of the class", ""),
    "memory": ("return b'x' * (1 << 60)", "MemoryError", "in `return"),
    "somebody else's stub": (
        "raise NotImplementedError('later')",
        "NotImplementedError: later",
        "",
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_is_wrong_fails_with_a_sentence(case, backend, tmp_path):
    body, symptom, details = FAILING[case]
    result = judged(tmp_path, with_double(body), backend)
    assert result.verdict == FAILED
    assert symptom in result.symptom
    assert details in result.details
    assert "\n" not in result.symptom
    assert result.where.startswith("tiny.py:")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (RIGHT.replace("def double(x)", "def double()"), "double() takes 0 positional arguments"),
        (RIGHT.replace("def double", "def doubles"), "`double` is not in tiny.py"),
        (
            RIGHT.replace("def double", "double = None\ndef other"),
            "'NoneType' object is not callable",
        ),
        ("", "`double` is not in tiny.py"),
    ],
)
def test_a_function_that_is_not_what_it_should_be(source, sentence, backend, tmp_path):
    result = judged(tmp_path, source, backend)
    assert result.verdict == FAILED
    assert sentence in result.symptom


def test_what_is_not_written_is_no_failure(backend, tmp_path):
    mine = judged(tmp_path, with_double('raise NotImplementedError("lesson 03: double")'), backend)
    assert mine.verdict == NOT_WRITTEN
    assert mine.symptom == "not written yet: double (tiny.py:8)"
    other = judged(tmp_path, with_double('raise NotImplementedError("lesson 00: add")'), backend)
    assert other.verdict == BLOCKED
    assert other.symptom == "blocked by lesson 00: add is not written yet (tiny.py:8)"


def test_a_layer_with_other_weights(tmp_path):
    each = CHECKS[3]
    renamed = RIGHT.replace("self.factor", "self.scale")
    assert judged(tmp_path, renamed, each=each).symptom == "Scale has no weight `factor`"
    turned = RIGHT.replace("torch.ones(size)", "torch.ones(size, 1)")
    sentence = "Scale has a weight `factor` of the shape (4, 1), not (4,)"
    assert judged(tmp_path, turned, each=each).symptom == sentence
    detached = RIGHT.replace("double(x) *", "double(x).detach() *")
    result = judged(tmp_path, detached, each=each)
    assert "the gradient of x" in result.symptom
    cut = RIGHT.replace("* self.factor / 2", "* self.factor.item()").replace(
        "ones(size)", "ones(1)"
    )
    assert judged(tmp_path, cut, each=each).verdict == FAILED
    without_gradient = RIGHT.replace("double(x) * self.factor / 2", "(x * self.factor).detach()")
    assert "a result without a gradient" in judged(tmp_path, without_gradient, each=each).symptom


# what may not be changed


@pytest.mark.parametrize(
    ("body", "label"),
    [
        ("x *= 2\nreturn x", "x"),
        ("y = 2 * x\nx[0, 0] = 5\nreturn y", "x"),
        ("x.requires_grad_()\nreturn 2 * x", "x.requires_grad"),
    ],
)
def test_arguments_stay_as_they_were(body, label, backend, tmp_path):
    result = judged(tmp_path, with_double(body), backend)
    assert result.verdict == FAILED
    assert result.symptom.startswith(f"double changed its argument `{label}` in place; work on a")


SETTINGS = {
    "torch.set_default_dtype(torch.float64)": "torch's default dtype",
    "torch.set_default_device('meta')": "torch's default device",
    "torch.set_grad_enabled(False)": "whether torch records gradients",
    "torch.set_num_threads(torch.get_num_threads() + 1)": "torch's number of threads",
    "torch.manual_seed(0)": "the seed of torch's random numbers",
    "torch.softmax = torch.Tensor.__add__ = lambda *a: 1": "torch.softmax itself",
    "del torch.exp": "torch.exp itself",
    "torch.nn.Module.__call__ = lambda *a: 1": "torch.nn.Module.__call__ itself",
    "import builtins\nbuiltins.len = lambda a: 3": "builtins.len itself",
}


@pytest.mark.parametrize("change", SETTINGS)
def test_torch_is_put_back_and_the_change_is_told(change, backend, tmp_path):
    before = state_of_torch()
    result = judged(tmp_path, with_double(f"y = 2 * x\n{change}\nreturn y"), backend)
    assert result.verdict == FAILED
    sentence = f"double changed {SETTINGS[change]}, for everything that comes after it"
    assert result.symptom == sentence
    assert state_of_torch() == before
    assert judged(tmp_path, RIGHT, backend).passed


@pytest.mark.parametrize("change", SETTINGS)
def test_what_a_module_changes_when_imported_is_put_back(change, tmp_path):
    before = state_of_torch()
    source = RIGHT.replace("\n\n\ndef double", f"\n{change}\n\n\ndef double")
    assert judged(tmp_path, source).passed
    assert state_of_torch() == before


def test_the_surroundings_are_put_back(tmp_path):
    here, path, environment = os.getcwd(), list(sys.path), dict(os.environ)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    depth, modules = sys.getrecursionlimit(), {n: m for n, m in sys.modules.items()}
    body = """
    import os, random, sys, numpy
    os.chdir("/"); os.environ.clear(); sys.path.clear(); sys.setrecursionlimit(500)
    random.seed(1); numpy.random.seed(1); torch.rand(3)
    sys.stdout = sys.stderr = sys.stdin = None
    return 2 * x
    """.replace("\n    ", "\n").strip()
    assert judged(tmp_path, with_double(body)).passed
    assert (os.getcwd(), sys.path, dict(os.environ)) == (here, path, environment)
    assert sys.getrecursionlimit() == depth
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.get_rng_state().tolist() == states[2]
    assert {n: sys.modules.get(n) for n in modules} == modules
    assert "lessons.tiny" not in sys.modules
    print("standard output is there again")


def test_the_course_is_where_it_was(tmp_path):
    before = list(lessons.__path__), os.environ.get("COURSE_PATH")
    judged(tmp_path, RIGHT)
    assert (list(lessons.__path__), os.environ.get("COURSE_PATH")) == before
    assert sys.modules["lessons.engine.errors"] is lessons.engine.errors


def test_no_thread_and_no_process_keeps_the_run_alive(tmp_path):
    body = """
import multiprocessing, threading, time
threading.Thread(target=time.sleep, args=(60,), name="left over").start()
multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,)).start()
return 2 * x""".strip()
    with warnings.catch_warnings(action="ignore"):  # a fork beside a thread
        assert judged(tmp_path, with_double(body)).passed
    left = [thread for thread in threading.enumerate() if thread.name == "left over"]
    assert [thread.daemon for thread in left] == [True]
    assert not multiprocessing.active_children()
    assert not threading.current_thread().daemon


def test_floods_of_text_are_cut(backend, tmp_path):
    body = "for i in range(30000): print('abc' * 30, i)\nprint('\\udc80 the end')\nreturn x"
    result = judged(tmp_path, with_double(body), backend)
    assert len(result.printed) < 5000
    assert result.printed.startswith("[2,")
    assert result.printed.endswith("\\udc80 the end\n")


# time


LOOPS = {
    "plain": "while True: pass",
    "except": "while True:\n    try:\n        while True: pass\n    except: pass",
    "base": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "swallowed once": "try:\n    while True: pass\nexcept BaseException: pass\nreturn 2 * x",
    "asleep": "import time\ntime.sleep(100)",
    "printing": "while True: print('abc')",
    "yielding": "return [i for i in iter(int, 1)]",
}
LAST = "is there a loop that never ends, or work that is done over and over?"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform cannot end a loop")
@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_without_end_is_ended_with_a_sentence(loop, tmp_path):
    began = time.monotonic()
    result = judged(tmp_path, with_double(LOOPS[loop]), seconds=0.3)
    assert time.monotonic() - began < 5
    assert result.verdict == FAILED
    assert result.symptom == f"still running after 0.3 s: {LAST}"
    assert result.where.startswith("tiny.py:")
    assert judged(tmp_path, RIGHT).passed


def test_a_loop_apart_is_ended_and_the_next_check_runs(child, tmp_path):
    result = judged(tmp_path, with_double(LOOPS["base"]), child, seconds=0.5)
    assert result.symptom == f"still running after 0.5 s: {LAST}"
    assert judged(tmp_path, RIGHT, child).passed


def test_a_process_that_ends_by_itself_apart(child, tmp_path):
    result = judged(tmp_path, with_double("import os\nos.abort()"), child)
    assert result.symptom.startswith("the process with your code ended by itself")
    assert judged(tmp_path, RIGHT, child).passed


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform cannot end a loop")
def test_a_limit_around_a_limit_still_counts():
    with pytest.raises(TimeUpError), time_limit(0.4):
        with time_limit(5):
            pass
        time.sleep(3)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform cannot end a loop")
def test_one_long_wait_is_enough(tmp_path, monkeypatch):
    """After a check that ran into its limit, the others get a tenth of theirs."""
    target = place(tmp_path / "own", with_double(LOOPS["plain"]))
    monkeypatch.setattr(session, "judged_path", lambda *a, **k: target.folders)
    monkeypatch.setattr(session, "read_answers", lambda number: recorded(tmp_path, {}))
    checks = [dataclasses.replace(each, seconds=1.0) for each in CHECKS]
    with session.Session() as judge:
        results = [judge.judge(LESSON, each, checks) for each in checks]
    assert [r.symptom.split(":")[0] for r in results if not r.passed] == [
        "still running after 1 s",
        "still running after 0.1 s",
        "still running after 0.1 s",
    ]
    assert results[2].passed
    assert [r.first for r in results] == ["", "", "", "double"]


def test_a_list_that_grows_is_noticed(tmp_path):
    source = RIGHT.replace(NAMES, "    import warnings\n    return ['a0', 'a1']\n")
    result = judged(tmp_path, source, each=CHECKS[2])
    assert result.symptom == "not right yet: names(3)"
    assert result.details.splitlines()[0] == "yours has 2 items, the right one 3"


def test_the_answers_of_the_reference_are_recorded(tmp_path):
    entries = right_answers(tmp_path, CHECKS[1])
    assert [list(entry) for entry in entries] == [["answer"], ["answer"]]
    assert judged(tmp_path, RIGHT.replace(DOUBLE, "    return x + x\n"), each=CHECKS[1]).passed
    assert not judged(tmp_path, RIGHT.replace(DOUBLE, "    return x * x\n"), each=CHECKS[1]).passed
