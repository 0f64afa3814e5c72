"""Percentiles are those of the errors that were put in, judged where they should be."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toy_emulator import NAMES, closed_form

from galaxyjax.core.errors import DataError, DomainError
from galaxyjax.core.files import read_npz
from galaxyjax.mesh.topology import build_mesh
from galaxyjax.simulate.suite import Run
from galaxyjax.validate.spectra import compare, compare_runs, save, truth_of

K = np.geomspace(1e-4, 10.0, 90)
Z = np.array([0.0, 1.0, 3.0])
N = 24


@pytest.fixture
def cosmologies():
    rng = np.random.default_rng(8)
    theta = {
        "omega_b": rng.uniform(0.019, 0.026, N),
        "omega_cdm": rng.uniform(0.1, 0.14, N),
        "h": rng.uniform(0.62, 0.8, N),
        "n_s": rng.uniform(0.9, 1.0, N),
        "ln10A_s": rng.uniform(1.6, 4.0, N),
    }
    return theta


def truth_for(toy, theta, k=K, z=Z):
    return np.exp(closed_form(theta, k, z)) * k ** float(toy.weights["layers"][0]["slope"][0])


def test_an_exact_emulator_has_no_error_beyond_rounding(toy, cosmologies):
    found = compare(toy, cosmologies, Z, K, truth_for(toy, cosmologies), "linear").summary()
    assert found["whole"]["max"] < 2e-5
    assert found["whole"]["cosmologies"] == N


def test_percentiles_are_those_of_the_errors_put_in(toy, cosmologies):
    rng = np.random.default_rng(9)
    error = 1e-2 * rng.standard_t(3, size=(N, len(Z), len(K)))
    error[:, :, K < 1e-3] = 10.0  # below 1e-3 h/Mpc nothing is judged
    truth = truth_for(toy, cosmologies) / (1.0 + error)
    sigma_8 = np.where(np.arange(N) < 10, 0.8, 1.3)
    comparison = compare(toy, cosmologies, Z, K, truth, "linear", sigma_8)
    found = comparison.summary()
    for part, keep in (("core", slice(0, 10)), ("whole", slice(None))):
        judged = np.abs(error[keep][:, :, K >= 1e-3])
        for name, level in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
            assert found[part][name] == pytest.approx(np.percentile(judged, level), rel=2e-3)
        worst = judged.max((1, 2))
        assert found[part]["worst_p95"] == pytest.approx(np.percentile(worst, 95), rel=2e-3)
        assert found[part]["cosmologies"] == len(worst) and found[part]["values"] == judged.size


def test_the_core_is_decided_by_sigma_8_and_its_ends_belong_to_it(toy, cosmologies):
    sigma_8 = np.linspace(0.2, 1.4, N)
    sigma_8[[3, 7]] = 0.4, 1.2
    truth = truth_for(toy, cosmologies)
    comparison = compare(toy, cosmologies, Z, K, truth, "linear", sigma_8)
    np.testing.assert_array_equal(comparison.core, (sigma_8 >= 0.4) & (sigma_8 <= 1.2))
    own = compare(toy, cosmologies, Z, K, truth, "linear")
    np.testing.assert_allclose(own.sigma_8, toy.derived(cosmologies)["sigma_8"])


def test_joining_blocks_is_the_same_as_one_comparison(toy, cosmologies):
    truth = truth_for(toy, cosmologies) * np.random.default_rng(2).uniform(0.99, 1.01, (N, len(Z), len(K)))
    whole = compare(toy, cosmologies, Z, K, truth, "linear")
    parts = [
        compare(toy, {n: v[rows] for n, v in cosmologies.items()}, Z, K, truth[rows], "linear")
        for rows in (slice(0, 7), slice(7, N))
    ]
    joined = parts[0] + parts[1]
    for part in ("core", "whole"):
        for name, value in whole.summary()[part].items():
            assert joined.summary()[part][name] == pytest.approx(value, rel=1e-3)
    np.testing.assert_allclose(joined.along_k()["p95"], whole.along_k()["p95"], rtol=1e-3)
    np.testing.assert_allclose(joined.residuals(K[:50], Z), whole.residuals(K[:50], Z), atol=1e-5)
    other = compare(toy, cosmologies, Z, K, truth, "nonlinear")
    with pytest.raises(DataError, match="nonlinear"):
        whole + other


def test_curves_and_worst_cases_say_where_the_error_is(toy, cosmologies):
    truth = truth_for(toy, cosmologies)
    truth[:, 1] /= 1.0 + 0.02 * np.exp(-0.5 * (np.log(K / 0.2) / 0.2) ** 2)
    truth[5, 2, 60] /= 1.1
    comparison = compare(toy, cosmologies, Z, K, truth, "linear", np.full(N, 0.8))
    along_k, along_z = comparison.along_k(30), comparison.along_z(3)
    assert abs(np.log(along_k["k"][np.argmax(along_k["p95"])] / 0.2)) < 0.4
    np.testing.assert_allclose(along_z["max"], [0.0, 0.02, 0.1], atol=1e-3)
    assert along_k["count"].sum() == along_z["count"].sum() == truth.size
    worst = comparison.worst()
    assert worst["k_max"][5] == pytest.approx(K[60]) and worst["z_max"][5] == 3.0
    assert worst["max"][5] == pytest.approx(0.1, rel=1e-3) and worst["h"][5] == cosmologies["h"][5]
    np.testing.assert_allclose(np.delete(worst["z_max"], 5), 1.0)


def test_residuals_are_log_ratios_on_any_grid(toy, cosmologies):
    bump = 1e-3 * np.sin(np.log(K)) * (1.0 + Z[:, None] / 3.0)
    comparison = compare(
        toy, cosmologies, Z, K, truth_for(toy, cosmologies) * np.exp(-bump), "linear", np.full(N, 0.8)
    )
    k = np.geomspace(2e-4, 9.0, 33)
    found = comparison.residuals(k, [0.5, 2.0])
    expected = 1e-3 * np.sin(np.log(k)) * (1.0 + np.array([[0.5], [2.0]]) / 3.0)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=2e-5)


def test_bad_truth_is_named(toy, cosmologies):
    truth = truth_for(toy, cosmologies)
    for value in (np.nan, 0.0, -1.0):
        bad = truth.copy()
        bad[4, 1, 3] = value
        with pytest.raises(DataError, match="cosmology 4, z = 1"):
            compare(toy, cosmologies, Z, K, bad, "linear")
    with pytest.raises(DataError, match="shape"):
        compare(toy, cosmologies, Z, K, truth[:, :2], "linear")
    with pytest.raises(DomainError, match="h = 0.95"):
        compare(toy, {**cosmologies, "h": 0.95}, Z, K, truth, "linear")


def a_run(toy):
    """A run as the suite writes it, its spectra the toy's own."""
    k, z = np.geomspace(5e-5, 12.0, 400), np.array([0.0, 0.4, 1.7, 3.0, 20.0])
    background = {"omega_b": 0.022, "omega_cdm": 0.12, "h": 0.7, "m_nu": 0.1, "w0": -0.9, "wa": -0.2}
    reference = {"ln10A_s": 3.0, "n_s": 0.965}
    draws = {
        "ln10A_s": np.array([2.5, 3.0, 3.4]),
        "n_s": np.array([0.9, 0.965, 1.05]),
        "logT_AGN": np.array([7.5, 7.8, 8.2]),
    }
    slope = float(toy.weights["layers"][0]["slope"][0])
    linear = closed_form({**background, **reference}, k, z) + slope * np.log(k)
    boost = np.broadcast_to(np.log1p(0.5 * k), (3, 4, len(k)))
    depth = 0.2 * (draws["logT_AGN"] - 7.0)[:, None, None]
    suppression = np.broadcast_to(np.log1p(-depth * k**2 / (k**2 + 9.0)), boost.shape)
    return Run(background, k, z, reference, linear, np.full(5, 0.8), draws, boost, suppression)


