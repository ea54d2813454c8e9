"""Judge the judge: the whole bank and machine mutants through every check, in one table."""

import argparse

RED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lessons; by default all")
    parser.add_argument(
        "--full", action="store_true", help="twenty seeds and all mutants (nightly; long)"
    )
    parser.add_argument("--workers", type=int, help="processes side by side (default: one a core)")
    parser.add_argument("--verbose", action="store_true", help="list explained mutants too")
    parser.add_argument(
        "--save", action="store_true", help="keep the numbers for the site (grader/audit/last.json)"
    )


def run(options: argparse.Namespace) -> int:
    """Audit the lessons that have checks, print one table and every fault."""
    import torch

    torch.set_num_threads(1)  # before any work: a fork after two-thread work hangs
    from grader.audit.measures import FULL, QUICK, audit_lesson
    from grader.audit.record import keep
    from grader.audit.table import print_table
    from grader.judge.answers import PUBLIC_SEED
    from grader.syllabus import find_lesson, read_syllabus

    every = [lesson for lesson in read_syllabus() if lesson.points]
    chosen = [find_lesson(number) for number in options.lessons] or every
    effort = FULL if options.full else QUICK
    seeds = [PUBLIC_SEED, *range(1001, 1001 + max(effort.right_seeds, effort.wrong_seeds))]
    measured = []
    for lesson in chosen:
        measured.append(audit_lesson(lesson, effort, seeds, options.workers))
        print(f"lesson {lesson.number} audited in {measured[-1].seconds:.0f} s", flush=True)
        if options.save:
            keep(measured[-1:], effort)
    print_table(measured)
    faults = [f"lesson {m.lesson}: {fault}" for m in measured for fault in m.faults()]
    for fault in faults:
        print(fault)
    for one in measured:
        for name in one.unnamed:
            print(f"lesson {one.lesson}: not named: {name}")
        for survivor in one.survivors if options.verbose else []:
            print(f"lesson {one.lesson}: mutant explained: {survivor}")
    return RED if faults else 0
