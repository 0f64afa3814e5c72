"""The family `Spectrum`: its physics holds for any weights, its gradients equal finite differences."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.background import growth_early
from galaxyjax.core.cosmology import Cosmology
from galaxyjax.models.growth_proxy import log_growth
from galaxyjax.models.spectrum import Spectrum

MODEL = Spectrum(components=(8, 4, 3, 5, 3), boost_widths=(16, 16), suppression_widths=(8,))
X = {
    "omega_b": 0.0224,
    "omega_cdm": 0.12,
    "h": 0.68,
    "n_s": 0.965,
    "ln10A_s": 3.05,
    "m_nu": 0.1,
    "w0": -0.9,
    "wa": 0.1,
    "logT_AGN": 7.9,
}
K, Z = jnp.geomspace(1e-3, 9.0, 40), jnp.array([0.0, 0.7, 2.9])


@pytest.fixture(scope="module")
def weights():
    """Random networks and smooth, small bases: nothing in the facts below may depend on training."""
    weights = MODEL.init(jax.random.key(0))
    knots = jnp.arange(MODEL.k_nodes + 2)
    for i, name in enumerate(("shape", "wiggle", "growth", "boost", "suppression")):
        count = len(weights[name]["basis"])
        waves = 2 * jnp.pi * knots / (20.0 + 10.0 * jnp.arange(count)[:, None])
        weights[name]["basis"] = 1e-2 * jnp.sin(waves + i)
    return weights


def doubles(tree):
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)


@partial(jax.jit, static_argnums=4)
def power(weights, x, k, z, output):
    return MODEL.power(weights, x, k, z, output)


def test_hyperparameters_survive_json():
    again = Spectrum(**json.loads(json.dumps(MODEL.hyperparameters())))
    assert again == MODEL and hash(again) == hash(MODEL)


@pytest.mark.parametrize("output", ("linear", "nonlinear_baryons"))
def test_batches_and_own_wavenumbers_agree_with_one_at_a_time(weights, output):
    batch = {name: jnp.asarray(value) * jnp.array([1.0, 1.01]) for name, value in X.items()}
    together = power(weights, batch, K, Z, output)
    assert together.shape == (2, 3, 40) and together.dtype == jnp.float32
    for i in range(2):
        alone = power(weights, {name: value[i] for name, value in batch.items()}, K, Z, output)
        np.testing.assert_allclose(together[i], alone, rtol=2e-5)
    own = power(weights, batch, jnp.broadcast_to(K, (3, 40)), Z, output)
    np.testing.assert_allclose(own, together, rtol=2e-5)


def test_the_amplitude_scales_linear_power_and_sigma8_exactly(weights):
    brighter = {**X, "ln10A_s": X["ln10A_s"] + 0.5}
    ratio = power(weights, brighter, K, Z, "linear") / power(weights, X, K, Z, "linear")
    np.testing.assert_allclose(ratio, np.exp(0.5), rtol=2e-6)
    ratio = MODEL.sigma8(weights, brighter, Z) / MODEL.sigma8(weights, X, Z)
    np.testing.assert_allclose(ratio, np.exp(0.25), rtol=2e-6)


def test_the_tilt_is_exact(weights):
    tilted = {**X, "n_s": 1.0}
    ratio = power(weights, tilted, K, Z, "linear") / power(weights, X, K, Z, "linear")
    np.testing.assert_allclose(ratio[1], (K * X["h"] / 0.05) ** 0.035, rtol=2e-6)


def test_baryons_are_the_nonlinear_spectrum_times_the_suppression(weights):
    product = power(weights, X, K, Z, "nonlinear") * power(weights, X, K, Z, "baryon_suppression")
    np.testing.assert_allclose(power(weights, X, K, Z, "nonlinear_baryons"), product, rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_sigma8_is_the_integral_over_its_own_spectrum(weights):
    k = jnp.geomspace(1e-4, 10.0, 4000)
    spectrum = power(doubles(weights), doubles(X), k, doubles(Z), "linear")
    x = 8.0 * k
    window = 3.0 * (jnp.sin(x) - x * jnp.cos(x)) / x**3
    variance = jnp.trapezoid(spectrum * window**2 * k**3 / (2 * jnp.pi**2), jnp.log(k), axis=-1)
    found = MODEL.sigma8(doubles(weights), doubles(X), doubles(Z))
    np.testing.assert_allclose(found, jnp.sqrt(variance), rtol=2e-4)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("output", ("linear", "nonlinear_baryons"))  # between them every network
def test_gradients_equal_finite_differences(weights, output):
    w, k, z, names = doubles(weights), doubles(K[::4]), doubles(Z[1:]), tuple(X)

    def log_power(vector):
        return jnp.log(MODEL.power(w, dict(zip(names, vector, strict=True)), k, z, output))

    x = jnp.array([X[name] for name in names])
    steps = 1e-5 * jnp.maximum(jnp.abs(x), 0.1)
    derivative = jax.jit(jax.jacfwd(log_power))(x)
    points = jnp.concatenate([x + jnp.diag(steps), x - jnp.diag(steps)])
    above, below = jnp.split(jax.jit(jax.vmap(log_power))(points), 2)
    numeric = jnp.moveaxis((above - below) / (2 * steps[:, None, None]), 0, -1)
    np.testing.assert_allclose(derivative, numeric, atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_the_closed_form_growth_is_good_to_a_percent():
    rng = np.random.default_rng(0)
    for _ in range(20):
        w0 = rng.uniform(-1.3, -0.5)
        x = {"h": 0.7, "w0": w0, "wa": rng.uniform(-1.5, -0.45 - w0), "omega_cdm": rng.uniform(0.08, 0.2)}
        cosmology = Cosmology(omega_b=0.022, n_s=1.0, ln10A_s=3.0, m_nu=0.0, **x)
        z = jnp.linspace(0.0, 3.0, 7)
        proxy, _ = log_growth(*jnp.broadcast_arrays(cosmology.Omega_m, x["w0"], x["wa"], z))
        exact = jnp.log(growth_early(cosmology, z))
        np.testing.assert_allclose(proxy - proxy[0], exact - exact[0], atol=0.012)


def test_what_a_model_keeps_of_its_first_call_is_float64_whatever_that_call_was():
    """The baseline's spline, cached: rounded to a first float32 call it would cost float64 5e-6 of P."""
    kept = []
    for double in (False, True):
        with jax.enable_x64(double):
            kept.append(Spectrum(k_nodes=64)._coarse[1])
    np.testing.assert_allclose(kept[0], kept[1], rtol=0.0, atol=1e-14)
