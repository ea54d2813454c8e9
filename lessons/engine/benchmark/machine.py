"""What the benchmark ran on, and what that machine can do at most."""

import datetime as dt
import importlib.metadata
import os
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

from .table import Row

FLAGS = ("amx_bf16", "amx_tile", "avx512_bf16", "avx512f", "avx2", "bf16", "sve", "asimd")
PACKAGES = ("torch", "transformers", "tokenizers", "tiktoken", "ctranslate2", "numpy")


def describe_machine(threads: int) -> tuple[str, dict[str, Any]]:
    """Return a short name and the facts: processor, its instructions, memory, versions."""
    import psutil
    import torch

    name, flags = _processor()
    cores = os.cpu_count() or 1
    short = f"{name}, {cores} cores"
    facts = {
        "processor": f"{name}, {cores} cores, {threads} threads used",
        "instructions": ", ".join(flag for flag in FLAGS if flag in flags) or "not known",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{p} {v}" for p in PACKAGES if (v := version_of(p))),
    }
    if torch.cuda.is_available():
        short += f", {torch.cuda.get_device_name()}"
        facts["GPU"] = f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return short, facts


def _processor() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine(), set()
    parts = (line.partition(":") for line in lines)
    facts = {what.strip(): fact.strip() for what, _, fact in parts}
    flags = facts.get("flags", facts.get("Features", ""))
    return facts.get("model name", platform.machine()), set(flags.split())


def version_of(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def not_installed(package: str) -> str | None:
    """A sentence where an optional package is missing, else None."""
    return None if version_of(package) else f"not installed: pip install {package}"


def stamp(row: Row, machine: str) -> Row:
    """Note in a row when and where it was measured, and how busy the machine was."""
    load = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    day = dt.datetime.now(dt.UTC).date().isoformat()
    return replace(row, measured={"day": day, "machine": machine, "load": load})


# What the machine can do at most, measured by the plainest program that does it. Contenders.


def product(settings: dict[str, Any]) -> Any:
    """A plain product of two square matrices, (size, size): 2 size^3 operations."""
    import torch

    torch.set_num_threads(settings["threads"])
    device, size = torch.device(settings.get("device", "cpu")), settings["size"]
    dtype = torch.bfloat16 if settings["precision"] == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    out = left @ right

    def work() -> None:
        for _ in range(settings.get("times", 1)):
            torch.mm(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return work
