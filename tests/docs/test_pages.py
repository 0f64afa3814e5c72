"""The manual says what is true: links lead somewhere, commands exist, and code runs as printed."""

import re
import shlex
from pathlib import Path

import pytest

from galaxyjax.cli.app import parse

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MADE = {"api", "emulators", "notebooks", "_build", "_gathered_html"}
PAGES = sorted(p for p in DOCS.rglob("*.md") if not MADE & set(p.relative_to(DOCS).parts[:1]))
PAGES = [page for page in PAGES if page.name not in ("cli.md", "measured.md")]
TEXTS = [*PAGES, *sorted((ROOT / "notebooks").glob("*.md")), *sorted(ROOT.glob("*.md"))]
# Pages that the documentation makes when it is built, by what they are made from.
MADE_FROM = {
    "cli.md": "galaxyjax/cli/app.py",
    "measured.md": "docs/_ext/measured.py",
    "emulators/index.md": "docs/_ext/gathered.py",
}
# Minutes of compiling fields; the others run together in seconds.
SLOW = {"start.md", "jobs/differentiate.md", "jobs/maps.md"}


def name(path: Path) -> str:
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT).as_posix()


def blocks(path: Path, language: str) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_every_link_leads_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):
            continue
        file = target.partition("#")[0]
        if not file:
            continue
        # Notebooks are copied below docs/, so they link from there.
        here = DOCS / "notebooks" if path.parent.name == "notebooks" else path.parent
        found = (here / file).resolve()
        if found.is_relative_to(DOCS):
            page = found.relative_to(DOCS).as_posix()
            if page in MADE_FROM:
                found = ROOT / MADE_FROM[page]
            elif page.startswith("notebooks/"):
                found = ROOT / page
            elif page.startswith("emulators/"):
                found = ROOT / "emulators" / found.stem / "card.md"
            elif page.startswith("api/"):
                found = ROOT / found.stem.replace(".", "/")
                found = found if found.is_dir() else found.with_suffix(".py")
        assert found.exists(), f"{path}: {target}"


def commands(path: Path) -> list[list[str]]:
    """The words of every line `galaxyjax ...` in a page's blocks of shell."""
    found = []
    for block in blocks(path, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;", line):
                if re.match(r"\s*(\S*/)?galaxyjax ", part):
                    found.append(shlex.split(part, comments=True)[1:])
    return found


@pytest.mark.parametrize("path", [page for page in TEXTS if commands(page)], ids=name)
def test_every_command_is_one_that_exists(path, capsys):
    for words in commands(path):
        if "--help" in words:
            continue
        verb = parse(words)  # raises on an unknown verb, option or value
        assert verb is not None, words


def run(path: Path) -> dict:
    """All Python of a page, in order, in one namespace."""
    code = "\n".join(blocks(path, "python"))
    namespace = {"__name__": "page"}
    exec(compile(code, str(path), "exec"), namespace)
    return namespace


CODE = [page for page in PAGES if blocks(page, "python") and page.parent.name != "adapters"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Pages may write; and one of them makes a family known."""
    from galaxyjax.emulator import store

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store, "FAMILIES", dict(store.FAMILIES))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("path", [page for page in CODE if name(page) not in SLOW], ids=name)
def test_the_code_of_a_page_runs_as_printed(path):
    run(path)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("page", sorted(SLOW))
def test_the_code_of_a_page_of_fields_runs_as_printed(page):
    run(DOCS / page)
