"""Fetching from the network within a time limit that really ends."""

import threading
import time
import urllib.request
from typing import Any


def fetch(url: str, seconds: float) -> bytes:
    """Return what `url` answers, or raise OSError when that takes longer than `seconds`.

    A socket's own limit starts again with every packet and does not cover looking the name up, so
    the work is done in a thread that is left behind when its time is over. Proxies named in the
    environment are used.
    """
    answer: dict[str, Any] = {}

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:
                answer["body"] = response.read()
        except Exception as error:  # carried over to the thread that asked
            answer["error"] = error

    started = time.monotonic()
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if "body" in answer:
        return answer["body"]
    if isinstance(answer.get("error"), OSError):
        raise answer["error"]
    reason = answer.get("error", f"no answer within {time.monotonic() - started:.0f} s")
    raise OSError(f"{url}: {reason}")
