"""The NumPy door of a posterior, for SciPy, emcee and every sampler that knows floats and arrays only."""

from __future__ import annotations

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from galaxyjax.core.errors import DataError
from galaxyjax.infer.posterior import Posterior


class ArrayPosterior:
    """A posterior whose arguments and answers are NumPy float64; compiled once for each shape.

    `log_probability` is a density of the parameters themselves, in the order of `names`; `log_density` and
    `value_and_gradient` are one of coordinates u in which the prior is a standard normal (see `priors`),
    without walls and with unit scales: the better choice for a minimiser.
    """

    def __init__(self, posterior: Posterior):
        self.posterior = posterior

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sampled parameters."""
        return self.posterior.prior.names

    @property
    def dimension(self) -> int:
        """Number of sampled parameters."""
        return self.posterior.dimension

    def log_probability(self, x: ArrayLike) -> np.ndarray:
        """Log prior density plus log likelihood of parameters x (d,) or (n, d): a scalar or (n,).

        -inf outside the prior and outside the emulator's domain; never NaN.
        """
        return self._call(self._compiled["log_probability"], x)

    def log_density(self, u: ArrayLike) -> np.ndarray:
        """Log density of coordinates u (d,) or (n, d), up to a constant: a scalar or (n,)."""
        return self._call(self._compiled["log_density"], u)

    def value_and_gradient(self, u: ArrayLike) -> tuple[float, np.ndarray]:
        """Log density of coordinates u (d,), and its gradient (d,)."""
        value, slope = self._call(self._compiled["value_and_gradient"], u)
        return float(value), slope

    def constrain(self, u: ArrayLike) -> np.ndarray:
        """Coordinates u (..., d) -> parameters (..., d)."""
        with jax.enable_x64(True):
            values = self.posterior.prior.constrain(np.asarray(u, np.float64))
            return np.stack([np.asarray(values[name]) for name in self.names], -1)

    def unconstrain(self, x: ArrayLike) -> np.ndarray:
        """Parameters x (..., d) -> coordinates (..., d)."""
        x = np.asarray(x, np.float64)
        with jax.enable_x64(True):
            values = {name: x[..., i] for i, name in enumerate(self.names)}
            return np.asarray(self.posterior.prior.unconstrain(values))

    def _log_probability(self, x: jax.Array) -> jax.Array:
        prior = self.posterior.prior
        values = {name: x[i] for i, name in enumerate(prior.names)}
        values |= {name: jnp.asarray(value, x.dtype) for name, value in prior.fixed.items()}
        total = prior.log_density(values) + self.posterior.log_likelihood(values)
        return jnp.where(jnp.isnan(total), -jnp.inf, total)

    @cached_property
    def _compiled(self) -> dict:
        """Name -> number of dimensions of the points -> compiled function."""
        density = self.posterior.log_density
        batched = lambda function: {1: jax.jit(function), 2: jax.jit(jax.vmap(function))}  # noqa: E731
        return {
            "log_probability": batched(self._log_probability),
            "log_density": batched(density),
            "value_and_gradient": {1: jax.jit(jax.value_and_grad(density))},
        }

    def _call(self, functions: dict, points: ArrayLike):
        points = np.asarray(points, np.float64)
        if points.ndim not in functions or points.shape[-1] != self.dimension:
            raise DataError(
                f"points have shape {points.shape}; give ({self.dimension},)"
                + (f" or (n, {self.dimension})" if 2 in functions else "")
            )
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, functions[points.ndim](points))
