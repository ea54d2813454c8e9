"""A class in words: what to explain again on Monday, in three sentences."""

from .class_view import (
    FINISHED,
    MISSING,
    REFUSED,
    STATES,
    UNGRADED,
    UNTOUCHED,
    CheckRow,
    ClassView,
    LessonView,
)

FEW = 2  # people with the same mistake: from here on it is worth the whole class's time


def people_word(number: int) -> str:
    """Return "1 person" or "7 people"."""
    return "1 person" if number == 1 else f"{number} people"


def opening(view: LessonView) -> list[str]:
    """Return three sentences on one lesson, for whoever decides what to explain again."""
    return [how_many(view), *what_to_explain(view)]


def how_many(view: LessonView) -> str:
    """Return "Lesson 05: 41 of 60 finished; 7 have not begun, ..."."""
    counts = {state: len(view.of(state)) for state in STATES}
    rest = [
        f"{counts[MISSING] + counts[UNTOUCHED]} have not begun"
        if counts[MISSING] + counts[UNTOUCHED]
        else "",
        f"{counts[REFUSED]} could not be taken" if counts[REFUSED] else "",
        f"{counts[UNGRADED]} wait to be graded" if counts[UNGRADED] else "",
    ]
    tail = ", ".join(part for part in rest if part)
    return (
        f"Lesson {view.number}: {counts[FINISHED]} of {len(view.states)} finished"
        f"{f'; {tail}' if tail else ''}."
    )


def what_to_explain(view: LessonView) -> list[str]:
    """Return what to explain again, and the question to begin with."""
    top = next(iter(view.mistakes), None)
    hard = hardest(view)
    if top and len(top.students) >= FEW:
        what = (
            f"What to explain again: {top.step}, where {len(top.students)} of {view.judged} make "
            f"the same mistake: {as_clause(top.says)}."
        )
        return [what, f"Begin with a question: {top.ask}"]
    if hard and hard.failed >= FEW:
        what = (
            f"What to explain again: {hard.step}; its check “{as_clause(hard.gain or hard.check)}” "
            f"fails for {hard.failed} of {view.judged}, each in another way."
        )
        then = f"What most of them read is: {as_clause(hard.symptom)}." if hard.symptom else ""
        return [
            what,
            then or "Ask the room to do it by hand, on the smallest example that there is.",
        ]
    if not view.judged:
        return ["Nothing has been judged yet.", "There is nothing to explain again so far."]
    unwritten = most_unwritten(view)
    if unwritten:
        step, times = unwritten
        return [
            "No mistake is made by two people, so nothing needs the whole class's time.",
            f"Most are on their way: {step} is what {people_word(times)} have not written yet.",
        ]
    return [
        "No mistake is made by two people, so nothing needs the whole class's time.",
        "Begin with what comes next.",
    ]


def as_clause(text: str) -> str:
    """Return a sentence without its full stop, to stand in another one."""
    return text.strip().rstrip(".")


def hardest(view: LessonView) -> CheckRow | None:
    """Return the core check that most people fail, of what they have written."""
    core = [row for row in view.checks if row.kind == "core"]
    return max(core, key=lambda row: row.failed, default=None)


def most_unwritten(view: LessonView) -> tuple[str, int] | None:
    """Return the first core step that most people have not written yet, and how many."""
    counts = [
        (row.verdicts.get("not written", 0), row.step) for row in view.checks if row.kind == "core"
    ]
    most = max((times for times, _ in counts), default=0)
    step = next((step for times, step in counts if times == most), "")
    return (step, most) if most else None


def current(view: ClassView) -> LessonView:
    """Return the lesson that the class is at: the last that a third of those have begun who began one.

    A few who are ahead do not move the class; with nothing begun at all it is the first lesson.
    """
    begun = [len(lesson.states) - len(lesson.of(MISSING, UNTOUCHED)) for lesson in view.lessons]
    enough = max(begun, default=0) / 3
    at = [
        lesson
        for lesson, count in zip(view.lessons, begun, strict=True)
        if count and count >= enough
    ]
    return at[-1] if at else view.lessons[0]
