"""The self-test of prerequisites: eight questions that tell where to begin.

Every question shows a few lines of code and asks what they print. (The tests run the code.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lessons.engine.errors import CourseError

LETTERS = "abcd"
ENOUGH = 3  # of four right answers


@dataclass(frozen=True)
class Question:
    """What does this code print?"""

    subject: str  # "lists"
    arrays: bool  # a question on arrays, not on plain Python
    code: str
    options: tuple[str, str, str, str]
    right: str  # a letter


QUESTIONS = (
    Question(
        "slices of a list",
        False,
        'words = ["the", "cat", "sat", "down"]\nprint(words[-1], words[1:3])',
        (
            "down ['the', 'cat']",
            "down ['cat', 'sat']",
            "the ['cat', 'sat']",
            "down ['cat', 'sat', 'down']",
        ),
        "b",
    ),
    Question(
        "counting with a dictionary",
        False,
        'counts = {}\nfor letter in "banana":\n'
        '    counts[letter] = counts.get(letter, 0) + 1\nprint(len(counts), counts["a"])',
        ("6 3", "3 2", "6 1", "3 3"),
        "d",
    ),
    Question(
        "comprehensions and zip",
        False,
        'text = "abcd"\nprint([x + y for x, y in zip(text, text[1:])])',
        (
            "['ab', 'bc', 'cd']",
            "['aa', 'bb', 'cc', 'dd']",
            "['ab', 'bc', 'cd', 'd']",
            "['abcd', 'bcd']",
        ),
        "a",
    ),
    Question(
        "classes and what they keep",
        False,
        "class Store:\n    def __init__(self, size):\n        self.size = size\n        self.kept = []\n\n"
        "    def put(self, item):\n        self.kept.append(item)\n"
        "        self.kept = self.kept[-self.size :]\n        return self\n\n"
        "print(Store(2).put(1).put(2).put(3).kept)",
        ("[1, 2]", "[3]", "[2, 3]", "[1, 2, 3]"),
        "c",
    ),
    Question(
        "summing along a dimension",
        True,
        "x = torch.ones(2, 3)\nprint(x.sum(dim=1).tolist())",
        ("[2.0, 2.0, 2.0]", "6.0", "[[3.0], [3.0]]", "[3.0, 3.0]"),
        "d",
    ),
    Question(
        "broadcasting",
        True,
        "x = torch.zeros(4, 1) + torch.zeros(3)\nprint(tuple(x.shape))",
        ("(4, 1)", "(4, 3)", "(3, 4)", "an error: 4 and 3 do not fit"),
        "b",
    ),
    Question(
        "products of matrices",
        True,
        "x = torch.zeros(5, 2, 3) @ torch.zeros(3, 4)\nprint(tuple(x.shape))",
        ("(5, 2, 4)", "(2, 4)", "(5, 3, 4)", "an error: three and two dimensions"),
        "a",
    ),
    Question(
        "reshaping and transposing",
        True,
        "x = torch.arange(6).reshape(2, 3)\nprint(x.T.flatten().tolist())",
        ("[0, 1, 2, 3, 4, 5]", "[0, 2, 4, 1, 3, 5]", "[0, 3, 1, 4, 2, 5]", "[5, 4, 3, 2, 1, 0]"),
        "c",
    ),
)


def ask(number: int) -> str:
    """Return question `number`, counted from 1, as it is shown."""
    question = QUESTIONS[number - 1]
    code = "\n".join(f"    {line}".rstrip() for line in question.code.splitlines())
    options = "\n".join(
        f"  {letter}) {option}" for letter, option in zip(LETTERS, question.options, strict=True)
    )
    return f"{number}. What does this print?\n\n{code}\n\n{options}\n"


def read_answers(text: str) -> str:
    """Return answers as eight letters. Raises CourseError."""
    answers = text.lower().replace(" ", "").replace(",", "")
    if len(answers) != len(QUESTIONS) or set(answers) - set(LETTERS):
        raise CourseError(
            f"--answers takes {len(QUESTIONS)} letters from a to d, one per question, such as "
            f"{'abcd' * 2}"
        )
    return answers


def judge(answers: Sequence[str]) -> list[str]:
    """Return what the answers say: the slips, the score, and where to begin."""
    pairs = list(zip(QUESTIONS, answers, strict=True))
    lines = [
        f"question {number} ({question.subject}): you said {answer}, it is {question.right}"
        for number, (question, answer) in enumerate(pairs, start=1)
        if answer != question.right
    ]
    python = sum(q.right == answer for q, answer in pairs if not q.arrays)
    arrays = sum(q.right == answer for q, answer in pairs if q.arrays)
    lines.append(f"plain Python {python} of 4, arrays {arrays} of 4")
    if python < ENOUGH:
        lines.append(
            "Brush up on Python first: chapters 3, 4, 5 and 9 of https://docs.python.org/3/tutorial. "
            "Then begin at lesson 00: lessons/00/README.md"
        )
    elif arrays < ENOUGH:
        lines.append("Begin at lesson 00, which teaches arrays by doing: lessons/00/README.md")
    else:
        lines.append(
            "You can begin at lesson 01: lessons/01/README.md (Lesson 00 is short, and its softmax "
            "and cross-entropy come back everywhere.)"
        )
    return lines
