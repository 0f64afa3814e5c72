"""The verbs on an emulator of fields, from an empty folder to a card: simulate, train, validate, predict."""

import json
import shutil
from pathlib import Path

import h5py
import jax
import numpy as np
import pytest

from galaxyjax.core.files import read_npz
from galaxyjax.emulator.store import load

RECIPE = """
from galaxyjax.emulator.contract import Contract, Input, Output
from galaxyjax.fields.gravity import Force
from galaxyjax.models.displacement import Displacement
from galaxyjax.simulate.design import Range
from galaxyjax.simulate.fields import FieldSuite
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.displacement import DisplacementLoss, DisplacementSuite
from galaxyjax.train.field import FieldTraining

VALUES = dict(Omega_m=0.3, Omega_b=0.05, h=0.7, n_s=0.96, sigma_8=0.8)
RANGES = tuple(Range(name, 0.9 * value, 1.1 * value) for name, value in VALUES.items())
OPTIONS = dict(cells=16, box_size=32.0, ranges=RANGES, redshifts=(1.0, 0.0), steps=3, force=Force(refine=1))
TRUTH = FieldSuite(seed=1, runs=2, **OPTIONS)
TEST = FieldSuite(seed=2, runs=1, **OPTIONS)
MODEL = Displacement(spacing=2.0, widths=(4,), blocks=(1,), steps=2, refine=1, halo=12.0)
TRAINING = FieldTraining(
    MODEL,
    DisplacementSuite(MODEL, TRUTH, held_out_runs=1, snapshots=1),
    16,
    FieldFitConfig(steps=2, batch=1, warmup=1, evaluate_every=1, save_every=2),
    DisplacementLoss(),
)


def contract():
    inputs = tuple(Input(r.name, "", r.low, r.high, None, "") for r in RANGES)
    outputs = (Output("displacement", "Mpc/h", tuple(VALUES), "of particles"),)
    return Contract(
        "tiny", "0.1.0", "for tests", "Apache-2.0", "displacement", MODEL.hyperparameters(), inputs, (),
        outputs, (), (), (0.1, 1.5), (0.0, 3.0), {"code": "particle mesh", "box_size": 32.0}, (), {}, (),
    )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "tiny"
    folder.mkdir()
    (folder / "recipe.py").write_text(RECIPE)
    return folder


@pytest.mark.slow
def test_from_an_empty_folder_to_a_card(command, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for made in (2, 0):  # whole runs are kept
        outcome = command("simulate", folder, "--json")
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["truth"]["made_now"] == made
    outcome = command("train", folder, "--mesh", "data=1")
    assert outcome.code == 0, outcome.err
    outcome = command("validate", folder, "--gradients", 0)
    assert outcome.code == 0, outcome.err
    shown = outcome.out
    assert "P(k) to k = 0.5, mean of runs" in shown and "wrote" in shown
    figures = ("ratios.png", "missing.png", "flows.png", "spectra.png", "slices.png")
    for name in ("index.html", "fields.json", "fields.npz", "training.png", *figures):
        assert (folder / "validation" / name).stat().st_size > 0
    error = json.loads((folder / "contract.json").read_text(encoding="utf-8"))["error"]["fields"]
    assert error == json.loads((folder / "validation" / "fields.json").read_text()) and error["runs"] == 1
    card = (folder / "card.md").read_text()
    missed = f"{100 * error['emulator']['power_to_0.5']:.2g}%"
    assert "white_noise" in card and f"| P(k) to k = 0.5, mean of runs | 2% | {missed} |" in card
    # Of the coarse simulation and of the emulator, which corrects it, from the same white noise.
    arrays = read_npz(folder / "validation" / "fields.npz")
    assert arrays["ratio.emulator"].shape == arrays["ratio.coarse"].shape == (1, 2, len(arrays["k"]))
    out, plot = folder / "field.h5", folder / "field.png"
    words = ("--cells", 16, "--seed", 3, "--set", "sigma_8=0.82", "--out", out, "--plot", plot)
    outcome = command("predict", folder, *words)
    assert outcome.code == 0, outcome.err
    with h5py.File(out) as file:
        assert file["displacement"].shape == (16, 16, 16, 3) and file["velocity"].attrs["units"].startswith(
            "peculiar km/s"
        )
        assert file["theta"].attrs["sigma_8"] == 0.82 and file.attrs["seed"] == 3
        # The file says how to make it again.
        theta = {name: float(value) for name, value in file["theta"].attrs.items()}
        noise = jax.random.normal(jax.random.key(3), (16,) * 3)
        again = load(folder).predict(theta, white_noise=noise, box_size=file.attrs["box_size"])
        np.testing.assert_allclose(file["displacement"], again.displacement, atol=1e-4)
        np.testing.assert_allclose(file["density"], again.density(), atol=1e-3)
        assert theta["Omega_m"] == 0.3153 and file.attrs["z"] == 0.0  # Planck's
    assert plot.stat().st_size > 0

    small = json.loads(command("predict", folder, "--cells", 16, "--seed", 3, "--json").out)
    assert len(small["k"]) == len(small["power"]) == 7 and small["box_size"] == 32.0
    np.testing.assert_allclose(small["k"][-1], 7 * 2 * np.pi / 32.0, rtol=0.05)  # the last below Nyquist
    # Large scales grew as linear theory says: the mode of the box, within its few per cent.
    np.testing.assert_allclose(small["power"][0] / small["linear_box"][0], 1.0, atol=0.25)
    assert small["rms_velocity"] > 50.0 * small["rms_displacement"] > 0.0


@pytest.mark.slow
def test_slopes_are_checked_and_a_box_lies_on_several_devices(command, folder, tmp_path, monkeypatch):
    """A minute of compilation. Two steps of training leave the slope near that of the coarse simulation."""
    monkeypatch.chdir(folder.parent)
    if not (folder / "contract.json").exists():  # run alone, without the test that trains it
        for words in (("simulate", folder), ("train", folder, "--mesh", "data=1")):
            outcome = command(*words)
            assert outcome.code == 0, outcome.err
    outcome = command("validate", folder, "--gradients", 1, "--out", tmp_path)
    assert outcome.code == 0 and "d ln P / d Omega_m" in outcome.out, outcome.err
    arrays = read_npz(tmp_path / "fields.npz")
    assert arrays["slope.emulator"].shape == arrays["slope.simulator"].shape == (1, 7)
    scale = np.abs(arrays["slope.simulator"]).max()
    np.testing.assert_allclose(arrays["slope.emulator"], arrays["slope.simulator"], atol=0.1 * scale)
    assert (tmp_path / "slope.png").stat().st_size > 0
    words = ("predict", folder, "--cells", 16, "--z", 0.5, "--json")
    one, two = (json.loads(command(*words, *more).out) for more in ((), ("--mesh", "x=2")))
    np.testing.assert_allclose(two["power"], one["power"], rtol=1e-3)


@pytest.mark.slow
def test_what_does_not_fit_is_one_line(command, failed, folder, emulator_folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder.parent)
    before = sorted(folder.parent.rglob("*"))
    part, other = tmp_path / "part", tmp_path / "other"
    for path in (part, other):
        (path / "truth").mkdir(parents=True)
        for name in ("field_00000.h5", "suite.json"):
            shutil.copy(Path("truth/tiny/truth") / name, path / "truth")
    (other / "truth" / "suite.json").write_text('{"identity": "another"}')
    for words, said in (
        (("simulate", folder, "--workers", 2), "--workers 2: fields run on devices"),
        (("simulate", folder, "--mesh", "data=2"), "data=2 would divide nothing"),
        (("train", folder, "--truth", "nowhere", "--mesh", "data=1"), "holds no N-body runs"),
        (("train", folder, "--truth", part, "--mesh", "data=1"), "1 of 2 runs are missing"),
        (("train", folder, "--truth", other, "--mesh", "data=1"), "the runs of another suite"),
        (("validate", folder, "--truth", part, "--out", "look"), "holds no N-body runs"),
        (("predict", folder, "--k", 0.1), "--k has no meaning for"),
        (("predict", folder, "--output", "density"), "--output has no meaning for"),
        (("predict", folder, "--z", 0, 1), "a field has one redshift"),
        (("predict", folder, "--z", 4), "z = 4 is above 3"),
        (("predict", folder, "--set", "omega_m=0.3"), "did you mean Omega_m"),
        (("predict", folder, "--cells", 0), "--cells 0: give a positive multiple"),
        (("predict", folder, "--out", "field.csv"), "no field format '.csv'; use .h5"),
        (("predict", folder, "--plot", "field.gif"), "no figure format"),
        (("predict", folder, "--cells", 15, "--mesh", "x=2"), "15 cells along x do not divide over x=2"),
    ):
        failed(command(*words), said)
    failed(command("predict", emulator_folder, "--cells", 16), "--cells has no meaning for")
    failed(command("predict", emulator_folder, "--seed", 1), "--seed has no meaning for")
    failed(command("predict", emulator_folder, "--out", "p.h5"), "no table format '.h5'")
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.slow
def test_a_test_suite_that_training_saw_is_refused(command, failed, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    shutil.copytree(folder, tmp_path / "seen")
    text = (folder / "recipe.py").read_text().replace("TEST = FieldSuite(seed=2", "TEST = FieldSuite(seed=1")
    (tmp_path / "seen" / "recipe.py").write_text(text)
    words = ("validate", tmp_path / "seen", "--truth", "truth/tiny", "--out", tmp_path / "look")
    failed(command(*words), "seed 1 is the training suite's")


@pytest.mark.slow
def test_the_shelf_and_the_card_of_a_field(command, folder, monkeypatch):
    from galaxyjax.emulator import shelf

    monkeypatch.setattr(shelf, "places", lambda: (folder.parent,))
    outcome = command("shelf")
    assert outcome.code == 0, outcome.err
    assert "particles 2 Mpc/h apart" in outcome.out and "1LPT's / 10" in outcome.out
    (entry,) = json.loads(command("shelf", "--json").out)["emulators"]
    shown = f"{entry['error']['fields']['emulator']['missing_at_0.5']:.1e}"
    assert shown in outcome.out and shown in command("card", "tiny").out
