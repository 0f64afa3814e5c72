"""The sampler against posteriors whose moments are known."""

import os
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from galaxyjax.core.errors import ConfigError, DataError, FileError, UnknownName
from galaxyjax.infer import kernel
from galaxyjax.infer import sample as module
from galaxyjax.infer.diagnostics import convergence
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal, Normal, Prior, Uniform
from galaxyjax.infer.sample import Sampler, sample
from galaxyjax.mesh.budget import collectives

RNG = np.random.default_rng(11)
DIMENSION = 5
NAMES = tuple(f"x_{i}" for i in range(DIMENSION))
FACTOR = RNG.normal(size=(DIMENSION, DIMENSION))
PRIOR_MEAN = RNG.normal(size=DIMENSION)
PRIOR_COVARIANCE = FACTOR @ FACTOR.T + 0.1 * np.eye(DIMENSION)
DESIGN = RNG.normal(size=(12, DIMENSION)) * np.geomspace(0.03, 10.0, DIMENSION)
MEASURED = DESIGN @ RNG.normal(size=DIMENSION) + RNG.normal(size=12)
# Conjugate: the posterior is normal with these moments.
PRECISION = np.linalg.inv(PRIOR_COVARIANCE) + DESIGN.T @ DESIGN
COVARIANCE = np.linalg.inv(PRECISION)
MEAN = COVARIANCE @ (np.linalg.solve(PRIOR_COVARIANCE, PRIOR_MEAN) + DESIGN.T @ MEASURED)


def linear() -> Posterior:
    """A linear model of normal data under a correlated normal prior, with a derived column."""

    def log_likelihood(values):
        x = jnp.stack([values[name] for name in NAMES])
        return -0.5 * jnp.sum((jnp.asarray(MEASURED, x.dtype) - jnp.asarray(DESIGN, x.dtype) @ x) ** 2)

    return Posterior(
        Prior({NAMES: CorrelatedNormal(PRIOR_MEAN, PRIOR_COVARIANCE)}),
        log_likelihood,
        lambda values: {"sum": sum(values[name] for name in NAMES)},
        identity="linear",
    )


@pytest.fixture(scope="module")
def drawn():
    # Of squares some 4000 count: a variance is known to 2%, 10% is five deviations.
    return sample(linear(), Sampler(ess=5000.0))


def test_a_correlated_normal_posterior_has_its_moments(drawn):
    """Means within 5 Monte Carlo errors, covariance and the derived column's spread within 10%."""
    assert drawn.converged and drawn.convergence.max_r_hat < 1.01 and drawn.convergence.min_ess >= 5000
    flat = drawn.quantities.reshape(-1, DIMENSION + 1).astype(float)
    sigma = np.sqrt(np.diag(COVARIANCE))
    errors = sigma / np.sqrt(drawn.convergence.ess_bulk[:DIMENSION])
    np.testing.assert_array_less(np.abs(flat[:, :DIMENSION].mean(0) - MEAN), 5 * errors)
    scaled = (np.cov(flat[:, :DIMENSION].T) - COVARIANCE) / np.outer(sigma, sigma)
    assert np.abs(scaled).max() < 0.1
    assert flat[:, -1].std() == pytest.approx(np.sqrt(COVARIANCE.sum()), rel=0.1)
    assert drawn.divergences == 0


def test_the_fit_is_the_posterior_itself_when_that_is_normal(drawn):
    """Newton's method in the prior's whitened coordinates: mode and covariance, transformed, are the moments
    above.
    """
    factor = np.linalg.cholesky(PRIOR_COVARIANCE)
    assert drawn.fit.converged
    sigma = np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose((PRIOR_MEAN + factor @ drawn.fit.mode - MEAN) / sigma, 0, atol=0.05)
    covariance = factor @ drawn.fit.covariance @ factor.T
    np.testing.assert_allclose(
        covariance / np.outer(sigma, sigma), COVARIANCE / np.outer(sigma, sigma), atol=0.05
    )


def test_it_is_worth_its_gradients(drawn):
    """With the fit's metric trajectories are short: a fifth of an effective draw per gradient in 5
    dimensions.
    """
    assert drawn.convergence.min_ess / (drawn.gradients - drawn.warmup_gradients) > 0.1
    assert drawn.warmup_gradients < 6000


