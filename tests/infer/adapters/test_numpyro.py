"""NumPyro's sites have the density of the prior that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal, Normal, Prior, Uniform

numpyro = pytest.importorskip("numpyro")
from numpyro.infer.util import log_density  # noqa: E402

from galaxyjax.infer.adapters import numpyro_model  # noqa: E402

PRIOR = Prior(
    {
        "a": Uniform(-1.0, 3.0),
        "b": Normal(0.5, 0.2),
        ("c", "d"): CorrelatedNormal((0.1, -0.2), ((0.04, 0.01), (0.01, 0.09))),
        "e": 2.0,
    }
)


def test_a_posterior_is_the_same_density_as_a_model(float64):
    def log_likelihood(values):
        return -0.5 * (values["a"] * values["c"] + values["e"] - values["d"]) ** 2

    posterior = Posterior(PRIOR, log_likelihood, lambda values: {"f": values["a"] + values["d"]})
    model = numpyro_model.model(posterior)
    values = {"a": 0.3, "b": 0.6, "c": 0.2, "d": -0.4, "e": 2.0}
    sites = {"a": 0.3, "b": 0.6, "c,d": jnp.array([0.2, -0.4])}
    total, trace = log_density(model, (), {}, sites)
    expected = PRIOR.log_density(values) + log_likelihood(values)
    assert float(total) == pytest.approx(float(expected), rel=1e-9)
    assert float(trace["f"]["value"]) == pytest.approx(-0.1) and float(trace["d"]["value"]) == -0.4
    slope = jax.grad(lambda a: log_density(model, (), {}, sites | {"a": a})[0])(0.3)
    assert float(slope) == pytest.approx(-(0.3 * 0.2 + 2.4) * 0.2, rel=1e-9)


def test_outside_the_domain_the_density_is_zero():
    posterior = Posterior(PRIOR, lambda values: jnp.where(values["a"] > 0.0, 1.0, jnp.nan))
    sites = {"a": -0.5, "b": 0.6, "c,d": jnp.array([0.2, -0.4])}
    assert float(log_density(numpyro_model.model(posterior), (), {}, sites)[0]) == -np.inf
