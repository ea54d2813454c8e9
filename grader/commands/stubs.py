"""Write the learner's stubs from the solutions, where there is no work of the learner's yet.

A stub that is still as it was written is brought up to date; anything else is left alone. All stubs
also go into `grader/answers/stubs.json`, from which `reset` takes them where solutions are withheld.
"""

import argparse

from grader import stub_store
from grader.stubs import ROOT, State, leftover_stubs, make_stubs, state_of
from lessons.engine.files import write_atomically

DRIFTED = 1
COMPLAINTS = {
    State.MISSING: "missing",
    State.OLD: "a stub of an earlier solution",
    State.CHANGED: "not the generated stub (is it somebody's work, or was it edited by hand?)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; exit with 1 and name the stubs that are not those of the solutions",
    )


def run(options: argparse.Namespace) -> int:
    """Write the stubs, or compare them."""
    return check() if options.check else write()


def check() -> int:
    """Name every file that is not the stub of its solution."""
    stubs = make_stubs(ROOT)
    states = {path: state_of(path, stub) for path, stub in stubs.items()}
    complaints = {path: COMPLAINTS[s] for path, s in states.items() if s is not State.CURRENT}
    for path in leftover_stubs(ROOT, stubs):
        complaints[path] = "the stub of no lesson; delete it"
    if not stub_store.is_stored(stubs):
        complaints[stub_store.FILE] = "not the stubs of these solutions"
    for path, complaint in complaints.items():
        print(f"{path.relative_to(ROOT).as_posix()}: {complaint}")
    if complaints:
        print("`python -m grader stubs` writes what is missing or old")
        return DRIFTED
    print(f"{len(stubs)} stubs, all as the solutions make them")
    return 0


def write() -> int:
    """Write what is missing or old, and say what was left alone."""
    stubs = make_stubs(ROOT)  # all of them first: a solution that cannot be cut writes nothing
    written = 0
    for path, stub in stubs.items():
        state = state_of(path, stub)
        name = path.relative_to(ROOT).as_posix()
        if state is State.CHANGED:
            print(f"{name}: kept, it is not the stub any more")
        elif state is not State.CURRENT:
            with write_atomically(path) as file:
                file.write(stub)
            print(f"{name}: written")
            written += 1
    if not stub_store.is_stored(stubs):
        stub_store.store(stubs)
        print(f"{stub_store.FILE.relative_to(ROOT).as_posix()}: written")
    print(f"{len(stubs)} stubs, {written} written")
    return 0