def test_the_reported_diagnostics_are_those_of_the_draws(drawn):
    again = convergence(drawn.quantities)
    assert again.max_r_hat == drawn.convergence.max_r_hat and again.min_ess == drawn.convergence.min_ess
    assert drawn.draws.gradients.sum() == drawn.gradients - drawn.warmup_gradients


def test_a_banana_has_its_moments():
    """x ~ N(0, 1), y | x ~ N(x^2 / 2, 0.5): <y> = 1/2, var y = 1/2 + 1/4, and the correlation of y with
    x^2.
    """

    def log_likelihood(values):
        # Normal(0, 3) is the prior of y; divided out, so that the posterior is the banana.
        return -0.5 * ((values["y"] - 0.5 * values["x"] ** 2) / 0.5) ** 2 + 0.5 * (values["y"] / 3.0) ** 2

    posterior = Posterior(Prior({"x": Normal(0.0, 1.0), "y": Normal(0.0, 3.0)}), log_likelihood)
    got = sample(posterior, Sampler(ess=1500.0, r_hat=1.02, acceptance=0.9))
    x, y = got.column("x").ravel(), got.column("y").ravel()
    assert got.converged
    assert x.mean() == pytest.approx(0.0, abs=5 / np.sqrt(1500))
    assert x.std() == pytest.approx(1.0, rel=0.08)
    assert y.mean() == pytest.approx(0.5, abs=5 * np.sqrt(0.75 / 1500))
    assert y.std() == pytest.approx(np.sqrt(0.75), rel=0.12)
    assert np.corrcoef(y, x**2)[0, 1] == pytest.approx(np.sqrt(0.5 / 0.75), abs=0.06)


@pytest.mark.slow
def test_true_values_have_uniform_ranks_among_the_draws():
    """Simulation-based calibration (Talts et al. 2018), 60 data sets in one run: independent parameters, each
    with its own.

    theta ~ U(0, 1), data ~ N(theta, 0.3): posteriors cut by the prior's bounds on either side.
    """
    rng = np.random.default_rng(2)
    n = 60
    truth = rng.random(n)
    data = rng.normal(truth, 0.3)
    names = [f"t_{i}" for i in range(n)]

    def log_likelihood(values):
        theta = jnp.stack([values[name] for name in names])
        return -0.5 * jnp.sum(((jnp.asarray(data, theta.dtype) - theta) / 0.3) ** 2)

    posterior = Posterior(Prior({name: Uniform(0.0, 1.0) for name in names}), log_likelihood)
    got = sample(posterior, Sampler(ess=400.0, r_hat=1.03))
    flat = got.quantities.reshape(-1, n)
    ranks = (flat < truth).mean(0)
    assert stats.kstest(ranks, "uniform").pvalue > 0.01
    assert flat.min() >= 0.0 and flat.max() <= 1.0


def test_a_wall_inside_the_prior_is_respected_and_counted():
    """Half of a normal: the density is zero (NaN, even) above 0.2, and the sampler says how often it ran
    into that.
    """

    def log_likelihood(values):
        x = values["x"]
        return jnp.where(x < 0.2, 0.0, jnp.nan)

    posterior = Posterior(Prior({"x": Normal(0.0, 1.0)}), log_likelihood)
    got = sample(posterior, Sampler(r_hat=1.05, min_draws=400))
    x = got.column("x").ravel()
    assert x.max() < 0.2
    expected = stats.truncnorm(-np.inf, 0.2)
    assert x.mean() == pytest.approx(
        expected.mean(), abs=6 * expected.std() / np.sqrt(got.convergence.min_ess)
    )
    assert 0 < got.outside <= got.divergences


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "kind, after",
    [("nuts", 2), ("nuts", 9), ("mclmc", 4), pytest.param("adjusted-mclmc", 9, marks=pytest.mark.slow)],
)  # in the warm-up, and later
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch, kind, after):
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    sampler = Sampler(kind=kind, ess=1e9, max_draws=150, block=25, seed=4)
    whole = sample(linear(), sampler)

    count = 0
    advance = module.Progress.advance

    def dies(self, *args, **metrics):
        nonlocal count
        count += 1
        if count > after:
            raise Killed
        advance(self, *args, **metrics)

    with monkeypatch.context() as patch:
        patch.setattr(module.Progress, "advance", dies)
        with pytest.raises(Killed):
            sample(linear(), sampler, tmp_path)
    resumed = sample(linear(), sampler, tmp_path)
    for name in whole.draws._fields:
        np.testing.assert_array_equal(getattr(resumed.draws, name), getattr(whole.draws, name), err_msg=name)
    assert resumed.gradients == whole.gradients and resumed.step_size == whole.step_size
    # Taken up when it has ended, it draws nothing more; asked for more, it goes on.
    again = sample(linear(), sampler, tmp_path)
    np.testing.assert_array_equal(again.draws.position, whole.draws.position)
    with pytest.raises(ConfigError, match="another posterior"):
        sample(linear(), replace(sampler, seed=5), tmp_path)
    with pytest.raises(ConfigError, match="another posterior"):
        sample(replace(linear(), identity="other data"), sampler, tmp_path)
    state = tmp_path / module.STATE_FILE
    state.write_bytes(state.read_bytes()[:2000])
    with pytest.raises(FileError, match=r"state\.npz"):
        sample(linear(), sampler, tmp_path)


