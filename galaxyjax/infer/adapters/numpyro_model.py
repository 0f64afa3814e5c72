"""NumPyro: priors as sample sites, and a whole posterior as a model.

An emulator needs no adapter inside a model: `emulator.predict` is a JAX function of the sites' values. What
stands here is for those who have a `Prior` or a `Posterior` of this project. NumPyro: Phan, Pradhan &
Jankowiak 2019 (arXiv:1912.11554).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist

from galaxyjax.infer.posterior import Posterior
from galaxyjax.infer.priors import CorrelatedNormal, Normal, Prior, Uniform


def distribution(term: Uniform | Normal | CorrelatedNormal) -> dist.Distribution:
    """Return the NumPyro distribution of one term of a prior."""
    if isinstance(term, Uniform):
        return dist.Uniform(term.low, term.high)
    if isinstance(term, Normal):
        return dist.Normal(term.mean, term.std)
    return dist.MultivariateNormal(jnp.asarray(term.mean), scale_tril=jnp.asarray(term.factor))


def sites(prior: Prior) -> dict[str, jax.Array]:
    """Sample every parameter of a prior, inside a model; return name -> scalar, fixed values included.

    A correlated term is one site, named by its parameters with commas between, and a deterministic site for
    each.
    """
    values: dict[str, jax.Array] = {}
    for names, term in prior.sampled:
        drawn = numpyro.sample(",".join(names), distribution(term))
        if isinstance(term, CorrelatedNormal):
            values |= {name: numpyro.deterministic(name, drawn[i]) for i, name in enumerate(names)}
        else:
            values[names[0]] = drawn
    return values | {name: jnp.asarray(value, float) for name, value in prior.fixed.items()}


def model(posterior: Posterior) -> Callable[[], None]:
    """Return a NumPyro model of a posterior: its prior's sites, its derived columns, its likelihood.

    Outside the emulator's domain the likelihood is zero.
    """

    def run() -> None:
        values = sites(posterior.prior)
        for name, value in posterior.derived(values).items():
            numpyro.deterministic(name, value)
        likelihood = posterior.log_likelihood(values)
        numpyro.factor("log_likelihood", jnp.where(jnp.isnan(likelihood), -jnp.inf, likelihood))

    return run
