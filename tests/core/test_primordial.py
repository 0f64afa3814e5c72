import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gradients import assert_gradients
from prior import PLANCK, camb_params, draw

from galaxyjax.core.cosmology import Cosmology
from galaxyjax.core.primordial import eisenstein_hu_no_wiggle, no_wiggle_power, primordial_power

K = np.geomspace(1e-4, 10.0, 40)


def test_primordial_spectrum_is_a_power_law_through_the_pivot(float64):
    cosmology = Cosmology(**PLANCK)
    pivot = 0.05 / cosmology.h  # 0.05 / Mpc, said in h/Mpc
    assert float(primordial_power(cosmology, pivot)) == pytest.approx(np.exp(3.045) * 1e-10, rel=1e-12)
    slope = jax.grad(lambda x: jnp.log(primordial_power(cosmology, jnp.exp(x))))(1.3)
    assert float(slope) == pytest.approx(0.965 - 1, rel=1e-9)


def test_primordial_spectrum_is_camb_s(float64):
    pytest.importorskip("camb")
    for cosmology in draw(3, seed=1):
        expected = camb_params(cosmology).scalar_power(K * cosmology.h)
        np.testing.assert_allclose(primordial_power(cosmology, K), expected, rtol=1e-10)


def eisenstein_hu_1998(k: float, omega_m: float, omega_b: float, theta: float) -> float:
    """Their section 4.2 as printed, k in 1/Mpc, one number at a time."""
    s = 44.5 * np.log(9.83 / omega_m) / np.sqrt(1 + 10 * omega_b ** (3 / 4))  # 26
    f_b = omega_b / omega_m
    alpha_gamma = 1 - 0.328 * np.log(431 * omega_m) * f_b + 0.38 * np.log(22.3 * omega_m) * f_b**2  # 31
    gamma_h = omega_m * (alpha_gamma + (1 - alpha_gamma) / (1 + (0.43 * k * s) ** 4))  # 30, times h
    q = k * theta**2 / gamma_h  # 28
    numerator = np.log(2 * np.e + 1.8 * q)  # 29
    return numerator / (numerator + (14.2 + 731 / (1 + 62.5 * q)) * q**2)


def test_no_wiggle_transfer_is_the_printed_formula(float64):
    for cosmology in draw(5, seed=2):
        expected = [
            eisenstein_hu_1998(k * cosmology.h, cosmology.omega_m, cosmology.omega_b, 2.7255 / 2.7) for k in K
        ]
        np.testing.assert_allclose(eisenstein_hu_no_wiggle(cosmology, K), expected, rtol=1e-12)


def test_no_wiggle_transfer_has_its_limits(float64):
    """1 on large scales; ln(k) / k^2 on small ones, so that the slope tends to -2 from above."""
    cosmology = Cosmology(**PLANCK)
    assert float(eisenstein_hu_no_wiggle(cosmology, 1e-6)) == pytest.approx(1.0, abs=1e-5)
    slope = jax.vmap(jax.grad(lambda x: jnp.log(eisenstein_hu_no_wiggle(cosmology, jnp.exp(x)))))
    slopes = slope(jnp.log(jnp.array([1e-5, 1e-2, 1.0, 1e4])))
    assert np.all(np.diff(slopes) < 0)
    assert -2.0 < float(slopes[-1]) < -1.9


def test_no_wiggle_power_runs_through_camb_s_spectrum(float64):
    """With massless neutrinos: 1.5% on large scales, 7% with the wiggles, at every redshift."""
    camb = pytest.importorskip("camb")
    for change in ({}, {"omega_cdm": 0.15, "h": 0.75, "n_s": 1.0, "w0": -0.9, "wa": -0.3}):
        cosmology = Cosmology(**PLANCK | {"m_nu": 0.0} | change)
        params = camb_params(cosmology)
        params.set_matter_power(redshifts=[0.0, 1.0, 3.0], kmax=20.0, silent=True)
        results = camb.get_results(params)
        k, z, power = results.get_matter_power_spectrum(minkh=1e-3, maxkh=10.0, npoints=30)
        ratio = np.asarray(no_wiggle_power(cosmology, k, np.array(z))) / power
        assert ratio.shape == power.shape
        assert np.all(np.abs(ratio - 1) < 0.08)
        assert np.all(np.abs(ratio[:, k < 5e-3] - 1) < 0.015)


def test_single_precision_is_enough(float64):
    z = np.array([0.0, 3.0])
    for cosmology in draw(4, seed=3):
        single = jax.tree.map(np.float32, cosmology)
        for name, function in (
            ("primordial", primordial_power),
            ("transfer", eisenstein_hu_no_wiggle),
            ("power", lambda c, k: no_wiggle_power(c, k, z.astype(k.dtype))),
        ):
            found, expected = function(single, K.astype(np.float32)), function(cosmology, K)
            assert found.dtype == jnp.float32, name
            np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)


def test_gradients_in_every_parameter(float64):
    k, z = K[::8], np.array([0.0, 2.0])
    cosmologies = [Cosmology(**PLANCK), *draw(3, seed=4)]
    assert_gradients(lambda c: jnp.log(eisenstein_hu_no_wiggle(c, k)), cosmologies)
    assert_gradients(lambda c: jnp.log(no_wiggle_power(c, k, z)), cosmologies)


def test_shapes():
    cosmology = Cosmology(**PLANCK)
    k = jnp.asarray(K)
    assert jax.eval_shape(no_wiggle_power, cosmology, k, 0.5).shape == (40,)
    assert jax.eval_shape(no_wiggle_power, cosmology, k, jnp.array([0.5, 1.0])).shape == (2, 40)
    assert jax.eval_shape(eisenstein_hu_no_wiggle, cosmology, k.reshape(4, 10)).shape == (4, 10)
