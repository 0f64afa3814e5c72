"""The cosmic-shear posterior: gradients, precision, the domain, and KiDS-1000 itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import standin

from galaxyjax.emulator.error import ErrorModel, OutputError
from galaxyjax.infer.shear import likelihood_of
from galaxyjax.infer.surveys.kids1000 import KiDS1000
from galaxyjax.simulate.mock import load_mock, load_truth

PEAK = {"S8": 0.78, "omega_cdm": 0.12, "omega_b": 0.0224, "h": 0.7, "n_s": 0.96, "A_IA": 0.5, "logT_AGN": 7.8}


@pytest.fixture(scope="module")
def survey():
    return load_mock()


@pytest.fixture(scope="module")
def posterior(survey):
    return KiDS1000().posterior(standin.emulator(), survey)


@pytest.fixture(scope="module")
def evaluate(posterior):
    """Value and gradient of the log posterior, compiled once in float64."""
    with jax.enable_x64(True):
        shape = jax.ShapeDtypeStruct((posterior.dimension,), jnp.float64)
        compiled = jax.jit(jax.value_and_grad(posterior.log_density)).lower(shape).compile()

    def call(u):
        with jax.enable_x64(True):
            value, slope = compiled(jnp.asarray(u, jnp.float64))
            return float(value), np.asarray(slope)

    return call


def coordinates(posterior, **changes):
    values = PEAK | {f"dz_{i}": 0.0 for i in range(1, 6)} | changes
    with jax.enable_x64(True):
        values = {name: jnp.asarray(value, jnp.float64) for name, value in values.items()}
        return np.asarray(posterior.prior.unconstrain(values))


def test_the_gradient_is_that_of_finite_differences(posterior, evaluate):
    """Central differences in float64, every coordinate: n(z) shifts, A_IA, feedback and S8 through sigma_8
    included.
    """
    u = coordinates(posterior) + 0.1
    _, slope = evaluate(u)
    for i in range(posterior.dimension):
        step = np.zeros_like(u)
        step[i] = 1e-4
        # Fourth order: two steps, so that truncation is far below the tolerance.
        one, two = (evaluate(u + f * step)[0] - evaluate(u - f * step)[0] for f in (1, 2))
        expected = (8 * one - two) / (12 * 1e-4)
        assert slope[i] == pytest.approx(expected, rel=1e-6, abs=1e-6 * np.abs(slope).max()), (
            posterior.prior.names[i]
        )


def test_float32_moves_the_log_posterior_by_less_than_a_hundredth(posterior, evaluate):
    compiled = jax.jit(posterior.log_density)
    for shift in (0.0, 0.2):
        u = coordinates(posterior) + shift
        single = compiled(jnp.asarray(u, jnp.float32))
        assert single.dtype == jnp.float32
        assert float(single) == pytest.approx(evaluate(u)[0], abs=0.01, rel=1e-5)


def test_outside_the_domain_the_density_is_zero_and_its_slope_finite(posterior, evaluate):
    """S8 = 0.3 at a high Omega_m wants ln10A_s below 1.6: refused, with nothing that is not a number."""
    value, slope = evaluate(coordinates(posterior, S8=0.3, omega_cdm=0.19, h=0.66))
    assert value == -np.inf
    assert np.isfinite(slope).all()


def test_derived_columns_agree_with_the_emulator(posterior):
    u = jnp.asarray(coordinates(posterior), jnp.float32)
    got = dict(zip(posterior.quantity_names, np.asarray(posterior.quantities(u), float), strict=True))
    assert got["S8"] == pytest.approx(0.78, rel=1e-5)
    theta = {name: got[name] for name in ("omega_b", "omega_cdm", "h", "n_s", "ln10A_s")}
    expected = standin.emulator().derived(theta)
    for name in ("S8", "sigma_8", "Omega_m"):
        assert got[name] == pytest.approx(float(expected[name]), rel=2e-5), name


def test_the_measured_error_of_the_emulator_is_in_the_covariance(survey, float64):
    """One mode, a constant 2% of P, is 2% of the band powers: v v^T is known, and so is its effect on
    chi2.
    """
    nk, nz = 8, 4
    flat = np.full((1, nz, nk), 0.02)
    entry = OutputError(
        np.geomspace(1e-4, 10, nk), np.linspace(0, 3, nz), np.zeros((nz, nk)), flat, np.zeros((nz, nk)),
        np.array([95.0]), np.zeros((1, nz, nk)),
    )  # fmt: skip
    emulator = standin.emulator(ErrorModel({"nonlinear_baryons": entry}))
    analysis = KiDS1000()
    fiducial = analysis.fiducial(survey)
    model = analysis.model(emulator, survey)
    vector = np.asarray(jax.jit(model.vector)({k: jnp.asarray(v, float) for k, v in fiducial.items()}))
    modes = model.error_modes(fiducial)
    np.testing.assert_allclose(modes[1], 0.02 * vector, rtol=1e-10)
    np.testing.assert_allclose(modes[0], 0.0, atol=1e-20)
    total = survey.covariance + 4e-4 * np.outer(vector, vector)
    residual = survey.data - 1.1 * vector
    expected = residual @ np.linalg.solve(total, residual)
    assert float(likelihood_of(model, survey, fiducial).chi2(1.1 * vector)) == pytest.approx(
        expected, rel=1e-9
    )


def test_the_prior_is_the_published_one(survey):
    prior = KiDS1000().prior(survey)
    assert prior.names[:7] == ("S8", "omega_cdm", "omega_b", "h", "n_s", "A_IA", "logT_AGN")
    assert prior.bounds["S8"] == (0.1, 1.3) and prior.bounds["A_IA"] == (-6.0, 6.0)
    assert prior.fixed == {"m_nu": 0.06, "w0": -1.0, "wa": 0.0}
    assert KiDS1000(**KiDS1000(h=0.7).as_dict()) == KiDS1000(h=0.7)
    assert "h" not in KiDS1000(h=0.7).prior(survey).names
    truth = load_truth()["parameters"]
    assert all(low <= truth[name] <= high for name, (low, high) in prior.bounds.items() if name in truth)


def test_alignment_may_evolve_and_shear_be_miscalibrated(survey):
    """eta_IA is sampled when given a range; m_i multiplies pairs (i, j) by (1 + m_i)(1 + m_j)."""
    analysis = KiDS1000(eta_IA=(-5.0, 5.0))
    assert "eta_IA" in analysis.prior(survey).names and "eta_IA" not in KiDS1000().prior(survey).names
    model = analysis.model(standin.emulator(), survey)
    values = {name: jnp.asarray(value) for name, value in analysis.fiducial(survey).items()}
    biases = np.array([0.02, -0.01, 0.03, 0.0, 0.01])
    with_m = values | {f"m_{i + 1}": jnp.asarray(m) for i, m in enumerate(biases)}
    plain, biased, evolved = (
        np.asarray(jax.jit(model.vector)(v)) for v in (values, with_m, values | {"eta_IA": jnp.asarray(3.0)})
    )
    expected = np.prod(1.0 + biases[survey.pairs - 1], axis=1)
    np.testing.assert_allclose(biased / plain, np.repeat(expected, survey.nband), rtol=1e-5)
    assert np.abs(evolved / plain - 1.0).max() > 1e-3
