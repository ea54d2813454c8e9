"""The memory of the loss: logits for every token of a large vocabulary, or never all of them.

Both sides take the last hidden states and the head's table and give the loss and both gradients.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F

from .contender import Contender
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row

TOKENS, WIDTH, VOCABULARY = 4096, 384, 50257


def plain(settings: dict[str, Any]) -> Callable[[], float]:
    """Logits, then cross-entropy, as everybody writes it."""
    return _work(settings, lambda x, table, ids: F.cross_entropy((x @ table.T).float(), ids))


def sliced(settings: dict[str, Any]) -> Callable[[], float]:
    """The trainer's, a slice of the tokens at a time."""
    from ..sliced_loss import sliced_loss

    return _work(settings, sliced_loss)


def _work(settings: dict[str, Any], loss_of: Callable) -> Callable[[], float]:
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    tokens, width, vocabulary = settings["sizes"]
    x = torch.randn(tokens, width, requires_grad=True)
    table = torch.nn.Parameter(torch.randn(vocabulary, width) * 0.02)
    ids = torch.randint(vocabulary, (tokens,))
    half = settings["precision"] == "bf16"

    def work() -> float:
        x.grad = table.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = loss_of(x, table, ids)
        loss.backward()
        return loss.item()

    return work


def rows(options: BenchmarkOptions) -> list[Row]:
    """Memory above what is held before, in fp32 and in bf16."""
    sizes = (64, 16, 999) if options.quick else (TOKENS, WIDTH, VOCABULARY)
    made = []
    for precision in ("fp32", "bf16"):
        settings = {"sizes": sizes, "precision": precision, "threads": options.threads}
        memory: dict[str, list[float]] = {"ours": [], "theirs": []}
        with ExitStack() as stack:
            sides = {
                "ours": stack.enter_context(Contender("loss_memory:sliced", **settings)),
                "theirs": stack.enter_context(Contender("loss_memory:plain", **settings)),
            }

            def watched(name: str, sides: Any = sides, memory: Any = memory) -> Callable[[], float]:
                def run() -> float:
                    taken = sides[name]()
                    memory[name].append(
                        max(1e-3, sides[name].last["peak_mb"] - sides[name].last["before_mb"])
                    )
                    return taken

                return run

            seconds = interleave({name: watched(name) for name in sides}, options.rounds(5))
        kept = {name: values[1:] for name, values in memory.items()}  # the first round warms up
        time = ratios(seconds["ours"], seconds["theirs"])
        tokens, width, vocabulary = sizes
        made.append(
            Row(
                name=f"loss-memory-{precision}",
                work=f"memory of the loss and its gradients, vocabulary {vocabulary:,}, "
                f"{tokens:,} tokens, {precision}: the low-memory mode",
                against="plain logits and `F.cross_entropy`",
                unit="MB",
                ours=spread(kept["ours"]),
                theirs=spread(kept["theirs"]),
                figure=ratios(kept["ours"], kept["theirs"]),
                target=0.2,
                at_least=False,
                limit=f"one copy of the logits in fp32 is {4e-6 * tokens * vocabulary:,.0f} MB and "
                f"the table's gradient {4e-6 * vocabulary * width:,.0f} MB, which nobody can avoid",
                note=f"it takes {time.median:.2f}x the time ({time.low:.2f} to {time.high:.2f})",
            )
        )
    return made
