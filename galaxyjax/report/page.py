"""One HTML page that stands alone: figures embedded, no script, no network."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from galaxyjax.core.files import atomic_path
from galaxyjax.report.frame import frame
from galaxyjax.report.style import data_uri


@dataclass(frozen=True)
class Cell:
    """One number of a table, with a verdict: "good" or "bad" colours it and adds a mark, "" does not."""

    text: str
    verdict: str = ""


@dataclass(frozen=True)
class Table:
    """A table; its first column holds words. Cells are text or `Cell`."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str | Cell, ...], ...]


@dataclass(frozen=True)
class Section:
    """A heading with text, tables and captioned figures below it, in this order."""

    title: str
    text: str = ""
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[str, Figure], ...] = field(default=())


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The page as HTML. Text is escaped; nothing on it is loaded from elsewhere."""
    body = "\n".join(_section(section) for section in sections)
    heading = f'<h1>{html.escape(title)}</h1>\n<p class="lead">{html.escape(lead)}</p>'
    return frame(title, f"{heading}\n{body}")


def write_page(path: str | Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write the page, whole or not at all, and return its path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(page(title, lead, sections), encoding="utf-8")
    return path


def _section(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(paragraph)}</p>" for paragraph in section.text.split("\n\n") if paragraph]
    parts += [_table(entry) for entry in section.tables]
    parts += [_figure(caption, figure) for caption, figure in section.figures]
    return "\n".join(parts)


def _table(entry: Table) -> str:
    head = "".join(f"<th>{html.escape(header)}</th>" for header in entry.headers)
    rows = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in entry.rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{rows}\n</table></div>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{html.escape(cell)}</td>"
    # The mark says it again for readers who do not see the colour.
    mark = {"good": " \N{CHECK MARK}", "bad": " \N{MULTIPLICATION X}"}.get(cell.verdict, "")
    return f'<td class="{html.escape(cell.verdict)}">{html.escape(cell.text)}{mark}</td>'


def _figure(caption: str, figure: Figure) -> str:
    text = html.escape(caption)
    image = f'<img src="{data_uri(figure)}" alt="{text}">'
    return f"<figure>\n{image}\n<figcaption>{text}</figcaption>\n</figure>"
