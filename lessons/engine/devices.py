"""Which processor a run uses, and in which precision."""

import os
import warnings

import torch

from .errors import CourseError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_names(device: str, precision: str) -> None:
    """Refuse a device or a precision that there is not, before any work is done."""
    if device not in DEVICES:
        raise CourseError(f"no device called {device!r}; --device takes {', '.join(DEVICES)}")
    if precision not in ("auto", *PRECISIONS):
        raise CourseError(
            f"no precision {precision!r}; --precision takes auto, {', '.join(PRECISIONS)}"
        )


def choose_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """Return the device called `name`; "auto" takes CUDA, then Apple's mps, then the CPU.

    A CUDA device that is there but does not work (an old driver, a card without memory, a wheel
    for other cards) costs a sentence and falls back to the CPU.
    """
    check_names(name, "auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns at length about drivers; we say it once
        has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        print("no working CUDA device here, going on with the CPU", flush=True)
    if name in ("auto", "cuda") and has_cuda:
        device = torch.device("cuda", local_rank % max(1, torch.cuda.device_count()))
        try:
            square = torch.ones(8, 8, device=device)
            square.matmul(square).sum().item()
            torch.cuda.set_device(device)
            return device
        except (RuntimeError, AssertionError) as error:  # torch asserts that it knows CUDA
            first_line = str(error).splitlines()[0]
            print(f"CUDA does not work ({first_line}), going on with the CPU", flush=True)
    if name in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    if name == "mps":
        raise CourseError("this machine has no mps device (Apple GPU); use --device auto")
    return torch.device("cpu")


def choose_precision(name: str, device: torch.device) -> str:
    """Return "fp32", "bf16" or "fp16"; "auto" takes the fastest that is safe on `device`.

    bf16 where the hardware multiplies it (recent CUDA cards, CPUs with AMX or AVX512-BF16), fp16
    with loss scaling on older CUDA cards (a T4 has no bf16), fp32 elsewhere.
    """
    check_names("auto", name)
    if name == "fp16" and device.type == "cpu":
        raise CourseError("fp16 needs a GPU; on a CPU use --precision bf16 or fp32")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and cpu_multiplies_bf16():
        return "bf16"
    return "fp32"


def cpu_multiplies_bf16() -> bool:
    """Whether this CPU has bf16 matrix instructions; without them bf16 is slower than fp32."""
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())


def describe_device(device: torch.device) -> str:
    """A few words for people: "2 CPU threads" or "NVIDIA H200 (140 GiB)"."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"{threads} CPU thread{'s' if threads > 1 else ''}"
    return "Apple GPU (mps)"


def peak_memory_mb(device: torch.device) -> float:
    """The most memory held so far, in MB: of the GPU on CUDA, of the whole process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource  # POSIX only
    except ImportError:
        import psutil

        return psutil.Process(os.getpid()).memory_info().peak_wset / 1e6
    import sys

    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
