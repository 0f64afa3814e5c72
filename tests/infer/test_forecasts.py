"""Forecasts where the answer is known in closed form: a linear theory with normal errors and priors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError, UnknownName
from galaxyjax.infer.fisher import by_differences, fisher
from galaxyjax.infer.laplace import laplace
from galaxyjax.infer.likelihood import gaussian
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal, Normal, Prior, Uniform
from galaxyjax.infer.profile import best_fit, profile

RNG = np.random.default_rng(3)
DESIGN = RNG.standard_normal((9, 4))
ROOT = RNG.standard_normal((9, 9))
COVARIANCE = ROOT @ ROOT.T + np.eye(9)
NAMES = ("a", "b", "c", "d")
CENTRE = np.array([0.3, -0.2, 0.5, 1.0])
DATA = DESIGN @ CENTRE + RNG.multivariate_normal(np.zeros(9), COVARIANCE)
SHIFTS = np.array([[0.04, 0.01], [0.01, 0.09]])
LIKELIHOOD = gaussian(DATA, COVARIANCE)
INFORMATION = DESIGN.T @ np.linalg.solve(COVARIANCE, DESIGN)


def linear(values):
    return jnp.asarray(DESIGN) @ jnp.stack([values[name] for name in NAMES])


def curved(values):
    return jnp.sin(linear(values)) * jnp.exp(0.2 * values["a"])


def point():
    return dict(zip(NAMES, CENTRE, strict=True))


def posterior(prior, vector=linear):
    return Posterior(prior, lambda values: LIKELIHOOD.log_likelihood(vector(values)))


def test_of_a_linear_theory_it_is_the_normal_equations():
    found = fisher(linear, LIKELIHOOD, point(), NAMES)
    np.testing.assert_allclose(found.matrix, INFORMATION, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(INFORMATION), rtol=1e-10)
    assert found.conditional_sigma["b"] == pytest.approx(INFORMATION[1, 1] ** -0.5)
    known = found.fixed(["a", "d"])
    assert known.names == ("b", "c")
    np.testing.assert_allclose(known.covariance, np.linalg.inv(INFORMATION[1:3, 1:3]), rtol=1e-10)
    np.testing.assert_allclose(found.marginal(["d", "b"])[0, 1], np.linalg.inv(INFORMATION)[3, 1], rtol=1e-9)
    assert found.figure_of_merit(["a"]) == pytest.approx(1.0 / found.sigma["a"])
    assert (np.diag(found.correlation) == pytest.approx(1.0)) and np.abs(
        found.correlation
    ).max() < 1.0 + 1e-12


def test_priors_add_what_they_know_flat_ones_where_asked():
    prior = Prior(
        {"a": Uniform(-2, 2), "b": Normal(0.0, 0.3), ("c", "d"): CorrelatedNormal((0.5, 1.0), SHIFTS)}
    )
    added = fisher(linear, LIKELIHOOD, point(), NAMES, prior, flat=False).matrix - INFORMATION
    expected = np.zeros((4, 4))
    expected[1, 1], expected[2:, 2:] = 0.3**-2, np.linalg.inv(SHIFTS)
    np.testing.assert_allclose(added, expected, atol=1e-9)
    expected[0, 0] = 12.0 / 4.0**2
    added = fisher(linear, LIKELIHOOD, point(), NAMES, prior).matrix - INFORMATION
    np.testing.assert_allclose(added, expected, atol=1e-9)
    # With d known, c has its conditional variance.
    conditioned = fisher(linear, LIKELIHOOD, point(), ("a", "b", "c"), prior).matrix[2, 2] - INFORMATION[2, 2]
    assert conditioned == pytest.approx(1.0 / (SHIFTS[0, 0] - SHIFTS[0, 1] ** 2 / SHIFTS[1, 1]))


def test_derivatives_equal_differences():
    exact = fisher(curved, LIKELIHOOD, point(), NAMES)
    with jax.enable_x64(True):
        near = by_differences(curved, LIKELIHOOD, point(), dict.fromkeys(NAMES, 1e-5))
    np.testing.assert_allclose(near.matrix, exact.matrix, rtol=1e-7)


def test_what_the_data_do_not_measure_is_named():
    def blind(values):
        return linear({**values, "a": values["a"] + 2.0 * values["b"], "b": 0.0 * values["b"]})

    with pytest.raises(DataError, match="do not measure .*[ab]"):
        _ = fisher(blind, LIKELIHOOD, point(), NAMES).sigma
    with pytest.raises(DataError, match="say nothing about d"):
        _ = fisher(lambda v: linear({**v, "d": 0.0 * v["d"]}), LIKELIHOOD, point(), NAMES).sigma
    with pytest.raises(DataError, match="is not finite: is the point inside"):
        fisher(lambda v: linear(v) + jnp.sqrt(v["b"]), LIKELIHOOD, point(), NAMES)
    with pytest.raises(UnknownName, match="free parameter 'e'"):
        fisher(linear, LIKELIHOOD, point(), (*NAMES, "e"))
    with pytest.raises(ConfigError, match="named twice"):
        fisher(linear, LIKELIHOOD, point(), ("a", "a"))


def test_laplace_is_exact_where_the_posterior_is_normal():
    """The evidence is then the normal density of the data, C + A P A^T, over the likelihood's constant."""
    prior = Prior(
        {"a": Normal(0.1, 0.5), "b": Normal(0.0, 0.3), ("c", "d"): CorrelatedNormal((0.5, 1.0), SHIFTS)}
    )
    peak = laplace(posterior(prior))
    spread = np.zeros((4, 4))
    spread[0, 0], spread[1, 1], spread[2:, 2:] = 0.25, 0.09, SHIFTS
    centre = np.array([0.1, 0.0, 0.5, 1.0])
    covariance = np.linalg.inv(INFORMATION + np.linalg.inv(spread))
    mean = centre + covariance @ DESIGN.T @ np.linalg.solve(COVARIANCE, DATA - DESIGN @ centre)
    np.testing.assert_allclose(peak.values, mean, rtol=1e-6)
    np.testing.assert_allclose(peak.covariance, covariance, rtol=1e-6)
    total, residual = COVARIANCE + DESIGN @ spread @ DESIGN.T, DATA - DESIGN @ centre
    constant = np.linalg.slogdet(COVARIANCE)[1] - np.linalg.slogdet(total)[1]
    evidence = 0.5 * (constant - residual @ np.linalg.solve(total, residual))
    assert peak.log_evidence == pytest.approx(evidence, abs=1e-6)
    assert peak.newton_decrement < 1e-6 and peak.sigma["a"] == pytest.approx(
        covariance[0, 0] ** 0.5, rel=1e-6
    )


