"""nbgrader's feedback as a page of ours: one file, nothing asked of the network, no sample answers."""

import re
from collections.abc import Iterator
from typing import Any

import bleach
from markupsafe import Markup
from nbconvert.exporters import Exporter
from nbconvert.filters import markdown2html, strip_ansi
from nbformat import NotebookNode

from ..reports.pages import environment
from .cells import grade_id, inert, is_answer

TAGS = {
    *("p", "br", "hr", "strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td", "a", "div"),
}
ANCHOR = re.compile(r'<a class="anchor-link"[^>]*>.*?</a>', re.DOTALL)  # nbconvert's own


class Feedback(Exporter):
    """Makes nbgrader's feedback, in the place of its HTML exporter."""

    def _file_extension_default(self) -> str:
        return ".html"

    def from_notebook_node(
        self, nb: NotebookNode, resources: Any = None, **kw: Any
    ) -> tuple[str, Any]:
        """Return the page. The preprocessors have put scores and comments into the cells."""
        nb, resources = super().from_notebook_node(nb, resources, **kw)
        about = resources["nbgrader"]
        page = environment().get_template("feedback.html.j2")
        html = page.render(
            title=f"{about['assignment']}: {about['notebook']}",
            student=about["student"],
            score=shown(about["score"]),
            of=shown(about["max_score"]),
            late=shown(about["late_penalty"]) if about["late_penalty"] else "",
            cells=list(cells_of(nb)),
        )
        return html, resources


def cells_of(notebook: NotebookNode) -> Iterator[dict[str, Any]]:
    """Yield what the page shows of each cell."""
    for cell in notebook.cells:
        about = cell.metadata.get("nbgrader") or {}
        graded = bool(about.get("grade"))
        shows: dict[str, Any] = dict.fromkeys(("name", "html", "text", "head", "comment"), "")
        shows |= {"kind": "text", "name": grade_id(cell) or ""}
        if cell.cell_type == "markdown":
            shows["html"] = html_of(cell.source)
            shows["kind"] = "answer" if is_answer(cell) else "text"
        elif cell.cell_type == "code":
            shows["kind"] = "check" if graded else "code"
            shows["head"] = cell.source.partition("\n")[0].lstrip("# ") if graded else ""
            shows["text"] = printed(cell)
            if not graded and not shows["text"]:
                continue  # helpers: nobody learns from them
        else:
            continue
        if graded:
            shows["score"], shows["of"] = shown(about.get("score")), shown(about.get("points"))
            shows["whole"] = about.get("score") == about.get("points")
        if about.get("comment"):
            shows["comment"] = html_of(inert(about["comment"]))
        yield shows


def printed(cell: NotebookNode) -> str:
    """Return what a cell printed, as plain text; a check's points are shown elsewhere."""
    texts = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            texts.append(output.text)
        elif output.output_type == "error":
            texts.append("\n".join(output.traceback))
    return strip_ansi("".join(texts)).strip()


def html_of(markdown: str) -> Markup:
    """Return Markdown as HTML that can do nothing but look like something."""
    html = ANCHOR.sub("", markdown2html(markdown))
    html = bleach.clean(html, tags=TAGS, attributes={"a": ["href"]}, protocols={"https", "http"})
    return Markup(re.sub(r"<(/?)h[1-3]>", r"<\1h3>", html))


def shown(points: Any) -> str:
    """Return points as one writes them."""
    return "-" if points is None else f"{float(points):.2f}".rstrip("0").rstrip(".")
