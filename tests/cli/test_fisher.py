"""`galaxyjax fisher` on the packaged mock survey."""

import json

import numpy as np
import pytest

FIXED = ("h", "n_s", "omega_b", "logT_AGN", "dz_1", "dz_2", "dz_3", "dz_4", "dz_5")


@pytest.mark.slow
def test_json_and_figure(command, tmp_path):
    figure = tmp_path / "ellipses.png"
    outcome = command("fisher", "kids1000", "--survey", "mock", "--fix", *FIXED, "--plot", figure, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    entry = result["forecasts"]["emulator"]
    assert entry["names"] == ["S8", "omega_cdm", "A_IA"] == list(result["values"])
    matrix, covariance = np.array(entry["matrix"]), np.array(entry["covariance"])
    np.testing.assert_allclose(matrix @ covariance, np.eye(3), atol=1e-8)
    assert 0.01 < entry["sigma"]["S8"] < 0.04 and entry["sigma"]["S8"] > entry["conditional_sigma"]["S8"]
    assert figure.read_bytes()[:4] == b"\x89PNG" and result["files"] == [str(figure)]


@pytest.mark.slow
def test_a_profile_finds_the_mocks_truth(command, tmp_path):
    """Within 3 deviations, with an interval as wide as the forecast's to a third; and two figures."""
    from galaxyjax.simulate.mock import load_truth

    words = (
        "fisher",
        "kids1000",
        "--survey",
        "mock",
        "--profile",
        "S8",
        "--plot",
        tmp_path / "f.png",
        "--json",
    )
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    found, sigma = result["profiles"]["S8"], result["forecasts"]["emulator"]["sigma"]["S8"]
    assert abs(found["best_fit"] - load_truth()["derived"]["S8"]) < 3 * sigma
    low, high = found["interval_68"]
    assert low < found["best_fit"] < high and 0.5 * (high - low) == pytest.approx(sigma, rel=0.35)
    assert {path.name for path in tmp_path.iterdir()} == {"f.png", "f_profiles.png"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fix", "omega_c"), "did you mean omega_cdm"),
        (("--profile", "sigma8"), "parameter of --profile"),
        (("--set", "S9=0.8"), "unknown parameter 'S9'"),
        (("--plot", "x.gif"), "use .png, .pdf or .svg"),
    ],
)
def test_what_cannot_be_met(command, failed, words, said):
    failed(command("fisher", "kids1000", "--survey", "mock", *words), said)
