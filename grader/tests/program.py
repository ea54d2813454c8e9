"""How the tests run the capstone program, as a command or (sooner) inside their own process."""

import contextlib
import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from safetensors.torch import load_file

from grader.tests.conftest import ROOT

PROGRAM = (sys.executable, "-m", "solutions.tinystories")
# A model that trains in a second. `--quiet` keeps progress bars out of the captured text.
TINY = (
    *("--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--block-size", "32"),
    *("--batch-size", "4", "--tokenizer", "bpe:400", "--device", "cpu", "--quiet"),
)
FINISHED = ("--stories", "400", "--steps", "60", *TINY)  # the run that tests share
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "COURSE_BASELINE": "",
}


def program(*arguments: str | Path, cwd: Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=280,
        **options,
    )


def succeeds(*arguments: str | Path, cwd: Path, **options) -> str:
    result = program(*arguments, cwd=cwd, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def program_here(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    """The same inside this process: a new one takes seconds to import torch."""
    from solutions.engine.commands import main

    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    with contextlib.chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = error.code
    torch.set_num_threads(threads)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refuses(*arguments: str | Path, cwd: Path, says: str, **options) -> None:
    """Exit code 2 and one sentence on stderr, without a traceback."""
    if options:
        result = program(*arguments, cwd=cwd, **options)
    else:
        result = program_here(*arguments, cwd=cwd)
    assert result.returncode == 2, (result.returncode, result.stdout, result.stderr)
    assert "Traceback" not in result.stderr
    assert re.search(says, result.stderr), result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
