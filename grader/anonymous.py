"""Takes out of a text what tells who wrote it, and where: names, home paths, the machine."""

import builtins
import contextlib
import getpass
import keyword
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .judge.paths import ROOT

SHORTEST = 3  # letters of a name; a shorter one stands in every other word


def anonymous(text: str, ordinary: str = "") -> str:
    """Return the text without names and private paths.

    ordinary: a text whose words stay, whoever bears them as a name: what the course itself has
    written. Somebody called max must get their `x.max()` back as it was.
    """
    for path, instead in places():
        text = re.sub(re.escape(path), instead, text, flags=re.IGNORECASE)
    known = {*re.findall(r"[^\W_]+", ordinary.lower()), *dir(builtins), *keyword.kwlist}
    for name, instead in names():
        if len(name) >= SHORTEST and name.lower() not in known:
            whole = rf"(?<![^\W_]){re.escape(name)}(?![^\W_])"
            text = re.sub(whole, instead, text, flags=re.IGNORECASE)
    return text


def places() -> Iterator[tuple[str, str]]:
    """Yield private paths in every way of writing them, the longest first."""
    homes = {os.path.expanduser("~"), os.environ.get("HOME"), os.environ.get("USERPROFILE")}
    pairs = [(str(ROOT), "<course>"), *((home, "~") for home in homes if home)]
    spelt = {
        spelling: instead
        for path, instead in pairs
        for spelling in {path, os.path.realpath(path)}
        if len(Path(spelling).parts) > 1
    }
    for path in sorted(spelt, key=len, reverse=True):
        for spelling in {path.replace("\\", "\\\\"), path, path.replace("\\", "/")}:
            yield spelling, spelt[path]


def names() -> Iterator[tuple[str, str]]:
    """Yield what the user and the machine are called, the longest first."""
    users = {os.environ.get(key, "") for key in ("USER", "LOGNAME", "USERNAME")}
    with contextlib.suppress(OSError, KeyError, ImportError):  # accounts without a name, Windows
        users.add(getpass.getuser())
    users.add(os.path.basename(os.path.expanduser("~")))
    host = socket.gethostname()
    found = dict.fromkeys(users, "<user>")
    for person in people():
        found |= dict.fromkeys([person, *person.split()], "<name>")
    found |= {host: "<machine>", host.partition(".")[0]: "<machine>"}
    found.pop("localhost", None)
    yield from sorted(found.items(), key=lambda pair: len(pair[0]), reverse=True)


def people() -> Iterator[str]:
    """Yield the person's full name and address, as far as the system and git know them."""
    try:
        import pwd

        yield pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0]
    except (ImportError, KeyError):  # Windows; an account without an entry
        pass
    for key in ("user.name", "user.email"):
        try:
            asked = ["git", "config", "--get", key]
            done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=5)
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
            return
        yield done.stdout.strip()
