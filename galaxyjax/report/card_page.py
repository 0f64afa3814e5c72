"""The card as a page for a browser, with the figures of the validation; it stands alone, without a script."""

from __future__ import annotations

import base64
import html
from pathlib import Path

from markdown_it import MarkdownIt

from galaxyjax.core.files import atomic_path
from galaxyjax.emulator.contract import Contract
from galaxyjax.report.card import card
from galaxyjax.report.frame import frame


def write_card_page(path: str | Path, folder: str | Path, contract: Contract) -> Path:
    """Write the page of an emulator's folder, whole or not at all, and return its path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_text(card_page(folder, contract), encoding="utf-8")
    return path


def card_page(folder: str | Path, contract: Contract) -> str:
    """The page as HTML: the card, then every figure in `folder`/validation. All text is escaped."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    figures = sorted((Path(folder) / "validation").glob("*.png"))
    body = markdown.render(card(contract)) + ("<h2>Validation</h2>\n" if figures else "")
    for figure in figures:
        data = base64.b64encode(figure.read_bytes()).decode("ascii")
        name = html.escape(figure.stem.replace("_", " "))
        body += f'<figure>\n<img src="data:image/png;base64,{data}" alt="{name}">\n'
        body += f"<figcaption>{name}</figcaption>\n</figure>\n"
    return frame(f"{contract.name} {contract.version}", body)
