"""The learner's side of a check: it loads the module, does what it is asked, and answers.

A request and its answer are packets (see `border.py`), so it does not matter whether the check runs
in this process or in another one. A request is a dict:

    do        "call", "grad", "read", "put", "load", "weights", "describe", "keep" or "toy"
    target    0 for the module, or the number of an object that an earlier call made
    name      what to call or read: "softmax", "BPETokenizer.gpt2", "" for the object itself
    args, kwargs
    forbids   library functions that are to be written here (see `forbidden.py`), or nothing

and so is an answer: `value`, or `raised` or `refused` instead; and what happened beside it:
`changed` (arguments that were changed in place), `settings` (settings and functions of torch that
were changed, and have been put back), `used` (forbidden functions that were called), `printed`.
"""

import contextlib
import importlib
import inspect
import io
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from . import toys
from .border import Handle, Packet, RefusedError, Seed, describe_kind, pack, unpack
from .elsewhere import Elsewhere, device_of
from .forbidden import watch
from .gradients import NoGradientError, gradients
from .paths import take_path
from .raised import ModuleMissingError, PartMissingError, TimeUpError, clean, describe_raised
from .settings import keep_settings, keep_surroundings

MAX_PRINTED = 4000  # characters kept of what the learner's code prints in one call
FIRST_SEED = 7_340_021  # nobody writes this one: 0 and 42 are noticed, whatever the public seed is
MAX_ITEMS = 1_000_000  # of an iterator that a check asks to be listed


