"""`simulate`, `train`, `validate` and `card`: a small recipe from truth to a validated emulator."""

import json
from pathlib import Path

import numpy as np
import pytest

SHELF = Path(__file__).parents[2] / "emulators" / "matter_power"
# The real recipe in small: CAMB to k = 12 h/Mpc at few redshifts, networks of a few units, some steps.
RECIPE = f"""
from dataclasses import fields, replace
from pathlib import Path

from galaxyjax.cli.recipe import run_python
from galaxyjax.simulate.boltzmann import CambSettings
from galaxyjax.train.config import FitConfig

real = run_python(Path({str(SHELF / "recipe.py")!r}), "recipe")
settings = CambSettings(kmax_h=12.0, time_switch_boost=1.0, transfer_k_boost=1.0)
small = dict(draws=2, redshifts=5, k_max=11.0, settings=settings)
TRUTH = replace(real.TRUTH, runs=4, **small)
TEST = replace(real.TEST, runs=2, **small)
quick = FitConfig(steps=20, batch=16, evaluate_every=10)
named = {{f.name: getattr(real.TRAINING, f.name) for f in fields(real.TRAINING)}}
fits = {{name: quick for name, value in named.items() if isinstance(value, FitConfig)}}
TRAINING = replace(real.TRAINING, held_out_every=2, hubbles=2, growth_equations=64, **fits)


def contract():
    return replace(real.contract(), name="small", version="0.0.1")
"""


@pytest.fixture
def recipe(tmp_path):
    folder = tmp_path / "emulators" / "small"
    folder.mkdir(parents=True)
    (folder / "recipe.py").write_text(RECIPE)
    return folder


def test_simulate_makes_what_is_missing_and_nothing_twice(command, recipe, tmp_path):
    pytest.importorskip("camb")
    words = (
        "simulate",
        recipe,
        "--part",
        "test",
        "--runs",
        1,
        "--workers",
        1,
        "--out",
        tmp_path / "t",
        "--json",
    )
    first = command(*words)
    assert first.code == 0, first.err
    assert json.loads(first.out)["test"] == {"folder": str(tmp_path / "t" / "test"), "runs": 1, "made_now": 1}
    before = (tmp_path / "t" / "test" / "run_00000.h5").stat().st_mtime_ns
    assert json.loads(command(*words).out)["test"]["made_now"] == 0
    assert (tmp_path / "t" / "test" / "run_00000.h5").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "words, said",
    [
        (("simulate", "emulators/none"), "none/recipe.py: no such recipe"),
        (("simulate", "mock", "--runs", "3"), "--runs has no meaning for the mock survey"),
        (("simulate", "mock", "--out", "mock.fits"), "--out mock.fits: the mock survey is one .npz file"),
        (("simulate", "RECIPE", "--workers", "0"), "--workers 0: give 1 or more"),
        (("simulate", "RECIPE", "--part", "all"), "invalid choice 'all'"),
        (("train", "RECIPE", "--truth", "nowhere"), "holds no truth runs"),
        (("validate", "RECIPE", "--truth", "nowhere"), "contract.json"),
        (("validate", "RECIPE", "--runs", "3"), "--runs 3 is a partial look"),
        (("validate", "RECIPE", "--gradients", "-1"), "--gradients -1"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(
    command, failed, recipe, words, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    failed(command(*(recipe if word == "RECIPE" else word for word in words)), said)
    assert [path.name for path in recipe.iterdir() if path.name != "__pycache__"] == ["recipe.py"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("raise RuntimeError('no')\n", "the recipe does not run: RuntimeError: no"),
        ("TRUTH = 3\n", "TRUTH is a int; give a PowerSuite"),
        ("", "TRUTH is missing; give a PowerSuite"),
    ],
)
def test_a_recipe_that_is_none_is_named(command, failed, tmp_path, text, said):
    (tmp_path / "recipe.py").write_text(text)
    failed(command("simulate", tmp_path), str(tmp_path / "recipe.py"), said)


def test_a_truth_file_cut_short_is_named(command, failed, recipe, tmp_path):
    folder = tmp_path / "t" / "truth"
    folder.mkdir(parents=True)
    (folder / "run_00000.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    failed(command("train", recipe, "--truth", tmp_path / "t"), "run_00000.h5", "not a whole truth run")


def test_the_card_of_an_emulator(command, emulator_folder, tmp_path):
    outcome = command("card", emulator_folder)
    assert outcome.code == 0 and outcome.out.startswith("# small_power 0.0.1")
    assert json.loads(command("card", emulator_folder, "--json").out)["name"] == "small_power"
    assert command("card", emulator_folder, "--write").code == 0
    assert (emulator_folder / "card.md").read_text(encoding="utf-8") == outcome.out.rstrip("\n") + "\n"


def test_simulate_mock_says_what_it_wrote(command, tmp_path, monkeypatch):
    from galaxyjax.simulate import mock

    monkeypatch.setattr(mock, "write_mock", lambda path: mock.load_mock().save(path))
    outcome = command("simulate", "mock", "--out", tmp_path / "m.npz")
    assert outcome.code == 0 and f"wrote {tmp_path / 'm.npz'}" in outcome.out
    found = json.loads(command("simulate", "mock", "--out", tmp_path / "m.npz", "--json").out)
    assert found == {"survey": str(tmp_path / "m.npz"), "truth": str(tmp_path / mock.TRUTH_FILE)}


@pytest.mark.slow
def test_from_recipe_to_a_validated_emulator(command, recipe, tmp_path):
    """Minutes: every file and number of the journey, on an emulator too small to be any good."""
    pytest.importorskip("camb")
    truth = ("--truth", tmp_path / "t")
    assert command("simulate", recipe, "--out", tmp_path / "t").code == 0
    trained = command("train", recipe, *truth, "--checkpoints", tmp_path / "runs", "--json")
    assert trained.code == 0, trained.err
    before = (recipe / "weights" / "weights.safetensors").read_bytes()
    assert command("train", recipe, *truth, "--checkpoints", tmp_path / "runs").code == 0
    assert (recipe / "weights" / "weights.safetensors").read_bytes() == before  # resumed where it had ended

    validated = command("validate", recipe, *truth, "--gradients", 1, "--json")
    assert validated.code == 0, validated.err
    report = json.loads(validated.out)
    contract = json.loads((recipe / "contract.json").read_text(encoding="utf-8"))
    assert contract["error"]["spectra"] == report["spectra"]
    assert (recipe / "weights" / "weights.safetensors").read_bytes() == before
    page = Path(report["page"]).read_text(encoding="utf-8")
    assert "small: validation" in page and "Gradients" in page
    part = report["spectra"]["linear"]["whole"]
    assert part["cosmologies"] == 4 and np.isfinite(part["max"])
    card = (recipe / "card.md").read_text(encoding="utf-8")
    assert f"| `linear` | whole | 4 | {100 * part['p50']:.2g}% |" in card
    assert {path.name for path in (recipe / "validation").iterdir()} >= {
        "index.html", "spectra.json", "gradients.json", "training.json", "test_ledger.json",
        "errors_pooled.png",
    }  # fmt: skip
    predicted = command("predict", recipe, "--z", 0, "--json")
    assert predicted.code == 0 and np.isfinite(json.loads(predicted.out)["power"]).all()
