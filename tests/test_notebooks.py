"""Every notebook runs from top to bottom, and what it asserts holds."""

import re
from pathlib import Path

import jax
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.md"))
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def precision():
    """Notebooks may switch float64 on, for their process."""
    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, precision):
    cells = CELL.findall(notebook.read_text(encoding="utf-8"))
    assert cells, f"{notebook}: no code cells"
    names: dict = {"__name__": "notebook"}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"{notebook.name}, cell {number}", "exec"), names)
