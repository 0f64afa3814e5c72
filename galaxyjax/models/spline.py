"""Functions of wavenumber as cubic B-splines on knots that crowd where the acoustic wiggles are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import erf as scalar_erf
from math import log, pi, sqrt

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf


class Spline:
    """Cubic B-splines of `nodes` knots; a subclass says how an argument becomes a `position` among them."""

    nodes: int

    def position(self, x: jax.Array) -> jax.Array:
        """x in units of knots: 0 at the first, nodes - 1 at the last."""
        raise NotImplementedError

    @cached_property
    def _fit(self) -> np.ndarray:
        """(nodes + 2, nodes): values at knots -> coefficients, not-a-knot at both ends."""
        n = self.nodes
        system = np.zeros((n + 2, n + 2))
        for i in range(n):
            system[i, i : i + 3] = (1 / 6, 4 / 6, 1 / 6)
        system[n, :5] = (1, -4, 6, -4, 1)
        system[n + 1, -5:] = (1, -4, 6, -4, 1)
        return np.linalg.inv(system)[:, :n]

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """Spline coefficients (..., nodes + 2) of values (..., nodes) at the knots; NumPy float64."""
        return np.asarray(values, np.float64) @ self._fit.T

    def evaluate(self, coefficients: jax.Array, k: jax.Array) -> jax.Array:
        """Splines (..., nodes + 2) at shared wavenumbers k (nk,): (..., nk)."""
        first, weights = self._support(k)
        return sum(weights[m] * jnp.take(coefficients, first + m, axis=-1) for m in range(4))

    def evaluate_each(self, coefficients: jax.Array, k: jax.Array) -> jax.Array:
        """Splines (..., nodes + 2), each at its own wavenumbers (..., nk): (..., nk)."""
        first, weights = self._support(k)
        shape = jnp.broadcast_shapes(coefficients.shape[:-1], k.shape[:-1])
        coefficients = jnp.broadcast_to(coefficients, (*shape, coefficients.shape[-1]))
        first = jnp.broadcast_to(first, (*shape, k.shape[-1]))
        return sum(weights[m] * jnp.take_along_axis(coefficients, first + m, axis=-1) for m in range(4))

    def _support(self, k: jax.Array):
        """Index of the first of the four splines that reach k, and their values there."""
        s = self.position(k)
        first = jnp.clip(jnp.floor(jax.lax.stop_gradient(s)), 0, self.nodes - 2).astype(jnp.int32)
        t = s - first
        u = 1.0 - t
        weights = (
            u**3 / 6.0,
            (3.0 * t**3 - 6.0 * t**2 + 4.0) / 6.0,
            (3.0 * u**3 - 6.0 * u**2 + 4.0) / 6.0,
            t**3 / 6.0,
        )
        return first, weights


@dataclass(frozen=True)
class UniformLine(Spline):
    """Knots even in x between low and high; C2 in x."""

    low: float
    high: float
    nodes: int

    def position(self, x: jax.Array) -> jax.Array:
        """x in units of knots: 0 at low, nodes - 1 at high."""
        return (x - self.low) * ((self.nodes - 1) / (self.high - self.low))


@dataclass(frozen=True)
class KnotLine(Spline):
    """Uniform knots in s(k) = ln k + A sqrt(pi/2) width erf((ln k - centre) / sqrt(2) width).

    ds/dln k = 1 + A exp(-(ln k - centre)^2 / 2 width^2), so knots are 1 + A times denser at `centre`, the
    wiggles, than far from it. C2 in k everywhere.
    """

    k_min: float
    k_max: float
    nodes: int
    amplitude: float = 2.0
    centre: float = log(0.25)
    width: float = 0.9

    def position(self, k: jax.Array) -> jax.Array:
        """s(k) in units of knots: 0 at k_min, nodes - 1 at k_max."""
        x = jnp.log(k)
        warp = erf((x - self.centre) / (sqrt(2.0) * self.width))
        s = x + self.amplitude * sqrt(pi / 2.0) * self.width * warp
        return (s - self._low) * ((self.nodes - 1) / (self._high - self._low))

    def _s(self, x: float) -> float:
        warp = scalar_erf((x - self.centre) / (sqrt(2.0) * self.width))
        return x + self.amplitude * sqrt(pi / 2.0) * self.width * warp

    @cached_property
    def _low(self) -> float:
        return self._s(log(self.k_min))

    @cached_property
    def _high(self) -> float:
        return self._s(log(self.k_max))

    @cached_property
    def wavenumbers(self) -> np.ndarray:
        """(nodes,) float64 wavenumbers of the knots."""
        fine = np.linspace(log(self.k_min), log(self.k_max), 20001)
        s = np.array([self._s(x) for x in fine])
        return np.exp(np.interp(np.linspace(self._low, self._high, self.nodes), s, fine))

    @cached_property
    def log_spacing(self) -> np.ndarray:
        """(nodes,) dln k per knot at the knots: the weights of an integral over ln k."""
        x = np.log(self.wavenumbers)
        slope = 1.0 + self.amplitude * np.exp(-0.5 * ((x - self.centre) / self.width) ** 2)
        return (self._high - self._low) / (self.nodes - 1) / slope
