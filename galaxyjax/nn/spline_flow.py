"""A conditional density of a few numbers: an autoregressive flow of rational-quadratic splines.

Each number in its turn, given the context and those before it, is shifted, scaled and bent by a monotone
spline until it is standard normal (Durkan, Bekasov, Murray & Papamakarios 2019, eqs. 4 to 8; the spline is
Gregory & Delbourgo's). Beyond `BOUND` the spline is the identity, so that the tails are normal.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.scipy.stats import norm

from galaxyjax.nn.mlp import MLP

BOUND = 4.0
SMALLEST = 1e-3  # share of the interval of a bin, and slope


def knots(raw: jax.Array, bins: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return knots x and y, (..., bins + 1) from -BOUND to BOUND, and slopes there, of (..., 3 bins - 1)."""
    widths, heights, slopes = jnp.split(raw, (bins, 2 * bins), axis=-1)

    def places(share):
        share = SMALLEST + (1.0 - SMALLEST * bins) * jax.nn.softmax(share, axis=-1)
        inner = jnp.cumsum(share[..., :-1], axis=-1)
        ends = jnp.zeros_like(share[..., :1])
        return BOUND * (2.0 * jnp.concatenate([ends, inner, ends + 1.0], axis=-1) - 1.0)

    # Slope 1 for raw 0: a flow begins as the identity.
    inside = SMALLEST + jax.nn.softplus(slopes + jnp.log(jnp.expm1(1.0 - SMALLEST)))
    one = jnp.ones_like(inside[..., :1])
    return places(widths), places(heights), jnp.concatenate([one, inside, one], axis=-1)


def _bin(value: jax.Array, edges: jax.Array, *arrays: jax.Array):
    """Of each array of knots the values left and right of `value` (...)."""
    index = jnp.sum(value[..., None] >= edges[..., 1:-1], axis=-1, keepdims=True)
    pick = lambda a, i: jnp.take_along_axis(a, i, axis=-1)[..., 0]  # noqa: E731
    return [(pick(a, index), pick(a, index + 1)) for a in (edges, *arrays)]


def bend(x: jax.Array, raw: jax.Array, bins: int) -> tuple[jax.Array, jax.Array]:
    """Return the spline at x (...) and the logarithm of its slope, (...) both; raw (..., 3 bins - 1)."""
    inside = jnp.abs(x) < BOUND
    at = jnp.where(inside, x, 0.0)  # gradients outside stay finite
    kx, ky, slopes = knots(raw, bins)
    (x0, x1), (y0, y1), (d0, d1) = _bin(at, kx, ky, slopes)
    mean = (y1 - y0) / (x1 - x0)
    t = (at - x0) / (x1 - x0)
    below = mean + (d0 + d1 - 2.0 * mean) * t * (1.0 - t)
    y = y0 + (y1 - y0) * (mean * t**2 + d0 * t * (1.0 - t)) / below
    top = mean**2 * (d1 * t**2 + 2.0 * mean * t * (1.0 - t) + d0 * (1.0 - t) ** 2)
    return jnp.where(inside, y, x), jnp.where(inside, jnp.log(top) - 2.0 * jnp.log(below), 0.0)


def unbend(y: jax.Array, raw: jax.Array, bins: int) -> jax.Array:
    """Return x of which `bend` makes y (...)."""
    inside = jnp.abs(y) < BOUND
    at = jnp.where(inside, y, 0.0)
    kx, ky, slopes = knots(raw, bins)
    (y0, y1), (x0, x1), (d0, d1) = _bin(at, ky, kx, slopes)
    mean, rise = (y1 - y0) / (x1 - x0), at - y0
    bow = d0 + d1 - 2.0 * mean
    a = (y1 - y0) * (mean - d0) + rise * bow
    b = (y1 - y0) * d0 - rise * bow
    c = -mean * rise
    # The form without cancellation.
    t = 2.0 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4.0 * a * c, 0.0)))
    return jnp.where(inside, x0 + t * (x1 - x0), y)


class SplineFlow(nnx.Module):
    """p(x | context) of x (..., dimensions), context (..., contexts); `bins` of each spline."""

    def __init__(self, dimensions: int, contexts: int, hidden: int, bins: int, *, rngs: nnx.Rngs):
        self.dimensions, self.bins = dimensions, bins
        for i in range(dimensions):
            sizes = (contexts + i, hidden, hidden, 2 + 3 * bins - 1)
            setattr(self, f"net{i}", MLP(sizes, "silu", rngs=rngs))

    def log_prob(self, x: jax.Array, context: jax.Array) -> jax.Array:
        """Natural logarithm of the density, (...)."""
        total = 0.0
        for i in range(self.dimensions):
            place, log_scale, raw = self._parts(i, x[..., :i], context)
            z, log_slope = bend((x[..., i] - place) * jnp.exp(-log_scale), raw, self.bins)
            total = total + norm.logpdf(z) + log_slope - log_scale
        return total

    def from_normal(self, z: jax.Array, context: jax.Array) -> jax.Array:
        """Draws (..., dimensions) of standard normal z of that shape."""
        x = z[..., :0]
        for i in range(self.dimensions):
            place, log_scale, raw = self._parts(i, x, context)
            own = place + jnp.exp(log_scale) * unbend(z[..., i], raw, self.bins)
            x = jnp.concatenate([x, own[..., None]], axis=-1)
        return x

    def _parts(self, i: int, before: jax.Array, context: jax.Array):
        out = getattr(self, f"net{i}")(jnp.concatenate([context, before], axis=-1))
        return out[..., 0], out[..., 1], out[..., 2:]
