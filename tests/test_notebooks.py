"""Every notebook runs from top to bottom in a process of its own, and what it asserts holds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.md"))
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
QUICK = {"likelihood_call"}  # the others compile fields, or sample a survey


@pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in QUICK else pytest.mark.slow)
        for path in NOTEBOOKS
    ],
)
def test_a_notebook_runs(notebook, tmp_path):
    cells = CELL.findall(notebook.read_text(encoding="utf-8"))
    assert cells, f"{notebook}: no code cells"
    script = tmp_path / f"{notebook.stem}.py"
    script.write_text("\n".join(cells), encoding="utf-8")
    environment = {**os.environ, "MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
