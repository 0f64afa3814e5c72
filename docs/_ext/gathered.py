"""The pages that nobody writes: reference, command line, cards, measured numbers, and the notebooks' copies.

Everything is read as text (Python by `ast`), so no module of the package, and no extra, is imported.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import measured
import reference
import verbs


def write(root: Path, docs: Path) -> None:
    """Write all made pages below `docs`; a page that has not changed is not touched."""
    pages = {
        **reference.pages(root),
        "cli.md": verbs.page(root),
        "measured.md": measured.page(root),
        **_cards(root),
        **{f"notebooks/{path.name}": path.read_text("utf-8") for path in _notebooks(root)},
    }
    keep = set()
    for name, text in pages.items():
        path = docs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
        keep.add(path)
    for folder in ("api", "emulators", "notebooks"):  # what is no longer made
        for path in (docs / folder).glob("*"):
            if path not in keep and path.suffix in (".rst", ".md", ".ipynb"):
                path.unlink()
    _validation(root, docs / "_gathered_html")


def _notebooks(root: Path) -> list[Path]:
    return [*sorted((root / "notebooks").glob("*.md")), *sorted((root / "notebooks").glob("*.ipynb"))]


def shelf(root: Path) -> list[Path]:
    """Folders of the emulators that have a contract."""
    return sorted(path.parent for path in (root / "emulators").glob("*/contract.json"))


def _cards(root: Path) -> dict[str, str]:
    """Each card as a page, with the way to its validation page."""
    pages, lines = {}, []
    for folder in shelf(root):
        if not (folder / "card.md").is_file():
            continue
        text = (folder / "card.md").read_text("utf-8")
        if (folder / "validation" / "index.html").is_file():
            where = f"../validation/{folder.name}.html"
            link = f'<p><a class="reference external" href="{where}">Validation: figures and numbers</a></p>'
            title, rest = text.split("\n", 1)
            text = f"{title}\n\n```{{raw}} html\n{link}\n```\n{rest}"
        pages[f"emulators/{folder.name}.md"] = text
        about = json.loads((folder / "contract.json").read_text("utf-8"))
        lines.append(f"- [{folder.name}]({folder.name}.md) {about['version']}: {about['description']}")
    tree = "\n".join(name.removeprefix("emulators/").removesuffix(".md") for name in pages)
    pages["emulators/index.md"] = (
        "# The cards\n\nWhat each emulator on the shelf takes, gives, was taught and got wrong, made from "
        "its contract; the same text as `galaxyjax card NAME`.\n\n" + "\n".join(lines) + "\n\n"
        f"```{{toctree}}\n:hidden:\n\n{tree}\n```\n"
    )
    return pages


def _validation(root: Path, out: Path) -> None:
    """Validation pages stand alone; they are copied as they are."""
    (out / "validation").mkdir(parents=True, exist_ok=True)
    made = {}
    for folder in shelf(root):
        page = folder / "validation" / "index.html"
        if page.is_file():
            made[out / "validation" / f"{folder.name}.html"] = page
    for old in (out / "validation").glob("*.html"):
        if old not in made:
            old.unlink()
    for target, page in made.items():
        if not target.exists() or target.read_bytes() != page.read_bytes():
            shutil.copyfile(page, target)


def section(text: str, title: str) -> str:
    """What stands under a second-level heading of Markdown, without the heading; "" when there is none."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else ""