def test_a_run_of_the_suite_becomes_spectra_of_its_draws(toy):
    run = a_run(toy)
    theta, sigma_8, z, k, spectra = truth_of(run)
    np.testing.assert_allclose(
        spectra["linear"], truth_for(toy, {n: theta[n] for n in NAMES}, k, z), rtol=1e-12
    )
    assert sigma_8[1] == pytest.approx(0.8, rel=1e-12)
    expected = toy.sigma8({n: theta[n] for n in NAMES})[:, 0]
    np.testing.assert_allclose(sigma_8 / sigma_8[1], expected / expected[1], rtol=2e-4)
    found = compare_runs(toy, [run, run], spectra)
    assert set(found) == {"linear", "nonlinear", "nonlinear_baryons", "baryon_suppression"}
    for comparison in found.values():
        summary = comparison.summary()
        assert summary["whole"]["max"] < 3e-5 and summary["whole"]["cosmologies"] == 6


@pytest.mark.parametrize("shape", ["data=1", "data=2", "data=4,x=2"])
def test_cosmologies_over_a_mesh_are_compared_as_on_one_device(toy, shape):
    """Three draws, which divide over none of them."""
    runs, outputs = [a_run(toy)], ["linear", "baryon_suppression"]
    found, plain = compare_runs(toy, runs, outputs, build_mesh(shape)), compare_runs(toy, runs, outputs)
    for output in outputs:
        (one,), (other,) = found[output].blocks, plain[output].blocks
        np.testing.assert_allclose(one.ratio, other.ratio, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(one.theta["n_s"], other.theta["n_s"])


def test_runs_without_baryons_give_what_they_have(toy):
    run = replace(a_run(toy), suppression=None)
    assert set(compare_runs(toy, [run], ["linear", "nonlinear"])) == {"linear", "nonlinear"}
    with pytest.raises(DataError, match="without baryons"):
        compare_runs(toy, [run], ["nonlinear_baryons"])


def test_what_is_saved_is_what_was_found(toy, tmp_path):
    found = compare_runs(toy, [a_run(toy)], ["linear", "nonlinear"])
    summaries = save(tmp_path, found)
    assert json.loads((tmp_path / "spectra.json").read_text()) == summaries
    arrays = read_npz(tmp_path / "spectra.npz")
    np.testing.assert_array_equal(arrays["linear.k.p95"], found["linear"].along_k()["p95"])
    np.testing.assert_array_equal(arrays["nonlinear.worst.max"], found["nonlinear"].worst()["max"])
    empty = compare(toy, {"h": 0.7, **REST}, Z, K, truth_for(toy, {"h": [0.7], **REST}), "linear", [2.0])
    assert empty.summary()["core"] == {"cosmologies": 0, "values": 0}


REST = {"omega_b": [0.022], "omega_cdm": [0.12], "n_s": [0.96], "ln10A_s": [3.0]}
