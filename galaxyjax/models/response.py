"""The family `Response`: what baryons do to the matter power spectrum, learnt from a handful of simulations.

    ln R(k, z) = L(u) + s S(u) + j J(u),   u = gas fraction, s = -sigma_star, j = jet,

u being exp(rate sigma_gas) stretched to 0 ... 1 over the range of sigma_gas: the data behind sigma_gas have
errors in proportion, so each sigma is a factor in the gas fraction, and the suppression follows the gas. L, S
and J are Gaussian processes in u (Rasmussen & Williams 2006, eqs 2.25, 2.26) with one value for each k and z,
so their means are fixed combinations of simulations: L of those that change only the gas, S and J of what the
others differ from L. Between the two values of s or j that were simulated the mean is a straight line.

The error has a pattern in k and z, the same for all feedback, times `scale`: what the processes do not know
of u, and for s and j a random walk tied at both simulated ends, variance s (1 - s) (the process of covariance
min(s, s')). Its three amplitudes are measured (`train.response`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev

from galaxyjax.models.spline import UniformLine

TERMS = ("gas", "stars", "jets")
CONSTANT = 100.0  # variance of the mean of L in units of that of its variation: any mean will do
JITTER = 1e-9


@dataclass(frozen=True)
class Response:
    """Hyperparameters of the family; its methods are pure functions of (weights, inputs).

    simulations: (sigma_gas, sigma_star, jet) of each; one that changes stars or jets changes only one of
    them, fully. lengths: of L, S and J in u.
    """

    simulations: tuple[tuple[float, float, float], ...]
    gas_range: tuple[float, float]
    gas_rate: float
    lengths: tuple[float, float, float]
    k_min: float
    k_max: float
    k_nodes: int
    z_max: float
    z_nodes: int
    degree: int = 12

    outputs = ("response",)

    def hyperparameters(self) -> dict:
        """Plain values that rebuild this model: ``Response(**hyperparameters)``."""
        return asdict(self)

    @cached_property
    def lines(self) -> tuple[UniformLine, UniformLine]:
        """Knots in z and in ln k: those of the simulations' own tables."""
        z = UniformLine(0.0, self.z_max, self.z_nodes)
        return z, UniformLine(log(self.k_min), log(self.k_max), self.k_nodes)

    @cached_property
    def members(self) -> dict[str, np.ndarray]:
        """Indices of the simulations behind each term."""
        _, star, jet = np.transpose(self.simulations)
        flags = {"gas": (star == 0) & (jet == 0), "stars": star < 0, "jets": jet > 0}
        return {term: np.flatnonzero(flag) for term, flag in flags.items()}

    def gas(self, sigma_gas):
        """u: 0 at the least gas, 1 at the most, and held there beyond. Floats, NumPy or JAX arrays."""
        low, high = (exp(self.gas_rate * end) for end in self.gas_range)
        xp = jnp if isinstance(sigma_gas, jax.Array) else np
        return xp.clip((xp.exp(self.gas_rate * sigma_gas) - low) / (high - low), 0.0, 1.0)

    def process(self, term: str, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (m, n) of a term's simulations in its mean at u (m,), and its variance (m,): float64."""
        length = self.lengths[TERMS.index(term)]
        constant = CONSTANT if term == "gas" else 0.0
        seen = self.gas(np.array([self.simulations[i][0] for i in self.members[term]]))

        def kernel(a, b):
            return constant + np.exp(-0.5 * ((a[:, None] - b) / length) ** 2)

        between = kernel(np.asarray(u, np.float64), seen)
        weights = np.linalg.solve(kernel(seen, seen) + JITTER * np.eye(len(seen)), between.T).T
        return weights, np.maximum(1.0 + constant - np.sum(weights * between, axis=1), 0.0)

    @cached_property
    def _polynomials(self) -> np.ndarray:
        """(degree + 1, n): each simulation's weight as a polynomial in 2 u - 1, constant term first.

        Solved in float64 once: in float32 the kernel's condition, 1e6, would leave nothing.
        """
        columns = np.zeros((self.degree + 1, len(self.simulations)))
        for term in TERMS:
            fit = chebyshev.chebinterpolate(
                lambda x, t=term: self.process(t, 0.5 * (x + 1.0))[0], self.degree
            )
            columns[:, self.members[term]] = np.apply_along_axis(chebyshev.cheb2poly, 0, fit)
        return columns

    @cached_property
    def _groups(self) -> np.ndarray:
        """(3, n): 1 where a simulation belongs to a term."""
        return np.stack([np.isin(np.arange(len(self.simulations)), self.members[t]) for t in TERMS]) * 1.0

    def init(self, key: jax.Array) -> dict:
        """Weights of no effect: the structure that training fills and files hold.

        effects (n, nz + 2, nk + 2): spline coefficients of each simulation's ln R, of stars and jets that
        over L. pattern (nz, nk) of the error and amplitudes (3,) of its terms.
        """
        return {
            "effects": jnp.zeros((len(self.simulations), self.z_nodes + 2, self.k_nodes + 2)),
            "pattern": jnp.zeros((self.z_nodes, self.k_nodes)),
            "amplitudes": jnp.zeros(3),
        }

    def spline(self, values: np.ndarray) -> np.ndarray:
        """Coefficients (..., nz + 2, nk + 2) of values (..., nz, nk) at the knots."""
        z, k = self.lines
        along_k = k.coefficients(values)
        return np.moveaxis(z.coefficients(np.moveaxis(along_k, -2, -1)), -1, -2)

    def mixture(self, x) -> jax.Array:
        """The weight of every simulation's effect, (..., n)."""
        u, stars, jets = (v[..., None] for v in (self.gas(x["sigma_gas"]), -x["sigma_star"], x["jet"]))
        polynomials, groups = (jnp.asarray(a, u.dtype) for a in (self._polynomials, self._groups))
        position, weights = 2.0 * u - 1.0, polynomials[-1]
        # Horner's rule: one use of each step, so that XLA makes one kernel of all of it.
        for coefficients in polynomials[-2::-1]:
            weights = coefficients + position * weights
        return weights * (groups[0] + stars * groups[1] + jets * groups[2])

    def power(self, weights, x, k, z, output: str) -> jax.Array:
        """R (..., nz, nk); below k_min, where |R - 1| < 4e-4, ln R falls as k^2.

        Args:
            x: sigma_gas, sigma_star, jet, (...). k: (nk,), or (..., nz, nk), in h/Mpc. z: (nz,) or (..., nz).
        """
        along_z, along_k = self.lines
        effects = jnp.asarray(weights["effects"], k.dtype)
        rows = along_z.evaluate(jnp.eye(self.z_nodes + 2, dtype=k.dtype), z)  # (nz_knots, ..., nz)
        rows = jnp.moveaxis(rows, 0, -1)
        mixed = _dot(self.mixture(x), effects.reshape(len(self.simulations), -1))
        mixed = _dot(rows, mixed.reshape(*mixed.shape[:-1], *effects.shape[1:]))
        inside = jnp.log(jnp.maximum(k, self.k_min))
        below = (jnp.minimum(k, self.k_min) / self.k_min) ** 2
        if k.ndim == 1:
            columns = along_k.evaluate(jnp.eye(self.k_nodes + 2, dtype=k.dtype), inside)
            return jnp.exp(below * _dot(mixed, columns))
        return jnp.exp(below * along_k.evaluate_each(mixed, inside))

    def scale(self, weights, x) -> np.ndarray:
        """Error of ln R over its pattern, (...), NumPy float64: 1 is its root mean square over the domain."""
        gas, stars, jets = np.broadcast_arrays(
            *(np.asarray(x[name], np.float64) for name in ("sigma_gas", "sigma_star", "jet"))
        )
        u = self.gas(gas).ravel()
        unknown = {term: self.process(term, u)[1].reshape(gas.shape) for term in TERMS}
        variances = [unknown["gas"]]
        variances += [f**2 * unknown[t] + f * (1.0 - f) for t, f in (("stars", -stars), ("jets", jets))]
        squares = np.asarray(weights["amplitudes"], np.float64) ** 2
        return np.sqrt(sum(a * np.maximum(v, 0.0) for a, v in zip(squares, variances, strict=True)))


def _dot(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
