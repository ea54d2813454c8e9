"""The judge: makes the stubs from the solutions and checks what learners write in them."""

import platform
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - said before anything fails to be imported
    raise SystemExit(f"the course needs Python 3.11 or newer; this is {platform.python_version()}")
