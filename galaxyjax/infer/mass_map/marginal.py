"""What one pixel's convergence may be: a skewed function of a Gaussian field g of unit variance.

kappa = shift (exp(u(g)) - 1) - mean. u is a straight line for the log-normal prior (Hilbert, Hartlap &
Schneider 2011, A&A 536, A85), and a bent one where the quantiles of a simulated map teach it: the cores of
voids and haloes are not log-normal. Correlations of kappa follow from those of g by the Hermite coefficients
of that function, xi_kappa = sum a_n^2 rho^n (Coles & Barrow 1987, MNRAS 228, 407), and back.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.interpolate import PchipInterpolator
from scipy.special import ndtr

from galaxyjax.core.errors import ConfigError, DataError

NODES = np.linspace(-3.5, 3.5, 15)  # of u; of 360^2 pixels 30 lie beyond either end, where u goes on straight
DEPTH = 1.2  # of the shift over the deepest pixel of the map that teaches it
ORDERS = 60  # of Hermite polynomials
GRID = np.linspace(-9.0, 9.0, 6001)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Marginal:
    """A pixel's convergence of a Gaussian of unit variance; a pytree.

    values, slopes: of u at nodes `step` apart from `start` on. Build it with `lognormal` or `learnt`.
    """

    shift: Array
    start: Array
    step: Array
    values: Array
    slopes: Array
    mean: Array

    def __call__(self, g: Array) -> Array:
        """Return the convergence that g stands for, of any shape."""
        x = (g - self.start) / self.step
        last = self.values.shape[0] - 1
        index = jnp.clip(jnp.floor(jax.lax.stop_gradient(x)).astype(jnp.int32), 0, last - 1)
        inside = jnp.clip(x, 0.0, float(last))
        t = inside - index
        low, high = self.values[index], self.values[index + 1]
        first, second = self.step * self.slopes[index], self.step * self.slopes[index + 1]
        rise = high - low
        u = low + t * (first + t * (3.0 * rise - 2.0 * first - second + t * (first + second - 2.0 * rise)))
        beyond = jnp.where(x < 0.0, self.slopes[0], self.slopes[-1]) * self.step
        return self.shift * jnp.expm1(u + beyond * (x - inside)) - self.mean

    def cast(self, dtype) -> Marginal:
        """Return it in another dtype."""
        return jax.tree.map(lambda a: jnp.asarray(a, dtype), self)


def lognormal(std: float, shift: float) -> Marginal:
    """Return the log-normal of that standard deviation, never below -shift. Raises ConfigError."""
    if not (shift > 0 and std > 0):
        raise ConfigError(f"log-normal map: shift = {shift} and deviation {std} must be positive")
    sigma = np.sqrt(np.log1p(np.square(std / shift)))
    ends = np.array([-1.0, 1.0])
    return _made(shift, ends, sigma * ends - 0.5 * sigma**2, np.array([sigma, sigma]), std)


def learnt(kappa: np.ndarray, std: float) -> Marginal:
    """Return the marginal of a simulated map, about its mean and stretched to a standard deviation.

    Raises DataError for a map too small (200 pixels), or that is not finite or varies not.
    """
    off = np.asarray(kappa, float).ravel()
    off = off - off.mean()
    if off.size < 200 or not np.isfinite(off).all() or not off.std() > 0:
        raise DataError(
            f"map: {off.size} pixels, deviation {off.std():.3g}; to learn a prior takes 200 pixels or more, "
            "all finite and not all alike"
        )
    off *= std / off.std()
    # A node needs pixels beyond it, or its quantile is one pixel's fancy.
    nodes = NODES[off.size * ndtr(-np.abs(NODES)) > 5.0]
    shift = -DEPTH * off.min()
    found = np.log1p(np.quantile(off, ndtr(nodes)) / shift)
    found += 1e-6 * nodes  # quantiles may repeat; u must rise
    return _made(shift, nodes, found, PchipInterpolator(nodes, found).derivative()(nodes), std)


def _made(shift: float, nodes, values, slopes, std: float) -> Marginal:
    """The function of exactly that mean (0) and deviation."""
    first = Marginal(
        *(np.asarray(a, float) for a in (shift, nodes[0], nodes[1] - nodes[0], values, slopes, 0.0))
    )
    mean, *rest = hermite(first)
    scale = std / np.sqrt(np.sum(np.square(rest)))
    return Marginal(shift * scale, first.start, first.step, first.values, first.slopes, mean * scale)


def hermite(marginal: Marginal) -> np.ndarray:
    """Return a_n = E[kappa(g) He_n(g)] / sqrt(n!), (ORDERS,), by quadrature in float64."""
    values = _float64(marginal, GRID)
    weight = np.exp(-0.5 * GRID**2) / np.sqrt(2.0 * np.pi) * (GRID[1] - GRID[0])
    before, now, found = np.zeros_like(GRID), np.ones_like(GRID), []
    for n in range(ORDERS):
        found.append(np.sum(weight * values * now))
        before, now = now, (GRID * now - np.sqrt(n) * before) / np.sqrt(n + 1.0)
    return np.array(found)


def _float64(marginal: Marginal, g: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(jax.jit(Marginal.__call__)(marginal.cast(jnp.float64), jnp.asarray(g, jnp.float64)))


def underlying(variance: np.ndarray, marginal: Marginal) -> np.ndarray:
    """Return the variances of the modes (ny, nx) of g for those of kappa.

    What of the spectrum no such field can have, a per cent at the pixel's scale, is cut at 0.
    """
    xi = np.fft.ifft2(variance).real
    share = np.square(hermite(marginal)[1:])
    rho = np.linspace(-1.0, 1.0, 20001)
    of = np.polynomial.Polynomial(np.concatenate([[0.0], share]))
    of_rho = of(rho)
    # Past its lowest point the relation turns back; no field is so anticorrelated.
    rising = np.flatnonzero(np.diff(of_rho) <= 0)
    first = rising[-1] + 1 if rising.size else 0
    found = np.interp(xi, of_rho[first:], rho[first:])
    found = np.clip(found - (of(found) - xi) / of.deriv()(found), rho[first], 1.0)
    return np.maximum(np.fft.fft2(found).real, 0.0)


def response(marginal: Marginal) -> float:
    """Return the mean of (d kappa / d g)^2."""
    share = np.square(hermite(marginal))
    return float(np.sum(np.arange(ORDERS) * share))