SHARDED = """
import sys; sys.path.insert(0, {folder!r})
import jax; jax.config.update("jax_num_cpu_devices", 8); jax.config.update("jax_enable_x64", True)
import numpy as np
from test_sample import linear
from galaxyjax.infer.sample import Sampler, sample
for kind in sys.argv[1:]:
    counts = (1, 4, 8) if kind == "nuts" else (1, 8)
    # Measured: 1e-8 to 3e-7, of the warm-up's step size (see below).
    atol = 1e-6
    sampler = Sampler(kind=kind, chains=8, dtype="float64", ess=1e9, max_draws=50, warmup=(1, 1))
    draws = [sample(linear(), sampler, devices=jax.devices()[:devices]).draws for devices in counts]
    for other in draws[1:]:
        np.testing.assert_array_equal(other.gradients, draws[0].gradients)
        np.testing.assert_allclose(other.position, draws[0].position, rtol=0, atol=atol)
print("equal")
"""

# A warm-up begins with too long a step: such trajectories magnify rounding, their acceptance moves the step,
# by 1e-9 for nuts and, where the number of steps follows from it, by more. So at one step and length.
ONE_BLOCK = """
import sys; sys.path.insert(0, {folder!r})
import jax; jax.config.update("jax_num_cpu_devices", 8); jax.config.update("jax_enable_x64", True)
import numpy as np
from test_sample import DIMENSION, linear
from galaxyjax.infer import kernel
from galaxyjax.infer.sample import Sampler, transition
posterior = linear()
start = np.random.default_rng(0).normal(size=(8, DIMENSION))
value, slope = jax.vmap(jax.value_and_grad(posterior.log_density))(start)
keys = jax.random.split(jax.random.key(0), 8)
for kind in sys.argv[1:]:
    move = transition(posterior.log_density, Sampler(kind=kind, dtype="float64"))
    tuned = kernel.tuned(0.3 * np.eye(DIMENSION), 3.0)
    found = []
    for count in (1, 4, 8):
        mesh = kernel.chain_mesh(8, jax.devices()[:count])
        state = kernel.place(mesh, kernel.start_state(start, value, slope, 0.02))
        block = kernel.build_block(move, 40, 0.8, mesh)
        whole = kernel.place(mesh, (tuned, np.int32(0), np.bool_(False)), kernel.WHOLE)
        found.append(jax.device_get(block(kernel.place(mesh, keys), state, *whole)[1]))
    for other in found[1:]:
        np.testing.assert_array_equal(other.gradients, found[0].gradients)
        np.testing.assert_allclose(other.position, found[0].position, rtol=0, atol=1e-9)
    assert np.ptp(found[0].position, axis=1).max(1).min() > 0.1
print("equal")
"""


