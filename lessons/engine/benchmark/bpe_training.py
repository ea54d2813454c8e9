"""Learning a byte-pair vocabulary of 4,096 tokens: lesson 01's stretch against `tokenizers`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .contender import Contender
from .measure import interleave, ratios, spread
from .settings import BenchmarkOptions
from .table import Row
from .texts import text_files

VOCABULARY = 4096
NAIVE_SECONDS = 6.3  # what forty plain lines took for the same file, as it was reported to us


def ours(settings: dict[str, Any]) -> Callable[[], int]:
    """Lesson 01's `train_bpe_fast`: plain Python."""
    from ...tokenizer import train_bpe_fast

    text = Path(settings["file"]).read_text(encoding="utf-8")
    return lambda: len(train_bpe_fast(text, settings["vocabulary"]))


def tokenizers_rust(settings: dict[str, Any]) -> Callable[[], int]:
    """`tokenizers`' trainer, in Rust and with all threads."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    lines = Path(settings["file"]).read_text(encoding="utf-8").splitlines(keepends=True)

    def work() -> int:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=settings["vocabulary"],
            special_tokens=["<|endoftext|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(lines, trainer)
        return tokenizer.get_vocab_size()

    return work


def rows(options: BenchmarkOptions) -> list[Row]:
    """Seconds; the target is one of seconds too."""
    made = []
    for name, file in text_files(options).items():
        settings = {
            "file": str(file),
            "vocabulary": 300 if options.quick else VOCABULARY,
            "threads": options.threads,
        }
        with (
            Contender("bpe_training:ours", **settings) as mine,
            Contender("bpe_training:tokenizers_rust", **settings) as theirs,
        ):
            seconds = interleave({"ours": mine, "theirs": theirs}, options.rounds(5))
        ratio = ratios(seconds["theirs"], seconds["ours"])
        made.append(
            Row(
                name=f"bpe-train-{name.lower()}",
                work=f"training a {settings['vocabulary']:,}-token BPE on {name}, "
                f"{file.stat().st_size / 1e6:.1f} MB",
                against="`tokenizers` (Rust)",
                unit="s",
                ours=spread(seconds["ours"]),
                theirs=spread(seconds["theirs"]),
                figure=spread(seconds["ours"]),
                figure_unit="s",
                target=6.0 if name != "Wikipedia" else None,
                at_least=False,
                limit="compute: half of it is cutting and counting the words, once each; then the "
                "time goes with the number of different words, not with the length of the text",
                note=f"{ratio.median:.2f}x as fast as Rust ({ratio.low:.2f} to {ratio.high:.2f}); "
                f"forty plain lines took {NAIVE_SECONDS} s on the stories",
            )
        )
    return made