class Bench:
    """One module, freshly loaded, and the objects that were made with it.

    `lessons` is its folders from here on. Who forks makes it before: looking through all modules
    writes on the pages that they lie on, so that the fork would copy them.
    """

    def __init__(self, module: str, folders: list[Path], seed: int) -> None:
        self.module_name = module
        self.seed = seed
        self.folders = [Path(folder) for folder in folders]
        self.module: Any = None
        self.objects: dict[int, Any] = {}
        take_path(self.folders)
        importlib.invalidate_caches()

    def answer(self, request: Packet) -> Packet:
        """Do what is asked. Never raises for anything that the learner's code does."""
        printed = Printed()
        beside: dict[str, Any] = {"changed": [], "settings": [], "used": []}
        loading = self.module is None
        with keep_surroundings(), _quiet(printed):
            try:
                if loading:
                    self.load_module()
                    loading = False
                with keep_settings(beside["settings"]):
                    value = self.do(request, beside["changed"], beside["used"])
                packet = pack({"value": value}, self.keep)
            except (RefusedError, NoGradientError) as error:
                packet = pack({"refused": str(error)})
            except TimeUpError as error:
                error.where = describe_raised(error, self.folders)["where"]
                raise
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit too: the learner's code may do anything
                packet = pack({"raised": describe_raised(error, self.folders, loading)})
        packet.tree["dict"] += pack({**beside, "printed": printed.text()}).tree["dict"]
        return packet

    def load_module(self) -> None:
        """Import the module from its own folder and nowhere else."""
        file = self.folders[0] / f"{self.module_name}.py"
        if not file.is_file():
            raise ModuleMissingError(file)
        with keep_settings([]):  # what a module does to torch when it is imported ends here
            self.module = importlib.import_module(f"lessons.{self.module_name}")
        torch.manual_seed(FIRST_SEED + self.seed)

    def do(self, request: Packet, changed: list[str], used: list[str]) -> Any:
        """Return the result of one request, and note which arguments it changed in place."""
        given = unpack(Packet(request.tree, [t.clone() for t in request.tensors]), self.fetch)
        if given["do"] == "toy":
            return self.register(toys.TOYS[given["name"]](*given["args"]))
        target = self.objects[given["target"]] if given["target"] else self.module
        thing = self.find(target, given["name"])
        if given["do"] == "read":
            return thing
        if given["do"] == "weights":
            return {name: tensor for name, tensor in thing.state_dict().items()}
        if given["do"] == "load":
            return self.load_weights(thing, given["args"][0])
        args, kwargs = given["args"], given["kwargs"]
        if given["do"] == "put":
            setattr(thing, *args)
            return None
        with watch(given.get("forbids", ()), used):
            if given["do"] == "grad":
                return gradients(thing, *args, **kwargs)
            with Elsewhere() if given["do"] == "describe" else contextlib.nullcontext():
                result = thing(*args, **kwargs)
            if given.get("listed"):
                result = list(islice(iter(result), given["first"] or MAX_ITEMS))
        self.note_changes(request, args, kwargs, thing, changed)
        if given["do"] == "keep":
            return self.register(result)
        return describe_tensor(result) if given["do"] == "describe" else result

    def find(self, target: Any, name: str) -> Any:
        """Return what stands under a dotted name; `@model.GPT` is another lesson's."""
        if name.startswith("@"):
            module, _, name = name[1:].partition(".")
            target = importlib.import_module(f"lessons.{module}")
        for part in filter(None, name.split(".")):
            if not hasattr(target, part):
                raise PartMissingError(name)
            target = getattr(target, part)
        return target

    def load_weights(self, module: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
        """Put numbers into parameters by their names."""
        own = module.state_dict()
        for name in weights:
            if name not in own:
                raise RefusedError(f"no weight `{name}`")
            if own[name].shape != weights[name].shape:
                sizes = f"{tuple(own[name].shape)}, not {tuple(weights[name].shape)}"
                raise RefusedError(f"a weight `{name}` of the shape {sizes}")
        module.load_state_dict(weights, strict=False)

    def note_changes(
        self, request: Packet, args: Any, kwargs: Any, thing: Any, changed: list[str]
    ) -> None:
        """Compare the arguments after a call with what they were before."""
        before = unpack(request)
        labels = argument_names(thing, len(args))
        named = [*zip(labels, before["args"], args, strict=True)]
        named += [(k, old, kwargs[k]) for k, old in before["kwargs"].items()]
        for label, old, new in named:
            if not self.unchanged(old, new):
                changed.append(label)
            elif isinstance(new, torch.Tensor) and new.requires_grad:  # none did, on its way in
                changed.append(f"{label}.requires_grad")

    def unchanged(self, old: Any, new: Any) -> bool:
        """Say whether an argument still holds what was passed in."""
        if isinstance(old, Handle | Seed):
            return True
        try:
            return pack(old).equals(pack(new, self.keep))
        except RefusedError:
            return False

    def keep(self, value: Any) -> Handle | None:
        """Keep an object of a lesson's or a torch class here, and return a number for it."""
        known_class = type(value).__module__.startswith(("lessons.", toys.__name__))
        if known_class or isinstance(value, torch.nn.Module) or self.is_kept(value):
            return self.register(value)
        return None

    def is_kept(self, value: Any) -> bool:
        """Say whether a check has a number for this object already."""
        return any(known is value for known in self.objects.values())

    def register(self, value: Any) -> Handle:
        """Keep any object here, and return the number for it."""
        for number, known in self.objects.items():
            if known is value:
                return Handle(number, type(value).__name__)
        number = len(self.objects) + 1
        self.objects[number] = value
        return Handle(number, type(value).__name__)

    def fetch(self, marker: Handle | Seed) -> Any:
        """Turn what stands for an object into the object."""
        if isinstance(marker, Handle):
            return self.objects[marker.number]
        return torch.Generator().manual_seed(marker.seed)


def describe_tensor(value: Any) -> dict[str, Any]:
    """Return what can be said about a tensor without its numbers, wherever it is."""
    if not isinstance(value, torch.Tensor):
        raise RefusedError(f"{describe_kind(value)}, not a tensor")
    dtype = str(value.dtype).removeprefix("torch.")
    about = {"shape": list(value.shape), "dtype": dtype, "device": device_of(value)}
    return {**about, "requires_grad": value.requires_grad}


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """Return the names of the first `count` parameters of a function, as a learner knows them."""
    function = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = []
    return [*names, *(f"argument {i + 1}" for i in range(len(names), count))][:count]


class Printed(io.TextIOBase):
    """Keeps the end of what is printed, however much it is."""

    def __init__(self) -> None:
        self.kept = ""
        self.total = 0

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True

    def write(self, text: str) -> int:
        """Keep the last MAX_PRINTED characters, or up to three times as many for a while."""
        self.total += len(text)
        self.kept += text[-MAX_PRINTED:]
        if len(self.kept) > 3 * MAX_PRINTED:
            self.kept = self.kept[-MAX_PRINTED:]
        return len(text)

    def text(self) -> str:
        """Return what was kept, and say how much was not."""
        kept = self.kept[-MAX_PRINTED:]
        left_out = self.total - len(kept)
        return clean(f"[{left_out:,} characters before this]\n{kept}" if left_out else kept)


class _Nobody(io.TextIOBase):
    def readable(self) -> bool:
        return True

    def readline(self, size: int = -1) -> str:  # type: ignore[override]
        raise RuntimeError("it asks for input with `input()`, but nobody is there to type")

    read = readline  # type: ignore[assignment]


@contextlib.contextmanager
def _quiet(printed: Printed) -> Iterator[None]:
    """Catch what is printed, and let nobody be asked."""
    stdin, sys.stdin = sys.stdin, _Nobody()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield
    finally:
        sys.stdin = stdin
