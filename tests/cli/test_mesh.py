"""--mesh on every verb that computes: the same numbers, or one line that says what does not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from galaxyjax.cli.mesh import mesh_of
from galaxyjax.cli.train_field import spread
from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.mesh.topology import several
from galaxyjax.models.vnet import VNet
from galaxyjax.train.config import FieldFitConfig
from galaxyjax.train.field import FieldTraining

RECIPE = """
from galaxyjax.train.spectrum import SpectrumTraining

TRAINING = SpectrumTraining()
"""
VERBS = {
    "predict": ("predict",),
    "infer": ("infer", "kids1000", "--out", "run"),
    "quickstart": ("quickstart", "--out", "run"),
    "audit": ("audit", "run"),
    "validate": ("validate", "RECIPE"),
    "train": ("train", "RECIPE"),
    "simulate": ("simulate", "mock"),
}


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The command line of a verb, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "recipe.py").write_text(RECIPE)
    return lambda verb: [str(tmp_path / "recipe") if w == "RECIPE" else w for w in VERBS[verb]]


@pytest.mark.parametrize("verb", VERBS)
def test_axes_that_divide_nothing_are_refused_with_their_sizes(command, failed, words, verb, tmp_path):
    outcome = command(*words(verb), "--mesh", "data=2,x=2,y=2")
    useless = "data=2 and x=2 and y=2" if verb == "simulate" else "--mesh data=2,x=2,y=2: x=2 and y=2"
    failed(outcome, verb, f"{useless} would divide nothing (", "alone")
    assert [p.name for p in tmp_path.iterdir()] == ["recipe"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "simulate"])
def test_too_many_devices_are_refused_with_the_numbers(command, failed, words, verb):
    if verb in ("infer", "quickstart"):
        failed(command(*words(verb), "--mesh", "data=3"), verb, "4 chains do not divide over data=3")
    else:
        failed(command(*words(verb), "--mesh", "data=16"), "takes 16 = 16 devices but there are 8")


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "simulate"])
def test_one_of_several_processes_is_refused(command, failed, words, verb, monkeypatch):
    """Two would write the same files."""
    monkeypatch.setenv("GALAXYJAX_PROCESSES", "2")
    failed(command(*words(verb)), f"{verb} works in one process", "GALAXYJAX_PROCESSES=2", "start it once")


def test_who_started_several_is_named(monkeypatch):
    for name in ("GALAXYJAX_PROCESSES", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert several() == ""
    slurm = {"NTASKS": "4", "STEP_NODELIST": "n[1-2]", "PROCID": "1", "LOCALID": "0"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert several() == "Slurm, 4 processes"
    monkeypatch.setenv("GALAXYJAX_PROCESSES", "1")  # what is said outright counts
    assert several() == ""


def test_the_default_is_the_verbs_own():
    assert dict(mesh_of(None, "train").shape) == {"data": 8, "x": 1, "y": 1}
    assert dict(mesh_of(None, "predict", default="data=1").shape) == {"data": 1, "x": 1, "y": 1}
    assert dict(mesh_of("data=2,x=2,y=2", "train").shape) == {"data": 2, "x": 2, "y": 2}
    assert dict(mesh_of(None, "train", default=lambda n: f"data=2,x={n // 2}").shape) == {
        "data": 2,
        "x": 4,
        "y": 1,
    }
    assert mesh_of("stage=2,data=4", "train", ("data", "stage")).size == 8
    with pytest.raises(
        ConfigError, match="train --mesh stage=2: stage=2 would divide nothing; give data and x"
    ):
        mesh_of("stage=2", "train")
    with pytest.raises(UnknownName, match="'z'"):
        mesh_of("z=2", "train")


def test_predict_on_eight_devices_says_what_one_says(command, emulator_folder):
    words = ("predict", emulator_folder, "--z", 0, 1, 2, "--k", *np.geomspace(1e-3, 10.0, 37), "--json")
    one, eight = (json.loads(command(*words, *more).out) for more in ((), ("--mesh", "data=8")))
    assert np.shape(eight["power"]) == (3, 37)
    np.testing.assert_allclose(eight["power"], one["power"], rtol=2e-6)
    assert eight["k"] == one["k"] and eight["derived"] == one["derived"]


def test_training_of_fields_divides_the_batch_and_then_space():
    model = VNet(1, 1, (4, 8), (1, 1))
    training = FieldTraining(model, None, cells=32, fit=FieldFitConfig(batch=2))
    assert [spread(training, n) for n in (1, 2, 8)] == ["data=1,x=1,y=1", "data=2,x=1,y=1", "data=2,x=4,y=1"]
    assert spread(replace(training, cells=8), 32) == "data=2,x=4,y=4"
