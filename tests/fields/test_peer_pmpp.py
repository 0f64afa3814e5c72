"""The same particles evolved by PM++ (pmpp), an independent particle mesh: start, steps and spectra agree."""

import importlib.util
from pathlib import Path

import pytest

# Importing pmpp switches float64 on for the whole process, so it is only looked for here.
if importlib.util.find_spec("pmpp") is None:
    pytest.skip("needs PM++: pip install pmpp", allow_module_level=True)

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "particle_mesh.py"


def test_particles_end_where_pmpps_do():
    """2LPT but for radiation, which PM++ leaves out; displacements and spectra to the error of steps."""
    spec = importlib.util.spec_from_file_location("particle_mesh", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    found = benchmark.agreement(16, steps=20, refine=1, spacing=6.0)
    assert found["start: displacement"] < 5e-3 and found["start: dx/dD"] < 5e-3
    assert found["today: displacement"] < 1e-2 and found["today: dx/dD"] < 4e-2
    for label, value in found.items():
        if label.startswith("P/P"):
            assert abs(value) < 0.02, label
        if label.startswith("1 - r"):
            assert abs(value) < 0.005, label
