"""Slopes agree with finite differences where they are right, and are off by what is put in."""

import json

import numpy as np
import pytest
from toy_emulator import DEFAULTS, THETA, closed_form

from galaxyjax.core.errors import DataError, UnknownName
from galaxyjax.core.files import read_npz
from galaxyjax.validate.gradients import check, differences, inner_cosmologies, save

K = np.geomspace(1e-3, 5.0, 30)
Z = np.array([0.0, 1.0])


def closed_truth(theta, z, k, outputs):
    """The toy's own formula in NumPy, called as CAMB is."""
    names = [*THETA, *DEFAULTS]
    log_linear = closed_form({name: theta[name] for name in names}, k, z)
    depth = 0.2 * (theta["logT_AGN"] - 7.0) * k**2 / (k**2 + 9.0)
    spectra = {
        "linear": np.exp(log_linear),
        "nonlinear_baryons": np.exp(log_linear) * (1.0 + 0.5 * k) * (1.0 - depth),
    }
    return {name: spectra[name] for name in outputs}


def test_right_slopes_pass_for_every_parameter_and_output(toy):
    found = check(toy, THETA, Z, K, ("linear", "nonlinear_baryons"), closed_truth)
    assert set(found["linear"].errors()) == {*THETA, *DEFAULTS}
    assert set(found["nonlinear_baryons"].errors()) == {*THETA, *DEFAULTS, "logT_AGN"}
    for entry in found.values():
        for name, error in entry.errors().items():
            assert error["max"] < 2e-3, (name, error)
            assert error["p95"] <= error["max"]
    assert found["linear"].errors()["ln10A_s"]["scale"] == pytest.approx(1.0, rel=1e-9)


def test_a_slope_that_is_wrong_by_a_known_amount_is_reported_so(toy):
    def tilted(theta, z, k, outputs):
        spectra = closed_truth(theta, z, k, outputs)
        return {name: p * np.exp(0.1 * (theta["ln10A_s"] - 3.0)) for name, p in spectra.items()}

    errors = check(toy, THETA, Z, K, ("linear",), tilted)["linear"].errors()
    assert errors["ln10A_s"]["max"] == pytest.approx(0.1 / 1.1, rel=1e-3)
    assert errors["h"]["max"] < 2e-3


def test_a_coarse_step_is_refined_where_the_slope_bends(toy):
    """Near w0 + wa = -0.3 a tenth of wa's interval is too coarse; the emulator's own slope shows it."""
    theta = {**THETA, "w0": -0.75, "wa": -0.05}
    sizes = {name: 0.1 * (entry.high - entry.low) for name, entry in toy.contract.domain.items()}
    coarse = differences(
        closed_truth, theta | {"logT_AGN": 7.8, "m_nu": 0.1}, sizes, Z, K, {"linear": ("wa",)}
    )
    found = check(toy, theta, Z, K, ("linear",), closed_truth)["linear"]
    scale = np.abs(found.emulated["wa"]).max()
    assert np.abs(coarse["linear"]["wa"] - found.emulated["wa"]).max() > 3e-3 * scale
    assert found.errors()["wa"]["max"] < 1.2e-3


def test_cosmologies_for_gradients_leave_room_on_both_sides(toy):
    contract = toy.contract
    points = inner_cosmologies(contract, 12, seed=5)
    assert points == inner_cosmologies(contract, 12, seed=5) != inner_cosmologies(contract, 12, seed=6)
    for point in points:
        for entry in contract.inputs:
            width = entry.high - entry.low
            assert point[entry.name] <= entry.high - 0.2 * width + 1e-9
            assert point[entry.name] >= entry.low + 0.2 * width - 1e-9
        assert point["w0"] + point["wa"] <= -0.3 - 0.2 * 2.5 + 1e-9


def test_truth_that_is_no_power_and_unknown_outputs_are_refused(toy):
    with pytest.raises(DataError, match="omega_b"):
        check(toy, THETA, Z, K, ("linear",), lambda *_: {"linear": np.full((2, 30), np.nan)})
    with pytest.raises(UnknownName):
        check(toy, THETA, Z, K, ("quadratic",), closed_truth)


def test_what_is_saved_is_what_was_found(toy, tmp_path):
    found = check(toy, THETA, Z, K, ("linear",), closed_truth)
    report = save(tmp_path, [found])
    assert json.loads((tmp_path / "gradients.json").read_text()) == report
    arrays = read_npz(tmp_path / "gradients.npz")
    np.testing.assert_array_equal(arrays["linear.0.h.differences"], found["linear"].differences["h"])
