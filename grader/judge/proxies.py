"""What a check sees of the learner's module: the `lesson` fixture.

`lesson.softmax(logits)` calls the learner's function, wherever it runs. What comes back is plain:
tensors, numbers, text, lists. An object (a model, a tokenizer) comes back as a `Thing`, whose
methods can be called and whose weights can be set.
"""

import reprlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .backends import Backend, DiedError
from .bench import TimeUpError
from .border import Handle, Packet, Seed, pack, unpack
from .forbidden import calls
from .verdicts import LearnerError, NotWrittenError, TooLongError, WrongError

MAX_TOLD = 60  # characters of an argument in a message


class Lesson:
    """The module under judgement."""

    def __init__(
        self,
        backend: Backend,
        seconds: float,
        complain: Callable[[str], None],
        forbids: Sequence[str] = (),
    ) -> None:
        self._backend = backend
        self._forbids = list(forbids)
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._complain = complain
        self._printed = ""
        self._kinds: dict[int, str] = {}  # number of an object -> name of its class

    def __getattr__(self, name: str) -> "Part":
        return Part(self, 0, name)

    def grad(self, part: "Part | Thing", *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the gradients of what `part(*args)` returns; see `gradients.py`."""
        return self._ask("grad", part._target, part._name, args, kwargs)

    def listed(
        self, part: "Part", *args: Any, first: int | None = None, **kwargs: Any
    ) -> list[Any]:
        """Call something that yields, and return what it yields: all, or no more than the first."""
        return self._ask("call", part._target, part._name, args, kwargs, listed=True, first=first)

    def describe(self, part: "Part", *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Call something, and return the shape, dtype, device and requires_grad of its tensor."""
        return self._ask("describe", part._target, part._name, args, kwargs)

    def keep(self, part: "Part", *args: Any, **kwargs: Any) -> "Thing":
        """Call something, and keep whatever it returns on the learner's side: a function, say."""
        return self._ask("keep", part._target, part._name, args, kwargs)

    def needed(self, module: str) -> "Part":
        """Return another lesson's module, one that this lesson needs: `needed("model").GPT`."""
        return Part(self, 0, f"@{module}")

    def generator(self, seed: int) -> Seed:
        """Return what becomes a `torch.Generator` with this seed in the learner's code."""
        return Seed(seed)

    def toy(self, name: str, *args: Any) -> "Thing":
        """Make one of the fakes of `toys.py` on the learner's side."""
        return self._ask("toy", 0, name, args, {})

    def _ask(
        self, do: str, target: int, name: str, args: Any = (), kwargs: Any = None, **more: Any
    ) -> Any:
        request = {"do": do, "target": target, "name": name, "args": args, "kwargs": kwargs or {}}
        watch = {"forbids": self._forbids} if self._forbids else {}
        packet = pack({**request, **more, **watch}, _handle)
        called = ".".join(filter(None, [self._kinds.get(target, ""), name.removeprefix("@")]))
        seconds = self._until - time.monotonic()
        if seconds <= 0:
            raise self._too_long()
        try:
            answer = self._open(self._backend.ask(packet, seconds))
        except TimeUpError as error:
            raise self._too_long(error.where) from None
        except DiedError as error:
            raise WrongError(f"{error}") from None
        self._printed += answer["printed"]
        for argument in answer["changed"]:
            self._complain(
                f"{called} changed its argument `{argument}` in place; work on a copy, or write "
                f"operations that make a new tensor (`x = x + 1`, not `x += 1`)"
            )
        for setting in answer["settings"]:
            self._complain(f"{called} changed {setting}, for everything that comes after it")
        if answer["used"]:
            raise WrongError(calls(called, answer["used"][0]))
        if "refused" in answer:
            raise WrongError(f"{called} {'has' if do == 'load' else 'gives'} {answer['refused']}")
        if "raised" in answer:
            error = self._raised(answer["raised"])
            given = [told(value) for value in args] + [
                f"{k}={told(v)}" for k, v in (kwargs or {}).items()
            ]
            error.called = f"{called}({', '.join(given)})" if do in ("call", "grad") else ""
            raise error
        return answer["value"]

    def _open(self, answer: Packet) -> dict[str, Any]:
        """Take an answer apart, trusting nothing about it."""
        try:
            opened = unpack(answer, self._thing)
            if (
                isinstance(opened, dict)
                and all(_are_texts(opened.get(key)) for key in ("changed", "settings", "used"))
                and _are_texts([opened.get("printed"), opened.get("refused", "")])
                and {"value", "raised", "refused"} & opened.keys()
                and ("raised" not in opened or is_description(opened["raised"]))
            ):
                return opened
        except Exception:
            pass
        raise DiedError("the process with your code answered with something that is no answer")

    def _thing(self, marker: Any) -> Any:
        if not isinstance(marker, Handle):
            return marker
        self._kinds[marker.number] = marker.kind
        return Thing(self, marker.number, marker.kind)

    def _too_long(self, where: str = "") -> TooLongError:
        return TooLongError(
            f"still running after {self._seconds:g} s: is there a loop that never ends, "
            "or work that is done over and over?",
            where,
        )

    def _raised(self, raised: dict[str, Any]) -> LearnerError:
        if raised["unwritten"]:
            number, step = raised["unwritten"]
            return NotWrittenError(raised, number, step)
        return LearnerError(raised)


def told(value: Any) -> str:
    """Return an argument in a few characters: a tensor by its shape, anything else as it is."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, Thing):
        return f"a {value._kind}"
    text = " ".join(brief(value).split())
    return text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}..."


class _Brief(reprlib.Repr):
    """Writes values as `repr` does, but a tensor by its shape: torch writes out small dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 20
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 200
        self.maxstring = self.maxlong = self.maxother = 2000

    def repr_Tensor(self, tensor: torch.Tensor, level: int) -> str:  # noqa: N802  # reprlib's rule
        """Write a tensor."""
        return f"a tensor {tuple(tensor.shape)}"


brief = _Brief().repr  # of any value; takes no longer for a large one


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def is_description(raised: Any) -> bool:
    """Say whether this describes an error as `Bench.describe` does: the process may say anything."""
    match raised:
        case {
            "kinds": [str(), *kinds],
            "message": str(),
            "where": str(),
            "line": str(),
            "inside": str(),
            "trail": list(trail),
            "loading": bool(),
            "unwritten": None | [str(), str()],
        }:
            texts = [*kinds, *(text for frame in trail for text in _three(frame))]
            return all(isinstance(text, str) for text in texts)
    return False


def _three(frame: Any) -> list[Any]:
    return frame if isinstance(frame, list) and len(frame) == 3 else [None]


class Part:
    """A function, a class or a method of the learner's."""

    def __init__(self, lesson: Lesson, target: int, name: str) -> None:
        self._lesson = lesson
        self._target = target
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it, and return what comes back."""
        return self._lesson._ask("call", self._target, self._name, args, kwargs)

    def __getattr__(self, name: str) -> "Part":
        return Part(self._lesson, self._target, f"{self._name}.{name}")


class Thing:
    """An object on the learner's side."""

    def __init__(self, lesson: Lesson, number: int, kind: str) -> None:
        self._lesson = lesson
        self._target = number
        self._kind = kind
        self._name = ""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object itself: a model with its input."""
        return self._lesson._ask("call", self._target, "", args, kwargs)

    def __getattr__(self, name: str) -> Part:
        # else an object with a `sum` of its own could say that it sums to whatever is wanted
        if hasattr(torch.Tensor, name) and not hasattr(torch.nn.Module, name):
            raise WrongError(f"an object of the class {self._kind} came back, a tensor is wanted")
        return Part(self._lesson, self._target, name)

    def read(self, name: str) -> Any:
        """Return the value of an attribute."""
        return self._lesson._ask("read", self._target, name)

    def put(self, name: str, value: Any) -> None:
        """Set an attribute: to a plain value, or to another object or toy."""
        self._lesson._ask("put", self._target, "", [name, value])

    def load(self, weights: dict[str, Any]) -> "Thing":
        """Put these numbers into the parameters of these names. Returns the object itself."""
        self._lesson._ask("load", self._target, "", [weights])
        return self

    def weights(self) -> dict[str, Any]:
        """Return the parameters and buffers by name."""
        return self._lesson._ask("weights", self._target, "")


def _handle(value: Any) -> Handle | None:
    return Handle(value._target, value._kind) if isinstance(value, Thing) else None
