"""The shelf's `matter_power` as it ships: against CAMB now, and against what its contract says of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import galaxyjax
from galaxyjax.core.errors import DomainError, GalaxyjaxError

K, Z = np.geomspace(1e-3, 10.0, 150), np.array([0.0, 0.6, 1.7, 2.9])
# Inside the domain and away from every training point by chance alone.
COSMOLOGIES = (
    {"omega_b": 0.0224, "omega_cdm": 0.119, "h": 0.677, "n_s": 0.967, "ln10A_s": 3.05, "logT_AGN": 7.8},
    {
        "omega_b": 0.0209,
        "omega_cdm": 0.151,
        "h": 0.74,
        "n_s": 0.92,
        "ln10A_s": 2.75,
        "m_nu": 0.25,
        "w0": -0.85,
        "wa": -0.4,
        "logT_AGN": 8.05,
    },
)


@pytest.fixture(scope="module")
def emulator():
    return galaxyjax.load("matter_power")


@pytest.mark.parametrize("theta", COSMOLOGIES, ids=("planck", "w0wa-neutrinos"))
def test_it_agrees_with_camb(emulator, theta):
    pytest.importorskip("camb", reason="needs CAMB: pip install 'galaxyjax[camb]'")
    from galaxyjax.simulate.boltzmann import OUTPUTS, power

    truth = power(theta, Z, K)
    for output in OUTPUTS:
        error = np.abs(np.asarray(emulator.predict(theta, k=K, z=Z, output=output)) / truth[output] - 1.0)
        assert np.percentile(error, 95) < 1e-3, output
        assert error.max() < 5e-3, output
    np.testing.assert_allclose(emulator.sigma8(theta, Z), truth["sigma8"], rtol=5e-4)


def test_the_contract_carries_the_error_that_was_asked_for(emulator):
    for output in ("linear", "nonlinear", "nonlinear_baryons"):
        core = emulator.contract.error["spectra"][output]["core"]
        assert core["cosmologies"] >= 200
        assert core["p95"] <= 1e-3 and core["p99"] <= 2.5e-3 and core["max"] <= 1.5e-2, output


def test_the_measured_error_has_the_size_that_the_contract_says(emulator):
    k, z = np.geomspace(2e-3, 9.0, 50), np.array([0.2, 1.0, 2.5])
    spread = emulator.error.spread("nonlinear", k, z)
    assert spread.shape == (3, 50)
    assert 5e-5 < np.median(spread) < emulator.contract.error["spectra"]["nonlinear"]["core"]["p95"]


@pytest.mark.usefixtures("float64")
def test_float32_is_as_good_as_float64(emulator):
    double = {name: jnp.asarray(value, jnp.float64) for name, value in COSMOLOGIES[1].items()}
    single = {name: value.astype(jnp.float32) for name, value in double.items()}
    args = {"output": "nonlinear_baryons"}
    one = emulator.predict(double, k=jnp.asarray(K), z=jnp.asarray(Z), **args)
    two = emulator.predict(single, k=jnp.asarray(K, jnp.float32), z=jnp.asarray(Z, jnp.float32), **args)
    assert one.dtype == jnp.float64 and two.dtype == jnp.float32
    np.testing.assert_allclose(two, one, rtol=5e-5)


def test_slopes_have_no_kinks_in_k_or_z(emulator):
    """Second differences of ln P along fine grids stay bounded: cubic, not linear, everywhere."""
    k = np.geomspace(0.9, 1.1, 801)

    def log_power(k, z):
        return jnp.log(emulator.predict(COSMOLOGIES[0], k=k, z=z, output="nonlinear"))

    slope = jax.vmap(jax.grad(lambda x: log_power(jnp.exp(x)[None], jnp.array([0.5]))[0, 0]))(jnp.log(k))
    assert np.abs(np.diff(slope)).max() < 5e-3 * np.ptp(slope) + 5e-4
    z = jnp.linspace(0.4, 0.6, 401)
    slope = jax.vmap(jax.grad(lambda z: log_power(jnp.array([1.0]), z[None])[0, 0]))(z)
    assert np.abs(np.diff(slope)).max() < 0.02 * np.ptp(slope) + 1e-4


def test_what_it_cannot_do_it_says(emulator):
    with pytest.raises(DomainError, match="m_nu.*0.9"):
        emulator.predict({**COSMOLOGIES[0], "m_nu": 0.9}, k=K, z=Z, output="linear")
    with pytest.raises(GalaxyjaxError, match="total matter"):
        emulator.predict(COSMOLOGIES[0], k=K, z=Z, output="nonlinear_cb")
    inside = jax.jit(lambda h: emulator.predict({**COSMOLOGIES[0], "h": h}, k=K, z=Z, output="linear"))
    assert np.isnan(inside(0.95)).all() and np.isfinite(inside(0.7)).all()
