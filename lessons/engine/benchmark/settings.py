"""What a run of the benchmark was asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options that the kinds of work share."""

    threads: int
    out: Path  # figures and what is made on the way
    data: Path | None  # the folder of real text; None: stories that we make
    quick: bool = False  # tiny sizes: only that it runs
    compiled: bool = False  # the training step with torch.compile too

    def rounds(self, usual: int) -> int:
        """How many rounds to run."""
        return 2 if self.quick else usual
