"""Weighs and times the pages of the built site in a headless Chromium.

    python -m grader.tests.weigh [build/site]     writes grader/pages/weights.json

A page is served by this machine. *At once* is what is loaded before anybody scrolls; *in all* what it
comes to when every widget has begun (a model that waits for a click is not among it). Interactive:
when the page is loaded and the last task of more than 50 ms is over, the median of three times; once
as it is, once with the processor at a quarter of its speed.
"""

import datetime as dt
import functools
import http.server
import json
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grader.pages.weights import FILE
from grader.tests.browser import PHONE, browser
from grader.tests.conftest import ROOT
from lessons.engine.files import write_atomically

TIMES, SHOWN = 3, 8
SLOW = 4
OBSERVE = """
  window.ends = [];
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.ends.push(task.startTime + task.duration);
  }).observe({type: "longtask", buffered: true});
"""
LOADED = """
  const [page] = performance.getEntriesByType("navigation");
  const files = [page, ...performance.getEntriesByType("resource")];
  return {
    files: files.length,
    bytes: files.reduce((sum, file) => sum + file.encodedBodySize, 0),
    interactive: Math.max(page.loadEventEnd, ...window.ends),
  };
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Yield the address of the site on a server of this machine."""
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def load(driver: Any, address: str, slower: int) -> dict[str, float]:
    """Open a page with an empty cache; returns its files, bytes and milliseconds."""
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": slower})
    driver.get(address)
    time.sleep(1.0 + slower / 2)  # what begins late counts too
    return driver.execute_script(LOADED)


def whole(driver: Any) -> dict[str, float]:
    """Let every widget of the open page begin; returns files and bytes then."""
    driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": 1})
    count = driver.execute_script("return document.querySelectorAll('.widget').length")
    for number in range(count):
        driver.execute_script(
            "document.querySelectorAll('.widget')[arguments[0]].scrollIntoView()", number
        )
        time.sleep(0.7)
    for image in range(driver.execute_script("return document.images.length")):
        driver.execute_script("document.images[arguments[0]].scrollIntoView()", image)
    time.sleep(0.5)
    return driver.execute_script(LOADED)


def weigh(site: Path) -> dict[str, Any]:
    """Return the heaviest pages with their weights and times."""
    rows = []
    with served(site) as home, browser(PHONE) as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": OBSERVE})
        version = driver.capabilities["browserVersion"].partition(".")[0]
        for file in sorted(site.rglob("*.html")):
            page = file.relative_to(site).as_posix()
            if page == "404.html":
                continue
            first = load(driver, home + page, 1)
            rows.append({"page": page, "first": first["bytes"], **_rest(whole(driver))})
        rows = sorted(rows, key=lambda row: -row["whole"])[:SHOWN]
        for row in rows:
            for name, slower in (("interactive", 1), ("slow", SLOW)):
                found = [load(driver, home + row["page"], slower) for _ in range(TIMES)]
                row[name] = round(statistics.median(one["interactive"] for one in found))
    return {
        "day": dt.datetime.now(dt.UTC).date().isoformat(),
        "browser": f"Chromium {version}, headless, 390 x 844",
        "slower": SLOW,
        "pages": rows,
    }


def _rest(found: dict[str, float]) -> dict[str, float]:
    return {"files": found["files"], "whole": found["bytes"]}


def main(arguments: list[str]) -> int:
    """Weigh, write, say."""
    site = Path(arguments[0]) if arguments else ROOT / "build" / "site"
    if not (site / "index.html").is_file():
        print(f"no site in {site}; `make site` builds it")
        return 2
    found = weigh(site)
    with write_atomically(FILE) as file:
        json.dump(found, file, indent=1)
        file.write("\n")
    for row in found["pages"]:
        print(row)
    print("`python -m grader pages` puts them on the page")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
