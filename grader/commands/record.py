"""Record the answers of the reference and of all known mistakes, for the public seed.

Writes `grader/answers/NN.safetensors`. Run it after every change of a check, a solution or the bank.
"""

import argparse

STALE = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("lessons", nargs="*", metavar="NN", help="lessons; by default all")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if a record is not fresh"
    )


def run(options: argparse.Namespace) -> int:
    """Record, or compare."""
    from grader.audit.recording import is_fresh, record_lesson
    from grader.judge.answers import read_answers, write_answers
    from grader.syllabus import find_lesson, read_syllabus

    every = [lesson for lesson in read_syllabus() if lesson.points]
    chosen = [find_lesson(number) for number in options.lessons] or every
    status = 0
    for lesson in chosen:
        answers, remarks = record_lesson(lesson)
        for remark in remarks:
            print(f"lesson {lesson.number}: {remark}")
        name = f"grader/answers/{lesson.number}.safetensors"
        if not options.check:
            write_answers(lesson.number, answers)
            print(f"{name}: {len(answers.wrong)} mistakes recorded")
        elif is_fresh(read_answers(lesson.number), answers):
            print(f"{name}: fresh")
        else:
            print(
                f"{name}: not what the solutions and the bank give now; `python -m grader record`"
            )
            status = STALE
    return status