def test_laplace_refuses_what_has_no_peak():
    prior = Prior({"a": Normal(0.0, 1.0)})
    edge = Posterior(prior, lambda values: jnp.where(values["a"] < 1.0, 5.0 * values["a"], -jnp.inf))
    with pytest.raises(DataError, match="no peak at a = "):
        laplace(edge)


def test_of_a_linear_theory_the_profile_is_a_parabola_of_the_forecasts_width():
    prior = Prior(
        {"a": Uniform(-8, 8), "b": Uniform(-8, 8), ("c", "d"): CorrelatedNormal((0.5, 1.0), SHIFTS)}
    )
    free = fisher(linear, LIKELIHOOD, point(), NAMES, prior, flat=False)
    pulled = np.concatenate([[0.0, 0.0], np.linalg.solve(SHIFTS, np.array([0.5, 1.0]))])
    peak = free.covariance @ (DESIGN.T @ np.linalg.solve(COVARIANCE, DATA) + pulled)
    best, chi2 = best_fit(posterior(prior), point())
    np.testing.assert_allclose(list(best.values()), peak, atol=1e-4)
    sigma = free.sigma["a"]
    grid = peak[0] + sigma * np.linspace(-2.6, 2.6, 11)
    found = profile(posterior(prior), "a", grid, point())
    np.testing.assert_allclose(found.delta, ((grid - peak[0]) / sigma) ** 2, atol=1e-4)
    assert found.chi2.min() >= chi2 - 1e-6 and found.best_fit == pytest.approx(peak[0], abs=1e-4 * sigma)
    assert found.interval(1.0) == pytest.approx((peak[0] - sigma, peak[0] + sigma), abs=1e-3 * sigma)
    assert found.interval(9.0) == (None, None)  # beyond the grid
    assert found.names == ("b", "c", "d") and found.best.shape == (11, 3)


def test_a_profile_that_cannot_be_traced():
    prior = Prior({name: Uniform(-2, 2) for name in NAMES})
    with pytest.raises(UnknownName, match="'e'"):
        profile(posterior(prior), "e", np.linspace(0, 1, 5), point())
    with pytest.raises(ConfigError, match="leaves its prior"):
        profile(posterior(prior), "a", np.linspace(0, 3, 5), point())
    with pytest.raises(ConfigError, match="5 ascending"):
        profile(posterior(prior), "a", [0.0, 1.0], point())
