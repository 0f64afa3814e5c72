"""The verbs on an emulator of fields, from an empty folder to a card: simulate, train, validate, predict."""

import json

import h5py
import numpy as np
import pytest

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
MODEL = Displacement(spacing=2.0, widths=(4,), blocks=(1,), steps=2, refine=1)
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


def test_from_an_empty_folder_to_a_card(command, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for made in (2, 0):  # whole runs are kept
        outcome = command("simulate", folder, "--json")
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["truth"]["made_now"] == made
    outcome = command("train", folder, "--mesh", "data=1")
    assert outcome.code == 0, outcome.err
    outcome = command("validate", folder, "--gradients", 1)
    assert outcome.code == 0, outcome.err
    shown = outcome.out
    assert "P(k) to k = 0.5 h/Mpc" in shown and "wrote" in shown
    for name in ("index.html", "fields.json", "density.png", "slices.png", "slope.png", "training.png"):
        assert (folder / "validation" / name).stat().st_size > 0
    card = (folder / "card.md").read_text()
    assert "white_noise" in card and "power_to_0.5" in card
    out, plot = folder / "field.h5", folder / "field.png"
    words = ("--cells", 16, "--seed", 3, "--set", "sigma_8=0.82", "--out", out, "--plot", plot)
    outcome = command("predict", folder, *words)
    assert outcome.code == 0, outcome.err
    with h5py.File(out) as file:
        assert (
            file["displacement"].shape == (16, 16, 16, 3)
            and file["velocity"].attrs["unit"] == "peculiar km/s"
        )
        assert file["theta"].attrs["sigma_8"] == 0.82 and file.attrs["seed"] == 3
        assert np.isfinite(file["density"][()]).all()
    assert plot.stat().st_size > 0


def test_flags_that_do_not_fit_are_refused(command, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for words, said in (
        (("simulate", folder, "--workers", 2), "--workers 2: fields run on devices"),
        (("predict", folder, "--k", 0.1), "--k: a field has the wavenumbers of its box"),
        (("predict", folder, "--z", 0, 1), "a field has one redshift"),
        (("predict", folder, "--out", "field.csv"), "use .h5 or .npz"),
        (("predict", folder, "--cells", 15, "--mesh", "x=2"), "15 cells along x do not divide over x=2"),
    ):
        outcome = command(*words)
        assert outcome.code == 2 and said in outcome.err, outcome.err
