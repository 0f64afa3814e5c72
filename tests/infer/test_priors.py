import jax
import jax.numpy as jnp
import numpy as np
import pytest
import standin
from scipy import stats

from galaxyjax.core.errors import ConfigError, UnknownName
from galaxyjax.infer import parameters
from galaxyjax.infer.priors import CorrelatedNormal, Normal, Prior, Uniform

MEAN = np.array([0.1, -0.2, 0.3])
COVARIANCE = np.array([[1.0, 0.6, 0.2], [0.6, 2.0, -0.3], [0.2, -0.3, 0.5]]) * 1e-4


def prior() -> Prior:
    return Prior(
        {
            "S8": Uniform(0.1, 1.3),
            "n_s": Normal(0.96, 0.02),
            ("dz_1", "dz_2", "dz_3"): CorrelatedNormal(MEAN, COVARIANCE),
            "m_nu": 0.06,
        }
    )


def vector(values, names):
    return jnp.stack([values[name] for name in names])


def test_the_density_of_the_coordinates_is_that_of_the_parameters_times_the_jacobian(float64):
    """log p(T(u)) + log |dT/du| by automatic differentiation, against the standard normal that is used."""
    p = prior()
    for seed in range(5):
        u = p.sample(jax.random.key(seed), dtype=jnp.float64)
        jacobian = jax.jacfwd(lambda v: vector(p.constrain(v), p.names))(u)
        expected = p.log_density(p.constrain(u)) + jnp.linalg.slogdet(jacobian)[1]
        np.testing.assert_allclose(p.log_density_u(u), expected, rtol=1e-10)


def test_log_density_is_scipy_s(float64):
    p = prior()
    values = {"S8": 0.7, "n_s": 0.93, "dz_1": 0.11, "dz_2": -0.21, "dz_3": 0.295}
    expected = stats.uniform.logpdf(0.7, 0.1, 1.2) + stats.norm.logpdf(0.93, 0.96, 0.02)
    expected += stats.multivariate_normal.logpdf([0.11, -0.21, 0.295], MEAN, COVARIANCE)
    np.testing.assert_allclose(p.log_density(values), expected, rtol=1e-12)
    assert p.log_density({**values, "S8": 1.31}) == -np.inf
    assert p.log_density({**values, "S8": 1.3}) > -np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_constrain_and_unconstrain_undo_each_other(float64, dtype):
    p = prior()
    u = p.sample(jax.random.key(3), (200,), dtype=dtype)
    values = p.constrain(u)
    assert all(value.dtype == dtype for value in values.values())
    assert float(values["m_nu"]) == np.asarray(0.06, dtype)
    np.testing.assert_allclose(p.unconstrain(values), u, atol=2e-3 if dtype == np.float32 else 1e-10)


def test_draws_have_the_moments_of_the_prior(float64):
    p = prior()
    values = p.constrain(p.sample(jax.random.key(0), (40000,)))
    assert float(values["S8"].mean()) == pytest.approx(0.7, abs=5 * 1.2 / np.sqrt(12 * 40000))
    assert stats.kstest(np.asarray(values["S8"]), stats.uniform(0.1, 1.2).cdf).pvalue > 1e-3
    shifts = np.stack([values[f"dz_{i}"] for i in (1, 2, 3)])
    np.testing.assert_allclose(shifts.mean(1), MEAN, atol=5 * 0.015 / 200)
    np.testing.assert_allclose(np.cov(shifts), COVARIANCE, atol=5 * 2e-4 * np.sqrt(2 / 40000))


def test_far_tails_stay_inside_and_finite():
    """At ten sigma a float32 distribution function rounds to 0 or 1: still inside the bounds, with finite
    slopes.
    """
    p = Prior({"x": Uniform(0.019, 0.026)})
    for u in (-30.0, -10.0, 10.0, 30.0):
        value, slope = jax.value_and_grad(lambda v: p.constrain(v)["x"])(jnp.array([u]))
        assert np.float32(0.019) <= value <= np.float32(0.026)
        assert np.isfinite(slope).all()


def test_a_prior_flat_in_S8_is_that_in_ln10A_s_times_half_S8(float64):
    """Sampling S8, against writing p(ln10A_s) = p(S8) |dS8 / dln10A_s| = p(S8) S8 / 2 with sigma_8 from the
    emulator.
    """
    emulator = standin.emulator()
    rest = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.7, "n_s": 0.96}

    def sigma_8(cosmo):
        return emulator.sigma8(cosmo.to_mapping())[..., 0]

    def amplitude(s8):
        return parameters.cosmology({**rest, "S8": s8}, sigma_8).ln10A_s

    for s8 in (0.6, 0.76, 0.9):
        ln10A_s, slope = jax.value_and_grad(amplitude)(jnp.asarray(s8))
        assert float(1.0 / slope) == pytest.approx(s8 / 2.0, rel=1e-12)
        cosmo = parameters.cosmology({**rest, "ln10A_s": ln10A_s}, sigma_8)
        back = parameters.derived({**rest, "ln10A_s": ln10A_s}, cosmo, sigma_8)
        assert float(back["S8"]) == pytest.approx(s8, rel=1e-10)


def test_every_parameterisation_names_the_same_cosmology(float64):
    emulator = standin.emulator()

    def sigma_8(cosmo):
        return emulator.sigma8(cosmo.to_mapping())[..., 0]

    base = {"omega_b": 0.0224, "omega_cdm": 0.12, "h": 0.7, "n_s": 0.96, "m_nu": 0.06}
    cosmo = parameters.cosmology({**base, "ln10A_s": jnp.asarray(3.0)}, sigma_8)
    columns = parameters.derived({"ln10A_s": 3.0}, cosmo, sigma_8)
    for given in (
        {**base, "sigma_8": columns["sigma_8"]},
        {**base, "S8": columns["S8"]},
        {**base, "A_s": columns["A_s_1e9"] * 1e-9},
        {"omega_b": 0.0224, "Omega_m": columns["Omega_m"], "H0": 70.0, "n_s": 0.96, "S8": columns["S8"]},
    ):
        other = parameters.cosmology({k: jnp.asarray(v) for k, v in given.items()}, sigma_8)
        for name, value in cosmo.to_mapping().items():
            np.testing.assert_allclose(other.to_mapping()[name], value, rtol=1e-9, err_msg=name)


def test_what_cannot_be_a_prior_is_refused():
    with pytest.raises(ConfigError, match="low below high"):
        Uniform(1.0, 1.0)
    with pytest.raises(ConfigError, match="positive std"):
        Normal(0.0, 0.0)
    with pytest.raises(ConfigError, match="not positive definite"):
        CorrelatedNormal([0, 0], [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(ConfigError, match="given twice"):
        Prior((("a", Uniform(0, 1)), ("a", Uniform(0, 1))))
    with pytest.raises(ConfigError, match="2 names for 1"):
        Prior({("a", "b"): Uniform(0, 1)})
    with pytest.raises(UnknownName, match="'n_s'"):
        prior().log_density({"S8": 0.7})
    with pytest.raises(ConfigError, match="S8 and sigma_8"):
        parameters.cosmology({"S8": 0.8, "sigma_8": 0.8}, None)
