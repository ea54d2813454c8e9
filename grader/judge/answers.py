"""Recorded answers: what the reference gives in every check, and what each known mistake gives.

`grader/answers/NN.safetensors` holds them for the public seed. The reference's answers stand there
in full where a check needs them; those of wrong variants as sketches, enough to recognise them.
"""

import json
import math
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lessons.engine.errors import CourseError
from lessons.engine.files import write_atomically

from .border import Packet, pack, unpack
from .paths import ROOT
from .proxies import Part, Thing

PUBLIC_SEED = 0
FOLDER = ROOT / "grader" / "answers"
SKETCH_NUMBERS = 16
CHANCE = {"chance": True}  # the sketch of what torch's random numbers decide: no two machines agree
SKETCH_TOLERANCE = 1e-4  # relative; answers of two mistakes that are closer than this are one


class Answers:
    """The recorded answers of one lesson.

    reference: check -> what it looked at. known: the rest as JSON, or nothing yet. It is read when a
    mistake is to be named: a run in which all is right need not wait for it.
    """

    def __init__(self, reference: dict[str, list[Any]] | None = None, known: bytes = b"{}") -> None:
        self.reference = {} if reference is None else reference
        self._text = known

    @cached_property
    def _known(self) -> dict[str, Any]:
        return json.loads(self._text)

    @cached_property
    def sketches(self) -> dict[str, list[Any]]:
        """Check -> what the reference gives, as sketches."""
        return self._known.get("sketches", {})

    @cached_property
    def wrong(self) -> dict[str, dict[str, list[Any]]]:
        """Mistake -> check -> sketches, for those checks that give something else than is right."""
        return self._known.get("wrong", {})

    @cached_property
    def mistakes(self) -> dict[str, dict[str, str]]:
        """Mistake -> what is said of it: says, ask, look, step."""
        return self._known.get("mistakes", {})

    def right(self, check: str) -> list[Any]:
        """Return what the reference gave in a check; empty where nothing is recorded."""
        return self.reference.get(check, [])

    def of_mistake(self, mistake: str, check: str) -> list[Any]:
        """Return the sketches of what a mistake gives in a check."""
        return self.wrong[mistake].get(check, self.sketches.get(check, []))


def answers_file(number: str) -> Path:
    """Return where a lesson's answers are."""
    return FOLDER / f"{number}.safetensors"


def read_answers(number: str) -> Answers:
    """Return the recorded answers of a lesson. Raises CourseError where they are damaged."""
    file = answers_file(number)
    if not file.is_file():
        return Answers()
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            tree = json.loads((opened.metadata() or {})["reference"])
        known = zlib.decompress(tensors.pop("known").numpy().tobytes())  # it has a checksum
        packet = Packet(tree, [tensors[str(i)] for i in range(len(tensors))])
        return Answers(unpack(packet), known)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, zlib.error) as error:
        raise CourseError(
            f"grader/answers/{file.name} is damaged ({error}); "
            "`git checkout grader/answers` or `python -m grader record` brings it back"
        ) from None


def answers_as_bytes(answers: Answers) -> bytes:
    """Return the file's content: the same bytes for the same answers."""
    packet = pack(answers.reference)
    tensors = {str(i): tensor for i, tensor in enumerate(packet.tensors)}
    known = {key: getattr(answers, key) for key in ("sketches", "wrong", "mistakes")}
    text = json.dumps(known, separators=(",", ":")).encode()  # a hundred mistakes, much alike
    tensors["known"] = torch.frombuffer(bytearray(zlib.compress(text, 9)), dtype=torch.uint8)
    return save(tensors, metadata={"reference": json.dumps(packet.tree)})


def write_answers(number: str, answers: Answers) -> None:
    """Write a lesson's answers."""
    with write_atomically(answers_file(number), "wb") as file:
        file.write(answers_as_bytes(answers))


def sketch(value: Any) -> Any:
    """Return enough of a value to recognise it: plain values that JSON can hold."""
    if isinstance(value, torch.Tensor):
        flat = value.flatten().double()
        last = max(0, flat.numel() - 1)
        places = torch.linspace(0, last, min(SKETCH_NUMBERS, flat.numel())).round().long()
        picked = flat[places.clamp(max=last)].tolist()  # of 2**24 numbers, floats round beyond it
        total = float(flat.nan_to_num(7.0, 11.0, 13.0).abs().sum())
        shape = "x".join(map(str, value.shape))
        numbers = [_rounded(number) for number in picked]
        return {"tensor": f"{value.dtype} {shape}", "numbers": numbers, "sum": [_rounded(total)]}
    if isinstance(value, dict):
        pairs = [[sketch(key), sketch(item)] for key, item in value.items()]
        return {"dict": len(value), "some": pairs[:SKETCH_NUMBERS], "crc": _checksum(pairs)}
    if isinstance(value, list | tuple | set):
        items = [
            sketch(item) for item in (sorted(value, key=repr) if isinstance(value, set) else value)
        ]
        kind = type(value).__name__
        return {kind: len(value), "some": items[:SKETCH_NUMBERS], "crc": _checksum(items)}
    if (isinstance(value, str) and len(value) > 80) or isinstance(value, bytes):
        return {type(value).__name__: len(value), "crc": zlib.crc32(repr(value).encode())}
    if isinstance(value, Thing | Part):
        return {"object": getattr(value, "_kind", "a function")}
    return {"float": [_rounded(value)]} if type(value) is float else value


def same_sketch(a: Any, b: Any) -> bool:
    """Say whether two sketches are of one answer, as far as it does not hang on chance."""
    if CHANCE in (a, b):
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same_sketch(a[key], b[key]) for key in a)
    if isinstance(a, list):
        if len(a) != len(b):
            return False
        if a and all(type(x) is float for x in (*a, *b)):
            return _close(a, b)
        return all(map(same_sketch, a, b))
    return a == b


def _close(a: list[float], b: list[float]) -> bool:
    """Compare numbers relative to the largest one."""
    finite = [abs(x) for x in b if math.isfinite(x)]
    allowed = SKETCH_TOLERANCE * max(finite, default=0.0) + 1e-12
    return all(
        x == y or (math.isnan(x) and math.isnan(y)) or abs(x - y) <= allowed
        for x, y in zip(a, b, strict=True)
    )


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")


def _checksum(items: list[Any]) -> int:
    """Return a number for what is not kept; not where floats are: they are not equal to the bit."""
    text = json.dumps(items)
    return 0 if "numbers" in text or "float" in text else zlib.crc32(text.encode())
