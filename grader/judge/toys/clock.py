"""A toy that says how hard something was, also on a machine that is busy with other things."""

import time


class ProcessorTime:
    """A watch that stands still while other programs run."""

    def __init__(self) -> None:
        self.began = time.process_time()

    @property
    def seconds(self) -> float:
        """Return the processor's seconds since the watch was made."""
        return time.process_time() - self.began


TOYS = {"processor time": ProcessorTime}
