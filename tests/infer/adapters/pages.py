"""The pages of docs/adapters: their code, run as a reader would run it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs" / "adapters"


def run(name: str) -> dict:
    """All Python blocks of a page, in order, in one namespace, which is returned."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert code, f"{name}.md has no Python block"
    namespace = {"__name__": "page"}
    exec(compile(code, f"{name}.md", "exec"), namespace)
    return namespace


def files(name: str) -> dict[str, str]:
    """File name -> content of the blocks that a page introduces by a line that begins with `file name`."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    found = re.findall(r"^`([\w.]+\.\w+)`.*?\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return dict(found)
