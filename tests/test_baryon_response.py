"""The shelf's `baryon_response` as it ships: its simulations, an independent process, its own claims."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import galaxyjax
from galaxyjax.cli.recipe import load_recipe
from galaxyjax.core.errors import ConfigError, DomainError, UnknownName
from galaxyjax.core.files import read_npz
from galaxyjax.models.response import CONSTANT
from galaxyjax.simulate.responses import PARAMETERS, Responses
from galaxyjax.train.response import inside_hull
from galaxyjax.validate.responses import in_hull, leave_one_out, summarise

FOLDER = Path(__file__).parents[1] / "emulators" / "baryon_response"
COSMOLOGY = {"omega_b": 0.0224, "omega_cdm": 0.119, "h": 0.677, "n_s": 0.967, "ln10A_s": 3.05}
FEEDBACK = {"sigma_gas": -3.3, "sigma_star": -0.4, "jet": 0.2}
K, Z = np.geomspace(0.0317, 10.0, 40), np.array([0.0, 0.3, 1.7, 3.0])


@pytest.fixture(scope="module")
def emulator():
    return galaxyjax.load("baryon_response")


@pytest.fixture(scope="module")
def truth():
    arrays = read_npz(FOLDER / "validation" / "responses.npz")
    error = 1e-4 * arrays["k"]  # the package's own
    return Responses(arrays["theta"], arrays["k"], arrays["z"], arrays["log_response"], error)


def test_simulations_come_back_and_nothing_is_unknown_of_them(emulator, truth):
    theta = dict(zip(PARAMETERS, truth.theta.T, strict=True))
    k = np.clip(truth.k, *emulator.contract.k_range)
    found = emulator.predict(theta, k=k, z=truth.z, output="response")
    inside = truth.k < 31.6  # the last knot is at 31.62
    np.testing.assert_allclose(found[..., inside], np.exp(truth.log_response)[..., inside], rtol=3e-6)
    assert emulator.model.scale(emulator.weights, theta).max() < 1e-2
    typical = emulator.model.scale(emulator.weights, inside_hull(emulator.model))
    assert np.sqrt(np.mean(typical**2)) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.usefixtures("float64")
def test_it_is_one_gaussian_process_over_all_simulations(emulator, truth):
    """The joint process, solved at once: its kernel is the sum of the three, each with its own factor."""
    rate, (gas, stars, jets) = emulator.model.gas_rate, emulator.model.lengths
    ends = np.exp(rate * np.array(emulator.model.gas_range))

    def kernel(a, b):
        u, v = ((np.exp(rate * x[:, 0]) - ends[0]) / (ends[1] - ends[0]) for x in (a, b))
        near = [np.exp(-0.5 * ((u[:, None] - v) / length) ** 2) for length in (gas, stars, jets)]
        star, jet = np.minimum.outer(-a[:, 1], -b[:, 1]), np.minimum.outer(a[:, 2], b[:, 2])
        return CONSTANT + near[0] + star * near[1] + jet * near[2]

    points = np.stack([inside_hull(emulator.model)[name][:40] for name in PARAMETERS], axis=1)
    weights = np.linalg.solve(
        kernel(truth.theta, truth.theta) + 1e-9 * np.eye(9), kernel(truth.theta, points)
    )
    expected = np.exp(np.tensordot(weights.T, truth.log_response, 1))[..., :-1]
    theta = dict(zip(PARAMETERS, points.T, strict=True))
    found = emulator.predict(theta, k=truth.k[:-1], z=truth.z, output="response")
    np.testing.assert_allclose(found, expected, rtol=5e-6)


def test_what_the_contract_says_of_left_out_simulations_is_so(emulator, truth):
    with jax.enable_x64(True):
        training = load_recipe(FOLDER)[1].TRAINING
        results = leave_one_out(training, truth)
    found = summarise(results, truth.k, training.k_judged)
    stated = emulator.contract.error["left_out"]
    for name, row in stated["simulations"].items():
        assert found["simulations"][name] == pytest.approx(row, rel=1e-3)
    assert found["largest_inside"] <= 0.01
    assert 0.50 <= found["covered"] <= 0.85
    assert 0.50 <= found["simulations_within_sigma"] / found["count"] <= 0.85


def test_the_domain_is_the_hull_of_the_simulations(emulator, truth):
    rng = np.random.default_rng(0)
    box = rng.uniform(truth.theta.min(0), truth.theta.max(0), (60, 3))
    for point in box:
        theta = dict(zip(PARAMETERS, map(float, point), strict=True))
        if in_hull(point, truth.theta):
            emulator.predict(theta, k=[1.0], z=0.0, output="response")
        else:
            with pytest.raises(DomainError, match="hull|together"):
                emulator.predict(theta, k=[1.0], z=0.0, output="response")


@pytest.mark.usefixtures("float64")
def test_gradients_are_those_of_finite_differences(emulator):
    base = FEEDBACK | {"k": 2.3, "z": 0.7}

    def value(x):
        theta = {name: v for name, v in x.items() if name not in ("k", "z")}
        k, z = jnp.stack([x["k"], 0.01 * x["k"]]), x["z"][None]
        return jnp.log(emulator.predict(theta, k=k, z=z, output="response")).sum()

    point = {name: jnp.asarray(v, jnp.float64) for name, v in base.items()}
    compiled, slopes = jax.jit(value), jax.jit(jax.grad(value))(point)
    for name in (*FEEDBACK, "k", "z"):
        step = 1e-4
        near, far = (
            compiled(point | {name: point[name] + f * step})
            - compiled(point | {name: point[name] - f * step})
            for f in (1, 2)
        )
        assert float(slopes[name]) == pytest.approx(float(8 * near - far) / (12 * step), rel=1e-6)


def test_the_product_is_the_product_in_both_precisions(emulator):
    power = galaxyjax.load("matter_power")
    theta = COSMOLOGY | FEEDBACK
    alone = power.predict(COSMOLOGY, k=K, z=Z, output="nonlinear")
    factor = emulator.predict(FEEDBACK, k=K, z=Z, output="response")
    both = power.predict(theta, k=K, z=Z, output="nonlinear", baryons="baryon_response")
    np.testing.assert_allclose(both, alone * factor, rtol=1e-6)
    with jax.enable_x64(True):
        exact = emulator.predict(FEEDBACK, k=K, z=Z, output="response")
        assert exact.dtype == jnp.float64
    np.testing.assert_allclose(factor, exact, rtol=2e-6)
    each = emulator.predict(FEEDBACK, k=np.tile(K, (4, 1)), z=Z, output="response")
    np.testing.assert_allclose(each, factor, rtol=2e-6)


def test_batches_and_the_outside_under_jit(emulator):
    gas = jnp.array([-8.0, -1.0, 3.0])
    call = jax.jit(jax.vmap(lambda g: emulator.predict({"sigma_gas": g}, k=K, z=Z, output="response")))
    found = call(gas)
    assert np.isfinite(found[:2]).all() and np.isnan(found[2]).all()
    alone = emulator.predict({"sigma_gas": -1.0}, k=K, z=Z, output="response")
    np.testing.assert_allclose(found[1], alone, rtol=1e-6)


def test_large_scales_feel_nothing(emulator):
    factor = emulator.predict(FEEDBACK, k=[1e-4, 1e-3, 0.01], z=0.0, output="response")[0]
    np.testing.assert_allclose(factor, 1.0, atol=5e-5)


@pytest.mark.parametrize(
    ("theta", "output", "baryons", "complaint"),
    (
        (COSMOLOGY | {"logT_AGN": 7.8}, "nonlinear", "baryon_response", "logT_AGN.*both describe"),
        (COSMOLOGY | {"logT_AGN": 7.8}, "nonlinear_baryons", "baryon_response", "logT_AGN.*same effect"),
        (COSMOLOGY, "linear", "baryon_response", "gravity-only"),
        (COSMOLOGY, "nonlinear", "matter_power", "not response"),
    ),
)
def test_what_does_not_go_together_is_one_error(theta, output, baryons, complaint):
    power = galaxyjax.load("matter_power")
    with pytest.raises(ConfigError, match=complaint):
        power.predict(theta, k=K, z=Z, output=output, baryons=baryons)


def test_unknown_names_are_named(emulator):
    power = galaxyjax.load("matter_power")
    with pytest.raises(UnknownName, match="sigma_gas"):
        power.predict(COSMOLOGY | {"sigma_gaz": 0.0}, k=K, z=Z, output="nonlinear", baryons=emulator)
