"""The verbs on an emulator of baryons: train in two parts, validate, predict, and what they refuse."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from galaxyjax.emulator.store import load

RECIPE = """
from dataclasses import dataclass

import numpy as np

from galaxyjax.data.baryons import BaryonFields
from galaxyjax.emulator.contract import Contract, Input, Output
from galaxyjax.models.hydro import Hydro
from galaxyjax.models.hydro_fields import IDEAL
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import FieldTraining
from galaxyjax.train.hydro import HydroSource
from galaxyjax.train.hydro_heads import Flow, FlowLoss, HydroLoss, MeanHead


@dataclass(frozen=True)
class Drawn:
    simulations: tuple

    def __len__(self):
        return 1

    def fields(self, index, variant=0):
        rng = np.random.default_rng(variant)
        gas, stars = (rng.uniform(0.1, 2.0, (8, 8, 8)).astype(np.float32) for _ in range(2))
        total = (gas + stars).mean()
        heat = (1e4 * gas**0.5).astype(np.float32)
        own = gas / total
        return BaryonFields(gas / gas.mean(), own, stars / total, heat, own * IDEAL * heat, 0.0, 16.0)

    def theta(self, index):
        return {"Omega_m": 0.3, "Omega_b": 0.049, "sigma_8": 0.8}

    def identity(self):
        return str(self.simulations)


TRAIN, VALIDATION, TEST = Drawn(("a",)), Drawn(("b",)), Drawn(("c",))
MODEL = Hydro(spacing=2.0, widths=(2,), blocks=(0,), flow_widths=(2,), flow_blocks=(0,))
SOURCE = HydroSource(MODEL, TRAIN, VALIDATION, variants=1)
FIT = FieldFitConfig(steps=2, batch=1, warmup=1, evaluate_every=1, save_every=2)
TRAINING = FieldTraining(MeanHead(MODEL), SOURCE, 8, FIT, HydroLoss(MODEL))
SECOND = FieldTraining(Flow(MODEL), SOURCE, 8, FIT, FlowLoss())


def contract():
    inputs = (Input("Omega_m", "", 0.1, 0.5, None, ""), Input("Omega_b", "", 0.04, 0.06, 0.049, ""))
    inputs += (Input("sigma_8", "", 0.6, 1.0, None, ""),)
    names = tuple(entry.name for entry in inputs)
    return Contract(
        "tiny", "0.1.0", "for tests", "Apache-2.0", "hydro", MODEL.hyperparameters(), inputs, (),
        (Output("gas", "", names, ""),), (), (), (0.1, 1.5), (0.0, 2.0), {"code": "nobody"}, (), {}, (),
    )
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work") / "tiny"
    folder.mkdir()
    (folder / "recipe.py").write_text(RECIPE)
    return folder


@pytest.mark.slow
def test_from_a_recipe_to_a_card_and_a_box(command, folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    made = command("train", str(folder), "--mesh", "x=1", "--json")
    assert made.code == 0, made.err
    assert {"training.json", "training_second.json"} <= {p.name for p in (folder / "validation").iterdir()}
    done = command("validate", str(folder), "--draws", "3", "--json")
    assert done.code == 0, done.err
    error = json.loads(done.out)["baryons"]
    assert 0.25 <= error["tests"]["pdf"]["gas"] <= 1.0 and error["runs"] == 1
    emulator = load(folder)
    assert emulator.contract.error["baryons"]["emulator"]["gas_power"] == error["emulator"]["gas_power"]
    assert "smoothed matter" in (folder / "card.md").read_text()
    options = ("--cells", "8", "--seed", "2", "--out", "box.h5", "--plot", "box.png")
    done = command("predict", str(folder), "--set", "Omega_m=0.3", "h=0.7", *options)
    assert done.code == 0, done.err
    assert Path("box.png").stat().st_size > 3000
    with h5py.File("box.h5") as file:
        total = np.mean(file["gas"][()] + file["stars"][()], dtype=np.float64)
        np.testing.assert_allclose(total, 0.049 * 27.75366272, rtol=1e-5)
        contrast = file["matter"][()]
    np.savez("matter.npz", density=contrast)
    again = command("predict", str(folder), "--set", "Omega_m=0.3", "--matter", "matter.npz", "--json")
    assert json.loads(again.out)["matter"] == "matter.npz"


@pytest.mark.slow  # needs what the first has made
def test_a_simulation_on_both_sides_is_refused(command, folder, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(folder, copy)
    (copy / "recipe.py").write_text(RECIPE.replace('Drawn(("c",))', 'Drawn(("a",))'))
    done = command("validate", str(copy), "--out", str(tmp_path / "look"))
    assert done.code == 2 and "a is also a training simulation" in done.err
    done = command("validate", str(copy), "--truth", "truth")
    assert done.code == 2 and "snapshots that its recipe names" in done.err


def test_matter_is_for_baryons_only(command):
    done = command("predict", "matter_power", "--matter", "x.npz")
    assert done.code == 2 and "--matter has no meaning for matter_power" in done.err
