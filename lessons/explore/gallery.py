"""From figures to files: PNG, figures.json, tables in the terminal, and one HTML page."""

import base64
import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..engine.errors import CourseError
from ..engine.files import write_atomically, write_json
from .library import Library, NotWrittenError, first_step
from .options import Wishes


@dataclass
class Table:
    """Numbers beside a figure. right: the columns that hold numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    right: Sequence[int] = ()

    def cells(self) -> list[list[str]]:
        """What stands in each row, as text."""
        return [[str(cell) for cell in row] for row in self.rows]


@dataclass
class Drawn:
    """What a figure's function gives: the picture, its text for those who do not see it, numbers."""

    picture: Any  # matplotlib's Figure
    alt: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """One figure of a lesson. look: what to look for. uses: the modules whose code it shows."""

    name: str
    title: str
    look: str
    draw: Callable[["View"], Drawn]
    uses: tuple[str, ...]


@dataclass
class Shown:
    """A figure as it came out; missing: why it did not."""

    lesson: str
    name: str
    title: str
    look: str
    alt: str = ""
    code: str = ""
    model: str = ""
    file: str = ""
    width: int = 0
    height: int = 0
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    missing: str = ""
    png: bytes = b""


class View:
    """What the functions of the figures are given: the wishes, the model, whose code there is."""

    def __init__(self, wishes: Wishes, library: Library) -> None:
        self.wishes, self.library = wishes, library
        self.looked = False  # whether the figure at hand has asked for the model
        self._kept: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Compute something that several figures show, once."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    @property
    def subject(self) -> Any:
        """The model that is looked at."""
        from .subject import choose_subject

        self.looked = True
        wanted, download = self.wishes.model, self.wishes.download
        return self.once("subject", lambda: choose_subject(self.library, wanted, download))


def lesson_module(number: str) -> Any:
    """The module with a lesson's figures."""
    return importlib.import_module(f"{__package__}.lesson_{number}")


def show(view: View, number: str, figure: Figure) -> Shown:
    """Draw one figure. What is not written yet, or refused, becomes a sentence instead."""
    shown = Shown(number, figure.name, figure.title, figure.look)
    shown.code = view.library.whose(figure.uses)
    view.looked = False
    try:
        from .drawing import DPI, in_style

        with in_style():
            drawn = figure.draw(view)
            title = f"lesson {number}: {figure.title}"
            shown.png = png_of(drawn, title, DPI)
    except NotWrittenError as error:
        shown.missing = f"write {error} first"
    except NotImplementedError as error:
        shown.missing = f"write {first_step(error)} first"
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(__name__.partition(".")[0]):
            raise
        shown.missing = f"this course does not hold {error.name}, which the figure needs"
    except CourseError as error:
        shown.missing = str(error)
    except Exception as error:
        sentence = view.library.explain(error, figure.uses)
        if sentence is None:
            raise
        shown.missing = sentence
    else:
        shown.alt, shown.notes, shown.tables = drawn.alt, drawn.notes, drawn.tables
        shown.file = f"{figure.name}.png"
        shown.width, shown.height = size_of(shown.png)
        shown.model = view.subject.name if view.looked else ""
    return shown


def png_of(drawn: Drawn, title: str, dpi: int) -> bytes:
    """The picture as PNG; the alternative text stands in its metadata."""
    import io

    buffer = io.BytesIO()
    about = {"Title": title, "Description": drawn.alt, "Software": None}
    drawn.picture.savefig(buffer, format="png", dpi=dpi, metadata=about)
    return buffer.getvalue()


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, as the head of the file says."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def write_lesson(folder: Path, shown: Sequence[Shown]) -> None:
    """Write a lesson's PNG files and `figures.json` to its folder."""
    listed = {}
    for each in shown:
        if each.missing:
            (folder / f"{each.name}.png").unlink(missing_ok=True)  # an older one would be believed
            listed[each.name] = {"title": each.title, "missing": each.missing}
            continue
        with write_atomically(folder / each.file, "wb") as file:
            file.write(each.png)
        parts = ("file", "title", "alt", "look", "code", "model", "width", "height", "notes")
        listed[each.name] = {part: getattr(each, part) for part in parts} | {
            "tables": [asdict(table) | {"rows": table.cells()} for table in each.tables]
        }
    write_json(folder / "figures.json", listed)


def write_page(path: Path, title: str, lead: Sequence[str], lessons: dict[str, Any]) -> None:
    """Write the page: everything in one file, which asks nobody for anything.

    lessons: number -> (title of the lesson, its figures).
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["data"] = lambda png: base64.b64encode(png).decode()
    page = environment.get_template("page.html.j2").render(title=title, lead=lead, lessons=lessons)
    with write_atomically(path) as file:
        file.write(page)


def print_lesson(console: Any, number: str, title: str, shown: Sequence[Shown]) -> None:
    """Print a lesson's tables, and what is missing."""
    console.rule(f"lesson {number}: {title}", characters="─", style="bold")
    for each in shown:
        console.print(f"\n[bold]{each.name}[/]  ", end="")
        console.print(each.title, markup=False, highlight=False)
        if each.missing:
            console.print(f"  not drawn: {each.missing}", markup=False, style="yellow")
            continue
        if each.code:
            console.print(f"  code: {each.code}", markup=False, highlight=False, style="dim")
        for note in each.notes:
            console.print(f"  {note}", markup=False, highlight=False)
        for table in each.tables:
            print_table(console, table)


def print_table(console: Any, table: Table) -> None:
    """Print one table."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    rich_table = RichTable(title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(table.columns):
        right = number in table.right
        words = [*column.split(), *(row[number] for row in table.cells())]
        widest = max(map(len, words), default=1)
        rich_table.add_column(
            Text(column),
            justify="right" if right else "left",
            min_width=widest if right else None,  # numbers stay whole, headings may wrap
            overflow="fold",
        )
    for row in table.cells():
        rich_table.add_row(*(Text(cell) for cell in row))
    console.print(rich_table)
