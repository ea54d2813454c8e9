"""Documents from the Hugging Face hub, through `datasets`: streamed, retried, resumed."""

import logging
import os
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import CourseError
from .network import fetch

log = logging.getLogger(__name__)

REACH_SECONDS = 10.0  # for asking whether the hub is there at all
WAITS = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds before each new attempt after an interruption


def hub_documents(
    name: str, config: str | None, split: str, start: int = 0, count: int | None = None
) -> Iterator[str]:
    """Yield the documents of a dataset,
    number `start` to `count` - 1 (None: to the end),
    each without the white space around it.

    After an interruption the stream is opened again where it broke off; after five in a row
    without a single document it ends with a CourseError. Without a network a copy in the cache of
    `datasets` is used, if there is one; otherwise a CourseError says so within 20 s.
    """
    position, failures = start, 0
    stream: Iterator[str] | None = None
    while count is None or position < count:
        try:
            if stream is None:
                stream = _open(name, config, split, position)
            document = next(stream)
        except StopIteration:
            return
        except CourseError:
            raise
        except Exception as error:  # hub, network and parquet libraries each have their own
            if failures == len(WAITS):
                raise CourseError(
                    f"{name} broke off at document {position} ({_first_line(error)}); run the same "
                    "command again to go on there"
                ) from None
            time.sleep(WAITS[failures])
            failures += 1
            stream = None
            continue
        failures = 0
        position += 1
        yield document.strip()


def _open(name: str, config: str | None, split: str, position: int) -> Iterator[str]:
    from datasets import load_dataset

    if hub_is_reachable():
        dataset: Any = load_dataset(name, config, split=split, streaming=True)
        rows: Iterator[dict] = iter(dataset.skip(position) if position else dataset)
    else:
        try:
            with _only_cached():
                dataset = load_dataset(name, config, split=split)
        except Exception:  # the library has many ways to say "not cached"
            raise CourseError(
                f"{name} is not in the local cache and the hub cannot be reached; go on with "
                "--data ministories (needs no network), or with a file or folder of your own"
            ) from None
        rows = (dataset[i] for i in range(position, len(dataset)))
    return (row["text"] for row in rows)


def hub_is_reachable() -> bool:
    """Whether the hub answers within ten seconds. (Its own libraries try for half a minute.)"""
    offline = {os.environ.get(v, "") for v in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    if offline & {"1", "true", "yes", "on", "TRUE", "YES", "ON", "True"}:
        return False
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        fetch(endpoint + "/robots.txt", REACH_SECONDS)
    except urllib.error.HTTPError:  # it answers, if only to refuse this page
        return True
    except OSError:
        return False
    return True


@contextmanager
def _only_cached() -> Iterator[None]:
    """Let `datasets` look into its cache only. The switch is read from these two places."""
    import datasets.config
    import huggingface_hub.constants

    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE = before


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
