"""Every page's run gives the posterior that a sum over a grid gives: no sampler, no adapter."""

import sys

import numpy as np
import pages
import pytest


def assert_same_posterior(draws, exact, data, covariance):
    """Some hundred effective draws know a mean to 0.1 sigma and a width to 7%; thrice that is allowed."""
    mean, std = exact(data, covariance)
    np.testing.assert_allclose((np.mean(draws, axis=0) - mean) / std, 0.0, atol=0.3)
    np.testing.assert_allclose(np.std(draws, axis=0) / std, 1.0, atol=0.2)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_cobaya_samples_with_its_own_sampler(exact, monkeypatch):
    pytest.importorskip("cobaya")
    monkeypatch.setattr(sys, "argv", ["page"])
    page = pages.run("cobaya")
    chain = page["chain"]
    draws = np.repeat(
        np.stack([chain.samples[:, chain.index[name]] for name in ("omch2", "logA")], axis=1),
        chain.weights.astype(int),
        axis=0,
    )
    # The page works in Mpc: (Mpc/h)^3 = Mpc^3 h^3.
    sigma = page["measured"]["sigma"] * 0.67**3
    assert_same_posterior(draws, exact, page["measured"]["data"] * 0.67**3, np.diag(sigma**2))
    amplitude = float(page["galaxyjax"].load("matter_power").sigma8(page["truth"])[0])
    assert chain.mean("sigma8") == pytest.approx(amplitude, abs=0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_scipy_and_emcee_through_the_numpy_door(exact):
    pytest.importorskip("emcee")
    page = pages.run("scipy_emcee")
    assert_same_posterior(page["draws"], exact, page["data"], page["covariance"])
    mean, std = exact(page["data"], page["covariance"])
    peak = page["posterior"].constrain(page["best"].x)
    np.testing.assert_allclose((peak - mean) / std, 0.0, atol=0.1)  # so near a normal that they coincide
    assert 0.0 < page["error"].max() < 3e-3
    assert set(page["slopes"]) == set(page["truth"])


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_numpyro_samples_a_model_and_a_whole_posterior(exact):
    pytest.importorskip("numpyro")
    page = pages.run("numpyro")
    covariance = np.diag(np.asarray(page["sigma"], float) ** 2)
    for samples in (page["mcmc"].get_samples(), page["samples"]):
        draws = np.stack([samples["omega_cdm"], samples["ln10A_s"]], axis=1)
        assert_same_posterior(draws, exact, page["data"], covariance)
    total = (0.0224 + page["samples"]["omega_cdm"] + 0.00064) / 0.67**2
    np.testing.assert_allclose(page["samples"]["Omega_m"], total, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_blackjax_in_a_loop_of_ones_own(exact):
    pytest.importorskip("blackjax")
    page = pages.run("blackjax")
    covariance = np.diag(np.asarray(page["sigma"], float) ** 2)
    assert_same_posterior(np.asarray(page["draws"]), exact, page["data"], covariance)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_networks_in_and_out_and_one_file_for_numpy():
    page = pages.run("cosmopower")
    assert page["error"]["p95"] < 0.01
    network = page["read_network"]("linear.npz")
    theta = page["theta"] | {"z": 0.5}
    ours = (
        page["emulator"].predict(page["theta"], k=network.modes / 0.67, z=0.5, output="linear")[0] / 0.67**3
    )
    np.testing.assert_allclose(network.predict(theta), ours, rtol=5 * page["error"]["p95"])
    k = np.geomspace(1e-3, 5.0, 100)
    expected = page["emulator"].numpy().predict(page["theta"], k=k, z=[0.0, 1.0], output="nonlinear")
    np.testing.assert_allclose(page["power"], expected, rtol=1e-6)