@pytest.mark.parametrize(
    "script, kinds",
    [
        (SHARDED, ["nuts"]),
        pytest.param(SHARDED, ["mclmc"], marks=pytest.mark.slow),
        pytest.param(ONE_BLOCK, ["nuts", "mclmc", "adjusted-mclmc"], marks=pytest.mark.slow),
    ],
    ids=["nuts", "mclmc", "block"],
)
def test_chains_laid_over_4_and_8_devices_are_those_of_one(script, kinds):
    """Forced host devices: the same decisions in every transition, positions to rounding."""
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    folder = os.path.dirname(__file__)
    done = subprocess.run(
        [sys.executable, "-c", script.format(folder=folder), *kinds],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "equal"


def test_devices_send_each_other_nothing_in_a_block():
    """Also no flag by which a loop would wait for the slowest chain; with the check of varying axes on."""
    mesh = kernel.chain_mesh(8, jax.devices()[:4])
    keys = kernel.place(mesh, jax.random.split(jax.random.key(0), 8))
    zero = np.zeros((8, DIMENSION), np.float32)
    state = kernel.place(mesh, kernel.start_state(zero, zero[:, 0], zero, 0.5))
    tuned = kernel.tuned(np.eye(DIMENSION, dtype=np.float32))
    whole = kernel.place(mesh, (tuned, np.int32(0), np.bool_(True)), kernel.WHOLE)
    block = kernel.build_block(kernel.nuts(linear().log_density, 6), 5, 0.8, mesh)
    compiled = block.lower(keys, state, *whole).compile()
    assert mesh.size == 4 and "while" in compiled.as_text()
    assert collectives(compiled) == []


@pytest.mark.parametrize("kind, least", [("mclmc", 0.2), ("adjusted-mclmc", 0.15)])
def test_microcanonical_chains_have_the_moments_too(kind, least):
    """Means within 5 Monte Carlo errors, deviations within 5 errors of 1.8%; the unadjusted one's own bias
    adds at most 0.05 sigma to the means, 4% to the deviations.
    """
    got = sample(linear(), Sampler(kind=kind, ess=1500.0))
    assert got.converged and got.divergences == 0
    flat = got.quantities.reshape(-1, DIMENSION + 1).astype(float)[:, :DIMENSION]
    sigma = np.sqrt(np.diag(COVARIANCE))
    errors = sigma * (5 / np.sqrt(got.convergence.ess_bulk[:DIMENSION]) + (0.05 if kind == "mclmc" else 0))
    np.testing.assert_array_less(np.abs(flat.mean(0) - MEAN), errors)
    assert np.abs(flat.std(0) / sigma - 1.0).max() < 5 * 0.018 + (0.04 if kind == "mclmc" else 0)
    assert got.convergence.min_ess / (got.gradients - got.warmup_gradients) > least


def test_a_wall_turns_unadjusted_chains_round_and_leaves_the_density_flat_beside_it():
    """A normal cut at 0.2 in one of three directions: thrown back in any direction, chains would pile
    up there.
    """

    def log_likelihood(values):
        return jnp.where(values["x"] < 0.2, 0.0, -jnp.inf)

    posterior = Posterior(Prior({name: Normal(0.0, 1.0) for name in "xyz"}), log_likelihood)
    got = sample(posterior, Sampler(kind="mclmc", ess=1500.0, r_hat=1.02))
    x = got.column("x").ravel()
    expected = stats.truncnorm(-np.inf, 0.2)
    assert got.outside > 0 and x.max() < 0.2
    assert x.mean() == pytest.approx(expected.mean(), abs=5 * expected.std() / np.sqrt(1500))
    share = np.mean(x > 0.0)  # of what lies within 0.2 of the wall
    truth = (stats.norm.cdf(0.2) - 0.5) / stats.norm.cdf(0.2)
    assert share == pytest.approx(truth, abs=0.04)


def test_a_posterior_without_support_is_refused():
    posterior = Posterior(Prior({"x": Normal(0.0, 1.0)}), lambda values: jnp.full_like(values["x"], jnp.nan))
    with pytest.raises(DataError, match="not finite"):
        sample(posterior)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="R-hat needs 2"):
        Sampler(chains=1)
    with pytest.raises(ConfigError, match="no chains reach 1"):
        Sampler(r_hat=1.0)
    with pytest.raises(ConfigError, match="acceptance"):
        Sampler(acceptance=1.0)
    with pytest.raises(UnknownName, match="did you mean mclmc"):
        Sampler(kind="mcmlc")
    with pytest.raises(ConfigError, match="needs 2 dimensions"):
        sample(Posterior(Prior({"x": Normal(0.0, 1.0)}), lambda values: 0.0), Sampler(kind="mclmc"))
    with pytest.raises(ConfigError, match="JAX_ENABLE_X64"):
        sample(linear(), Sampler(dtype="float64"))
