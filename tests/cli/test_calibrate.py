"""`galaxyjax calibrate` and the choice of samplers from the command line."""

import json

import pytest

import galaxyjax
from galaxyjax.core.errors import GalaxyjaxError


@pytest.mark.parametrize(
    "words, said",
    [
        (("--truth", "cambs"), "unknown truth 'cambs': did you mean camb?"),
        (("--mocks", 5), "--mocks 5: ranks of fewer than 20 say nothing"),
        (("--covariance-scale", 0), "--covariance-scale 0.0: give a positive number"),
    ],
)
def test_a_calibration_that_says_nothing_is_refused(command, failed, words, said, tmp_path):
    failed(command("calibrate", "kids1000", "--out", tmp_path / "out", *words), said)
    assert not (tmp_path / "out").exists()


def test_a_posterior_of_fields_has_no_survey(command, failed, tmp_path):
    said = "--survey: a posterior of fields knows no such thing"
    failed(command("calibrate", "tracer", "--out", tmp_path / "out", "--survey", "mock"), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_posteriors_of_fields_are_calibrated_from_a_configuration(command, tmp_path):
    config = tmp_path / "maps.py"
    config.write_text(
        "import jax\n"
        "import numpy as np\n"
        "from galaxyjax.infer.mass_map.calibrate import MapFamily\n"
        "from galaxyjax.infer.mass_map.prior import MapGrid, gaussian_spectrum\n"
        "from galaxyjax.mesh.topology import build_mesh\n"
        "grid = MapGrid((8, 8), 1.5e-4)\n"
        "variance = gaussian_spectrum(grid, np.array([50.0, 4e4]), np.array([1e-8, 1e-11]))\n"
        "mesh = build_mesh('x=1', devices=jax.devices()[:1])\n"
        "FIELDS = MapFamily(grid, np.full((8, 8), 0.01), variance, mesh)\n"
    )
    outcome = command("calibrate", config, "--mocks", 20, "--draws", 20, "--out", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["passes"] and "log density" in report["quantities"] and report["mocks"] == 20
    assert (tmp_path / "out" / "ranks.png").is_file()


@pytest.mark.parametrize(
    "words, said",
    [
        (("--sampler", "mcmlc"), "unknown sampler 'mcmlc': did you mean mclmc"),
        (("--sampler", "smc", "--max-draws", 100), "--max-draws says nothing to smc"),
        (("--particles", 100), "--particles says nothing to nuts"),
    ],
)
def test_options_that_a_sampler_has_not_are_named(command, failed, words, said, tmp_path):
    failed(command("infer", "kids1000", "--survey", "mock", "--out", tmp_path / "out", *words), said)


@pytest.mark.slow
def test_the_mock_surveys_analysis_is_calibrated_and_half_its_covariance_is_not(command, failed, tmp_path):
    """40 mocks by the emulator itself, so that nothing is wrong; then everything."""
    try:
        galaxyjax.load("matter_power")
    except GalaxyjaxError as missing:
        pytest.skip(f"needs the emulator matter_power on the shelf: {missing}")
    config = tmp_path / "mine.py"
    config.write_text(
        "from galaxyjax.infer.surveys.kids1000 import KiDS1000\n"
        "ANALYSIS = KiDS1000(n_s=0.966, h=0.69, omega_b=0.0224, logT_AGN=7.8, A_IA=(-2.0, 2.0))\n"
        "SURVEY = 'mock'\n"
    )
    words = ("calibrate", config, "--mocks", 40, "--draws", 40, "--at-once", 20)
    outcome = command(*words, "--out", tmp_path / "right", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["passes"] and report["mocks"] == 40 and report["smallest_ess"] >= 40
    assert len(report["ranks"]) == 40 and "log likelihood" in report["quantities"]
    assert (tmp_path / "right" / "ranks.png").is_file() and (tmp_path / "right" / "coverage.png").is_file()
    wrong = command(*words, "--out", tmp_path / "wrong", "--covariance-scale", 0.3)
    failed(wrong, "not calibrated", "over-confident")
