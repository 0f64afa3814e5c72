"""The README's lines, CI and the package's metadata say the same thing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
LINES = [line for line in README.splitlines() if "git clone" in line]


def test_ci_runs_the_readme_s_test_line():
    quickstart, tests = LINES
    assert quickstart.endswith("galaxyjax quickstart")
    extras, command = re.search(r'install -q -e "(\S+)" && \.venv/bin/(python -m pytest.*)$', tests).groups()
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    assert f'python -m pip install --quiet -e "{extras}"' in ci
    assert ci[-1] == command


def test_every_extra_that_is_named_exists():
    extras = PROJECT["project"]["optional-dependencies"]
    named = {extra for group in re.findall(r"\.\[([a-z,]+)\]", README) for extra in group.split(",")}
    assert named == set(extras)
    for needed in ("cuda", "tpu", "camb", "sample", "cobaya", "docs", "dev"):
        assert needed in extras


def test_the_lines_skip_the_cloning_inside_a_clone(tmp_path):
    """What stands before the first && of both lines, in a clone and outside, with git replaced by a word."""
    for line in LINES:
        clone = line.split(" && python3 -m venv")[0]
        script = f"git() {{ echo cloned; mkdir -p galaxyjax; }}; {clone} && basename $PWD"
        (tmp_path / "galaxyjax" / "galaxyjax" / "core").mkdir(parents=True, exist_ok=True)
        inside = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path / "galaxyjax", capture_output=True, text=True, check=True
        )
        assert inside.stdout == "galaxyjax\n"
        outside = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert outside.stdout == "cloned\ngalaxyjax\n"


def test_every_room_has_its_floor():
    (layers,) = [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    rooms = {path.parent.name for path in (ROOT / "galaxyjax").glob("*/__init__.py")}
    assert rooms == set(layers["layers"])
    assert layers["exhaustive"]


def test_importing_the_package_is_free_and_changes_nothing():
    """`import galaxyjax` does not start JAX, and no module of ours touches JAX's configuration."""
    pytest.importorskip("blackjax")
    script = """
import sys
import galaxyjax
assert "jax" not in sys.modules and "numpy" not in sys.modules
assert callable(galaxyjax.load) and set(galaxyjax.__all__) <= set(dir(galaxyjax))
import importlib, pkgutil
import jax
before = dict(jax.config.values)
for module in pkgutil.walk_packages(galaxyjax.__path__, "galaxyjax."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
changed = {name for name, value in jax.config.values.items() if before[name] != value}
assert not changed, changed
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_an_unknown_attribute_of_the_package_is_an_attribute_error():
    import galaxyjax

    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = galaxyjax.lode
