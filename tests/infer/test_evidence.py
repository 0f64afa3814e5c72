"""Sequential Monte Carlo against posteriors and evidences in closed form."""

import os
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.core.errors import ConfigError, DataError
from galaxyjax.infer import evidence as module
from galaxyjax.infer.evidence import Sequential, combined, sequential
from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import Normal, Prior

RNG = np.random.default_rng(5)
D = 4
NAMES = tuple(f"x_{i}" for i in range(D))
DESIGN = RNG.normal(size=(9, D)) * np.array([8.0, 3.0, 1.0, 0.3])
DATA = DESIGN @ RNG.normal(size=D) + RNG.normal(size=9)
# x ~ N(0, 1), data | x ~ N(A x, 1): data ~ N(0, 1 + A A^T), and exp(-chi2 / 2) is a likelihood without norm.
TOTAL = np.eye(9) + DESIGN @ DESIGN.T
LOG_Z = -0.5 * DATA @ np.linalg.solve(TOTAL, DATA) - 0.5 * np.linalg.slogdet(TOTAL)[1]
COVARIANCE = np.linalg.inv(np.eye(D) + DESIGN.T @ DESIGN)
MEAN = COVARIANCE @ DESIGN.T @ DATA
SMALL = Sequential(populations=6, particles=128)


def linear() -> Posterior:
    """A linear model of normal data under standard normal priors."""

    def log_likelihood(values):
        x = jnp.stack([values[name] for name in NAMES])
        return -0.5 * jnp.sum((jnp.asarray(DATA, x.dtype) - jnp.asarray(DESIGN, x.dtype) @ x) ** 2)

    return Posterior(Prior({name: Normal(0.0, 1.0) for name in NAMES}), log_likelihood, identity="linear")


@pytest.fixture(scope="module")
def found():
    return sequential(linear(), SMALL)


def test_the_evidence_of_a_normal_model_is_covered_by_its_error(found):
    """Within 3.5 of its errors, which themselves are small: a sixth, where the evidence is e^-50 or so."""
    value, error = found.log_evidence
    assert 0.0 < error < 0.25
    assert abs(value - LOG_Z) < 3.5 * error


def test_the_particles_are_the_posterior(found):
    sigma = np.sqrt(np.diag(COVARIANCE))
    flat = found.quantities.reshape(-1, D)
    np.testing.assert_allclose((flat.mean(0) - MEAN) / sigma, 0.0, atol=0.2)
    np.testing.assert_allclose(
        np.cov(flat.T) / np.outer(sigma, sigma), COVARIANCE / np.outer(sigma, sigma), atol=0.2
    )


@pytest.mark.slow
def test_the_error_of_the_evidence_is_its_scatter():
    """Of 30 runs 4 in 5 lie within 1.5 errors of the truth, all of them together at it, with the default
    number of particles: with half as many they lie 0.07 above."""
    runs = [
        sequential(linear(), Sequential(populations=6, particles=256, seed=seed)).log_evidence
        for seed in range(30)
    ]
    off = np.array([(value - LOG_Z) / error for value, error in runs])
    assert np.mean(np.abs(off) < 1.5) > 0.65 and np.abs(off).max() < 8.0
    assert abs(np.mean([value for value, _ in runs]) - LOG_Z) < 0.06


def test_evidences_are_averaged_not_their_logarithms():
    value, error = combined(np.log([1.0, 2.0, 3.0]))
    assert value == pytest.approx(np.log(2.0)) and error == pytest.approx(1.0 / 2.0 / np.sqrt(3.0))


@pytest.mark.slow
def test_two_separate_modes_are_both_found():
    """Chains started at one of two peaks 10 sigma apart stay there; particles do not."""

    def log_likelihood(values):
        x = values["x_0"]
        return jnp.logaddexp(-0.5 * ((x - 1.5) / 0.15) ** 2, -0.5 * ((x + 1.5) / 0.15) ** 2)

    prior = Prior({"x_0": Normal(0.0, 1.0), "x_1": Normal(0.0, 1.0)})
    got = sequential(Posterior(prior, log_likelihood), SMALL)
    share = (got.column("x_0") > 0).mean(1)
    assert 0.3 < share.mean() < 0.7 and (share > 0.1).all() and (share < 0.9).all()


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch, found):
    count, write = 0, module.write_npz

    def dies(path, arrays):
        nonlocal count
        count += 1
        if count > 3:
            raise Killed
        write(path, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_npz", dies)
        with pytest.raises(Killed):
            sequential(linear(), SMALL, tmp_path)
    again = sequential(linear(), SMALL, tmp_path)
    np.testing.assert_array_equal(again.draws.position, found.draws.position)
    assert again.log_evidence == found.log_evidence and again.gradients == found.gradients
    with pytest.raises(ConfigError, match="another posterior"):
        sequential(linear(), Sequential(populations=6, particles=64), tmp_path)


SHARDED = """
import sys; sys.path.insert(0, {folder!r})
import jax; jax.config.update("jax_num_cpu_devices", 3)
import numpy as np
from test_evidence import linear
from galaxyjax.infer.evidence import Sequential, sequential
small = Sequential(populations=3, particles=32, moves=2, final=1)
one, three = (sequential(linear(), small, devices=jax.devices()[:n]) for n in (1, 3))
np.testing.assert_allclose(one.log_evidence, three.log_evidence, atol=0.02)
print("equal")
"""


@pytest.mark.slow
def test_populations_laid_over_devices_are_those_of_one():
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", SHARDED.format(folder=os.path.dirname(__file__))]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "equal"


def test_what_cannot_be_tempered_is_refused():
    with pytest.raises(ConfigError, match="populations is 1"):
        Sequential(populations=1)
    nowhere = Posterior(linear().prior, lambda values: jnp.full_like(values["x_0"], jnp.nan))
    with pytest.raises(DataError, match="nowhere"):
        sequential(nowhere, SMALL)
